"""Which rule lowers which layer, by the name of its class."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from respect_tf.graph.lowering import _convolutions, _shapes
from respect_tf.graph.lowering._activations import (
    elu,
    leaky_relu,
    lower_activation,
    lower_relu_layer,
    parametric_relu,
    scale,
    softmax,
)
from respect_tf.graph.lowering._form import Form, Shape, Value
from respect_tf.graph.lowering._operations import lower_operation
from respect_tf.graph.lowering._walk import Call

# Layers that do nothing once a model is trained.
_NOTHING = {
    "Dropout", "SpatialDropout1D", "SpatialDropout2D", "AlphaDropout", "GaussianDropout",
    "GaussianNoise", "ActivityRegularization", "StochasticDepth", "Identity",
    "RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast",
    "RandomBrightness",
}  # fmt: skip

Rule = Callable[[Form, Any, Value, Shape], "Value | None"]

_ONE_INPUT: dict[str, Rule] = {
    "Conv1D": _convolutions.conv_1d,
    "Conv2D": _convolutions.conv_2d,
    "DepthwiseConv2D": _convolutions.depthwise_conv_2d,
    "SeparableConv2D": _convolutions.separable_conv_2d,
    "Conv2DTranspose": _convolutions.transposed_conv_2d,
    "Dense": _convolutions.dense,
    "BatchNormalization": _convolutions.batch_normalization,
    "LayerNormalization": _convolutions.layer_normalization,
    "MaxPooling2D": functools.partial(_shapes.pool_2d, kind="MAX_POOL_2D"),
    "AveragePooling2D": functools.partial(_shapes.pool_2d, kind="AVERAGE_POOL_2D"),
    "MaxPooling1D": functools.partial(_shapes.pool_1d, kind="MAX_POOL_2D"),
    "AveragePooling1D": functools.partial(_shapes.pool_1d, kind="AVERAGE_POOL_2D"),
    "ZeroPadding2D": _shapes.pad_2d,
    "Cropping2D": _shapes.crop_2d,
    "UpSampling2D": _shapes.upsample_2d,
    "ReLU": lambda form, layer, value, _: lower_relu_layer(form, layer, value),
    "Activation": lambda form, layer, value, _: lower_activation(form, layer.activation, value),
    "ELU": lambda form, layer, value, _: elu(form, value) if layer.alpha == 1 else None,
    "LeakyReLU": lambda form, _, value, __: leaky_relu(form, value),
    "RepeatVector": lambda form, _, value, shape: _shapes.repeat(form, value, shape),
    "Softmax": lambda form, layer, value, _: softmax(form, value, layer.axis),
    **dict.fromkeys(
        ("GlobalAveragePooling1D", "GlobalAveragePooling2D"),
        functools.partial(_shapes.global_pool, kind="MEAN"),
    ),
    **dict.fromkeys(
        ("GlobalMaxPooling1D", "GlobalMaxPooling2D"),
        functools.partial(_shapes.global_pool, kind="REDUCE_MAX"),
    ),
    "Flatten": _shapes.reshape_layer,
    "Reshape": _shapes.reshape_layer,
}
_MERGES = {"Add": "ADD", "Subtract": "SUB", "Multiply": "MUL", "Maximum": "MAXIMUM",
           "Minimum": "MINIMUM", "True_divide": "DIV", "TrueDivide": "DIV"}  # fmt: skip


def lower_call(
    form: Form, call: Call, values: Sequence[Value], shapes: Sequence[Shape]
) -> list[Value] | None:
    """Add the ops of one call.

    Args:
        form: What to add them to.
        call: Of a layer that is not a model.
        values: What it reads, in the order of `call.inputs`.
        shapes: Of what it makes.

    Returns:
        What it makes, or None where the layer, or a way to call it, is not known here.
    """
    layer, kind = call.layer, _kind(call.layer)
    if not shapes or not _is_keras_own(layer):
        return None
    shape = shapes[0]
    found = lower_operation(form, call, values, shapes)
    if found is not None or len(shapes) > 1:
        return found
    made: Value | None = None
    if kind in _NOTHING:
        made = form.op("NOTHING", [values[0]], shape)
    elif kind in _ONE_INPUT and len(values) == 1:
        if getattr(layer, "data_format", "channels_last") == "channels_first":
            return None
        made = _ONE_INPUT[kind](form, layer, values[0], shape)
    elif kind == "PReLU":
        sizes = [
            1 if axis in (layer.shared_axes or ()) else size
            for axis, size in enumerate(values[0].shape[1:], 1)
        ]
        is_zero = not form.adds(layer.alpha)
        made = parametric_relu(form, tuple(sizes), values[0], is_zero=is_zero)
    elif kind == "Concatenate":
        made = _shapes.join(form, values, shape)
    elif kind in _MERGES:
        made = _merge(form, _MERGES[kind], call, values)
    elif kind == "Average":
        made = scale(form, _shapes.elementwise(form, "ADD", values))
    elif kind == "Permute":
        made = _shapes.transpose(form, values[0], (0, *layer.dims), shape)
    elif kind == "Resizing" and not getattr(layer, "crop_to_aspect_ratio", False):
        made = _shapes.resize(form, values[0], shape, way=str(layer.interpolation))
    elif kind == "Rescaling":
        made = _rescaling(form, layer, values[0])
    elif kind == "Normalization":
        made = _normalization(form, layer, values[0])
    elif kind == "CustomScaleLayer":  # of InceptionResNetV2: inputs[0] + inputs[1] * scale
        made = form.op("ADD", [values[0], scale(form, values[1])], shape)
    elif kind == "LayerScale":
        made = scale(form, values[0], (shape[-1],))
    elif kind in ("Relu", "Relu6", "Sigmoid", "Tanh", "Silu", "Gelu"):
        made = lower_activation(form, layer, values[0])
    return None if made is None else [made]


def _kind(layer: Any) -> str:
    name: str = type(layer).__name__
    return name


def _is_keras_own(layer: Any) -> bool:
    """Whether a class is Keras's or tf_keras's own: another one may share its name."""
    package = type(layer).__module__.split(".")[0]
    return package in ("keras", "tf_keras")


def _merge(form: Form, kind: str, call: Call, values: Sequence[Value]) -> Value | None:
    """Sums and products of tensors, or of a tensor and a number."""
    if len(values) > 1:
        return _shapes.elementwise(form, kind, values)
    numbers = [a for a in (*call.args, *call.kwargs.values()) if isinstance(a, (int, float))]
    if len(numbers) != 1:
        return None
    if kind == "MUL":
        return scale(form, values[0])
    moved = {"ADD": "BIAS", "SUB": "MINUS"}.get(kind)
    return None if moved is None else form.op(moved, [values[0], form.weights(())], values[0].shape)


def _rescaling(form: Form, layer: Any, value: Value) -> Value:
    """A product, and a sum where there is an offset. A list makes them per channel."""
    size = _size(layer.scale)
    if np.any(np.asarray(layer.scale) != 1.0):
        value = scale(form, value, size)
    offset = _size(layer.offset)
    if np.any(np.asarray(layer.offset) != 0.0):
        value = form.op("BIAS", [value, form.weights(offset)], value.shape)
    return value


def _normalization(form: Form, layer: Any, value: Value) -> Value | None:
    """A difference and a product per channel; nothing before the layer has seen data."""
    mean, variance = getattr(layer, "mean", None), getattr(layer, "variance", None)
    if getattr(layer, "invert", False) or mean is None or variance is None:
        return None
    channels = (value.shape[-1],)
    if np.any(np.asarray(mean)):
        value = form.op("MINUS", [value, form.weights(channels)], value.shape)
    if np.any(np.asarray(variance) != 1.0):
        value = scale(form, value, channels)
    return value


def _size(number: Any) -> Shape:
    return (len(number),) if isinstance(number, (list, tuple)) and len(number) > 1 else ()
