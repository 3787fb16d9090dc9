"""Stacks of equal layers, as public measurements used them, as op graphs without a file."""

from __future__ import annotations

from benchmarks._graph_builder import GraphBuilder
from respect_tf.graph import OpGraph


def conv_stack(filters: int, depth: int, *, size: int = 64) -> OpGraph:
    """A 3x3 convolution of an image, then `depth` more of `filters` channels; weights per channel.

    Args:
        filters: Channels of every layer.
        depth: Number of layers after the first.
        size: Height and width of the image and of every map.
    """
    net = GraphBuilder((size, size, 3), bias=False)
    here = net.image
    for _ in range(1 + depth):
        here = net.conv(here, filters, 3)
    return net.graph()


def dense_stack(units: int, depth: int, *, inputs: int = 64, outputs: int = 10) -> OpGraph:
    """A dense layer of `inputs` values, `depth` more of `units`, and one of `outputs`.

    Args:
        units: Units of every layer but the last.
        depth: Number of layers between the first and the last.
        inputs: Values that the first layer reads.
        outputs: Units of the last layer.
    """
    net = GraphBuilder((inputs,), per_channel=False, bias=False)
    here = net.image
    for _ in range(1 + depth):
        here = net.dense(here, units)
    net.dense(here, outputs)
    return net.graph()
