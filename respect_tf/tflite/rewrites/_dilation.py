"""Dilated convolutions that TensorFlow writes as a convolution of a batch of phases.

TFLite's converter puts SPACE_TO_BATCH_ND, CONV_2D and BATCH_TO_SPACE_ND together where each has one
reader; where two convolutions read the same phases, as in WaveNet's gates, it leaves them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from respect_tf.tflite._schema import schema
from respect_tf.tflite.rewrites._float_graph import FloatGraph
from respect_tf.tflite.rewrites._rule import Rule

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def _dilation(graph: FloatGraph, op: Any) -> bool:
    """Without padding, the convolution of each phase is every n-th result of the dilated one."""
    conv = _before(graph, op, _CONVOLUTIONS)
    split = None if conv is None else _before(graph, conv, ("SPACE_TO_BATCH_ND",))
    if conv is None or split is None:
        return False
    options = dict(vars(graph.options(conv)))
    strides = (options["strideH"], options["strideW"])
    factors = (options["dilationHFactor"], options["dilationWFactor"])
    if options["padding"] != schema().Padding.VALID or strides != (1, 1) or factors != (1, 1):
        return False
    sides = [_sides(graph, end) for end in (split, op)]
    if sides[0] is None or sides[1] is None or (sides[0][0] != sides[1][0]).any():
        return False
    (block, padding), (_, crops) = sides[0], sides[1]
    x = graph.read(split)[0]
    rank = len(graph.shape(x))
    if rank not in (3, 4) or len(block) > rank - 2 or graph.shape(x)[0] != 1:
        return False
    if len(block) < 2:  # a series, or the rows of a map, which phases alone divide
        if rank == 4:
            return False
        block, padding, crops = (
            np.concatenate([np.full_like(part[:1], unit), part])
            for part, unit in ((block, 1), (padding, 0), (crops, 0))
        )
    # What is padded behind and cropped again no result needs.
    behind = np.minimum(padding[:, 1], crops[:, 1])
    behind = np.where((padding[:, 0] == 0) & (crops[:, 0] == 0), behind, 0)
    padding, crops = (np.stack([p[:, 0], p[:, 1] - behind], axis=1) for p in (padding, crops))
    series = (1, 1, *graph.shape(x)[1:]) if rank == 3 else graph.shape(x)
    y = _padded(graph, op, graph.reshape(op, x, series), padding)
    kernel = graph.shape(graph.read(conv)[1])[1:3]
    height, width = (
        size - int(step) * (taps - 1)
        for size, step, taps in zip(graph.shape(y)[1:3], block, kernel, strict=True)
    )
    options |= {"dilationHFactor": int(block[0]), "dilationWFactor": int(block[1])}
    channels = graph.shape(graph.made(conv))[3]
    read = [y, *graph.read(conv)[1:]]
    y = graph.add(op, graph.kind(conv), read, (1, height, width, channels), **options)
    y = _cropped(graph, op, y, crops)
    graph.result(op, graph.reshape(op, y, graph.shape(graph.made(op))))
    return True


def _before(graph: FloatGraph, op: Any, kinds: tuple[str, ...]) -> Any | None:
    """The op of some types whose result another one reads, with at most a reshape between."""
    found = graph.maker(graph.read(op)[0])
    if found is not None and graph.kind(found) == "RESHAPE":
        batches = (graph.shape(t)[0] for t in (graph.read(found)[0], graph.made(found)))
        if len(set(batches)) > 1:
            return None
        found = graph.maker(graph.read(found)[0])
    return found if found is not None and graph.kind(found) in kinds else None


def _sides(graph: FloatGraph, op: Any) -> tuple[Any, Any] | None:
    """The constant block and paddings, or crops, of an op: [n] and [n, 2]."""
    block, sides = (graph.constant(tensor) for tensor in graph.read(op)[1:])
    return None if block is None or sides is None else (block.reshape(-1), sides.reshape(-1, 2))


def _padded(graph: FloatGraph, op: Any, x: int, padding: Any) -> int:
    if not padding.any():
        return x
    sides = np.concatenate([[[0, 0]], padding, [[0, 0]]]).astype(np.int32)
    shape = [size + int(n) for size, n in zip(graph.shape(x), sides.sum(axis=1), strict=True)]
    name = f"{graph.name(graph.made(op))}/padding"
    return graph.add(op, "PAD", [x, graph.add_constant(sides, name)], shape)


def _cropped(graph: FloatGraph, op: Any, x: int, crops: Any) -> int:
    if not crops.any():
        return x
    shape = graph.shape(x)
    first = np.array([0, *crops[:, 0], 0], np.int32)
    sizes = np.array(shape, np.int32) - np.array([0, *crops.sum(axis=1), 0], np.int32)
    name = graph.name(graph.made(op))
    read = [x, graph.add_constant(first, f"{name}/begin"), graph.add_constant(sizes, f"{name}/end")]
    return graph.add(op, "SLICE", read, [int(size) for size in sizes])


RULES = (
    Rule(
        "dilation", ("BATCH_TO_SPACE_ND",), "a convolution with dilation",
        "phases stand in the batch, which an Edge TPU does not have", "rounding of float32", 1e-6,
        _dilation,
    ),
)  # fmt: skip
