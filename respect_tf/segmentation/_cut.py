"""Cutting a .tflite model into the segments of a schedule.

What each segment must look like is laid down by Coral's PipelinedModelRunner:

* A tensor made in one segment and read in later ones is an output of the first and an input of
  each reader; the runner hands it past the segments between.
* A model input that is read after segment 0 passes through a RESHAPE in segment 0, under a new
  name: the runner would leak its buffer otherwise.
* A model output that is made before the last segment passes through a RESHAPE in the last one,
  under a new name: only the last segment's outputs come back, and none of them may be an input.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.graph import OpGraph
from respect_tf.segmentation._names import TensorNames
from respect_tf.segmentation._segment import Segment, TensorSpec
from respect_tf.tflite import schema, text, write_model

# Metadata that is as true of a part of the model as of the whole. The rest describes the whole
# model's inputs, outputs or op indices, and stays only where the segment is the whole model.
_METADATA_OF_PARTS = {"min_runtime_version", "CONVERSION_METADATA"}


@dataclasses.dataclass(frozen=True)
class _Border:
    """A tensor as a segment's file knows it: which tensor it is, and under which name."""

    tensor: int
    name: str


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What one segment reads, runs and makes."""

    ops: tuple[int, ...]
    inputs: tuple[_Border, ...]
    outputs: tuple[_Border, ...]
    # Under which name its ops read a tensor, where it is not the tensor's own.
    read_as: dict[int, str]
    # RESHAPE ops at the end: (tensor, name it is read under, name it is made under).
    carries: tuple[tuple[int, str, str], ...]


def cut(
    model: Any,
    graph: OpGraph,
    stages: npt.NDArray[np.int32],
    *,
    name: str,
    cpu_stages: Collection[int] = (),
) -> tuple[Segment, ...]:
    """Cut a model. Neither `model` nor anything in it is changed.

    Args:
        model: The unpacked whole model.
        graph: Its op graph.
        stages: int32 [num_ops], a valid schedule.
        name: Base name of the segments' files.
        cpu_stages: The stages that are never compiled.
    """
    names = TensorNames(graph)
    plans = _plan(graph, stages, names)
    segments = []
    for index, plan in enumerate(plans):
        builder = _Builder(model, graph, plan, names)
        content = write_model(builder.build(whole=len(plans) == 1))
        segments.append(
            Segment(
                index=index,
                name=f"{name}_segment_{index}_of_{len(plans)}",
                content=content,
                inputs=tuple(_spec(graph, border) for border in plan.inputs),
                outputs=tuple(_spec(graph, border) for border in plan.outputs),
                ops=plan.ops,
                on_cpu=index in cpu_stages,
            )
        )
    return tuple(segments)


def _plan(graph: OpGraph, stages: npt.NDArray[np.int32], names: TensorNames) -> list[_Plan]:
    num_stages = int(stages.max()) + 1
    last = num_stages - 1
    model_inputs = list(dict.fromkeys(graph.model_inputs.tolist()))
    model_outputs = graph.model_outputs.tolist()

    # Stages that read each tensor; the last stage also reads what it has to return for others.
    reading: dict[int, set[int]] = {}
    for op, tensor in zip(*graph.reads, strict=True):
        if graph.producer[tensor] >= 0 or tensor in model_inputs:
            reading.setdefault(int(tensor), set()).add(int(stages[op]))
    for tensor in model_outputs:
        if tensor in model_inputs or stages[graph.producer[tensor]] < last:
            reading.setdefault(tensor, set()).add(last)

    carried_input = {
        tensor: names.fresh(f"{names[tensor]}_carried")
        for tensor in model_inputs
        if max(reading.get(tensor, {0})) > 0
    }
    finals = _final_outputs(graph, stages, names, last)

    def name_in(tensor: int, stage: int) -> str:
        return carried_input[tensor] if stage > 0 and tensor in carried_input else names[tensor]

    plans = []
    for stage in range(num_stages):
        ops = tuple(np.flatnonzero(stages == stage).tolist())
        if stage == 0:
            inputs = [_Border(tensor, names[tensor]) for tensor in graph.model_inputs.tolist()]
        else:
            inputs = [
                _Border(tensor, name_in(tensor, stage))
                for tensor in sorted(reading)
                if stage in reading[tensor] and _made_before(graph, stages, tensor, stage)
            ]
        carries = [
            (tensor, names[tensor], carried)
            for tensor, carried in carried_input.items()
            if stage == 0
        ]
        outputs = [_Border(tensor, carried) for tensor, _, carried in carries]
        if stage < last:
            outputs += [
                _Border(tensor, names[tensor])
                for tensor in sorted(reading)
                if graph.producer[tensor] >= 0
                and stages[graph.producer[tensor]] == stage
                and max(reading[tensor]) > stage
            ]
        else:
            carries += [
                (tensor, name_in(tensor, stage), final)
                for tensor, final in finals
                if final != names[tensor]
            ]
            outputs += [_Border(tensor, final) for tensor, final in finals]
        plans.append(
            _Plan(
                ops=ops,
                inputs=tuple(inputs),
                outputs=tuple(outputs),
                read_as={t: name for t, name in carried_input.items() if stage > 0},
                carries=tuple(carries),
            )
        )
    return plans


def _made_before(graph: OpGraph, stages: npt.NDArray[np.int32], tensor: int, stage: int) -> bool:
    producer = graph.producer[tensor]
    return bool(producer < 0 or stages[producer] < stage)


def _final_outputs(
    graph: OpGraph, stages: npt.NDArray[np.int32], names: TensorNames, last: int
) -> list[tuple[int, str]]:
    """Every model output with the name it leaves the last segment under, in the model's order."""
    finals: list[tuple[int, str]] = []
    returned: set[int] = set()
    for tensor in graph.model_outputs.tolist():
        producer = graph.producer[tensor]
        direct = producer >= 0 and stages[producer] == last and tensor not in returned
        returned.add(tensor)
        finals.append((tensor, names[tensor] if direct else names.fresh(f"{names[tensor]}_out")))
    return finals


def _spec(graph: OpGraph, border: _Border) -> TensorSpec:
    return TensorSpec(
        name=border.name,
        tensor=border.tensor,
        dtype=graph.tensor_dtypes[border.tensor],
        shape=graph.tensor_shapes[border.tensor],
        quantization=graph.tensor_quantization[border.tensor],
    )


class _Builder:
    """Copies what one segment needs out of the whole model, renumbered."""

    def __init__(
        self,
        model: Any,
        graph: OpGraph,
        plan: _Plan,
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
        operators = [self._operator(op) for op in plan.ops]
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
            read.append(self._shape_constant(f"{made_as}/shape", shape))
        operator.inputs = np.array(read, np.int32)
        operator.outputs = np.array([self._activation(tensor, made_as)], np.int32)
        return operator

    def _tensor(self, tensor: int) -> int:
        if tensor < 0:
            return -1
        if self._graph.is_constant[tensor]:
            return self._constant(tensor)
        return self._activation(tensor, self._plan.read_as.get(tensor, self._names[tensor]))

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
    borders: tuple[_Border, ...], indices: list[int], named: dict[int, str]
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
