"""What is left of a graph once everything is fused that can be."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Callable

from respect_tf.graph._attributes import OpAttributes
from respect_tf.graph.lowering._form import Form, Op, Value

# Products and sums with constants, which may go into weights; and what they become where not.
FOLDABLE = {"BATCH_NORM": ("MUL", "ADD"), "BIAS": ("ADD",), "MINUS": ("SUB",), "SCALE": ("MUL",)}

# Groups of a convolution are put together up to so many channels, see `tflite.rewrites`.
_LANES = 64


def expand_batch_norms(form: Form) -> None:
    """Normalisations and scalings that nothing could take become ops of their own."""
    ops: list[Op] = []
    for op in form.ops:
        parts = FOLDABLE.get(op.kind)
        if parts is None:
            ops.append(op)
            continue
        read, constants = op.inputs[0], op.inputs[1:]
        for place, kind in enumerate(parts):
            last = place == len(parts) - 1
            made = op.made if last else Value(op.made.shape)
            attributes = dataclasses.replace(op.attributes, version=2)
            ops.append(Op(kind, [read, constants[place]], [made], attributes, op.layer))
            read = made
    form.ops = ops


def expand_groups(form: Form) -> None:
    """Convolutions in groups, after rewriting: slices, convolutions and CONCATENATION.

    Narrow groups are put together, with zeros, up to the channels that an Edge TPU pads to anyway.
    """
    ops: list[Op] = []
    for op in form.ops:
        if op.kind != "CONV_2D" or op.inputs[1].shape[3] == op.inputs[0].shape[3]:
            ops.append(op)
            continue
        x, (filters, height, width, narrow) = op.inputs[0], op.inputs[1].shape
        groups = x.shape[3] // narrow
        wide = filters // groups
        if narrow == wide == 1:  # a group for each channel
            kernel = Value((1, height, width, filters), constant=True)
            plain = dataclasses.replace(op.attributes, version=3)
            ops.append(
                Op("DEPTHWISE_CONV_2D", [x, kernel, op.inputs[2]], op.outputs, plain, op.layer)
            )
            continue
        together = next(
            n
            for n in range(groups, 0, -1)
            if groups % n == 0 and (n * max(narrow, wide) <= _LANES or n == 1)
        )
        parts = groups // together
        attributes = dataclasses.replace(op.attributes, version=3)
        pieces, results = [x], [op.made]
        if parts > 1:
            pieces = [Value((*x.shape[:3], x.shape[3] // parts)) for _ in range(parts)]
            results = [Value((*op.made.shape[:3], together * wide)) for _ in range(parts)]
            axis = Value((), "int32", constant=True, settings=(3,), key=((), (3,)))
            ops.append(Op("SPLIT", [axis, x], pieces, OpAttributes(version=2), op.layer))
        for piece, result in zip(pieces, results, strict=True):
            weights = Value((together * wide, height, width, together * narrow), constant=True)
            bias = Value((together * wide,), "int32", constant=True)
            ops.append(Op("CONV_2D", [piece, weights, bias], [result], attributes, op.layer))
        if parts > 1:
            ops.append(Op("CONCATENATION", results, [op.made], OpAttributes(version=2), op.layer))
    form.ops = ops


def expand_squares(form: Form) -> None:
    """Squares are products, after rewriting."""
    for op in form.ops:
        if op.kind == "SQUARE":
            op.kind, op.inputs = "MUL", [op.inputs[0]] * 2
            op.attributes = dataclasses.replace(op.attributes, version=2)


# Their output has the scale of their input, which MAXIMUM and MINIMUM hand on to what they read.
_SAME_SCALE = {"RESHAPE", "MAX_POOL_2D", "SLICE", "STRIDED_SLICE", "TRANSPOSE", "PAD",
               "RESIZE_NEAREST_NEIGHBOR", "GATHER"}  # fmt: skip


def part_extremes(form: Form) -> None:
    """Of two values one and what the other has above it, where others read one of them, too."""
    readers = collections.Counter(id(value) for op in form.ops for value in {*op.inputs})
    readers.update(id(value) for value in form.outputs for _ in (0, 1))
    maker = {id(value): op for op in form.ops for value in op.outputs}

    def is_shared(value: Value) -> bool:
        while readers[id(value)] == 1:
            op = maker.get(id(value))
            if op is None or op.kind not in _SAME_SCALE:
                return False
            value = op.inputs[0]
        return True

    ops: list[Op] = []
    for op in form.ops:
        if op.kind not in ("MAXIMUM", "MINIMUM") or not _may_part(op, is_shared):
            ops.append(op)
            continue
        first, second = op.inputs
        differs = Value(op.made.shape)
        plain = OpAttributes(version=2)
        above = dataclasses.replace(plain, fused_activation="RELU")
        if op.kind == "MAXIMUM":
            ops.append(Op("SUB", [first, second], [differs], above, op.layer))
            ops.append(Op("ADD", [differs, second], op.outputs, plain, op.layer))
        else:
            ops.append(Op("SUB", [second, first], [differs], above, op.layer))
            ops.append(Op("SUB", [second, differs], op.outputs, plain, op.layer))
    form.ops = ops


def _may_part(op: Op, is_shared: Callable[[Value], bool]) -> bool:
    first, second = op.inputs
    if first is second or first.shape != op.made.shape:
        return False
    if second.constant:
        return math.prod(second.shape) == 1 and is_shared(first)
    return second.shape == op.made.shape and (is_shared(first) or is_shared(second))


def remove_unread(form: Form) -> None:
    """Ops whose results nobody reads."""
    needed = {id(value) for value in form.outputs}
    kept: list[Op] = []
    for op in reversed(form.ops):
        if any(id(value) in needed for value in op.outputs):
            needed.update(id(value) for value in op.inputs)
            kept.append(op)
    form.ops = kept[::-1]
