"""Negation, squares, quotients and roots, and the norms that are made of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from respect_tf.tflite._trace import INPUT_CAST
from respect_tf.tflite.rewrites._float_graph import FloatGraph
from respect_tf.tflite.rewrites._rule import Rule

_NO_KERNEL = "no int8 kernel: it and its neighbours stay in float, which an Edge TPU refuses"
_NOT_SUPPORTED = "the compiler leaves it and all that follows on the CPU"
_ROUNDING = "rounding of float32"
_NEVER_NEGATIVE = (
    "ABS", "SQUARE", "SQUARED_DIFFERENCE", "RELU", "RELU6", "LOGISTIC", "EXP", "SQRT", "SOFTMAX",
)  # fmt: skip
_RELUS = (1, 3)  # `ActivationFunctionType.RELU` and `.RELU6`
# The kernel of L2_NORMALIZATION divides by 1e-6 where the norm is smaller.
_LEAST_NORM = 1e-6


def _negation(graph: FloatGraph, op: Any) -> bool:
    """The sum a + (-m) * s is a - m * s, in every bit; else the product with -1."""
    x, made = graph.read(op)[0], graph.made(op)
    product = graph.only_reader(made)
    if product is not None and graph.kind(product) == "MUL" and not _is_fused(graph, product):
        total = graph.only_reader(graph.made(product))
        if total is not None and graph.kind(total) == "ADD":
            read = graph.read(product)
            graph.set_input(product, read.index(made), x)
            terms = graph.read(total)
            (other,) = [t for t in terms if t != graph.made(product)] or [-1]
            if other >= 0 and read.count(made) == 1:
                fused = graph.options(total).fusedActivationFunction
                graph.result(
                    total,
                    graph.binary(
                        total, "SUB", other, graph.made(product), fusedActivationFunction=fused
                    ),
                )
                graph.drop(op)
                return True
            graph.set_input(product, read.index(made), made)
    graph.result(op, graph.binary(op, "MUL", x, -1.0))
    return True


def _is_fused(graph: FloatGraph, op: Any) -> bool:
    options = graph.options(op)
    return options is not None and options.fusedActivationFunction != 0


def _square(graph: FloatGraph, op: Any) -> bool:
    x = graph.read(op)[0]
    graph.result(op, graph.binary(op, "MUL", x, x))
    return True


def _power(graph: FloatGraph, op: Any) -> bool:
    x, exponent = graph.read(op)
    value = graph.constant(exponent)
    if value is None or value.size != 1 or value.item() not in (2.0, 3.0, 4.0):
        return False
    square = graph.binary(op, "MUL", x, x)
    if value.item() == 2.0:
        graph.result(op, square)
    else:
        other = x if value.item() == 3.0 else square
        graph.result(op, graph.binary(op, "MUL", square, other))
    return True


def _division(graph: FloatGraph, op: Any) -> bool:
    """By a constant, by a square root, or by what is surely above 0."""
    left, right = graph.read(op)
    fused = graph.options(op)
    activation = 0 if fused is None else fused.fusedActivationFunction
    value, root = graph.constant(right), graph.maker(right)
    if value is not None and (value != 0).all():
        with np.errstate(over="ignore"):
            reciprocal = (1 / value.astype(np.float64)).astype(np.float32)
        if not np.isfinite(reciprocal).all():
            return False
        factor = graph.add_constant(reciprocal, f"{graph.name(right)}/reciprocal")
    elif root is not None and graph.kind(root) == "SQRT" and _is_positive(graph, root):
        factor = graph.add(op, "RSQRT", graph.read(root), graph.shape(right))
    elif _is_above_zero(graph, right):
        root = graph.add(op, "RSQRT", [right], graph.shape(right))
        factor = graph.binary(op, "MUL", root, root)
    else:
        return False
    graph.result(op, graph.binary(op, "MUL", left, factor, fusedActivationFunction=activation))
    return True


def _is_positive(graph: FloatGraph, root: Any) -> bool:
    """Whether what an op takes the root of has a positive constant added to it."""
    inner = graph.maker(graph.read(root)[0])
    if inner is None or graph.kind(inner) not in ("ADD", "MAXIMUM"):
        return False
    values = [graph.constant(tensor) for tensor in graph.read(inner)]
    return any(value is not None and (value > 0).all() for value in values)


def _is_above_zero(graph: FloatGraph, tensor: int) -> bool:
    """Whether a tensor is the sum of a positive constant and of what is never negative."""
    total = graph.maker(tensor)
    if total is None or graph.kind(total) != "ADD":
        return False
    inner, value = _with_constant(graph, total)
    return value is not None and bool((value > 0).all()) and _is_never_negative(graph, inner)


def _is_never_negative(graph: FloatGraph, tensor: int) -> bool:
    made = graph.maker(tensor)
    if made is None:
        return False
    kind, read = graph.kind(made), graph.read(made)
    if kind in _NEVER_NEGATIVE or getattr(graph.options(made), "fusedActivationFunction", 0) in (
        *_RELUS,
    ):
        return True
    if kind == "PRELU":
        slope = graph.constant(read[1])
        return slope is not None and bool((slope <= 0).all())
    if kind == "MUL" and len(set(read)) == 1:
        return True
    return kind in ("MEAN", "SUM", "RESHAPE") and _is_never_negative(graph, read[0])


def _root(graph: FloatGraph, op: Any) -> bool:
    """sqrt(v) is v * rsqrt(v), where v is not zero."""
    if not _is_positive(graph, op):
        return False
    x = graph.read(op)[0]
    root = graph.add(op, "RSQRT", [x], graph.shape(x))
    graph.result(op, graph.binary(op, "MUL", root, x))
    return True


def _normalization(graph: FloatGraph, op: Any) -> bool:
    """The product x * rsqrt(sum of x^2 over the last axis), whatever keeps the root from 0."""
    terms = graph.read(op)
    if len(terms) != 2 or _is_fused(graph, op):
        return False
    for x, factor in (terms, terms[::-1]):
        squares = _summed_squares(graph, factor)
        if squares is not None and graph.read(squares).count(x) == len(graph.read(squares)):
            shape = graph.shape(x)
            if graph.shape(graph.made(op)) == shape and len(shape) <= 4:
                graph.result(op, graph.add(op, "L2_NORMALIZATION", [x], shape))
                return True
    return False


def _summed_squares(graph: FloatGraph, factor: int) -> Any | None:
    """The op that squares, if a tensor is one over the norm of something along its last axis."""
    root = graph.maker(factor)
    if root is not None and graph.kind(root) == "MINIMUM":
        inner, limit = _with_constant(graph, root)
        if limit is None or not (limit >= 1 / _LEAST_NORM).all():
            return None
        root = graph.maker(inner)
    if root is None or graph.kind(root) != "RSQRT":
        return None
    total = graph.maker(graph.read(root)[0])
    if total is not None and graph.kind(total) in ("MAXIMUM", "ADD"):
        inner, limit = _with_constant(graph, total)
        if limit is None or not (limit <= _LEAST_NORM**2).all():
            return None
        total = graph.maker(inner)
    if total is None or graph.kind(total) != "SUM" or not graph.options(total).keepDims:
        return None
    values, axes = graph.read(total)
    rank, axis = len(graph.shape(values)), graph.constant(axes)
    if axis is None or [int(a) % rank for a in axis.reshape(-1)] != [rank - 1]:
        return None
    squares = graph.maker(values)
    is_square = squares is not None and (
        graph.kind(squares) == "SQUARE"
        or (graph.kind(squares) == "MUL" and len(set(graph.read(squares))) == 1)
    )
    return squares if is_square else None


def _with_constant(graph: FloatGraph, op: Any) -> tuple[int, Any]:
    """The other input of an op, and the value of its constant one."""
    left, right = graph.read(op)
    value = graph.constant(right)
    return (left, value) if value is not None else (right, graph.constant(left))


def _casts(graph: FloatGraph, op: Any) -> bool:
    """From float32 to a wider type and back, or integers that come in as float32: nothing."""
    before = graph.maker(graph.read(op)[0])
    if before is None or graph.kind(before) != "CAST":
        return False
    x, made = graph.read(before)[0], graph.made(op)
    types = (graph.dtype(x), graph.dtype(graph.made(before)), graph.dtype(made))
    is_wider = types == ("float32", "float64", "float32")
    # Integers by the model's own declaration: `_trace` takes them in as floats.
    is_input = x in graph.inputs and INPUT_CAST in graph.name(graph.made(before))
    if not (is_wider or (is_input and types[::2] == ("float32", "float32"))):
        return False
    graph.result(op, x)
    return True


def _channel_mean(graph: FloatGraph, op: Any) -> bool:
    """The mean over channels that are no multiple of 4, as a 1x1 convolution."""
    x, axes = graph.read(op)
    shape, axis = graph.shape(x), graph.constant(axes)
    if axis is None or len(shape) != 4 or shape[0] != 1 or shape[3] % 4 == 0:
        return False
    over = {int(a) % 4 for a in axis.reshape(-1)}
    if over not in ({3}, {1, 2, 3}):
        return False
    if over == {1, 2, 3}:
        axes = graph.add_constant(np.array([1, 2], np.int32), f"{graph.name(axes)}/map")
        shape = (1, 1, 1, shape[3])
        x = graph.add(op, "MEAN", [x, axes], shape, keepDims=True)
    weights = np.full((1, 1, 1, shape[3]), 1 / shape[3], np.float32)
    mean = graph.conv(op, x, weights)
    made = graph.shape(graph.made(op))
    graph.result(op, mean if made == graph.shape(mean) else graph.reshape(op, mean, made))
    return True


def _over_batch(graph: FloatGraph, op: Any) -> bool:
    """A reduction over a batch of 1 and other axes, as in tf_keras's norms, is one over these."""
    x, axes = graph.read(op)
    shape, axis = graph.shape(x), graph.constant(axes)
    if axis is None or len(shape) < 2 or shape[0] != 1:
        return False
    over = sorted({int(a) % len(shape) for a in axis.reshape(-1)})
    if 0 not in over:
        return False
    made, y = graph.shape(graph.made(op)), x
    if over[1:]:
        kept = graph.add_constant(np.array(over[1:], np.int32), f"{graph.name(axes)}/kept")
        reduced = [1 if a in over else size for a, size in enumerate(shape)]
        y = graph.add(op, graph.kind(op), [x, kept], reduced, keepDims=True)
    graph.result(op, y if graph.shape(y) == made else graph.reshape(op, y, made))
    return True


def _product_with_vector(graph: FloatGraph, op: Any) -> bool:
    """BATCH_MATMUL where one side is a vector: products and their sum."""
    left, right = graph.read(op)
    shapes = [graph.shape(left), graph.shape(right)]
    options = graph.options(op)
    flags = (bool(options.adjX), bool(options.adjY)) if options is not None else (False, False)
    if any(math.prod(shape[:-2]) != 1 for shape in shapes):
        return False
    (rows, inner), (_, columns) = (
        shape[-2:] if not flag else shape[:-3:-1] for shape, flag in zip(shapes, flags, strict=True)
    )
    if rows == 1:  # [1, k] [k, n]
        vector, matrix, transposed, count = left, right, flags[1], columns
    elif columns == 1:  # [m, k] [k, 1]
        vector, matrix, transposed, count = right, left, not flags[0], rows
    else:
        return False
    if count == 1:
        transposed = True  # both are vectors, and rows
    # `matrix` is [count, inner] where `transposed`, else [inner, count].
    line: tuple[int, ...] = (1, inner) if transposed else (1, inner, 1)
    flat: tuple[int, ...] = (1, inner, count)
    if transposed:
        flat = (1, count, inner) if count > 1 else (1, inner)
    product = graph.binary(
        op, "MUL", graph.reshape(op, matrix, flat), graph.reshape(op, vector, line)
    )
    axis = graph.add_constant(
        np.array([len(flat) - 1 if transposed else 1], np.int32),
        f"{graph.name(graph.made(op))}/axis",
    )
    total = graph.add(op, "SUM", [product, axis], (1, count), keepDims=count == 1)
    graph.result(op, graph.reshape(op, total, graph.shape(graph.made(op))))
    return True


RULES = (
    Rule(
        "unit-norm", ("MUL",), "L2_NORMALIZATION", _NO_KERNEL,
        f"{_ROUNDING}; norms below 1e-6 count as 1e-6", 1e-6, _normalization,
    ),
    Rule(
        "casts", ("CAST",), "nothing", _NO_KERNEL, "none", 0.0, _casts, any_type=True,
    ),
    Rule("negation", ("NEG",), "SUB, or MUL by -1", _NO_KERNEL, "none", 0.0, _negation),
    Rule("square", ("SQUARE",), "MUL(x, x)", _NO_KERNEL, "none", 0.0, _square),
    Rule("power", ("POW",), "MUL", _NO_KERNEL, _ROUNDING, 1e-6, _power),
    Rule(
        "division", ("DIV",), "MUL by the reciprocal, or by RSQRT, once or squared", _NOT_SUPPORTED,
        _ROUNDING, 1e-6, _division,
    ),
    Rule("root", ("SQRT",), "MUL(x, RSQRT(x))", _NO_KERNEL, _ROUNDING, 1e-6, _root),
    Rule(
        "batch-reduction", ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"),
        "the same without the batch", "reductions over the batch are not mapped", "none", 0.0,
        _over_batch,
    ),
    Rule(
        "channel-mean", ("MEAN",), "CONV_2D 1x1", "not mapped unless a multiple of 4",
        _ROUNDING, 1e-6, _channel_mean,
    ),
    Rule(
        "vector-product", ("BATCH_MATMUL",), "MUL and SUM", _NOT_SUPPORTED, _ROUNDING, 1e-6,
        _product_with_vector,
    ),
)  # fmt: skip
