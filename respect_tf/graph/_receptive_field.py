"""How far around a place of the picture an output looks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

from respect_tf.graph._op_graph import OpGraph
from respect_tf.graph._resized import pictures

_WINDOWS = {"CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "AVERAGE_POOL_2D", "L2_POOL_2D"}
_REDUCTIONS = {"MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "ARG_MAX", "ARG_MIN"}
# Every value that they make depends on all that they read, along axes that may be places.
_EVERYWHERE = {"FULLY_CONNECTED", "BATCH_MATMUL", "CUMSUM"}


@dataclasses.dataclass(frozen=True)
class ReceptiveField:
    """What a value depends on. Pairs are (height, width), in pixels of the model's picture.

    Attributes:
        field: Pixels along each side; infinite where a value depends on the whole picture.
        step: Pixels by which the picture has to move for results to move by a whole place.
    """

    field: tuple[float, float] = (1.0, 1.0)
    step: tuple[float, float] = (1.0, 1.0)

    @property
    def is_local(self) -> bool:
        """Whether it is smaller than any picture may be."""
        return math.isfinite(max(self.field))


_WHOLE = (math.inf, math.inf)


def receptive_field(graph: OpGraph) -> ReceptiveField:
    """The field of the output that looks farthest, and the largest step of any tensor.

    The field of a convolution or pool grows by (window - 1) times the step before it (Araujo et
    al., "Computing receptive fields of convolutional neural networks", Distill 2019).

    Args:
        graph: A graph with attributes; see `picture_size`.
    """
    known = dict.fromkeys(pictures(graph), ReceptiveField())
    loose: set[int] = set()  # tensors whose axes are no longer those of the picture
    for op in graph.topological_order.tolist():
        read = [t for t in graph.inputs_of(op).tolist() if t in known]
        if not read:
            continue
        fields = [known[t] for t in read]
        before = ReceptiveField(
            _largest([f.field for f in fields]), _largest([f.step for f in fields])
        )
        after = _after(graph, op, before, is_loose=not loose.isdisjoint(read))
        shapes = [graph.tensor_shapes[t][1:3] for t in (read[0], graph.outputs_of(op)[0])]
        moved = graph.op_types[op] in ("RESHAPE", "TRANSPOSE") and shapes[0] != shapes[1]
        for tensor in graph.outputs_of(op).tolist():
            known[tensor] = after
            if moved or not loose.isdisjoint(read):
                loose.add(tensor)
    outputs = [known[t].field for t in graph.model_outputs.tolist() if t in known]
    steps = [f.step for f in known.values()]
    return ReceptiveField(_largest(outputs or [_WHOLE]), _largest(steps))


def _after(graph: OpGraph, op: int, before: ReceptiveField, *, is_loose: bool) -> ReceptiveField:
    kind, attributes = graph.op_types[op], graph.op_attributes[op]
    shapes = [graph.tensor_shapes[t] for t in graph.inputs_of(op).tolist()]
    made = graph.tensor_shapes[graph.outputs_of(op)[0]]
    if kind in _WINDOWS:
        weighted = kind in ("CONV_2D", "DEPTHWISE_CONV_2D")
        window = shapes[1][1:3] if weighted else attributes.window
        reach = [
            (taps - 1) * spread for taps, spread in zip(window, attributes.dilation, strict=True)
        ]
        strides = [float(stride) for stride in attributes.strides]
    elif kind == "TRANSPOSE_CONV":
        strides = [1 / stride for stride in attributes.strides]
        window = shapes[1][1:3]
        reach = [
            -(-taps // stride) - 1 for taps, stride in zip(window, attributes.strides, strict=True)
        ]
    elif kind in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
        strides = [shapes[0][axis] / made[axis] for axis in (1, 2)]
        reach = [1, 1] if kind == "RESIZE_BILINEAR" else [0, 0]
    elif kind == "SPACE_TO_DEPTH":
        strides = [shapes[0][axis] / made[axis] for axis in (1, 2)]
        reach = [int(stride) - 1 for stride in strides]
    elif kind == "DEPTH_TO_SPACE":
        strides, reach = [shapes[0][axis] / made[axis] for axis in (1, 2)], [0, 0]
    elif kind in _EVERYWHERE or (kind in _REDUCTIONS and _is_over_places(graph, op, shapes[0])):
        return ReceptiveField(_WHOLE, before.step)
    else:
        return before
    if is_loose:
        return before if reach == [0, 0] else ReceptiveField(_WHOLE, before.step)
    return ReceptiveField(
        _pair(f + r * s for f, r, s in zip(before.field, reach, before.step, strict=True)),
        _pair(s * stride for s, stride in zip(before.step, strides, strict=True)),
    )


def _is_over_places(graph: OpGraph, op: int, shape: tuple[int, ...]) -> bool:
    settings = graph.op_attributes[op].settings
    axes = settings[1] if len(settings) > 1 else None
    return axes is None or any(axis % len(shape) != len(shape) - 1 for axis in axes)


def _largest(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    return _pair(max(sides) for sides in zip(*pairs, strict=True))


def _pair(values: Iterable[float]) -> tuple[float, float]:
    height, width = values
    return float(height), float(width)
