"""Products with constant matrices, and convolutions in groups."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from respect_tf.tflite.rewrites._float_graph import FloatGraph
from respect_tf.tflite.rewrites._rule import Rule

_ROUNDING = "rounding of float32: sums in another order"
# The compiler pads output channels to 64 where there are more (`device._parameters`): groups are
# put together up to that.
_LANES = 64
_DEPTHWISE_SETTINGS = (
    "padding", "strideW", "strideH", "fusedActivationFunction", "dilationWFactor",
    "dilationHFactor",
)  # fmt: skip


def _dense_on_sequence(graph: FloatGraph, op: Any) -> bool:
    x, kernel, *rest = graph.read(op)
    weights, options = graph.constant(kernel), graph.options(op)
    if weights is None or weights.dtype != np.float32:
        return False
    if options is not None and options.weightsFormat != 0:
        return False
    made = graph.shape(graph.made(op))
    count = math.prod(made[:-1])
    if count == 1:
        return False
    activation = 0 if options is None else options.fusedActivationFunction
    return _as_conv(graph, op, x, weights, rest[0] if rest else -1, activation)


def _as_conv(graph: FloatGraph, op: Any, x: int, weights: Any, bias: int, activation: int) -> bool:
    """Replace an op by a 1x1 convolution over all but the last axis."""
    shape, made = graph.shape(x), graph.shape(graph.made(op))
    outputs, inner = weights.shape
    rows: tuple[int, ...]
    if len(shape) == 4 and shape[0] == 1 and shape[3] == inner:
        rows = shape
    else:
        rows = (1, 1, math.prod(shape) // inner, inner)
        if len(shape) > 3 and shape[-1] == inner and math.prod(shape[:-3]) == 1:
            rows = (1, *shape[-3:])
    y = graph.conv(
        op, graph.reshape(op, x, rows), weights.reshape(outputs, 1, 1, inner), bias,
        fusedActivationFunction=activation,
    )  # fmt: skip
    graph.result(op, y if graph.shape(y) == made else graph.reshape(op, y, made))
    return True


def _constant_product(graph: FloatGraph, op: Any) -> bool:
    """BATCH_MATMUL by one constant matrix."""
    left, right = graph.read(op)
    matrix, options = graph.constant(right), graph.options(op)
    if matrix is None or graph.constant(left) is not None or math.prod(matrix.shape[:-2]) != 1:
        return False
    if options is not None and options.adjX:
        return False
    plain = matrix.reshape(matrix.shape[-2:])
    weights = plain if options is not None and options.adjY else plain.T
    shape = graph.shape(left)
    weights = np.ascontiguousarray(weights, np.float32)
    if math.prod(shape[:-1]) > 1:
        return _as_conv(graph, op, left, weights, -1, 0)
    kernel = graph.add_constant(weights, f"{graph.name(right)}/weights")
    row = graph.reshape(op, left, (1, shape[-1]))
    y = graph.add(op, "FULLY_CONNECTED", [row, kernel, -1], (1, weights.shape[0]))
    graph.result(op, graph.reshape(op, y, graph.shape(graph.made(op))))
    return True


def _grouped(graph: FloatGraph, op: Any) -> bool:
    """Slices, convolutions and CONCATENATION; narrow groups are put together, with zeros."""
    x, kernel, *rest = graph.read(op)
    weights = graph.constant(kernel)
    shape, made = graph.shape(x), graph.shape(graph.made(op))
    if weights is None or weights.shape[3] == shape[3]:
        return False
    groups = shape[3] // weights.shape[3]
    narrow, wide = weights.shape[3], weights.shape[0] // groups
    together = next(
        n
        for n in range(groups, 0, -1)
        if groups % n == 0 and (n * max(narrow, wide) <= _LANES or n == 1)
    )
    parts = groups // together
    biases = graph.constant(rest[0]) if rest else None
    if narrow == wide == 1:
        _depthwise(graph, op, weights, biases)
        return True
    base = graph.name(graph.made(op))
    settings = dict(vars(graph.options(op)))
    slices = _split(graph, op, x, parts) if parts > 1 else [x]
    results = []
    for part, piece in enumerate(slices):
        block = np.zeros((together * wide, *weights.shape[1:3], together * narrow), np.float32)
        for number in range(together):
            first = (part * together + number) * wide
            rows = slice(number * wide, (number + 1) * wide)
            columns = slice(number * narrow, (number + 1) * narrow)
            block[rows, :, :, columns] = weights[first : first + wide]
        own = np.zeros(together * wide, np.float32)
        if biases is not None:
            own = biases[part * together * wide : (part + 1) * together * wide]
        read = [
            piece,
            graph.add_constant(block, f"{base}/weights"),
            graph.add_constant(np.array(own), f"{base}/bias"),
        ]
        results.append(graph.add(op, "CONV_2D", read, (*made[:3], together * wide), **settings))
    y = results[0]
    if parts > 1:
        y = graph.add(op, "CONCATENATION", results, made, axis=3)
    graph.result(op, y)
    return True


def _depthwise(graph: FloatGraph, op: Any, weights: Any, biases: Any) -> None:
    """A group for each channel is a depthwise convolution."""
    x, made = graph.read(op)[0], graph.made(op)
    channels, name = weights.shape[0], graph.name(made)
    bias = np.zeros(channels, np.float32) if biases is None else np.array(biases)
    read = [
        x,
        graph.add_constant(np.transpose(weights, (3, 1, 2, 0)).copy(), f"{name}/weights"),
        graph.add_constant(bias, f"{name}/bias"),
    ]
    settings = {
        key: value for key, value in vars(graph.options(op)).items() if key in _DEPTHWISE_SETTINGS
    }
    y = graph.add(op, "DEPTHWISE_CONV_2D", read, graph.shape(made), depthMultiplier=1, **settings)
    graph.result(op, y)


def _split(graph: FloatGraph, op: Any, x: int, parts: int) -> list[int]:
    shape = graph.shape(x)
    axis = graph.add_constant(np.array(3, np.int32), f"{graph.name(graph.made(op))}/axis")
    shapes = [(*shape[:3], shape[3] // parts)] * parts
    return graph.add_several(op, "SPLIT", [axis, x], shapes, numSplits=parts)


RULES = (
    Rule(
        "dense-on-sequence", ("FULLY_CONNECTED",), "RESHAPE and CONV_2D 1x1",
        "only dense layers with one-dimensional outputs are mapped", _ROUNDING, 1e-5,
        _dense_on_sequence,
    ),
    Rule(
        "constant-product", ("BATCH_MATMUL",), "FULLY_CONNECTED, or CONV_2D 1x1",
        "the compiler leaves it and all that follows on the CPU", _ROUNDING, 1e-5,
        _constant_product,
    ),
    Rule(
        "grouped-convolution", ("CONV_2D",), "DEPTHWISE_CONV_2D, or slices of CONV_2D",
        "newer than the compiler, which stops at the whole file", _ROUNDING, 1e-5, _grouped,
    ),
)  # fmt: skip
