"""What is in a .tflite file."""

from __future__ import annotations

import collections
import dataclasses
import os
from typing import Any

import numpy as np

from respect_tf._errors import RespectError
from respect_tf.graph import op_graph_of
from respect_tf.report._text import format_bytes, table
from respect_tf.tflite import (
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
        macs: Multiply-accumulate operations of the main subgraph; None where it cannot be cut.
        dtype_counts: dtype -> tensors of the main subgraph that are no constants.
        inputs: The main subgraph's inputs.
        outputs: Its outputs.
        signatures: Keys of the signatures.
        metadata: Names of the metadata entries.
        obstacle: Why the model cannot be cut into a pipeline; None where it can.
    """

    num_bytes: int
    description: str
    num_subgraphs: int
    num_ops: int
    op_counts: dict[str, int]
    parameter_bytes: int
    macs: int | None
    dtype_counts: dict[str, int]
    inputs: tuple[TensorInspection, ...]
    outputs: tuple[TensorInspection, ...]
    signatures: tuple[str, ...]
    metadata: tuple[str, ...]
    obstacle: str | None

    def to_dict(self) -> dict[str, Any]:
        """The inspection as plain dicts, lists and numbers."""
        return dataclasses.asdict(self)

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
            f"parameters    {format_bytes(self.parameter_bytes)}",
            *([] if self.macs is None else [f"MACs          {self.macs / 1e6:,.1f} M"]),
            f"signatures    {', '.join(self.signatures) or 'none'}",
            f"metadata      {', '.join(self.metadata) or 'none'}",
            f"pipeline      {'can be cut' if self.obstacle is None else self.obstacle}",
            "",
            table(["", "name", "type", "scale", "zero point"], rows),
        ]
        return "\n".join(lines)


def inspect(model: bytes | str | os.PathLike[str]) -> Inspection:
    """Say what is in a .tflite file.

    Args:
        model: Its bytes or path.

    Raises:
        ArgumentError: There is no such file.
        InvalidModelError: It is no valid .tflite file.
    """
    content = read_content(model)
    unpacked = read_model(content)
    main = unpacked.subgraphs[0]
    made = {int(tensor) for op in main.operators for tensor in op.outputs}
    active = made | {int(tensor) for tensor in main.inputs}
    names = signature_names(content)
    macs, obstacle = None, None
    try:
        macs = int(op_graph_of(unpacked).macs.sum())
    except RespectError as error:
        obstacle = str(error)
    return Inspection(
        num_bytes=len(content),
        description=text(unpacked.description),
        num_subgraphs=len(unpacked.subgraphs),
        num_ops=len(main.operators),
        op_counts=_counts(op_type(unpacked, op) for op in main.operators),
        parameter_bytes=_constant_bytes(unpacked, active),
        macs=macs,
        dtype_counts=_counts(tensor_type_names()[main.tensors[t].type] for t in sorted(active)),
        inputs=_borders(main, main.inputs, names),
        outputs=_borders(main, main.outputs, names),
        signatures=tuple(text(entry.signatureKey) for entry in unpacked.signatureDefs or []),
        metadata=tuple(text(entry.name) for entry in unpacked.metadata or []),
        obstacle=obstacle,
    )


def _counts(values: Any) -> dict[str, int]:
    return dict(sorted(collections.Counter(values).items(), key=lambda item: (-item[1], item[0])))


def _constant_bytes(model: Any, active: set[int]) -> int:
    buffers = {
        tensor.buffer
        for number, subgraph in enumerate(model.subgraphs)
        for index, tensor in enumerate(subgraph.tensors)
        if number > 0 or index not in active
    }
    data = (model.buffers[buffer].data for buffer in buffers)
    return sum(len(values) for values in data if values is not None)


def _borders(subgraph: Any, tensors: Any, names: dict[int, str]) -> tuple[TensorInspection, ...]:
    found = []
    for index in np.array([] if tensors is None else tensors, np.int64).tolist():
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
