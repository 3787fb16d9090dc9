"""Normalisation in groups of channels, without the dimension that Keras makes of the groups.

Keras's GroupNormalization reshapes [1, h, w, c] to [1, h, w, g, c / g], which has a dimension too
many for an Edge TPU. Here a statistic of each group stands once for each of its channels instead:
elementwise ops stay what they are, and the mean over a group is a 1x1 convolution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from respect_tf.tflite.rewrites._float_graph import FloatGraph, Shape
from respect_tf.tflite.rewrites._rule import Rule

_STATISTICS = ("MEAN", "SUM")  # of Keras 3, and of tf_keras
_ELEMENTWISE = {
    "ADD", "SUB", "MUL", "DIV", "NEG", "SQUARE", "SQUARED_DIFFERENCE", "RSQRT", "SQRT", "MAXIMUM",
}  # fmt: skip


@dataclass
class _Region:
    """What lies between the two reshapes.

    Attributes:
        entry: The reshape into groups.
        inner: Ops, in their order.
        exits: Reshapes back, or on to whatever comes next.
    """

    entry: Any
    shape: Shape  # in groups: [1, ..., groups, width]
    inner: list[Any] = field(default_factory=list)
    exits: list[Any] = field(default_factory=list)


def _group_norm(graph: FloatGraph, op: Any) -> bool:
    region = _region(graph, op)
    if region is None:
        return False
    plain = (*region.shape[:-2], region.shape[-2] * region.shape[-1])
    ones = tuple(1 for _ in plain[:-1])
    new: dict[int, int] = {graph.made(op): graph.read(op)[0]}
    # New ops go where the old ones are, so that the order stays topological.
    for inner in region.inner:
        read = [new.get(t, -1) for t in graph.read(inner)]
        if graph.kind(inner) in _STATISTICS:
            new[graph.made(inner)] = _statistic(graph, inner, read[0], region.shape)
            continue
        for position, tensor in enumerate(graph.read(inner)):
            value = graph.constant(tensor)
            if value is not None:
                read[position] = _constant(graph, inner, value, region.shape, ones)
        shape = np.broadcast_shapes(*(graph.shape(t) for t in read))
        options = graph.options(inner)
        fused = getattr(options, "fusedActivationFunction", 0)
        settings = {"fusedActivationFunction": fused} if fused else {}
        new[graph.made(inner)] = graph.add(inner, graph.kind(inner), read, shape, **settings)
    for exit_op in region.exits:
        target = graph.shape(graph.made(exit_op))
        graph.result(exit_op, graph.reshape(exit_op, new[graph.read(exit_op)[0]], target))
    for inner in [*region.inner, op]:
        graph.drop(inner)
    return True


def _region(graph: FloatGraph, op: Any) -> _Region | None:
    """The ops between a reshape into groups and those back; None where there are others."""
    before, shape = graph.shape(graph.read(op)[0]), graph.shape(graph.made(op))
    if len(shape) != len(before) + 1 or len(before) not in (3, 4) or shape[:-2] != before[:-1]:
        return None
    if graph.made(op) in graph.outputs or before[0] != 1:
        return None
    region = _Region(op, shape)
    known = {graph.made(op)}
    has_mean = False
    for other in graph.ops[graph.position(op) + 1 :]:
        read = graph.read(other)
        if known.isdisjoint(read):
            continue
        kind, made = graph.kind(other), graph.made(other)
        if kind == "RESHAPE" and graph.shape(read[0]) == shape:
            region.exits.append(other)
            continue
        if made in graph.outputs:
            return None
        if kind in _STATISTICS:
            if not _is_group_mean(graph, other, shape):
                return None
            has_mean = True
        elif kind not in _ELEMENTWISE or not all(
            t in known or _is_spread(graph.constant(t), shape) for t in read
        ):
            return None
        known.add(made)
        region.inner.append(other)
    return region if region.exits and has_mean else None


def _is_group_mean(graph: FloatGraph, op: Any, shape: Shape) -> bool:
    values, axes = graph.read(op)
    axis = graph.constant(axes)
    if axis is None or not graph.options(op).keepDims or graph.shape(values) != shape:
        return False
    rank = len(shape)
    return {int(a) % rank for a in axis.reshape(-1)} == {*range(1, rank - 2), rank - 1}


def _is_spread(value: Any, shape: Shape) -> bool:
    """Whether a constant is one number, or has no other sizes than those of groups and widths."""
    if value is None or value.dtype != np.float32:
        return False
    sizes = (*[1] * (len(shape) - value.ndim), *value.shape)
    if len(sizes) != len(shape) or any(size != 1 for size in sizes[:-2]):
        return False
    return all(size in (1, full) for size, full in zip(sizes[-2:], shape[-2:], strict=True))


def _constant(graph: FloatGraph, op: Any, value: Any, shape: Shape, ones: Shape) -> int:
    name = f"{graph.name(graph.made(op))}/spread"
    if value.size == 1:
        return graph.add_constant(value.reshape(()), name)
    sizes = (1, 1, *value.shape)[-2:]
    spread = np.broadcast_to(value.reshape(sizes), shape[-2:])
    return graph.add_constant(np.array(spread, np.float32).reshape(*ones, -1), name)


def _statistic(graph: FloatGraph, op: Any, x: int, shape: Shape) -> int:
    """The mean or sum over all positions and each group, once for each channel: [1, ..., c]."""
    groups, width = shape[-2:]
    channels = groups * width
    plain = graph.shape(x)
    axes = graph.add_constant(
        np.arange(1, len(plain) - 1, dtype=np.int32), f"{graph.name(graph.made(op))}/axes"
    )
    over_map = graph.add(op, "MEAN", [x, axes], (*[1] * (len(plain) - 1), channels), keepDims=True)
    count = math.prod(shape[1:-2]) * width if graph.kind(op) == "SUM" else 1
    if width == 1:
        return over_map if count == 1 else graph.binary(op, "MUL", over_map, float(count))
    averages = np.kron(np.eye(groups), np.full((width, width), count / width))
    row = graph.reshape(op, over_map, (1, 1, 1, channels))
    mean = graph.conv(op, row, averages.astype(np.float32).reshape(channels, 1, 1, channels))
    return graph.reshape(op, mean, graph.shape(over_map))


RULES = (
    Rule(
        "group-norm", ("RESHAPE",), "the same without a dimension for groups",
        "a tensor with more than three dimensions above 1", "rounding of float32: means in two "
        "steps", 1e-5, _group_norm,
    ),
)  # fmt: skip
