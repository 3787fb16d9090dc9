"""MAXIMUM and MINIMUM of tensors that other ops read too.

Such an op has one scale for its inputs and its output, and TFLite's quantiser takes that of the
output: what the output never reaches is cut off from an input, for all that read it. In the
networks tried, other readers of such an input were 50 to 95 % off. Here the largest of two values
is one of them and what the other has above it, each with a scale of its own.
"""

from __future__ import annotations

from typing import Any

from respect_tf.tflite.rewrites._float_graph import FloatGraph
from respect_tf.tflite.rewrites._rule import Rule

_RELU = 1  # `ActivationFunctionType.RELU`

# Ops whose output has the scale of their input, so that the scale goes on to what they read.
_SAME_SCALE = (
    "RESHAPE", "MAX_POOL_2D", "SLICE", "STRIDED_SLICE", "TRANSPOSE", "PAD",
    "RESIZE_NEAREST_NEIGHBOR", "GATHER",
)  # fmt: skip


def _apart(graph: FloatGraph, op: Any) -> bool:
    a, b = graph.read(op)
    if graph.constant(a) is not None:
        a, b = b, a
    made = graph.shape(graph.made(op))
    constant = graph.constant(b)
    if graph.shape(a) != made or a == b:
        return False
    if constant is not None:
        if constant.size != 1 or not _is_shared(graph, a, op):
            return False
    elif graph.shape(b) != made or not (_is_shared(graph, a, op) or _is_shared(graph, b, op)):
        return False
    if graph.kind(op) == "MAXIMUM":
        above = graph.add(op, "SUB", [a, b], made, fusedActivationFunction=_RELU)
        graph.result(op, graph.add(op, "ADD", [above, b], made))
    else:
        below = graph.add(op, "SUB", [b, a], made, fusedActivationFunction=_RELU)
        graph.result(op, graph.add(op, "SUB", [b, below], made))
    return True


def _is_shared(graph: FloatGraph, tensor: int, reader: Any) -> bool:
    """Whether other ops read a tensor, or what it has its scale from."""
    while True:
        if graph.only_reader(tensor) is not reader:
            return True
        maker = graph.maker(tensor)
        if maker is None or graph.kind(maker) not in _SAME_SCALE:
            return False
        tensor, reader = graph.read(maker)[0], maker


RULES = (
    Rule(
        "extremes", ("MAXIMUM", "MINIMUM"), "SUB with RELU, and ADD or SUB",
        "other readers of its inputs have values cut off", "rounding of float32", 1e-6, _apart,
    ),
)  # fmt: skip
