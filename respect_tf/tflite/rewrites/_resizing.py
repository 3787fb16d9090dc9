"""Resizing by more than the compiler maps at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from respect_tf.tflite.rewrites._float_graph import FloatGraph
from respect_tf.tflite.rewrites._movement import MOST_ENLARGEMENT, enlarge, enlarged
from respect_tf.tflite.rewrites._rule import Rule


def _resizing(graph: FloatGraph, op: Any) -> bool:
    """One pixel as a product with ones, as in DeepLab's pooled branch; nearest in steps."""
    x, made = graph.read(op)[0], graph.shape(graph.made(op))
    shape = graph.shape(x)
    if len(shape) != 4 or shape[0] != 1:
        return False
    if all(grown <= MOST_ENLARGEMENT * size for grown, size in zip(made, shape, strict=True)):
        return False
    if shape[1:3] == (1, 1):
        ones = np.ones((1, *made[1:3], 1), np.float32)
        factor = graph.add_constant(ones, f"{graph.name(graph.made(op))}/ones")
        graph.result(op, graph.binary(op, "MUL", x, factor))
        return True
    if graph.kind(op) != "RESIZE_NEAREST_NEIGHBOR" or graph.options(op).alignCorners:
        return False
    view, target = (shape[1], shape[2], shape[3]), (made[1], made[2], made[3])
    factors = (target[0] // view[0], target[1] // view[1])
    if (factors[0] * view[0], factors[1] * view[1]) != target[:2]:
        return False
    positions = enlarged(np.arange(math.prod(view)).reshape(view), factors)
    y = enlarge(graph, op, x, view, target, positions)
    if y is None:
        return False
    graph.result(op, y)
    return True


RULES = (
    Rule(
        "resizing", ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"),
        "MUL by ones, or several RESIZE_NEAREST_NEIGHBOR",
        f"more than {MOST_ENLARGEMENT}-fold, which the compiler does not map",
        "rounding of float32", 1e-6, _resizing,
    ),
)  # fmt: skip
