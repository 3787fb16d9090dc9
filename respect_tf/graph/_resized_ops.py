"""What ops make of pictures of another size: a rule per kind of op."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from respect_tf._errors import UnsupportedModelError
from respect_tf.graph._attributes import OpAttributes
from respect_tf.graph._op_graph import OpGraph

Shape = tuple[int, ...]


_ELEMENTWISE = {
    "ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "PRELU", "RELU",
    "RELU6", "RELU_N1_TO_1", "LOGISTIC", "TANH", "SOFTMAX", "RSQRT", "SQRT", "SQUARE", "EXP", "LOG",
    "ABS", "NEG", "ELU", "GELU", "HARD_SWISH", "LEAKY_RELU", "L2_NORMALIZATION", "QUANTIZE",
    "DEQUANTIZE", "CAST", "POW", "LOG_SOFTMAX",
}  # fmt: skip


_WINDOWS = {"CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "AVERAGE_POOL_2D", "L2_POOL_2D"}


_REDUCTIONS = {"MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "ARG_MAX", "ARG_MIN"}


_RESIZES = {"RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"}


@dataclasses.dataclass(frozen=True)
class Place:
    """One op, with what it reads as it was and as it is now."""

    graph: OpGraph
    op: int
    shapes: Sequence[Shape]
    factors: tuple[float, float]

    @property
    def kind(self) -> str:
        return self.graph.op_types[self.op]

    @property
    def attributes(self) -> OpAttributes:
        return self.graph.op_attributes[self.op]

    @property
    def inputs(self) -> list[int]:
        return [int(tensor) for tensor in self.graph.inputs_of(self.op)]

    @property
    def read(self) -> list[Shape]:
        """New shapes of all inputs, constants too."""
        return [self.shapes[t] for t in self.inputs]

    @property
    def was_read(self) -> list[Shape]:
        return [self.graph.tensor_shapes[t] for t in self.inputs]

    @property
    def was_made(self) -> list[Shape]:
        return [self.graph.tensor_shapes[t] for t in self.graph.outputs_of(self.op).tolist()]

    @property
    def is_touched(self) -> bool:
        """Whether what it makes may have another size. Means over maps are drawn large again."""
        return self.read != self.was_read or self.kind in _RESIZES

    def setting(self, position: int) -> tuple[int, ...]:
        """A small constant input."""
        settings = self.attributes.settings
        found = settings[position] if position < len(settings) else None
        if found is None:
            raise self.refused("how it works depends on values that are not known")
        return found

    def refused(self, why: str) -> UnsupportedModelError:
        return UnsupportedModelError(
            f"{self.graph.describe_op(self.op)} does not take pictures of another size: {why}."
        )


def made_shapes(at: Place) -> list[Shape]:
    """The new shapes of what an op makes."""
    if at.kind in _ELEMENTWISE:
        return [_broadcast(at)]
    if at.kind in _WINDOWS:
        return [_window(at)]
    if at.kind in _REDUCTIONS:
        return [_reduced(at)]
    if at.kind in _RESIZES:
        return [_drawn(at)]
    rule = _RULES.get(at.kind)
    if rule is None:
        raise at.refused("what it makes of them is not known")
    return rule(at)


def _broadcast(at: Place) -> Shape:
    try:
        return tuple(int(size) for size in np.broadcast_shapes(*at.read))
    except ValueError:
        shown = " and ".join(str(list(shape)) for shape in at.read)
        raise at.refused(f"its inputs would be {shown}") from None


def _window(at: Place) -> Shape:
    read, attributes = at.read[0], at.attributes
    window = at.read[1][1:3] if at.kind in ("CONV_2D", "DEPTHWISE_CONV_2D") else attributes.window
    sizes = []
    for size, taps, step, spread in zip(
        read[1:3], window, attributes.strides, attributes.dilation, strict=True
    ):
        reach = 0 if attributes.padding == "SAME" else (taps - 1) * spread
        sizes.append(-(-(size - reach) // step))
    return (read[0], *sizes, at.was_made[0][3])


def _reduced(at: Place) -> Shape:
    read, made = at.read[0], at.was_made[0]
    axes = {axis % len(read) for axis in at.setting(1)}
    if len(made) == len(read):
        return tuple(1 if axis in axes else size for axis, size in enumerate(read))
    return tuple(size for axis, size in enumerate(read) if axis not in axes)


def _drawn(at: Place) -> Shape:
    """A whole factor stays the factor; other sizes are in proportion to the picture."""
    read, was_read, made = at.read[0], at.was_read[0], at.was_made[0]
    sizes = []
    for axis in (1, 2):
        factor, rest = divmod(made[axis], was_read[axis])
        if rest == 0 and was_read[axis] > 1:
            sizes.append(read[axis] * factor)
        else:
            sizes.append(max(1, round(made[axis] * at.factors[axis - 1])))
    return (made[0], *sizes, made[3])


def _transposed_convolution(at: Place) -> list[Shape]:
    read, was_read, made = at.read[2], at.was_read[2], at.was_made[0]
    grown = [
        size + (new - old) * step
        for size, new, old, step in zip(
            made[1:3], read[1:3], was_read[1:3], at.attributes.strides, strict=True
        )
    ]
    return [(made[0], *grown, made[3])]


def _joined(at: Place) -> list[Shape]:
    """CONCATENATION, along the axis on which what it made was larger than its inputs."""
    made, first = at.was_made[0], at.was_read[0]
    axes = [axis for axis, size in enumerate(made) if size != first[axis]]
    axis = axes[0] if axes else len(made) - 1
    rest = {shape[:axis] + shape[axis + 1 :] for shape in at.read}
    if len(rest) != 1 or len(axes) > 1:
        raise at.refused(f"its inputs would be {[list(shape) for shape in at.read]}")
    total = sum(shape[axis] for shape in at.read)
    return [(*at.read[0][:axis], total, *at.read[0][axis + 1 :])]


def _dense(at: Place) -> list[Shape]:
    read, units = at.read[0], at.was_made[0][-1]
    if read[-1] != at.read[1][-1]:
        raise at.refused(
            f"its weights are for {at.read[1][-1]:,} values, and there would be {read[-1]:,}"
        )
    return [(*read[:-1], units) if len(at.was_made[0]) == len(read) else (read[0], units)]


def _padded(at: Place) -> list[Shape]:
    amounts = at.setting(1)
    return [tuple(n + amounts[2 * i] + amounts[2 * i + 1] for i, n in enumerate(at.read[0]))]


def _reshaped(at: Place) -> list[Shape]:
    """Sizes of 1 come and go, pixels are counted or laid out again."""
    was, read, made = at.was_read[0], at.read[0], at.was_made[0]
    if [size for size in was if size != 1] == [size for size in made if size != 1]:
        kept = iter([new for new, old in zip(read, was, strict=True) if old != 1])
        return [tuple(1 if size == 1 else next(kept) for size in made)]
    candidates = []
    pixels = math.prod(was[1:3]) if len(was) == 4 else was[1]
    for axis in range(1, len(made)):
        if made[axis] % pixels == 0:
            count = made[axis] // pixels * (math.prod(read) * pixels // math.prod(was))
            candidates.append((*made[:axis], count, *made[axis + 1 :]))
    if len(made) == 4:
        sides = (round(size * f) for size, f in zip(made[1:3], at.factors, strict=True))
        candidates.append((made[0], *sides, made[3]))
    for shape in candidates:
        if math.prod(shape) == math.prod(read):
            return [shape]
    raise at.refused(f"{list(made)} is no shape for {list(read)}")


def _turned(at: Place) -> list[Shape]:
    return [tuple(at.read[0][axis] for axis in at.setting(1))]


def _split(at: Place) -> list[Shape]:
    axis = at.setting(0)[0] % len(at.read[1])
    parts = len(at.was_made)
    if at.read[1][axis] % parts:
        raise at.refused(f"{at.read[1][axis]} cannot be split into {parts}")
    size = at.read[1][axis] // parts
    return [(*at.read[1][:axis], size, *at.read[1][axis + 1 :])] * parts


def _sliced(at: Place) -> list[Shape]:
    """What was cut off at either end is cut off again."""
    read, was, made = at.read[0], at.was_read[0], at.was_made[0]
    if len(made) != len(read):
        raise at.refused("it takes one row or column of them")
    steps = at.setting(3) if at.kind == "STRIDED_SLICE" else (1,) * len(read)
    begins = at.setting(1)
    sizes = []
    for size, old, new, step, begin in zip(made, was, read, steps, begins, strict=True):
        left = old - begin - size * abs(step)  # cut off behind, or less than 0
        sizes.append(size if old == new else -(-(new - begin - max(left, 0)) // abs(step)))
    return [tuple(sizes)]


def _blocks(at: Place) -> list[Shape]:
    read, was, made = at.read[0], at.was_read[0], at.was_made[0]
    sizes = [new * m / old for new, old, m in zip(read[1:3], was[1:3], made[1:3], strict=True)]
    if any(size != int(size) for size in sizes):
        raise at.refused(f"{list(read)} has no whole number of blocks")
    return [(made[0], *map(int, sizes), made[3])]


_RULES: dict[str, Callable[[Place], list[Shape]]] = {
    "TRANSPOSE_CONV": _transposed_convolution,
    "CONCATENATION": _joined,
    "FULLY_CONNECTED": _dense,
    "PAD": _padded,
    "PADV2": _padded,
    "MIRROR_PAD": _padded,
    "RESHAPE": _reshaped,
    "TRANSPOSE": _turned,
    "SPLIT": _split,
    "SLICE": _sliced,
    "STRIDED_SLICE": _sliced,
    "SPACE_TO_DEPTH": _blocks,
    "DEPTH_TO_SPACE": _blocks,
}


def made_attributes(at: Place, made: Shape) -> OpAttributes:
    """Settings that say sizes say the new ones."""
    place = {"RESHAPE": 1, "TRANSPOSE_CONV": 0, "RESIZE_BILINEAR": 1, "RESIZE_NEAREST_NEIGHBOR": 1,
             "SLICE": 2}.get(at.kind)  # fmt: skip
    settings = list(at.attributes.settings)
    if place is None or place >= len(settings) or settings[place] is None:
        return at.attributes
    settings[place] = made[1:3] if at.kind in _RESIZES else made
    return dataclasses.replace(at.attributes, settings=tuple(settings))
