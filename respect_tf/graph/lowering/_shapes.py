"""Layers that move, pool, resize or join, and those that do nothing when a model is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from respect_tf.graph.lowering._form import Form, Shape, Value

# By so much one RESIZE_NEAREST_NEIGHBOR makes an image larger, after rewriting.
_MOST_STEP = 8


def pool_2d(form: Form, layer: Any, value: Value, shape: Shape, *, kind: str) -> Value:
    """MaxPooling2D and AveragePooling2D."""
    return form.op(
        kind,
        [value],
        shape,
        padding=layer.padding.upper(),
        strides=pair(layer.strides),
        window=pair(layer.pool_size),
    )


def pool_1d(form: Form, layer: Any, value: Value, shape: Shape, *, kind: str) -> Value:
    """MaxPooling1D and AveragePooling1D: over an image of height 1."""
    step, window = pair(layer.strides)[0], pair(layer.pool_size)[0]
    flat = reshape(form, value, (1, 1, *value.shape[1:]))
    made = form.op(
        kind,
        [flat],
        (1, 1, *shape[1:]),
        padding=layer.padding.upper(),
        strides=(1, step),
        window=(1, window),
    )
    return reshape(form, made, shape)


def global_pool(form: Form, layer: Any, value: Value, shape: Shape, *, kind: str) -> Value:
    """Means and maxima over all places."""
    del layer
    axes = range(1, len(value.shape) - 1)
    setting = form.setting(*axes, shape=() if len(value.shape) == 3 else None)
    return form.op(kind, [value, setting], shape)


def reshape_layer(form: Form, layer: Any, value: Value, shape: Shape) -> Value:
    """Flatten and Reshape."""
    del layer
    return reshape(form, value, shape)


def reshape(form: Form, value: Value, shape: Shape) -> Value:
    """RESHAPE; fusing removes those that change nothing."""
    return form.op("RESHAPE", [value, form.setting(*shape)], shape)


def reshape_apart(form: Form, value: Value, shape: Shape) -> Value:
    """RESHAPE that rewriting puts in, once equal ops have been joined already."""
    setting = form.setting(*shape)
    setting.key = None
    return form.op("RESHAPE", [value, setting], shape)


def pad_2d(form: Form, layer: Any, value: Value, shape: Shape) -> Value:
    """ZeroPadding2D."""
    (top, bottom), (left, right) = layer.padding
    setting = form.setting(0, 0, top, bottom, left, right, 0, 0, shape=(4, 2))
    return form.op("PAD", [value, setting], shape)


def crop_2d(form: Form, layer: Any, value: Value, shape: Shape) -> Value:
    """Cropping2D."""
    (top, _), (left, _) = layer.cropping
    begin = (0, top, left, 0)
    end = [first + size for first, size in zip(begin, shape, strict=True)]
    settings = [form.setting(*begin), form.setting(*end), form.setting(1, 1, 1, 1)]
    return form.op("STRIDED_SLICE", [value, *settings], shape)


def upsample_2d(form: Form, layer: Any, value: Value, shape: Shape) -> Value | None:
    """UpSampling2D, as rewriting leaves it."""
    way = str(layer.interpolation)
    return resize(form, value, shape, way=way)


def resize(form: Form, value: Value, shape: Shape, *, way: str) -> Value | None:
    """RESIZE_BILINEAR or RESIZE_NEAREST_NEIGHBOR."""
    kinds = {"bilinear": "RESIZE_BILINEAR", "nearest": "RESIZE_NEAREST_NEIGHBOR"}
    if way not in kinds:
        return None
    factors = [made / read for made, read in zip(shape[1:3], value.shape[1:3], strict=True)]
    if value.shape[1:3] == (1, 1) and max(factors) > _MOST_STEP:
        return form.op("MUL", [value, form.weights((1, *shape[1:3], 1))], shape)
    sizes = list(value.shape[1:3])
    while way == "nearest" and max(factors) > _MOST_STEP:  # in steps that the Edge TPU takes
        steps = [_step(factor) for factor in factors]
        if max(steps) == 1:
            return None
        sizes = [size * step for size, step in zip(sizes, steps, strict=True)]
        factors = [factor / step for factor, step in zip(factors, steps, strict=True)]
        value = form.op(kinds[way], [value, form.setting(*sizes)], (1, *sizes, shape[3]))
    return form.op(kinds[way], [value, form.setting(*shape[1:3])], shape)


def _step(factor: float) -> int:
    """The largest part of a whole factor that an Edge TPU takes at once."""
    return max(n for n in range(1, _MOST_STEP + 1) if factor % n == 0) if factor % 1 == 0 else 1


def repeat(form: Form, value: Value, shape: Shape) -> Value | None:
    """RepeatVector: an image of height 1 that is drawn wider."""
    flat = reshape(form, value, (1, 1, 1, shape[-1]))
    wide = resize(form, flat, (1, 1, shape[1], shape[-1]), way="nearest")
    return None if wide is None else reshape(form, wide, shape)


def transpose(form: Form, value: Value, order: Sequence[int], shape: Shape) -> Value:
    """TRANSPOSE by an order of all axes, the batch first."""
    return form.op("TRANSPOSE", [value, form.setting(*order)], shape)


def join(form: Form, values: Sequence[Value], shape: Shape) -> Value:
    """CONCATENATION."""
    return values[0] if len(values) == 1 else form.op("CONCATENATION", values, shape)


def elementwise(form: Form, kind: str, values: Sequence[Value]) -> Value:
    """An op of two inputs, over any number of them, from the left."""
    made = values[0]
    for value in values[1:]:
        size = tuple(_broadcast(made.shape, value.shape))
        made = form.op(kind, [made, value], size)
    return made


def _broadcast(first: Shape, second: Shape) -> list[int]:
    rank = max(len(first), len(second))
    left = (1,) * (rank - len(first)) + first
    right = (1,) * (rank - len(second)) + second
    return [max(a, b) for a, b in zip(left, right, strict=True)]


def pair(value: Any) -> tuple[int, int]:
    """Height and width, of a number for both or of two."""
    if isinstance(value, (list, tuple)):
        return int(value[0]), int(value[-1])
    return int(value), int(value)
