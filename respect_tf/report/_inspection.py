"""What is in a .tflite file."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from respect_tf._errors import RespectError
from respect_tf._reporting import printable
from respect_tf.compile import CompiledModel, compiled_of
from respect_tf.graph import op_graph_of
from respect_tf.report._text import format_bytes, table
from respect_tf.tflite import (
    ints,
    op_type,
    read_content,
    read_model,
    signature_names,
    tensor_type_names,
    text,
)


@dataclasses.dataclass(frozen=True)
class TensorInspection:
    """An input or output: its name (the signature's where there is one), dtype, shape, scale."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float | None
    zero_point: int | None


@dataclasses.dataclass(frozen=True)
class Inspection:
    """A .tflite file in figures. `str(inspection)` is a table.

    Attributes:
        num_bytes: Size of the file.
        description: What its maker wrote into it.
        num_subgraphs: Subgraphs; a pipeline can be made of one only.
        num_ops: Ops of the main subgraph.
        op_counts: Op type -> how often it occurs in the main subgraph, the most frequent first.
        parameter_bytes: Bytes of all distinct constants.
        weight_bytes: Of those, the bytes of 8-bit constants: weights, but no biases.
        macs: Multiply-accumulate operations of the main subgraph; None where it cannot be cut.
        dtype_counts: dtype -> tensors of the main subgraph that are no constants.
        inputs: The main subgraph's inputs.
        outputs: Its outputs.
        signatures: Keys of the signatures.
        metadata: Names of the metadata entries.
        compiled: What Google's compiler made of it; None if it was not compiled.
        obstacle: Why the model cannot be cut into a pipeline; None where it can.
    """

    num_bytes: int
    description: str
    num_subgraphs: int
    num_ops: int
    op_counts: dict[str, int]
    parameter_bytes: int
    weight_bytes: int
    macs: int | None
    dtype_counts: dict[str, int]
    inputs: tuple[TensorInspection, ...]
    outputs: tuple[TensorInspection, ...]
    signatures: tuple[str, ...]
    metadata: tuple[str, ...]
    compiled: CompiledModel | None
    obstacle: str | None

    def to_dict(self) -> dict[str, Any]:
        """The inspection as plain dicts, lists and numbers.

        Scales that are no finite numbers are None: JSON has no word for them.
        """
        compiled = None if self.compiled is None else self.compiled.to_dict()
        plain: dict[str, Any] = _finite(dataclasses.asdict(self) | {"compiled": compiled})
        return plain

    def __str__(self) -> str:
        borders = [("input", spec) for spec in self.inputs]
        borders += [("output", spec) for spec in self.outputs]
        rows = [
            [
                role,
                spec.name,
                f"{spec.dtype} {list(spec.shape)}",
                "" if spec.scale is None else f"{spec.scale:.6g}",
                "" if spec.zero_point is None else spec.zero_point,
            ]
            for role, spec in borders
        ]
        counts = ", ".join(f"{count} {kind}" for kind, count in self.op_counts.items())
        types = ", ".join(f"{count} {dtype}" for dtype, count in self.dtype_counts.items())
        lines = [
            f"file          {format_bytes(self.num_bytes)}, {self.num_subgraphs} subgraph(s)",
            f"description   {self.description}",
            f"ops           {self.num_ops}: {counts}",
            f"activations   {types}",
            f"parameters    {format_bytes(self.parameter_bytes)}, of which 8-bit weights "
            f"{format_bytes(self.weight_bytes)}",
            *([] if self.macs is None else [f"MACs          {self.macs / 1e6:,.1f} M"]),
            f"signatures    {', '.join(self.signatures) or 'none'}",
            f"metadata      {', '.join(self.metadata) or 'none'}",
            f"pipeline      {'can be cut' if self.obstacle is None else self.obstacle}",
            "",
            table(["", "name", "type", "scale", "zero point"], rows),
        ]
        lines += [] if self.compiled is None else _compiled_lines(self.compiled)
        return printable("\n".join(lines))


def inspect_tflite(model: Any) -> Inspection:
    """Say what is in a .tflite file.

    Args:
        model: Its bytes or path.

    Raises:
        ArgumentError: There is no such file.
        InvalidModelError: It is no valid .tflite file, or its part for the Edge TPU is damaged.
    """
    content = read_content(model)
    unpacked = read_model(content)
    main = unpacked.subgraphs[0]
    made = {tensor for op in main.operators for tensor in ints(op.outputs)}
    active = made | set(ints(main.inputs))
    names = signature_names(unpacked)
    constants = _constants(unpacked, active)
    compiled = compiled_of(unpacked)
    macs, obstacle = None, None
    try:
        if compiled is None:
            macs = int(op_graph_of(unpacked).macs.sum())
        else:
            obstacle = "is compiled; what can be cut is the model that it was made of"
    except RespectError as error:
        obstacle = str(error)
    return Inspection(
        num_bytes=len(content),
        description=text(unpacked.description),
        num_subgraphs=len(unpacked.subgraphs),
        num_ops=len(main.operators),
        op_counts=_counts(op_type(unpacked, op) for op in main.operators),
        parameter_bytes=sum(constants.values()),
        weight_bytes=sum(constants[buffer] for buffer in _8_bit_buffers(unpacked, constants)),
        macs=macs,
        dtype_counts=_counts(tensor_type_names()[main.tensors[t].type] for t in sorted(active)),
        inputs=_borders(main, main.inputs, names),
        outputs=_borders(main, main.outputs, names),
        signatures=tuple(text(entry.signatureKey) for entry in unpacked.signatureDefs or []),
        metadata=tuple(text(entry.name) for entry in unpacked.metadata or []),
        compiled=compiled,
        obstacle=obstacle,
    )


def _finite(value: Any) -> Any:
    """The same nest of dicts, lists and values, with None for floats that are not finite."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_finite, value))
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _compiled_lines(compiled: CompiledModel) -> list[str]:
    cpu_ops = ", ".join(f"{count} {kind}" for kind, count in compiled.cpu_ops.items())
    versions = sorted({op.compiler_version or "" for op in compiled.edge_tpu_ops})
    rows = [
        [
            op.op,
            executable.kind,
            format_bytes(executable.parameter_bytes),
            format_bytes(executable.instruction_bytes),
            len(executable.inputs),
            len(executable.outputs),
        ]
        for op in compiled.edge_tpu_ops
        for executable in op.executables
    ]
    return [
        "",
        f"Edge TPU      runtime {compiled.min_runtime_version} or newer",
        f"compiler      {', '.join(filter(None, versions)) or 'not recorded'}",
        f"cached        {format_bytes(compiled.cached_bytes)} of parameters, on the device",
        f"streamed      {format_bytes(compiled.streamed_bytes)} of parameters, at every inference",
        f"instructions  {format_bytes(compiled.instruction_bytes)}",
        f"CPU ops       {cpu_ops or 'none'}",
        "",
        table(["op", "executable", "parameters", "instructions", "inputs", "outputs"], rows),
    ]


def _counts(values: Any) -> dict[str, int]:
    return dict(sorted(collections.Counter(values).items(), key=lambda item: (-item[1], item[0])))


def _constants(model: Any, active: set[int]) -> dict[int, int]:
    """Buffer -> bytes, of every buffer that holds a constant."""
    buffers = {
        tensor.buffer
        for number, subgraph in enumerate(model.subgraphs)
        for index, tensor in enumerate(subgraph.tensors)
        if number > 0 or index not in active
    }
    data = {buffer: model.buffers[buffer].data for buffer in buffers}
    return {buffer: len(values) for buffer, values in data.items() if values is not None}


def _8_bit_buffers(model: Any, constants: Mapping[int, int]) -> set[int]:
    return {
        tensor.buffer
        for subgraph in model.subgraphs
        for tensor in subgraph.tensors
        if tensor.buffer in constants and tensor_type_names()[tensor.type] in ("int8", "uint8")
    }


def _borders(subgraph: Any, tensors: Any, names: dict[int, str]) -> tuple[TensorInspection, ...]:
    found = []
    for index in ints(tensors):
        tensor = subgraph.tensors[index]
        affine = tensor.quantization
        quantised = affine is not None and affine.scale is not None and len(affine.scale) == 1
        has_point = quantised and affine.zeroPoint is not None and len(affine.zeroPoint) == 1
        found.append(
            TensorInspection(
                name=names.get(index) or text(tensor.name),
                dtype=tensor_type_names()[tensor.type],
                shape=() if tensor.shape is None else tuple(int(size) for size in tensor.shape),
                scale=float(affine.scale[0]) if quantised else None,
                zero_point=int(affine.zeroPoint[0]) if has_point else None,
            )
        )
    return tuple(found)
