"""Layers with weights: convolutions, dense layers, normalisation."""

from __future__ import annotations

import math
from typing import Any

from respect_tf.graph.lowering._activations import lower_activation
from respect_tf.graph.lowering._form import Form, Shape, Value
from respect_tf.graph.lowering._operations import mean as mean_over
from respect_tf.graph.lowering._shapes import pair, reshape, reshape_apart

_GROUPED = 6  # version of a CONV_2D with groups


def conv_2d(form: Form, layer: Any, value: Value, shape: Shape) -> Value | None:
    """Conv2D, with or without groups."""
    groups = int(getattr(layer, "groups", 1) or 1)
    weights = (int(layer.filters), *pair(layer.kernel_size), value.shape[-1] // groups)
    made = _convolution(
        form, "CONV_2D", layer, value, weights, shape, version=_GROUPED if groups > 1 else None
    )
    return _activated(form, layer, made)


def depthwise_conv_2d(form: Form, layer: Any, value: Value, shape: Shape) -> Value | None:
    """DepthwiseConv2D."""
    weights = (1, *pair(layer.kernel_size), shape[-1])
    made = _convolution(form, "DEPTHWISE_CONV_2D", layer, value, weights, shape)
    return _activated(form, layer, made)


def separable_conv_2d(form: Form, layer: Any, value: Value, shape: Shape) -> Value | None:
    """SeparableConv2D: depthwise without a bias, then 1x1."""
    channels = value.shape[-1] * int(layer.depth_multiplier)
    middle = (*shape[:-1], channels)
    weights = (1, *pair(layer.kernel_size), channels)
    made = _convolution(form, "DEPTHWISE_CONV_2D", layer, value, weights, middle, bias=False)
    made = form.op(
        "CONV_2D",
        [made, form.weights((shape[-1], 1, 1, channels)), form.weights((shape[-1],), "int32")],
        shape,
        has_bias=_has_bias(form, layer),
        padding="VALID",
    )
    return _activated(form, layer, made)


def transposed_conv_2d(form: Form, layer: Any, value: Value, shape: Shape) -> Value | None:
    """Conv2DTranspose."""
    if pair(layer.dilation_rate) != (1, 1):
        return None
    weights = form.weights((int(layer.filters), *pair(layer.kernel_size), value.shape[-1]))
    inputs = [form.setting(*shape), weights, value]
    has_bias = _has_bias(form, layer)
    if has_bias:
        inputs.append(form.weights((int(layer.filters),), "int32"))
    made = form.op(
        "TRANSPOSE_CONV",
        inputs,
        shape,
        has_bias=has_bias,
        padding=layer.padding.upper(),
        strides=pair(layer.strides),
    )
    return _activated(form, layer, made)


def dense(form: Form, layer: Any, value: Value, shape: Shape) -> Value | None:
    """Dense, over vectors, sequences and maps."""
    units, read = int(layer.units), value.shape[-1]
    if len(shape) > 2:
        return _dense_of_maps(form, layer, value, shape)
    inputs = [value, form.weights((units, read))]
    has_bias = _has_bias(form, layer)
    if has_bias:
        inputs.append(form.weights((units,), "int32"))
    made = form.op("FULLY_CONNECTED", inputs, shape, has_bias=has_bias)
    return _activated(form, layer, made)


def _dense_of_maps(form: Form, layer: Any, value: Value, shape: Shape) -> Value | None:
    """A 1x1 convolution, after rewriting; over a sequence, as an image of height 1."""
    units = int(layer.units)
    image = value if len(shape) == 4 else reshape_apart(form, value, _as_image(value.shape))
    made = form.op(
        "CONV_2D",
        [image, form.weights((units, 1, 1, value.shape[-1])), form.weights((units,), "int32")],
        (*image.shape[:-1], units),
        has_bias=_has_bias(form, layer),
        padding="VALID",
    )
    return _activated(form, layer, made if len(shape) == 4 else reshape_apart(form, made, shape))


def _as_image(shape: Shape) -> Shape:
    return (1, math.prod(shape[1:-2]), shape[-2], shape[-1])


def batch_normalization(form: Form, layer: Any, value: Value, shape: Shape) -> Value | None:
    """A factor and a summand per channel."""
    axis = layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis
    if int(axis) % len(shape) != len(shape) - 1:
        return None
    channels = (shape[-1],)
    if not form.adds(layer.beta, layer.moving_mean):
        return form.op("SCALE", [value, form.weights(channels)], shape)
    return form.op("BATCH_NORM", [value, form.weights(channels), form.weights(channels)], shape)


def layer_normalization(form: Form, layer: Any, value: Value, shape: Shape) -> Value | None:
    """Keras 3's: mean, variance, and a product and a sum with weights."""
    axis = layer.axis[0] if isinstance(layer.axis, (list, tuple)) else layer.axis
    if int(axis) % len(shape) != len(shape) - 1 or not (layer.scale and layer.center):
        return None
    narrow = (*shape[:-1], 1)
    axes = (len(shape) - 1,)
    mean = mean_over(form, value, axes, narrow)
    spread = form.op("SQUARED_DIFFERENCE", [value, mean], shape)
    variance = mean_over(form, spread, axes, narrow)
    inverse = form.op("ADD", [variance, form.weights(())], narrow)
    inverse = form.op("RSQRT", [inverse], narrow)
    factor = form.op("MUL", [inverse, form.weights((shape[-1],))], shape)
    moved = form.op("MUL", [mean, factor], shape)
    scaled = form.op("MUL", [value, factor], shape)
    if not form.adds(layer.beta):
        return form.op("SUB", [scaled, moved], shape)
    moved = form.op("SUB", [form.weights((shape[-1],)), moved], shape)
    return form.op("ADD", [scaled, moved], shape)


def conv_1d(form: Form, layer: Any, value: Value, shape: Shape) -> Value | None:
    """Conv1D: a convolution over an image of height 1."""
    step, window = _single(layer.strides), _single(layer.kernel_size)
    spread, groups = _single(layer.dilation_rate), int(getattr(layer, "groups", 1) or 1)
    padding = layer.padding
    # Where two read a tensor with gaps, rewriting undoes what TFLite made of the gaps.
    shaped = reshape_apart if spread > 1 and form.shares_input else reshape
    if padding == "causal":
        before = (window - 1) * spread
        longer = (1, value.shape[1] + before, value.shape[2])
        value = form.op("PAD", [value, form.setting(0, 0, before, 0, 0, 0, shape=(3, 2))], longer)
        padding = "valid"
    value = shaped(form, value, (1, 1, *value.shape[1:]))
    made = form.op(
        "CONV_2D",
        [
            value,
            form.weights((int(layer.filters), 1, window, value.shape[-1] // groups)),
            form.weights((int(layer.filters),), "int32"),
        ],
        (1, 1, *shape[1:]),
        version=_GROUPED if groups > 1 else None,
        has_bias=_has_bias(form, layer),
        padding=padding.upper(),
        strides=(1, step),
        dilation=(1, spread),
    )
    if shaped is reshape_apart:
        return _activated(form, layer, reshape_apart(form, made, shape))
    done = _activated(form, layer, made)
    return None if done is None else reshape(form, done, shape)


def _convolution(
    form: Form,
    kind: str,
    layer: Any,
    value: Value,
    weights: Shape,
    shape: Shape,
    *,
    bias: bool | None = None,
    version: int | None = None,
) -> Value:
    channels = shape[-1]
    return form.op(
        kind,
        [value, form.weights(weights), form.weights((channels,), "int32")],
        shape,
        version=version,
        has_bias=_has_bias(form, layer) if bias is None else bias,
        padding=layer.padding.upper(),
        strides=pair(layer.strides),
        dilation=pair(layer.dilation_rate),
    )


def _has_bias(form: Form, layer: Any) -> bool:
    return bool(layer.use_bias) and form.adds(layer.bias)


def _activated(form: Form, layer: Any, value: Value) -> Value | None:
    return lower_activation(form, layer.activation, value)


def _single(value: Any) -> int:
    return int(value[0]) if isinstance(value, (list, tuple)) else int(value)
