"""A .tflite model as rules read it: one subgraph, ops in order, constants as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.tflite._flatbuffer import ints, op_type, read_model, text
from respect_tf.tflite._schema import schema, tensor_type_names

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

OPTIONS = {
    "ADD": "Add", "AVERAGE_POOL_2D": "Pool2D", "CONCATENATION": "Concatenation",
    "CONV_2D": "Conv2D", "DEPTHWISE_CONV_2D": "DepthwiseConv2D",
    "L2_NORMALIZATION": "L2Norm", "MAX_POOL_2D": "Pool2D",
    "MEAN": "Reducer", "MUL": "Mul", "PAD": "Pad", "REDUCE_MAX": "Reducer", "REDUCE_MIN": "Reducer",
    "RESHAPE": "Reshape", "SLICE": "Slice",
    "SPLIT": "Split", "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighbor", "SUB": "Sub",
    "SUM": "Reducer", "RESIZE_BILINEAR": "ResizeBilinear", "TRANSPOSE": "Transpose",
    "TRANSPOSE_CONV": "TransposeConv",
}  # fmt: skip


class ReadGraph:
    """The main subgraph of a model. An op is the schema's `OperatorT`, a tensor its index."""

    def __init__(self, content: bytes) -> None:
        self._model = read_model(content)
        self._subgraph = self._model.subgraphs[0]
        self._readers: dict[int, list[Any]] | None = None
        self._makers: dict[int, Any] | None = None
        self._constants: dict[int, Array | None] = {}
        self._names = {text(tensor.name) for tensor in self._subgraph.tensors}

    @property
    def is_editable(self) -> bool:
        """Whether the model has one subgraph and every size is known."""
        return len(self._model.subgraphs) == 1 and not any(
            size < 0 for tensor in self._subgraph.tensors for size in ints(tensor.shapeSignature)
        )

    @property
    def ops(self) -> list[Any]:
        """The ops in their order, a copy of the list."""
        return list(self._subgraph.operators)

    @property
    def inputs(self) -> list[int]:
        """The model's inputs."""
        return ints(self._subgraph.inputs)

    @property
    def outputs(self) -> list[int]:
        """The model's outputs."""
        return ints(self._subgraph.outputs)

    def kind(self, op: Any) -> str:
        """The type of an op, for example `"CONV_2D"`."""
        return op_type(self._model, op)

    def read(self, op: Any) -> list[int]:
        """The tensors that an op reads, -1 for those left out."""
        return ints(op.inputs)

    def made(self, op: Any) -> int:
        """The first tensor that an op makes."""
        return int(op.outputs[0])

    def shape(self, tensor: int) -> Shape:
        """The shape of a tensor."""
        return tuple(ints(self._subgraph.tensors[tensor].shape))

    def dtype(self, tensor: int) -> str:
        """The element type of a tensor, in numpy's spelling."""
        return tensor_type_names()[self._subgraph.tensors[tensor].type]

    def name(self, tensor: int) -> str:
        """The name of a tensor."""
        return text(self._subgraph.tensors[tensor].name)

    def is_float(self, op: Any) -> bool:
        """Whether all that an op makes, and its first input that is no constant, are float32."""
        activations = [t for t in self.read(op) if t >= 0 and self.constant(t) is None]
        return all(self.dtype(t) == "float32" for t in [*activations[:1], *ints(op.outputs)])

    def constant(self, tensor: int) -> Array | None:
        """The value of a constant, read only; None for other tensors."""
        if tensor < 0:
            return None
        if tensor not in self._constants:
            self._constants[tensor] = self._constant(tensor)
        return self._constants[tensor]

    def _constant(self, tensor: int) -> Array | None:
        entry = self._subgraph.tensors[tensor]
        data = self._model.buffers[entry.buffer].data
        dtype = tensor_type_names()[entry.type]
        if data is None or len(data) == 0 or dtype not in ("float32", "int32", "int64", "int8"):
            return None
        array = np.frombuffer(memoryview(data).cast("B"), dtype)
        shape = self.shape(tensor)
        if array.size != int(np.prod(shape, dtype=np.int64)):  # sparse, or packed
            return None
        return array.reshape(shape)

    def maker(self, tensor: int) -> Any | None:
        """The op that makes a tensor; None for inputs and constants."""
        if self._makers is None:
            self._makers = {
                made: op for op in self._subgraph.operators for made in ints(op.outputs)
            }
        return self._makers.get(tensor)

    def readers(self, tensor: int) -> list[Any]:
        """The ops that read a tensor, each once."""
        if self._readers is None:
            self._readers = {}
            for op in self._subgraph.operators:
                for read in dict.fromkeys(ints(op.inputs)):
                    self._readers.setdefault(read, []).append(op)
        return self._readers.get(tensor, [])

    def only_reader(self, tensor: int) -> Any | None:
        """The one op that reads a tensor; None where there are several, or it is an output."""
        readers = self.readers(tensor)
        return readers[0] if len(readers) == 1 and tensor not in self.outputs else None

    def options(self, op: Any) -> Any:
        """The settings of an op, with defaults where the file has none."""
        if op.builtinOptions is None:
            name = OPTIONS.get(self.kind(op))
            return None if name is None else getattr(schema(), f"{name}OptionsT")()
        return op.builtinOptions

    def position(self, op: Any) -> int:
        """Where an op stands in the order."""
        return next(i for i, other in enumerate(self._subgraph.operators) if other is op)

    def _forget(self) -> None:
        self._readers = self._makers = None
