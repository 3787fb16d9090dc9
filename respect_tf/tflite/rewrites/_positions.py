"""What ops that only move values do, in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.tflite.rewrites._float_graph import FloatGraph

Array = npt.NDArray[Any]

MOVES = (
    "RESHAPE", "TILE", "TRANSPOSE", "EXPAND_DIMS", "SQUEEZE", "STRIDED_SLICE", "SLICE",
    "DEPTH_TO_SPACE", "SPACE_TO_DEPTH", "GATHER", "REVERSE_V2", "BROADCAST_TO",
)  # fmt: skip
"""Ops whose outputs hold values of their first input, and nothing else."""


def moved(graph: FloatGraph, op: Any, values: Array) -> Array | None:
    """What one of `MOVES` makes of its first input; None where that depends on other inputs."""
    kind, made = graph.kind(op), graph.shape(graph.made(op))
    if kind in ("RESHAPE", "EXPAND_DIMS", "SQUEEZE"):
        return values.reshape(made)
    if kind in ("DEPTH_TO_SPACE", "SPACE_TO_DEPTH"):
        return _blocks(values, int(graph.options(op).blockSize), kind == "SPACE_TO_DEPTH")
    operands = [graph.constant(tensor) for tensor in graph.read(op)[1:]]
    if any(operand is None for operand in operands):
        return None
    lists = [[int(n) for n in operand.reshape(-1)] for operand in operands if operand is not None]
    if kind == "TILE":
        tiled: Array = np.tile(values, lists[0])
        return tiled
    if kind == "TRANSPOSE":
        turned: Array = values.transpose(lists[0])
        return turned
    if kind == "BROADCAST_TO":
        return np.broadcast_to(values, made)
    if kind == "REVERSE_V2":
        return np.flip(values, tuple(lists[0]))
    if kind == "SLICE":
        ends = [begin + size for begin, size in zip(lists[0], made, strict=True)]
        return values[tuple(map(slice, lists[0], ends))]
    if kind == "GATHER":
        options = graph.options(op)
        if options.batchDims:
            return None
        taken: Array = np.take(values, np.array(operands[0]), axis=options.axis)
        return taken
    return _strided(graph.options(op), values, lists)


def _blocks(values: Array, block: int, into_channels: bool) -> Array | None:
    if values.ndim != 4:
        return None
    batch, height, width, channels = values.shape
    if into_channels:
        split = values.reshape(batch, height // block, block, width // block, block, channels)
        shape = (batch, height // block, width // block, block * block * channels)
    else:
        split = values.reshape(batch, height, width, block, block, -1)
        shape = (batch, height * block, width * block, channels // block**2)
    moved: Array = split.transpose(0, 1, 3, 2, 4, 5).reshape(shape)
    return moved


def _strided(options: Any, values: Array, lists: list[list[int]]) -> Array | None:
    """STRIDED_SLICE, but for its newer masks."""
    if options.ellipsisMask or options.newAxisMask or getattr(options, "offset", False):
        return None
    index: list[slice | int] = []
    for axis, (begin, end, step) in enumerate(zip(*lists, strict=True)):
        if options.shrinkAxisMask >> axis & 1:
            index.append(begin)
            continue
        index.append(
            slice(
                None if options.beginMask >> axis & 1 else begin,
                None if options.endMask >> axis & 1 else end,
                step,
            )
        )
    return values[tuple(index)]
