"""Activations made of exponentials, by LOGISTIC and RSQRT: ELU, SELU, CELU, mish.

For n >= 0, exp(-n) is 1 / s - 1 with s = logistic(n), and 1 / s is rsqrt(s)^2. That keeps the
quantised values in [0, 1], whatever n is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from respect_tf.tflite.rewrites._float_graph import Array, FloatGraph
from respect_tf.tflite.rewrites._rule import Rule

_NOT_SUPPORTED = "the compiler leaves it and all that follows on the CPU"
_ROUNDING = "rounding of float32"
_MOST_STEPS = 6  # from a SELECT back to what it compares; SELU takes three

_UNARY = ("MUL", "ADD", "SUB", "EXP")


def _reciprocal_of_logistic(graph: FloatGraph, op: Any, n: int) -> int:
    """1 / logistic(n)."""
    shape = graph.shape(n)
    root = graph.add(op, "RSQRT", [graph.add(op, "LOGISTIC", [n], shape)], shape)
    return graph.binary(op, "MUL", root, root)


def _elu(graph: FloatGraph, op: Any) -> bool:
    x = graph.read(op)[0]
    shape = graph.shape(x)
    below = graph.add(op, "RELU", [graph.binary(op, "MUL", x, -1.0)], shape)
    left = graph.binary(op, "SUB", _reciprocal_of_logistic(graph, op, below), 2.0)
    above = graph.add(op, "RELU", [x], shape)
    graph.result(op, graph.binary(op, "ADD", above, left))
    return True


def _exp(graph: FloatGraph, op: Any) -> bool:
    """Of what is never above 0."""
    x = graph.read(op)[0]
    if not _is_never_positive(graph, x):
        return False
    minus = graph.maker(x)
    factor, inner = (None, -1) if minus is None else _with_constant(graph, minus)
    if minus is not None and graph.kind(minus) == "MUL" and factor is not None and factor == -1:
        n = inner
    else:
        n = graph.binary(op, "MUL", x, -1.0)
    graph.result(op, graph.binary(op, "SUB", _reciprocal_of_logistic(graph, op, n), 1.0))
    return True


def _is_never_positive(graph: FloatGraph, tensor: int) -> bool:
    made = graph.maker(tensor)
    if made is None:
        return False
    value, inner = _with_constant(graph, made)
    if value is None:
        return False
    if graph.kind(made) == "MINIMUM":
        return value <= 0
    if graph.kind(made) != "MUL":
        return False
    if value > 0:
        return _is_never_positive(graph, inner)
    below = graph.maker(inner)
    return below is not None and graph.kind(below) == "RELU"


def _with_constant(graph: FloatGraph, op: Any) -> tuple[float | None, int]:
    """The constant number that a binary op reads, and the other tensor."""
    read = graph.read(op)
    if len(read) != 2:
        return None, -1
    for tensor, other in (read, read[::-1]):
        value = graph.constant(tensor)
        if value is not None and value.size == 1:
            return float(value.reshape(-1)[0]), other
    return None, -1


def _select(graph: FloatGraph, op: Any) -> bool:
    """One of two functions on each side of 0, both 0 there: their sum on what is on their side."""
    condition, *sides = graph.read(op)
    compared = graph.maker(condition)
    if compared is None or graph.kind(compared) not in ("GREATER", "GREATER_EQUAL", "LESS"):
        return False
    x, limit = graph.read(compared)
    zero = graph.constant(limit)
    if zero is None or (zero != 0).any() or graph.shape(x) != graph.shape(graph.made(op)):
        return False
    if {graph.dtype(x), graph.dtype(graph.made(op))} != {"float32"}:
        return False
    if graph.kind(compared) == "LESS":
        sides = sides[::-1]
    chains = [_chain(graph, side, x) for side in sides]
    if any(chain is None for chain in chains):
        return False
    shape = graph.shape(x)
    above = graph.add(op, "RELU", [x], shape)
    below = graph.binary(
        op, "MUL", graph.add(op, "RELU", [graph.binary(op, "MUL", x, -1.0)], shape), -1.0
    )
    parts = [
        _applied(graph, op, chain, part)
        for chain, part in zip(chains, (above, below), strict=True)
        if chain is not None and chain != "zero"
    ]
    if not parts:
        return False
    total = parts[0] if len(parts) == 1 else graph.binary(op, "ADD", parts[0], parts[1])
    graph.result(op, total)
    return True


def _chain(graph: FloatGraph, tensor: int, x: int) -> list[Any] | str | None:
    """The ops from a tensor to another one, if they make 0 of 0; `"zero"` for constant zeros."""
    constant = graph.constant(tensor)
    if constant is not None:
        return "zero" if not constant.any() else None
    ops: list[Any] = []
    while tensor != x:
        made = graph.maker(tensor)
        if made is None or graph.kind(made) not in _UNARY or len(ops) == _MOST_STEPS:
            return None
        if getattr(graph.options(made), "fusedActivationFunction", 0):
            return None
        ops.insert(0, made)
        variables = [t for t in graph.read(made) if graph.constant(t) is None]
        if len(variables) != 1:
            return None
        (tensor,) = variables
    value: Array = np.zeros((), np.float32)
    for made in ops:
        value = _computed(graph, made, value)
    return ops if not np.any(value) else None


def _computed(graph: FloatGraph, op: Any, value: Array) -> Array:
    operands = []
    for tensor in graph.read(op):
        constant = graph.constant(tensor)
        operands.append(value if constant is None else constant)
    functions = {"MUL": np.multiply, "ADD": np.add, "SUB": np.subtract, "EXP": np.exp}
    made: Array = functions[graph.kind(op)](*operands)
    return made


def _applied(graph: FloatGraph, op: Any, chain: list[Any] | str, x: int) -> int:
    """The same ops on another tensor."""
    for made in chain:
        read = [x if graph.constant(t) is None else t for t in graph.read(made)]
        x = graph.add(op, graph.kind(made), read, graph.shape(graph.made(made)))
    return x


def _tanh_of_softplus(graph: FloatGraph, op: Any) -> bool:
    """As in mish: tanh(log(1 + exp(x))) is p (1 + q) / (1 + q^2), p = logistic(x), q = 1 - p."""
    made = graph.maker(graph.read(op)[0])
    if made is None or graph.kind(made) != "LOG":
        return False
    total = graph.maker(graph.read(made)[0])
    if total is None or graph.kind(total) != "ADD":
        return False
    one, power = _with_constant(graph, total)
    exponential = graph.maker(power) if one == 1 else None
    if exponential is None or graph.kind(exponential) != "EXP":
        return False
    x = graph.read(exponential)[0]
    shape = graph.shape(x)
    p = graph.add(op, "LOGISTIC", [x], shape)
    q = graph.add(op, "SUB", [graph.number(1.0, op), p], shape)
    root = graph.add(
        op, "RSQRT", [graph.binary(op, "ADD", graph.binary(op, "MUL", q, q), 1.0)], shape
    )
    factor = graph.binary(
        op, "MUL", graph.binary(op, "MUL", root, root), graph.binary(op, "ADD", q, 1.0)
    )
    graph.result(op, graph.binary(op, "MUL", factor, p))
    return True


RULES = (
    Rule(
        "elu", ("ELU",), "RELU, LOGISTIC, RSQRT, MUL and ADD", _NOT_SUPPORTED,
        _ROUNDING, 1e-6, _elu,
    ),
    Rule(
        "mish", ("TANH",), "LOGISTIC, RSQRT, MUL and ADD", _NOT_SUPPORTED, _ROUNDING, 1e-6,
        _tanh_of_softplus,
    ),
    Rule(
        "select", ("SELECT", "SELECT_V2"), "the sum of what is above 0 and what is below",
        _NOT_SUPPORTED, _ROUNDING, 1e-6, _select, any_type=True,
    ),
    Rule(
        "exponential", ("EXP",), "LOGISTIC, RSQRT, MUL and SUB", _NOT_SUPPORTED, _ROUNDING, 1e-6,
        _exp,
    ),
)  # fmt: skip
