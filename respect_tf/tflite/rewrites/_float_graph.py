"""A .tflite model as rules edit it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from respect_tf.tflite._flatbuffer import ints, write_model
from respect_tf.tflite._schema import op_type_names, schema, tensor_type_names
from respect_tf.tflite.rewrites._read_graph import OPTIONS, Array, ReadGraph, Shape

__all__ = ["Array", "FloatGraph", "Shape"]

_VALID = 1  # `Padding.VALID`
_GROUPED_CONV = 6  # version from which on CONV_2D has groups
_BIASED_TRANSPOSE_CONV = 3  # the op's version where it has a bias; all others are of version 1


class FloatGraph(ReadGraph):
    """A model in which rules replace ops by others.

    New ops are put before the op that is being replaced, so the order stays topological.
    """

    def add_constant(self, value: Array, name: str) -> int:
        """A new constant tensor."""
        generated = schema()
        buffer = generated.BufferT()
        buffer.data = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        self._model.buffers.append(buffer)
        tensor = self._add_tensor(value.shape, str(value.dtype), name)
        self._subgraph.tensors[tensor].buffer = len(self._model.buffers) - 1
        self._constants[tensor] = value
        return tensor

    def add(
        self,
        before: Any,
        kind: str,
        read: Sequence[int],
        shape: Sequence[int],
        *,
        into: int | None = None,
        **options: Any,
    ) -> int:
        """Put a new op before another one.

        Args:
            before: The op.
            kind: The new op's type.
            read: What it reads.
            shape: Of what it makes.
            into: The tensor that it makes instead of a new one.
            **options: Fields of the schema's options for it.

        Returns:
            The tensor that it makes.
        """
        (made,) = self.add_several(before, kind, read, [shape], into=into, **options)
        return made

    def add_several(
        self,
        before: Any,
        kind: str,
        read: Sequence[int],
        shapes: Sequence[Sequence[int]],
        *,
        into: int | None = None,
        **options: Any,
    ) -> list[int]:
        """As `add`, for an op that makes several tensors; `into` is the first of them."""
        generated = schema()
        op = generated.OperatorT()
        version = _BIASED_TRANSPOSE_CONV if kind == "TRANSPOSE_CONV" and len(read) > 3 else 1
        op.opcodeIndex = self._code(kind, version)
        op.inputs = np.array(read, np.int32)
        made = [] if into is None else [into]
        base = self.name(self.made(before))
        for shape in list(shapes)[len(made) :]:
            made.append(self._add_tensor(shape, "float32", f"{base}/{kind.lower()}"))
        op.outputs = np.array(made, np.int32)
        if kind in OPTIONS:
            name = f"{OPTIONS[kind]}Options"
            op.builtinOptionsType = getattr(generated.BuiltinOptions, name)
            op.builtinOptions = getattr(generated, f"{name}T")()
            for field, value in options.items():
                setattr(op.builtinOptions, field, value)
        self._subgraph.operators.insert(self.position(before), op)
        self._forget()
        return made

    def binary(self, before: Any, kind: str, left: int, right: int | float, **rest: Any) -> int:
        """An elementwise op on two tensors, or on a tensor and a number, with broadcasting."""
        if not isinstance(right, int):
            right = self.number(right, before)
        shape = np.broadcast_shapes(self.shape(left), self.shape(right))
        return self.add(before, kind, [left, right], shape, **rest)

    def number(self, value: float, near: Any) -> int:
        """A constant number, named after an op."""
        name = f"{self.name(self.made(near))}/constant"
        return self.add_constant(np.array(value, np.float32), name)

    def reshape(
        self, before: Any, tensor: int, shape: Sequence[int], *, into: int | None = None
    ) -> int:
        """The same values in another shape; the same tensor where it has it already."""
        if self.shape(tensor) == tuple(shape) and into is None:
            return tensor
        sizes = np.array(shape, np.int32)
        target = self.add_constant(sizes, f"{self.name(self.made(before))}/shape")
        return self.add(before, "RESHAPE", [tensor, target], shape, into=into, newShape=sizes)

    def conv(
        self,
        before: Any,
        tensor: int,
        weights: Array,
        bias: int = -1,
        *,
        stride: tuple[int, int] = (1, 1),
        **rest: Any,
    ) -> int:
        """CONV_2D without padding, with new weights [out, height, width, in]."""
        base = self.name(self.made(before))
        if bias < 0:
            bias = self.add_constant(np.zeros(weights.shape[0], np.float32), f"{base}/bias")
        kernel = self.add_constant(weights, f"{base}/weights")
        _, height, width, _ = self.shape(tensor)
        size = [(height - weights.shape[1]) // stride[0] + 1]
        size.append((width - weights.shape[2]) // stride[1] + 1)
        return self.add(
            before, "CONV_2D", [tensor, kernel, bias], (1, *size, weights.shape[0]),
            padding=_VALID, strideH=stride[0], strideW=stride[1], **rest,
        )  # fmt: skip

    def result(self, op: Any, tensor: int) -> None:
        """Let a new tensor take the place of what an op makes, and drop the op.

        The place keeps its name where a new op makes the tensor; what other ops make stays theirs.

        Args:
            op: The op that is replaced.
            tensor: What replaces its output.
        """
        old = self.made(op)
        maker = self.maker(tensor)
        if maker is not None and not self.readers(tensor) and tensor not in self.outputs:
            made = [old if t == tensor else t for t in ints(maker.outputs)]
            maker.outputs = np.array(made, np.int32)
        elif old in self.outputs:
            self.reshape(op, tensor, self.shape(old), into=old)
        else:
            self.use_instead(old, tensor)
        self.drop(op)
        self._forget()

    def use_instead(self, old: int, new: int) -> None:
        """Let all ops that read one tensor read another one."""
        for reader in self.readers(old):
            reader.inputs = np.array(
                [new if read == old else read for read in ints(reader.inputs)], np.int32
            )
        self._forget()

    def set_input(self, op: Any, position: int, tensor: int) -> None:
        """Let an op read another tensor at a position."""
        read = ints(op.inputs)
        read[position] = tensor
        op.inputs = np.array(read, np.int32)
        self._forget()

    def change_type(self, tensor: int, dtype: str) -> None:
        """Let a tensor have another element type."""
        codes = {name: code for code, name in tensor_type_names().items()}
        self._subgraph.tensors[tensor].type = codes[dtype]

    def drop(self, op: Any) -> None:
        """Take an op out."""
        del self._subgraph.operators[self.position(op)]
        self._forget()

    def drop_unused(self) -> None:
        """Take out ops that nothing needs, and the values of constants that nobody reads."""
        needed = set(self.outputs)
        kept = []
        for op in reversed(self._subgraph.operators):
            if needed.isdisjoint(ints(op.outputs)):
                continue
            needed.update(ints(op.inputs))
            kept.append(op)
        self._subgraph.operators = kept[::-1]
        used = {self._subgraph.tensors[t].buffer for t in needed if t >= 0}
        for index, tensor in enumerate(self._subgraph.tensors):
            if index not in needed and tensor.buffer not in used:
                self._model.buffers[tensor.buffer].data = None
        self._forget()

    def content(self) -> bytes:
        """The model as a file, without what nothing needs any more."""
        self.drop_unused()
        self._settle_versions()
        # TFLite's calibrator refuses files with codes that no op has.
        used = sorted({op.opcodeIndex for op in self._subgraph.operators})
        places = {index: place for place, index in enumerate(used)}
        self._model.operatorCodes = [self._model.operatorCodes[index] for index in used]
        for op in self._subgraph.operators:
            op.opcodeIndex = places[op.opcodeIndex]
        return write_model(self._model)

    def _settle_versions(self) -> None:
        """Give CONV_2D without groups a version that needs none.

        TFLite's converter gives all ops of a type one version, that of the newest.
        """
        for op in self.ops:
            if self.kind(op) == "CONV_2D" and self.version(op) >= _GROUPED_CONV:
                x, kernel = self.read(op)[:2]
                if self.shape(x)[3] == self.shape(kernel)[3]:
                    op.opcodeIndex = self._code("CONV_2D", 1)

    def version(self, op: Any) -> int:
        """The version of an op."""
        return int(self._model.operatorCodes[op.opcodeIndex].version)

    def _add_tensor(self, shape: Sequence[int], dtype: str, name: str) -> int:
        generated = schema()
        tensor = generated.TensorT()
        tensor.shape = np.array(shape, np.int32)
        unique, copies = name, 0
        while unique in self._names:
            copies += 1
            unique = f"{name}_{copies}"
        self._names.add(unique)
        tensor.name = unique
        tensor.hasRank = True
        tensor.buffer = 0
        self._subgraph.tensors.append(tensor)
        index = len(self._subgraph.tensors) - 1
        self.change_type(index, dtype)
        return index

    def _code(self, kind: str, version: int) -> int:
        number = {name: code for code, name in op_type_names().items()}[kind]
        for index, code in enumerate(self._model.operatorCodes):
            known = max(code.builtinCode, code.deprecatedBuiltinCode)
            if known == number and max(code.version, 1) == version:
                return index
        code = schema().OperatorCodeT()
        code.builtinCode, code.version = number, version
        code.deprecatedBuiltinCode = min(number, 127)
        self._model.operatorCodes.append(code)
        return len(self._model.operatorCodes) - 1
