"""Ops that only move values: chains of them are recognised by where each value goes.

A chain of RESHAPE, TILE, TRANSPOSE, slices and the like is run once on the positions of its
input's values. What comes out says which value stands where, and that alone decides which form
takes the chain's place, so the form is equal by construction, however the chain is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.tflite.rewrites._float_graph import FloatGraph, Shape
from respect_tf.tflite.rewrites._positions import MOVES, moved
from respect_tf.tflite.rewrites._rule import Rule

_MOST_VALUES = 2**25  # of a tensor: positions take 8 bytes each
_MOST_WEIGHTS = 2**21  # of a convolution that moves channels
_PIXELS = 512 * 512  # from there on the compiler maps no resizing
MOST_ENLARGEMENT = 8
"""By how much the compiler maps resizing at once."""

_TRANSPOSE_CONV_ELEMENTS = 64 * 64 * 512  # from there on the compiler maps no TRANSPOSE_CONV

Positions = npt.NDArray[np.int64]
Map = tuple[int, int, int]  # height, width, channels


Form = Callable[[FloatGraph, Any, int, Map, Map, Positions], int | None]


def _movement(form: Form | None, graph: FloatGraph, op: Any) -> str:
    """Replace the chain that ends at an op, or as long an end of it as has the form.

    Args:
        form: Puts the form before the op, or returns None; None for a mere RESHAPE.
        graph: The graph.
        op: The op.

    Returns:
        The type of the chain's op that an Edge TPU does not run; empty if nothing was replaced.
    """
    follower = graph.only_reader(graph.made(op))
    if follower is not None and graph.kind(follower) in MOVES:
        return ""  # the chain goes on
    chain = [op]
    while True:
        before = graph.maker(graph.read(chain[0])[0])
        if before is None or graph.kind(before) not in MOVES:
            break
        if graph.only_reader(graph.made(before)) is not chain[0]:
            break
        chain.insert(0, before)
    for first in range(len(chain)):
        part = chain[first:]
        unmapped = [graph.kind(member) for member in part if _needs_rewriting(graph, member)]
        if not unmapped:
            break
        if _replace(form, graph, part):
            for member in part[:-1]:
                graph.drop(member)
            return next((kind for kind in unmapped if kind != "RESHAPE"), unmapped[0])
    return ""


def _needs_rewriting(graph: FloatGraph, op: Any) -> bool:
    kind, x, made = graph.kind(op), graph.read(op)[0], graph.made(op)
    shape = graph.shape(x)
    if any(math.prod(s[:-3]) > 1 for s in (shape, graph.shape(made))):
        return True
    if kind == "STRIDED_SLICE":
        steps = graph.constant(graph.read(op)[3])
        return steps is not None and bool((steps != 1).any())
    if kind == "TRANSPOSE":
        order = graph.constant(graph.read(op)[1])
        return order is not None and order[-1] != len(shape) - 1 and math.prod(shape[:-1]) > 1
    # TILE would do for maps of 1x1, but its int8 version is newer than the compiler.
    return kind in ("TILE", "DEPTH_TO_SPACE", "GATHER", "REVERSE_V2", "BROADCAST_TO")


def _replace(form: Form | None, graph: FloatGraph, chain: list[Any]) -> bool:
    x, last = graph.read(chain[0])[0], chain[-1]
    before, after = graph.shape(x), graph.shape(graph.made(last))
    if not 0 < math.prod(before) <= _MOST_VALUES or not 0 < math.prod(after) <= _MOST_VALUES:
        return False
    positions: Positions = np.arange(math.prod(before)).reshape(before)
    for op in chain:
        found = moved(graph, op, positions)
        if found is None:
            return False
        positions = found
    if positions.shape != after:
        return False
    if form is None:
        if positions.size != math.prod(before) or not _is_range(positions):
            return False
        if len(chain) == 1 or math.prod(before[:-3]) > 1:
            return False
        graph.result(last, graph.reshape(last, x, after))
        return True
    view, target = _as_map(before), _as_map(after)
    if view is None or target is None:
        return False
    y = form(graph, last, x, view, target, positions.reshape(target))
    if y is None:
        return False
    graph.result(last, graph.reshape(last, y, after))
    return True


def _is_range(positions: Positions) -> bool:
    return bool((positions.reshape(-1) == np.arange(positions.size)).all())


def _as_map(shape: Shape) -> Map | None:
    """A shape as height, width and channels; None if it has more than three dimensions above 1."""
    shape = shape[-3:] if len(shape) > 3 and math.prod(shape[:-3]) == 1 else shape
    if len(shape) > 3:
        return None
    padded = (1, 1, 1, *shape)[-3:]
    return padded[0], padded[1], padded[2]


def _nearest(
    graph: FloatGraph, op: Any, x: int, view: Map, target: Map, positions: Positions
) -> int | None:
    """RESIZE_NEAREST_NEIGHBOR, large steps in several.

    TFLite merges a reshape before the chain into its first one: what comes in may have any shape
    that holds the values of the map.
    """
    grown = (enlarge(graph, op, x, m, target, positions) for m in _maps_of(view, target))
    return next((y for y in grown if y is not None), None)


def enlarge(
    graph: FloatGraph, op: Any, x: int, view: Map, target: Map, positions: Positions
) -> int | None:
    """Enlarge values as a map of one size, if that gives the positions; None if not."""
    factors = (target[0] // view[0], target[1] // view[1])
    if view[2] != target[2] or max(factors) == 1 or target[0] * target[1] >= _PIXELS:
        return None
    if any(
        size * factor != made for size, factor, made in zip(view, factors, target, strict=False)
    ):
        return None
    if not (positions == enlarged(np.arange(math.prod(view)).reshape(view), factors)).all():
        return None
    steps = _steps(factors)
    if steps is None:
        return None
    y, size = graph.reshape(op, x, (1, *view)), list(view[:2])
    for step in steps:
        grown = [size[0] * step[0], size[1] * step[1]]
        if not all(_kernel_agrees(*pair) for pair in zip(size, grown, strict=True)):
            return None
        sizes = graph.add_constant(np.array(grown, np.int32), f"{graph.name(graph.made(op))}/size")
        y = graph.add(op, "RESIZE_NEAREST_NEIGHBOR", [y, sizes], (1, *grown, view[2]))
        size = grown
    return y


def _maps_of(view: Map, target: Map) -> list[Map]:
    """Maps that can be enlarged to another one, of as many values as one has; that one first."""
    height, width, channels = target
    count = math.prod(view)
    others = [
        (rows, count // (rows * channels), channels)
        for rows in range(1, height + 1)
        if height % rows == 0
        and count % (rows * channels) == 0
        and width % (count // (rows * channels)) == 0
        and count < math.prod(target)
    ]
    return [view, *(other for other in others if other != view)]


def enlarged(values: Positions, factors: tuple[int, int]) -> Positions:
    """A map with each row and column repeated."""
    return values.repeat(factors[0], axis=0).repeat(factors[1], axis=1)


def _steps(factors: tuple[int, int]) -> list[tuple[int, int]] | None:
    """Two factors as products of such as the compiler maps, step by step."""
    rest, steps = list(factors), []
    while max(rest) > 1:
        step = [max(n for n in range(1, MOST_ENLARGEMENT + 1) if size % n == 0) for size in rest]
        if max(step) == 1:
            return None
        rest = [size // n for size, n in zip(rest, step, strict=True)]
        steps.append((step[0], step[1]))
    return steps


def _kernel_agrees(size: int, grown: int) -> bool:
    """Whether TFLite's arithmetic in float32 repeats each value equally often."""
    scale = np.float32(size) / np.float32(grown)
    found = np.minimum(np.floor(np.arange(grown, dtype=np.float32) * scale), size - 1)
    return bool((found == np.arange(size).repeat(grown // size)).all())


def _picked(
    graph: FloatGraph, op: Any, x: int, view: Map, target: Map, positions: Positions
) -> int | None:
    """Every n-th row and column: SLICE, and MAX_POOL_2D of 1x1 with a stride."""
    if view[2] != target[2]:
        return None
    corner = int(positions[0, 0, 0])
    first = (corner // (view[1] * view[2]), corner // view[2] % view[1])
    strides = []
    for axis, unit in ((0, view[1] * view[2]), (1, view[2])):
        second = (
            int(positions[1, 0, 0] if axis == 0 else positions[0, 1, 0]) if target[axis] > 1 else -1
        )
        step = (second - corner) // unit if second >= 0 else view[axis] - first[axis]
        if step < 1:
            return None
        strides.append(step)
    rows, columns = (
        np.arange(start, size, step)[:count]
        for start, size, step, count in zip(first, view, strides, target, strict=False)
    )
    if len(rows) != target[0] or len(columns) != target[1]:
        return None
    values = np.arange(math.prod(view)).reshape(view)[np.ix_(rows, columns)]
    if not (values == positions).all():
        return None
    y = graph.reshape(op, x, (1, *view))
    name = graph.name(graph.made(op))
    size = (view[0] - first[0], view[1] - first[1])
    if first != (0, 0):
        begin = graph.add_constant(np.array((0, *first, 0), np.int32), f"{name}/begin")
        sizes = graph.add_constant(np.array((1, *size, view[2]), np.int32), f"{name}/size")
        y = graph.add(op, "SLICE", [y, begin, sizes], (1, *size, view[2]))
    pooled = tuple(-(-n // step) for n, step in zip(size, strides, strict=True))
    return graph.add(
        op, "MAX_POOL_2D", [y], (1, *pooled, view[2]), padding=1,
        strideH=strides[0], strideW=strides[1], filterHeight=1, filterWidth=1,
    )  # fmt: skip


def _into_channels(
    graph: FloatGraph, op: Any, x: int, view: Map, target: Map, positions: Positions
) -> int | None:
    """Blocks of pixels, or channels alone, in another order: a convolution with ones and zeros."""
    blocks = (view[0] // target[0], view[1] // target[1])
    if 0 in blocks or (blocks[0] * target[0], blocks[1] * target[1]) != view[:2]:
        return None
    if math.prod(blocks) * view[2] * target[2] > _MOST_WEIGHTS:
        return None
    values = np.arange(math.prod(view)).reshape(view)
    sources = positions[0, 0]  # of each channel made
    rows, columns, channels = np.unravel_index(sources, view)
    if (rows >= blocks[0]).any() or (columns >= blocks[1]).any():
        return None
    height, width = (np.arange(target[axis]) * blocks[axis] for axis in (0, 1))
    expected = values[
        height[:, None, None] + rows, width[None, :, None] + columns, channels[None, None]
    ]
    if not (expected == positions).all():
        return None
    weights = np.zeros((target[2], *blocks, view[2]), np.float32)
    weights[np.arange(target[2]), rows, columns, channels] = 1
    return graph.conv(op, graph.reshape(op, x, (1, *view)), weights, stride=blocks)


def _out_of_channels(
    graph: FloatGraph, op: Any, x: int, view: Map, target: Map, positions: Positions
) -> int | None:
    """Channels that become blocks of pixels: a transposed convolution with ones and zeros."""
    blocks = (target[0] // view[0], target[1] // view[1])
    if (blocks[0] * view[0], blocks[1] * view[1]) != target[:2] or max(blocks) < 2:
        return None
    if math.prod(target) >= _TRANSPOSE_CONV_ELEMENTS:
        return None
    if math.prod(blocks) * view[2] * target[2] > _MOST_WEIGHTS:
        return None
    sources = positions[: blocks[0], : blocks[1]]
    if (sources >= view[2]).any():
        return None
    pixels = np.arange(math.prod(view)).reshape(view)[..., :1]
    corner = enlarged(pixels, blocks)
    if not (corner + np.tile(sources, (*view[:2], 1)) == positions).all():
        return None
    weights = np.zeros((target[2], *blocks, view[2]), np.float32)
    row, column, channel = np.indices(sources.shape)
    weights[channel, row, column, sources] = 1
    name = graph.name(graph.made(op))
    read = [
        graph.add_constant(np.array((1, *target), np.int32), f"{name}/size"),
        graph.add_constant(weights, f"{name}/weights"),
        graph.reshape(op, x, (1, *view)),
    ]
    return graph.add(
        op, "TRANSPOSE_CONV", read, (1, *target), padding=1, strideH=blocks[0], strideW=blocks[1]
    )


def _broadcast(
    graph: FloatGraph, op: Any, x: int, view: Map, target: Map, positions: Positions
) -> int | None:
    """One pixel, row or column, or one channel, over all: the product with ones."""
    if any(size not in (1, made) for size, made in zip(view, target, strict=True)):
        return None
    spread = np.broadcast_to(np.arange(math.prod(view)).reshape(view), target)
    if not (spread == positions).all():
        return None
    ones = [made if size == 1 else 1 for size, made in zip(view, target, strict=True)]
    factor = graph.add_constant(
        np.ones((1, *ones), np.float32), f"{graph.name(graph.made(op))}/ones"
    )
    return graph.binary(op, "MUL", graph.reshape(op, x, (1, *view)), factor)


_REASON = "values are moved in a way that the compiler does not map"


def _rule(name: str, form: str, function: Form | None) -> Rule:
    return Rule(name, MOVES, form, _REASON, "none", 0.0, partial(_movement, function))


RULES = (
    _rule("moves-that-cancel", "RESHAPE", None),
    _rule("nearest-upsampling", "RESIZE_NEAREST_NEIGHBOR", _nearest),
    _rule("repetition", "MUL by ones", _broadcast),
    _rule("strided-slice", "SLICE and MAX_POOL_2D 1x1", _picked),
    _rule("channel-order", "CONV_2D with ones and zeros", _into_channels),
    _rule("depth-to-space", "TRANSPOSE_CONV with ones and zeros", _out_of_channels),
)
