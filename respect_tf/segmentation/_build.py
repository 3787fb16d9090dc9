"""Writing the .tflite model of one segment."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.graph import OpGraph
from respect_tf.segmentation._copies import SHAPE_SUFFIX
from respect_tf.segmentation._names import TensorNames
from respect_tf.segmentation._plan import Border, SegmentPlan
from respect_tf.tflite import schema, text

# Metadata that is as true of a part of the model as of the whole. The rest describes the whole
# model's inputs, outputs or op indices, and stays only where the segment is the whole model.
_METADATA_OF_PARTS = {"min_runtime_version", "CONVERSION_METADATA"}


class SegmentBuilder:
    """Copies what one segment needs out of the whole model, renumbered."""

    def __init__(
        self,
        model: Any,
        graph: OpGraph,
        plan: SegmentPlan,
        names: TensorNames,
    ) -> None:
        self._model = model
        self._graph = graph
        self._plan = plan
        self._source = model.subgraphs[0]
        self._names = names
        self._tensors: list[Any] = []
        self._by_name: dict[str, int] = {}  # activations: name -> index in the segment
        self._constants: dict[int, int] = {}  # whole model's index -> index in the segment
        self._buffers: list[Any] = [schema().BufferT()]  # buffer 0 is the empty one
        self._buffer_of: dict[int, int] = {}
        self._codes: list[Any] = []
        self._code_of: dict[int, int] = {}

    def build(self, *, whole: bool) -> Any:
        plan = self._plan
        inputs = [self._activation(border.tensor, border.name) for border in plan.inputs]
        operators = [operator for op in plan.ops for operator in self._operators(op)]
        operators += [self._carry(*carry) for carry in plan.carries]
        outputs = [self._activation(border.tensor, border.name) for border in plan.outputs]

        subgraph = schema().SubGraphT()
        subgraph.name = self._source.name
        subgraph.tensors = self._tensors
        subgraph.operators = operators
        subgraph.inputs = np.array(inputs, np.int32)
        subgraph.outputs = np.array(outputs, np.int32)
        result = schema().ModelT()
        result.version = self._model.version
        result.description = self._model.description
        result.operatorCodes = self._codes
        result.subgraphs = [subgraph]
        result.signatureDefs = self._signatures(inputs, outputs)
        result.metadata = self._metadata(whole=whole)
        result.buffers = self._buffers
        return result

    def _operators(self, op: int) -> list[Any]:
        """An op, behind the copies that nobody before it has needed."""
        made, copied = [], {}
        read = self._source.operators[op].inputs
        for place, tensor in enumerate(self._graph.inputs_of(op).tolist()):
            name = self._plan.copies.get((op, place))
            if name is None:
                continue
            if name not in self._by_name:
                made.append(self._carry(tensor, self._name(tensor), name))
            copied[[index for index, t in enumerate(read) if t >= 0][place]] = name
        operator = self._operator(op)
        for index, name in copied.items():
            operator.inputs[index] = self._by_name[name]
        return [*made, operator]

    def _operator(self, op: int) -> Any:
        operator = copy.copy(self._source.operators[op])
        operator.opcodeIndex = self._code(operator.opcodeIndex)
        for field in ("inputs", "outputs", "intermediates"):
            tensors = getattr(operator, field)
            if tensors is not None:
                setattr(
                    operator, field, np.array([self._tensor(int(t)) for t in tensors], np.int32)
                )
        return operator

    def _carry(self, tensor: int, read_as: str, made_as: str) -> Any:
        """A RESHAPE to the same shape, as TensorFlow's converter writes it."""
        shape = self._graph.tensor_shapes[tensor]
        options = schema().ReshapeOptionsT()
        # The kernel reads [0] as the shape of a scalar; an empty list would be no shape at all.
        options.newShape = np.array(shape or [0], np.int32)
        operator = schema().OperatorT()
        operator.opcodeIndex = self._reshape_code()
        operator.builtinOptionsType = schema().BuiltinOptions.ReshapeOptions
        operator.builtinOptions = options
        read = [self._activation(tensor, read_as)]
        if shape:
            read.append(self._shape_constant(f"{made_as}{SHAPE_SUFFIX}", shape))
        operator.inputs = np.array(read, np.int32)
        operator.outputs = np.array([self._activation(tensor, made_as)], np.int32)
        return operator

    def _tensor(self, tensor: int) -> int:
        if tensor < 0:
            return -1
        if self._graph.is_constant[tensor]:
            return self._constant(tensor)
        return self._activation(tensor, self._name(tensor))

    def _name(self, tensor: int) -> str:
        return self._plan.known_as.get(tensor, self._names[tensor])

    def _activation(self, tensor: int, name: str) -> int:
        if name not in self._by_name:
            copied = copy.copy(self._source.tensors[tensor])
            copied.name = name
            copied.buffer = 0
            self._by_name[name] = self._append(copied)
        return self._by_name[name]

    def _constant(self, tensor: int) -> int:
        if tensor not in self._constants:
            copied = copy.copy(self._source.tensors[tensor])
            copied.buffer = self._buffer(copied.buffer)
            self._constants[tensor] = self._append(copied)
        return self._constants[tensor]

    def _append(self, tensor: Any) -> int:
        signature = tensor.shapeSignature
        if signature is not None and any(size < 0 for size in signature):
            tensor.shapeSignature = None  # the batch is 1, as `shape` says
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _shape_constant(self, name: str, shape: tuple[int, ...]) -> int:
        tensor = schema().TensorT()
        tensor.name = name
        tensor.type = schema().TensorType.INT32
        tensor.shape = np.array([len(shape)], np.int32)
        tensor.buffer = self._add_buffer(np.array(shape, "<i4").view(np.uint8))
        return self._append(tensor)

    def _buffer(self, buffer: int) -> int:
        if buffer not in self._buffer_of:
            data = self._model.buffers[buffer].data
            self._buffer_of[buffer] = 0 if data is None else self._add_buffer(data)
        return self._buffer_of[buffer]

    def _add_buffer(self, data: npt.NDArray[np.uint8]) -> int:
        buffer = schema().BufferT()
        buffer.data = data
        self._buffers.append(buffer)
        return len(self._buffers) - 1

    def _code(self, code: int) -> int:
        if code not in self._code_of:
            self._codes.append(self._model.operatorCodes[code])
            self._code_of[code] = len(self._codes) - 1
        return self._code_of[code]

    def _reshape_code(self) -> int:
        reshape = schema().BuiltinOperator.RESHAPE
        for index, code in enumerate(self._codes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == reshape and code.version == 1:
                return index
        code = schema().OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = reshape
        code.version = 1
        self._codes.append(code)
        return len(self._codes) - 1

    def _signatures(self, inputs: list[int], outputs: list[int]) -> list[Any] | None:
        """The model's signature for this segment, so that signature runners work on it too.

        Model inputs and outputs keep the names the signature gives them; tensors at inner borders
        go by their own.
        """
        signatures = self._model.signatureDefs
        if signatures is None or len(signatures) == 0:
            return None
        original = signatures[0]
        named_in = {int(entry.tensorIndex): text(entry.name) for entry in original.inputs or []}
        named_out = {int(entry.tensorIndex): text(entry.name) for entry in original.outputs or []}
        result = schema().SignatureDefT()
        result.signatureKey = original.signatureKey
        result.subgraphIndex = 0
        result.inputs = _signature_entries(self._plan.inputs, inputs, named_in)
        result.outputs = _signature_entries(self._plan.outputs, outputs, named_out)
        return [result]

    def _metadata(self, *, whole: bool) -> list[Any] | None:
        kept = []
        for entry in self._model.metadata or []:
            if not whole and text(entry.name) not in _METADATA_OF_PARTS:
                continue
            data = self._model.buffers[entry.buffer].data
            if data is not None:
                copied = copy.copy(entry)
                copied.buffer = self._add_buffer(data)
                kept.append(copied)
        return kept or None


def _signature_entries(
    borders: tuple[Border, ...], indices: list[int], named: dict[int, str]
) -> list[Any]:
    entries = []
    taken: set[str] = set()
    for border, index in zip(borders, indices, strict=True):
        name = named.get(border.tensor, border.name)
        if name in taken:
            name = border.name
        taken.add(name)
        entry = schema().TensorMapT()
        entry.name = name
        entry.tensorIndex = index
        entries.append(entry)
    return entries
