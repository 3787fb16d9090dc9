"""Copies that keep CPU kernels right at the borders of a segment.

Coral's PipelinedModelRunner marks the inputs and outputs of a segment as constants, and some
kernels of TFLite keep what they once made of a constant, or make nothing where their output is one:
from the second inference on, or from the first, their results are stale. It goes wrong in silence.
A RESHAPE to the same shape keeps such an op away from the border. Only ops that stay on the CPU are
concerned, but which ones do is known once a segment is compiled; a copy takes some hundredths of a
millisecond on the Edge TPU, so every op of these kinds gets one.
"""

from __future__ import annotations

from typing import Any

from respect_tf.graph import OpGraph
from respect_tf.tflite import ints, op_type, text

SHAPE_SUFFIX = "/same_shape"
"""What the shape of a copy is called, behind the name of what the copy makes."""

# Inputs, by position, that must not be a segment's input or output: a DEQUANTIZE fills its output
# once, a BATCH_MATMUL transposes its right operand once.
_FRAGILE_READS = {"DEQUANTIZE": (0,), "BATCH_MATMUL": (1,)}


def fragile_reads(graph: OpGraph, op: int) -> list[tuple[int, int]]:
    """Inputs of an op that must not be at a border.

    Returns:
        Pairs of the position among the op's inputs and the tensor.
    """
    read = graph.inputs_of(op).tolist()
    return [
        (position, read[position])
        for position in _FRAGILE_READS.get(graph.op_types[op], ())
        if position < len(read) and not graph.is_constant[read[position]]
    ]


def is_fragile_writer(graph: OpGraph, op: int) -> bool:
    """Whether what an op makes must not be at a border.

    A CONCATENATION takes an output that is a constant for done; so does a DEQUANTIZE of a constant
    from the second inference on.
    """
    kind = graph.op_types[op]
    if kind == "DEQUANTIZE":
        return bool(graph.is_constant[graph.inputs_of(op)[:1]].any())
    return kind == "CONCATENATION"


def ops_of_file(model: Any, ops: tuple[int, ...]) -> list[int | None]:
    """Which op of the whole model each op in a segment's file is.

    Args:
        model: The segment's model, unpacked.
        ops: `Segment.ops`.

    Returns:
        One entry per op of the file, None for those that only carry or copy a tensor. Those of a
        file that was made otherwise are all None.
    """
    subgraph = model.subgraphs[0]
    copies = [_is_copy(model, subgraph, operator) for operator in subgraph.operators]
    if len(copies) - sum(copies) != len(ops):
        return [None] * len(copies)
    remaining = iter(ops)
    return [None if copied else next(remaining) for copied in copies]


def _is_copy(model: Any, subgraph: Any, operator: Any) -> bool:
    if op_type(model, operator) != "RESHAPE":
        return False
    read, made = ints(operator.inputs), ints(operator.outputs)
    if len(read) == 1:  # the copy of a scalar has no shape to read
        return not any(len(ints(subgraph.tensors[tensor].shape)) for tensor in (*read, *made))
    return text(subgraph.tensors[read[1]].name).endswith(SHAPE_SUFFIX)
