"""Activations without a kernel on the Edge TPU, from ops that have one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from respect_tf.tflite.rewrites._float_graph import FloatGraph
from respect_tf.tflite.rewrites._rule import Rule

_NOT_SUPPORTED = "the compiler leaves it and all that follows on the CPU"
_STOPS = "newer than the compiler, which stops at the whole file"
_ROUNDING = "rounding of float32"
_RELU6 = 3  # `ActivationFunctionType.RELU6`
_ACTIVATIONS = {1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6"}
_PRELU_PIXELS = 512 * 512  # from there on the compiler maps no PRELU
# max |x * (logistic(1.702 x) - Phi(x))|, at x = 2.2; found on a grid of 1e-5 over [-10, 10].
_GELU_DIFFERENCE = 0.0204


def _hard_swish(graph: FloatGraph, op: Any) -> bool:
    """The product (x / 6) * relu6(x + 3). Dividing the gate costs accuracy in int8.

    Six layers in a row are 6.1 % off, as with HARD_SWISH (5.9 %), and 8.9 % with a divided gate.
    """
    x = graph.read(op)[0]
    gate = graph.binary(op, "ADD", x, 3.0, fusedActivationFunction=_RELU6)
    scaled = graph.binary(op, "MUL", x, 1 / 6)
    graph.result(op, graph.binary(op, "MUL", gate, scaled))
    return True


def _is_tanh_form(graph: FloatGraph, op: Any) -> bool:
    options = graph.options(op)
    return options is not None and bool(options.approximate)


def _gelu_tanh(graph: FloatGraph, op: Any) -> bool:
    """The product x / 2 * (1 + tanh(u)) is x * logistic(2 u), with 2 u = x * (a + b x^2)."""
    if not _is_tanh_form(graph, op):
        return False
    x = graph.read(op)[0]
    factor = 2 * math.sqrt(2 / math.pi)
    square = graph.binary(op, "MUL", x, x)
    scaled = graph.binary(op, "MUL", square, factor * 0.044715)
    inner = graph.binary(op, "MUL", graph.binary(op, "ADD", scaled, factor), x)
    gate = graph.add(op, "LOGISTIC", [inner], graph.shape(x))
    graph.result(op, graph.binary(op, "MUL", gate, x))
    return True


def _gelu_erf(graph: FloatGraph, op: Any) -> bool:
    if _is_tanh_form(graph, op):
        return False
    x = graph.read(op)[0]
    gate = graph.add(op, "LOGISTIC", [graph.binary(op, "MUL", x, 1.702)], graph.shape(x))
    graph.result(op, graph.binary(op, "MUL", gate, x))
    return True


def _prelu(graph: FloatGraph, op: Any, slope: float) -> bool:
    """PRELU has scales of its own; MAXIMUM(x, a x) would have to share one and lose bits."""
    x = graph.read(op)[0]
    shape = graph.shape(x)
    if len(shape) not in (2, 3, 4) or math.prod(shape[1:-1]) >= _PRELU_PIXELS:
        return False
    alpha = np.full((*[1] * (len(shape) - 2), shape[-1]), slope, np.float32)
    name = f"{graph.name(graph.made(op))}/alpha"
    graph.result(op, graph.add(op, "PRELU", [x, graph.add_constant(alpha, name)], shape))
    return True


def _leaky_relu(graph: FloatGraph, op: Any) -> bool:
    return _prelu(graph, op, float(graph.options(op).alpha))


def _absolute(graph: FloatGraph, op: Any) -> bool:
    return _prelu(graph, op, -1.0)


def _prelu_by_position(graph: FloatGraph, op: Any) -> bool:
    """relu(x) - a * relu(-x), as only one of the two is not zero."""
    x, alpha = graph.read(op)
    slopes = graph.constant(alpha)
    if slopes is None or math.prod(slopes.shape[:-1]) == 1:
        return False
    slopes_here = graph.add_constant(slopes[np.newaxis], f"{graph.name(alpha)}/slopes")
    below = graph.add(op, "RELU", [graph.binary(op, "MUL", x, -1.0)], graph.shape(x))
    above = graph.add(op, "RELU", [x], graph.shape(x))
    sloped = graph.binary(op, "MUL", below, slopes_here)
    graph.result(op, graph.binary(op, "SUB", above, sloped))
    return True


def _unfuse(graph: FloatGraph, op: Any) -> bool:
    """The activation as an op of its own."""
    options = graph.options(op)
    activation = _ACTIVATIONS.get(0 if options is None else options.fusedActivationFunction)
    if activation is None:
        return False
    shape, made = graph.shape(graph.made(op)), graph.made(op)
    kind = graph.kind(op)
    settings = dict(vars(options)) | {"fusedActivationFunction": 0}
    plain = graph.add(op, kind, graph.read(op), shape, **settings)
    graph.result(op, graph.add(op, activation, [plain], graph.shape(made)))
    return True


RULES = (
    Rule(
        "hard-swish", ("HARD_SWISH",), "ADD with RELU6, MUL and MUL", _NOT_SUPPORTED,
        _ROUNDING, 1e-6, _hard_swish,
    ),
    Rule(
        "gelu-tanh", ("GELU",), "x * LOGISTIC of a polynomial", _STOPS, _ROUNDING, 1e-6, _gelu_tanh,
    ),
    Rule(
        "gelu", ("GELU",), "x * LOGISTIC(1.702 x)", _STOPS,
        f"an approximation: at most {_GELU_DIFFERENCE} for any input", math.inf, _gelu_erf,
        safe=False,
    ),
    Rule(
        "leaky-relu", ("LEAKY_RELU",), "PRELU with one slope", _NOT_SUPPORTED, "none", 0.0,
        _leaky_relu,
    ),
    Rule("absolute", ("ABS",), "PRELU with the slope -1", _NOT_SUPPORTED, "none", 0.0, _absolute),
    Rule(
        "prelu-by-position", ("PRELU",), "RELU(x) - alpha * RELU(-x)", _NOT_SUPPORTED, "none", 0.0,
        _prelu_by_position,
    ),
    Rule(
        "fused-activation", ("AVERAGE_POOL_2D", "MAX_POOL_2D", "CONCATENATION", "TRANSPOSE_CONV"),
        "the activation as an op of its own", "not mapped with a fused activation", "none", 0.0,
        _unfuse,
    ),
)  # fmt: skip
