"""Functions of `keras.ops`, slices, and the layers that are made of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from respect_tf.graph._attributes import OpAttributes
from respect_tf.graph.lowering._form import Form, Op, Shape, Value
from respect_tf.graph.lowering._shapes import elementwise, reshape, reshape_apart, transpose
from respect_tf.graph.lowering._walk import Call

_REDUCTIONS = {"Mean": "MEAN", "Sum": "SUM", "Max": "REDUCE_MAX", "Min": "REDUCE_MIN"}
_NUMBERS_OF_4 = 4  # channels over which a mean is mapped; others become a convolution


def lower_operation(
    form: Form, call: Call, values: Sequence[Value], shapes: Sequence[Shape]
) -> list[Value] | None:
    """Add the ops of a call of one of these; None for one that is not known."""
    kind, layer, shape = type(call.layer).__name__, call.layer, shapes[0]
    if type(layer).__module__.startswith("tf_keras"):
        return None  # its layers of these names make other ops
    if kind == "Split":
        return _split(form, layer, values[0], shapes)
    if len(shapes) > 1:
        return None
    x = values[0]
    made: Value | None = None
    if kind == "GetItem":
        made = _slice(form, call, x, shape)
    elif kind in _REDUCTIONS:
        made = _reduction(form, _REDUCTIONS[kind], layer, x, shape)
    elif kind == "Argmax" and layer.axis is not None:
        made = form.op("ARG_MAX", [x, form.setting(layer.axis, shape=())], shape, dtype="int32")
    elif kind == "Square":
        made = form.op("SQUARE", [x], shape)
    elif kind in ("Absolute", "Abs"):
        slopes = form.weights((*(1 for _ in shape[1:-1]), shape[-1]))
        made = form.op("PRELU", [x, slopes], shape)
    elif kind == "Sqrt" and _is_positive(form, x):
        made = form.op("MUL", [form.op("RSQRT", [x], shape), x], shape)
    elif kind == "Rsqrt":
        made = form.op("RSQRT", [x], shape)
    elif kind == "Transpose" and layer.axes is not None:
        made = transpose(form, x, layer.axes, shape)
    elif kind in ("Squeeze", "ExpandDims"):
        made = reshape(form, x, shape)
    elif kind == "Matmul":
        made = _product(form, call, values, shape)
    elif kind == "Dot":
        made = _dot(form, layer, values, shape)
    elif kind == "Cast" and any(x is given for given in form.inputs) and x.dtype == "int8":
        made = form.op("NOTHING", [x], shape)
    elif kind == "UnitNormalization" and _is_last(layer.axis, x):
        made = form.op("L2_NORMALIZATION", [x], shape)
    elif kind == "RMSNormalization" and _is_last(layer.axis, x):
        made = _rms_normalization(form, layer, x)
    elif kind == "GroupNormalization":
        made = _instance_normalization(form, layer, x)
    elif kind == "MultiHeadAttention":
        made = _attention(form, call, values, shape)
    elif kind == "Embedding" and x.dtype == "int32":
        made = _embedding(form, layer, x, shape)
    elif kind == "CenterCrop" and all(n >= m for n, m in zip(x.shape, shape, strict=True)):
        begin = [(n - m) // 2 for n, m in zip(x.shape, shape, strict=True)]
        made = strided_slice(form, x, begin, [1] * len(begin), shape)
    return None if made is None else [made]


def mean(form: Form, x: Value, axes: Sequence[int], shape: Shape) -> Value:
    """MEAN; over channels that an Edge TPU does not take, a 1x1 convolution."""
    over = {axis % len(x.shape) for axis in axes}
    channels = x.shape[-1]
    if over == {1, 2, 3} and len(x.shape) == 4 and channels % _NUMBERS_OF_4:
        x, over = form.op("MEAN", [x, form.setting(1, 2)], (1, 1, 1, channels)), {3}
    if over == {3} and len(x.shape) == 4 and channels % _NUMBERS_OF_4:
        weights = [form.weights((1, 1, 1, channels)), form.weights((1,), "int32")]
        made = form.op("CONV_2D", [x, *weights], (*x.shape[:3], 1), padding="VALID")
        return reshape(form, made, shape)
    return form.op("MEAN", [x, form.setting(*axes)], shape)


def strided_slice(
    form: Form, x: Value, begin: Sequence[int], steps: Sequence[int], shape: Shape
) -> Value:
    """STRIDED_SLICE of all axes, none of which goes."""
    # Before the first place, an end counts from the last one.
    end = [
        b + n * s if s > 0 else -size - 1
        for b, n, s, size in zip(begin, shape, steps, x.shape, strict=True)
    ]
    settings = [form.setting(*begin), form.setting(*end), form.setting(*steps)]
    return form.op("STRIDED_SLICE", [x, *settings], shape)


def _split(form: Form, layer: Any, x: Value, shapes: Sequence[Shape]) -> list[Value] | None:
    parts = layer.indices_or_sections
    if not isinstance(parts, int) or len({tuple(shape) for shape in shapes}) != 1:
        return None
    axis = form.setting(layer.axis, shape=())
    made = [Value(tuple(shape)) for shape in shapes]
    form.ops.append(Op("SPLIT", [axis, x], made, OpAttributes(version=2), form.layer))
    return made


def _slice(form: Form, call: Call, x: Value, shape: Shape) -> Value | None:
    key = call.kwargs.get("key", call.args[1] if len(call.args) > 1 else None)
    parts = list(key) if isinstance(key, tuple) else [key]
    if sum(part is Ellipsis for part in parts) > 1 or None in parts:
        return None
    if Ellipsis in parts:
        place = parts.index(Ellipsis)
        parts[place : place + 1] = [slice(None)] * (len(x.shape) - len(parts) + 1)
    parts += [slice(None)] * (len(x.shape) - len(parts))
    begin, end, steps = [], [], []
    for part, size in zip(parts, x.shape, strict=True):
        if isinstance(part, int):
            at = part % size
            first, last, step = at, at + 1, 1
        elif isinstance(part, slice):
            first, last, step = part.indices(size)
        else:
            return None
        if step < 0 and (first, last, step) != (size - 1, -1, -1):
            return None
        begin.append(first)
        end.append(last)
        steps.append(step)
    if parts[0] != slice(None) or not math.prod(shape):
        return None
    if tuple(shape) == x.shape:
        if all(step == 1 for step in steps):
            return form.op("NOTHING", [x], shape)
        return strided_slice(form, x, begin, steps, shape)
    if len(shape) == len(x.shape):
        return strided_slice(form, x, begin, steps, shape)
    settings = [form.setting(*begin), form.setting(*end), form.setting(*steps)]
    return form.op("STRIDED_SLICE", [x, *settings], shape)


def _reduction(form: Form, kind: str, layer: Any, x: Value, shape: Shape) -> Value | None:
    axis = layer.axis
    if axis is None:
        return None
    axes = [axis] if isinstance(axis, int) else list(axis)
    if any(a % len(x.shape) == 0 for a in axes):
        return None
    if kind == "MEAN":
        return mean(form, x, axes, shape)
    return form.op(kind, [x, form.setting(*axes)], shape)


def _is_positive(form: Form, x: Value) -> bool:
    """Whether a number was added to it: rewriting asks for a positive one."""
    maker = _maker(form, x)
    return maker is not None and maker.kind == "BIAS"


def _maker(form: Form, x: Value) -> Op | None:
    return next((op for op in form.ops if op.made is x), None)


def _swaps_last(op: Op) -> bool:
    """Whether an op is a TRANSPOSE of the last two axes alone."""
    rank = len(op.made.shape)
    order = (*range(rank - 2), rank - 1, rank - 2)
    return op.kind == "TRANSPOSE" and op.inputs[1].settings == order


def _product(form: Form, call: Call, values: Sequence[Value], shape: Shape) -> Value | None:
    if len(values) == 2:
        left, right = values
        if 1 in (shape[-1], shape[-2], left.shape[-1]) or len(shape) != len(left.shape):
            return None
        makers = [_maker(form, value) for value in values]
        turned = [maker is not None and _swaps_last(maker) for maker in makers]
        if turned[0]:
            return None
        if turned[1] and makers[1] is not None:  # an option of the product
            right = makers[1].inputs[0]
        return form.op("BATCH_MATMUL", [left, right], shape)
    others = [a for a in (*call.args, *call.kwargs.values()) if hasattr(a, "shape")]
    constants = [a for a in others if not any(a is t for t in call.inputs)]
    x = values[0]
    if len(constants) != 1 or len(constants[0].shape) != 2 or others[0] is constants[0]:
        return None
    inner, units = (int(size) for size in constants[0].shape)
    if math.prod(x.shape[:-1]) == 1:
        return None
    return projection(form, x, inner, units, shape, has_bias=False)


def projection(
    form: Form, x: Value, inner: int, units: int, shape: Shape, *, has_bias: bool
) -> Value:
    """A product with a matrix at each place of a sequence: a 1x1 convolution."""
    rows = (1, 1, math.prod(x.shape) // inner, inner)
    weights = [form.weights((units, 1, 1, inner)), form.weights((units,), "int32")]
    image = reshape_apart(form, x, rows)
    made = form.op(
        "CONV_2D", [image, *weights], (*rows[:3], units), has_bias=has_bias, padding="VALID"
    )
    return reshape_apart(form, made, shape)


def _dot(form: Form, layer: Any, values: Sequence[Value], shape: Shape) -> Value | None:
    # A function of `keras.ops` has this name, too.
    if not hasattr(layer, "normalize") or any(len(value.shape) != 2 for value in values):
        return None
    if layer.normalize:
        values = [form.op("L2_NORMALIZATION", [value], value.shape) for value in values]
    product = elementwise(form, "MUL", values)
    return form.op("SUM", [product, form.setting(1)], shape)


def _is_last(axis: Any, x: Value) -> bool:
    axes = [axis] if isinstance(axis, int) else list(axis)
    return [a % len(x.shape) for a in axes] == [len(x.shape) - 1]


def _rms_normalization(form: Form, layer: Any, x: Value) -> Value:
    narrow = (*x.shape[:-1], 1)
    power = mean(form, form.op("SQUARE", [x], x.shape), [-1], narrow)
    inverse = form.op("RSQRT", [form.op("ADD", [power, form.weights(())], narrow)], narrow)
    made = form.op("MUL", [x, inverse], x.shape)
    if form.trained or _is_other_than_ones(layer.scale):
        made = form.op("SCALE", [made, form.weights((x.shape[-1],))], x.shape)
    return made


def _is_other_than_ones(variable: Any) -> bool:
    return variable is not None and bool(np.any(np.asarray(variable) != 1))


def _instance_normalization(form: Form, layer: Any, x: Value) -> Value | None:
    """GroupNormalization with a group for each channel."""
    if layer.groups not in (-1, x.shape[-1]) or len(x.shape) != 4 or not _is_last(layer.axis, x):
        return None
    if form.trained or layer.beta is None or np.any(np.asarray(layer.beta)):
        return None
    if layer.gamma is None or _is_other_than_ones(layer.gamma):
        return None
    narrow, axes = (1, 1, 1, x.shape[-1]), form.setting(1, 2)
    middle = form.op("MEAN", [x, axes], narrow)
    apart = form.op("SUB", [x, middle], x.shape)
    spread = form.op("MEAN", [form.op("MUL", [apart, apart], x.shape), axes], narrow)
    inverse = form.op("RSQRT", [form.op("ADD", [spread, form.weights(())], narrow)], narrow)
    moved = form.op("MUL", [middle, inverse], narrow)
    return form.op("SUB", [form.op("MUL", [x, inverse], x.shape), moved], x.shape)


def _attention(form: Form, call: Call, values: Sequence[Value], shape: Shape) -> Value | None:
    """MultiHeadAttention over sequences, without masks."""
    layer = call.layer
    value_of = dict(zip(map(id, call.inputs), values, strict=True))
    given = dict(zip(("query", "value", "key"), call.args, strict=False)) | call.kwargs
    read = [value_of.get(id(given.get(name))) for name in ("query", "value", "key")]
    query, value, key = read[0], read[1], read[2] or read[1]
    masks = [name for name in given if name not in ("query", "value", "key")]
    if query is None or value is None or key is None or getattr(layer, "_use_gate", False):
        return None
    if any(given[name] is not None and given[name] is not False for name in masks):
        return None
    if len(call.args) > 3 or any(len(v.shape) != 3 for v in (query, value, key)):
        return None
    heads, size, width = layer._num_heads, layer._key_dim, layer._value_dim
    bias = bool(layer._use_bias) and form.trained
    parts = []
    for x, part in ((query, size), (key, size), (value, width)):
        spread = (1, x.shape[1], heads, part)
        parts.append(projection(form, x, x.shape[2], heads * part, spread, has_bias=bias))
    places, seen = query.shape[1], key.shape[1]
    left = transpose(form, parts[0], (0, 2, 1, 3), (1, heads, places, size))
    right = transpose(form, parts[1], (0, 2, 3, 1), (1, heads, size, seen))
    scores = form.op("BATCH_MATMUL", [left, right], (1, heads, places, seen))
    scores = form.op("MUL", [scores, form.weights(())], scores.shape)
    scores = form.op("SOFTMAX", [scores], scores.shape)
    content = transpose(form, parts[2], (0, 2, 1, 3), (1, heads, seen, width))
    made = form.op("BATCH_MATMUL", [scores, content], (1, heads, places, width))
    made = transpose(form, made, (0, 2, 1, 3), (1, places, heads, width))
    return projection(form, made, heads * width, shape[-1], shape, has_bias=bias)


def _embedding(form: Form, layer: Any, x: Value, shape: Shape) -> Value:
    """A table that is read by place; places below 0 count from its end."""
    table = form.weights((int(layer.input_dim), int(layer.output_dim)))
    below = form.op("LESS", [x, form.setting(0, shape=())], x.shape, dtype="bool")
    moved = form.op(
        "ADD", [x, form.setting(int(layer.input_dim), shape=())], x.shape, dtype="int32"
    )
    place = form.op("SELECT", [below, moved, x], x.shape, dtype="int32")
    return form.op("GATHER", [table, place], shape)
