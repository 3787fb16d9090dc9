"""Activations as the ops that TFLite makes of them."""

from __future__ import annotations

from typing import Any

from respect_tf.graph.lowering._form import Form, Value

_PLAIN = {"relu": "RELU", "relu6": "RELU6", "tanh": "TANH", "sigmoid": "LOGISTIC", "exp": "EXP",
          "exponential": "EXP", "gelu": "GELU"}  # fmt: skip


def lower_activation(form: Form, activation: Any, value: Value) -> Value | None:
    """Add the ops of an activation.

    Args:
        form: What to add them to.
        activation: A function, an object of a class, or None for none at all.
        value: What it is applied to.

    Returns:
        Its result, or None for one that is not known here.
    """
    if activation is None:
        return value
    name = getattr(activation, "__name__", None) or type(activation).__name__
    name = name.lower()
    if name == "linear":
        return value
    if name in _PLAIN:
        return form.op(_PLAIN[name], [value], value.shape)
    if name == "softmax":
        return form.op("SOFTMAX", [value], value.shape)
    if name in ("silu", "swish"):
        return form.op("MUL", [value, form.op("LOGISTIC", [value], value.shape)], value.shape)
    if name in ("hard_silu", "hard_swish"):
        return form.op("HARD_SWISH", [value], value.shape)
    if name == "hard_sigmoid":
        moved = form.op("BIAS", [value, form.weights(())], value.shape)
        return scale(form, form.op("RELU6", [moved], value.shape))
    if name == "elu":
        return float_op(form, "ELU", value)
    if name in ("leaky_relu",):
        return form.op("LEAKY_RELU", [value], value.shape)
    if name == "softplus":
        grown = form.op("EXP", [value], value.shape)
        return form.op("LOG", [form.op("ADD", [grown, form.weights(())], value.shape)], value.shape)
    return None


def scale(form: Form, value: Value, size: tuple[int, ...] = ()) -> Value:
    """A product with a constant, which may go into the weights next to it."""
    return form.op("SCALE", [value, form.weights(size)], value.shape)


def float_op(form: Form, kind: str, value: Value) -> Value:
    """An op without an int8 kernel: TFLite puts it between DEQUANTIZE and QUANTIZE."""
    real = form.op("DEQUANTIZE", [value], value.shape, dtype="float32")
    done = form.op(kind, [real], value.shape, dtype="float32")
    return form.op("QUANTIZE", [done], value.shape)


def lower_relu_layer(form: Form, layer: Any, value: Value) -> Value | None:
    """The layer `ReLU` with its three options."""
    slope = float(getattr(layer, "negative_slope", 0.0) or 0.0)
    threshold = float(getattr(layer, "threshold", 0.0) or 0.0)
    largest = getattr(layer, "max_value", None)
    if slope and not threshold and largest is None:
        return form.op("LEAKY_RELU", [value], value.shape)
    if slope or threshold:
        return None
    if largest is None:
        return form.op("RELU", [value], value.shape)
    if float(largest) == 6.0:
        return form.op("RELU6", [value], value.shape)
    small = form.op("MINIMUM", [value, form.weights(())], value.shape)
    return form.op("RELU", [small], value.shape)
