"""Activations as the ops that TFLite makes of them, and rewriting of those."""

from __future__ import annotations

from collections.abc import Sequence
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
    if name == "gelu" and getattr(activation, "approximate", False):
        return _tanh_gelu(form, value)
    if name in _PLAIN:
        return form.op(_PLAIN[name], [value], value.shape)
    if name == "softmax":
        return form.op("SOFTMAX", [value], value.shape)
    if name in ("silu", "swish"):
        return form.op("MUL", [value, form.op("LOGISTIC", [value], value.shape)], value.shape)
    if name in ("hard_silu", "hard_swish"):
        return _hard_swish(form, value)
    if name == "hard_sigmoid":
        moved = form.op("BIAS", [value, form.weights(())], value.shape)
        return scale(form, form.op("RELU6", [moved], value.shape))
    if name == "elu":
        return elu(form, value)
    if name == "leaky_relu":
        return leaky_relu(form, value)
    if name == "softplus":
        return _softplus(form, value)
    if name == "mish":
        return _mish(form, value)
    if name == "selu":
        return _selu(form, value)
    return None


def _softplus(form: Form, value: Value) -> Value:
    grown = form.op("EXP", [value], value.shape)
    return form.op("LOG", [form.op("ADD", [grown, form.weights(())], value.shape)], value.shape)


def _mish(form: Form, value: Value) -> Value:
    """The product x * p (1 + q) / (1 + q^2), p = logistic(x), q = 1 - p."""
    shape = value.shape
    p = form.op("LOGISTIC", [value], shape)
    q = form.op("SUB", [form.weights(()), p], shape)
    root = form.op("ADD", [form.op("MUL", [q, q], shape), form.weights(())], shape)
    root = form.op("RSQRT", [root], shape)
    inverse = form.op("MUL", [root, root], shape)
    factor = form.op("MUL", [inverse, form.op("ADD", [q, form.weights(())], shape)], shape)
    return form.op("MUL", [value, form.op("MUL", [factor, p], shape)], shape)


def _selu(form: Form, value: Value) -> Value:
    """A product of RELU(x), and one of exp(-RELU(-x)) - 1."""
    shape = value.shape
    above = form.op("MUL", [form.op("RELU", [value], shape), form.weights(())], shape)
    power = form.op("SUB", [_power(form, value), form.weights(())], shape)
    return form.op("ADD", [above, form.op("MUL", [power, form.weights(())], shape)], shape)


def _power(form: Form, value: Value) -> Value:
    """exp(-RELU(-x)) as 1 / LOGISTIC(RELU(-x)) - 1; the quotient by RSQRT."""
    shape = value.shape
    below = form.op("MUL", [value, form.weights(())], shape, fused_activation="RELU")
    root = form.op("RSQRT", [form.op("LOGISTIC", [below], shape)], shape)
    return form.op("SUB", [form.op("MUL", [root, root], shape), form.weights(())], shape)


def softmax(form: Form, value: Value, axis: Any) -> Value | None:
    """SOFTMAX over the last axis; one other axis is put there and back."""
    rank = len(value.shape)
    if not isinstance(axis, int):
        return None
    if axis % rank == rank - 1:
        return form.op("SOFTMAX", [value], value.shape)
    order = [a for a in range(rank) if a != axis % rank] + [axis % rank]
    turned = turn(form, value, order)
    made = form.op("SOFTMAX", [turned], turned.shape)
    return turn(form, made, [order.index(a) for a in range(rank)])


def turn(form: Form, value: Value, order: Sequence[int]) -> Value:
    """TRANSPOSE, or RESHAPE where only sizes of 1 move."""
    shape = tuple(value.shape[axis] for axis in order)
    large = [axis for axis in order if value.shape[axis] != 1]
    kind, setting = ("RESHAPE", shape) if large == sorted(large) else ("TRANSPOSE", tuple(order))
    return form.op(kind, [value, form.setting(*setting)], shape)


def scale(form: Form, value: Value, size: tuple[int, ...] = ()) -> Value:
    """A product with a constant, which may go into the weights next to it."""
    return form.op("SCALE", [value, form.weights(size)], value.shape)


def leaky_relu(form: Form, value: Value) -> Value:
    """PRELU with one slope for all channels."""
    slopes = (*(1 for _ in value.shape[1:-1]), value.shape[-1])
    return form.op("PRELU", [value, form.weights(slopes)], value.shape)


def parametric_relu(form: Form, slopes: tuple[int, ...], value: Value, *, is_zero: bool) -> Value:
    """PRELU; with a slope for each position, RELU, MUL and SUB."""
    if all(size == 1 for size in slopes[:-1]):
        return form.op("PRELU", [value, form.weights(slopes)], value.shape)
    positive = form.op("RELU", [value], value.shape)
    if is_zero:
        return form.op("SUB", [positive, form.weights(value.shape)], value.shape)
    number = form.weights(())
    negative = form.op("MUL", [value, number], value.shape, fused_activation="RELU")
    scaled = form.op("MUL", [negative, form.weights(value.shape)], value.shape)
    return form.op("SUB", [positive, scaled], value.shape)


def _tanh_gelu(form: Form, value: Value) -> Value:
    """The form with tanh, as x * LOGISTIC(x * (a x^2 + b))."""
    shape = value.shape
    inner = form.op("MUL", [form.op("MUL", [value, value], shape), form.weights(())], shape)
    inner = form.op("ADD", [inner, form.weights(())], shape)
    gate = form.op("LOGISTIC", [form.op("MUL", [value, inner], shape)], shape)
    return form.op("MUL", [value, gate], shape)


def _hard_swish(form: Form, value: Value) -> Value:
    gate = form.op("ADD", [value, form.weights(())], value.shape, fused_activation="RELU6")
    scaled = form.op("MUL", [value, form.weights(())], value.shape)
    return form.op("MUL", [gate, scaled], value.shape)


def elu(form: Form, value: Value) -> Value:
    """RELU(x) + exp(-RELU(-x)) - 1; the power by LOGISTIC and RSQRT."""
    power = _power(form, value)
    return form.op("ADD", [form.op("RELU", [value], value.shape), power], value.shape)


def lower_relu_layer(form: Form, layer: Any, value: Value) -> Value | None:
    """The layer `ReLU` with its three options."""
    slope = float(getattr(layer, "negative_slope", 0.0) or 0.0)
    threshold = float(getattr(layer, "threshold", 0.0) or 0.0)
    largest = getattr(layer, "max_value", None)
    if slope and not threshold and largest is None:
        return leaky_relu(form, value)
    if slope or threshold:
        return None
    if largest is None:
        return form.op("RELU", [value], value.shape)
    if float(largest) == 6.0:
        return form.op("RELU6", [value], value.shape)
    small = form.op("RELU", [value], value.shape)
    small = form.op("MINIMUM", [small, form.weights(())], value.shape)
    return form.op("RELU", [small], value.shape)
