"""Bytes of instructions that an Edge TPU is sent at every inference, before anything is compiled.

What decides is how evenly a map divides among the tiles, which form a grid of four by four: where
a side is no multiple of four, the tiles at its edge work on another size and need instructions of
their own, up to four kinds of them. That explains why a MobileNet on 353x481 pixels needs twice as
many as on 192x192, and one on 512x512 half as many as on 513x513. Large maps of that sort are also
worked off in strips, each with instructions of its own.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from respect_tf.graph import OpGraph

Floats = npt.NDArray[np.float64]

_GRID = 4  # tiles along each side of a map
_BLOCK = 64  # output channels of a convolution that are worked off together
_LARGE_MIB = 1.5  # found: maps from which on strips begin to count; 1 and 2 fit as well
_MIB = 2**20
# Found: what QUANTIZE does is part of its neighbours, and a PRELU is computed in two steps.
_OTHERS = {"QUANTIZE": 0, "PRELU": 2}

# Fitted by `benchmarks._device_instructions.fitted_costs`, which has the least sum of relative
# errors, to the compiled files of the public pairs (without what loads parameters once) and to the
# sizes of the compiled files of ResNet50, InceptionV3 and DenseNet201 in segments
# (pm2550/TPU_Models). Each model left out in turn, the median error is 20 % on the pairs and 11 %
# on the segments. Compilers differ: one model has 3.7 times as many by one as by another.
BASE_BYTES = 4673.0
INSTRUCTION_COSTS = {
    "convolution": 544.0,  # depthwise ones too
    "block of 64 channels": 60.5,  # that a plain convolution makes
    "further kind of tile": 649.5,  # of a convolution
    "dense": 1470.7,
    "softmax": 42486.1,
    "other": 1551.3,  # PRELU twice, QUANTIZE never
    "uneven MiB": 9677.6,  # above 1.5 MiB of a map, for each further kind of tile
}
"""Bytes that each feature of an op adds; the columns of `instruction_features`."""


def instruction_bytes(graph: OpGraph) -> tuple[float, Floats]:
    """Instructions of a segment: a base, and what each of its mapped ops adds.

    A graph without shapes (`OpGraph.from_arrays`) has ops of no known kind.

    Returns:
        Bytes of a segment without ops, and bytes of each op, float64 [num_ops].
    """
    return BASE_BYTES, instruction_features(graph) @ np.array([*INSTRUCTION_COSTS.values()])


def instruction_features(graph: OpGraph) -> Floats:
    """What an op's instructions are a sum of. float64 [num_ops, len(INSTRUCTION_COSTS)]."""
    return np.array([_features(graph, op) for op in range(graph.num_ops)], np.float64).reshape(
        graph.num_ops, len(INSTRUCTION_COSTS)
    )


def _features(graph: OpGraph, op: int) -> tuple[float, ...]:
    kind = graph.op_types[op]
    shape: tuple[int, ...] = ()
    if graph.op_attributes:
        shape = graph.tensor_shapes[graph.outputs_of(op)[0]]
    further = _tile_kinds(shape) - 1
    made = float(graph.tensor_bytes[graph.outputs_of(op)].sum()) / _MIB
    is_convolution, is_dense = "CONV" in kind, kind == "FULLY_CONNECTED"
    is_plain = is_convolution and kind != "DEPTHWISE_CONV_2D" and shape
    is_other = not is_convolution and not is_dense and kind != "SOFTMAX"
    return (
        is_convolution,
        math.ceil(shape[-1] / _BLOCK) if is_plain else 0,
        further if is_convolution else 0,
        is_dense,
        kind == "SOFTMAX",
        _OTHERS.get(kind, 1) if is_other else 0,
        max(0.0, made - _LARGE_MIB) * further,
    )


def _tile_kinds(shape: tuple[int, ...]) -> int:
    """Sizes of a map's parts when it is divided among the tiles: 1, 2 or 4."""
    if len(shape) != 4:
        return 1
    return math.prod(2 if side % _GRID and side > 1 else 1 for side in shape[1:3])
