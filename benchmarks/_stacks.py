"""Stacks of equal layers, as public measurements used them, as op graphs without a file."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from respect_tf.graph import OpAttributes, OpGraph, Quantization

Layer = tuple[str, tuple[int, ...], tuple[int, ...]]  # op type, shape of weights, of what it makes


def conv_stack(filters: int, depth: int, *, size: int = 64) -> OpGraph:
    """A 3x3 convolution of an image, then `depth` more of `filters` channels; weights per channel.

    Args:
        filters: Channels of every layer.
        depth: Number of layers after the first.
        size: Height and width of the image and of every map.
    """
    made = (1, size, size, filters)
    layers: list[Layer] = [("CONV_2D", (filters, 3, 3, 3), made)]
    layers += [("CONV_2D", (filters, 3, 3, filters), made)] * depth
    return _chain((1, size, size, 3), layers, per_channel=True)


def dense_stack(units: int, depth: int, *, inputs: int = 64, outputs: int = 10) -> OpGraph:
    """A dense layer of `inputs` values, `depth` more of `units`, and one of `outputs`.

    Args:
        units: Units of every layer but the last.
        depth: Number of layers between the first and the last.
        inputs: Values that the first layer reads.
        outputs: Units of the last layer.
    """
    sizes = [inputs, *[units] * (depth + 1), outputs]
    layers: list[Layer] = [
        ("FULLY_CONNECTED", (after, before), (1, after))
        for before, after in itertools.pairwise(sizes)
    ]
    return _chain((1, inputs), layers, per_channel=False)


def _chain(image: tuple[int, ...], layers: Sequence[Layer], *, per_channel: bool) -> OpGraph:
    """Tensors: the input, then for each layer its weights and what it makes."""
    num_ops = len(layers)
    shapes = [image]
    for _, weights, made in layers:
        shapes += [weights, made]
    sizes = np.array([math.prod(shape) for shape in shapes], np.int64)
    is_constant = np.zeros(len(shapes), bool)
    is_constant[1::2] = True
    quantization: list[Quantization | None] = [None] * len(shapes)
    if per_channel:
        for op, (_, weights, _) in enumerate(layers):
            ones = (1.0,) * weights[0]
            quantization[2 * op + 1] = Quantization(ones, (0,) * weights[0])
    outputs = np.arange(2, len(shapes), 2, dtype=np.int32)
    made_elements = sizes[2::2] if num_ops else sizes[:0]
    return OpGraph(
        op_names=tuple(f"layer_{op}" for op in range(num_ops)),
        op_types=tuple(kind for kind, _, _ in layers),
        parameter_bytes=sizes[1::2],
        macs=made_elements * np.array([math.prod(w[1:]) for _, w, _ in layers]),
        input_offsets=np.arange(0, 2 * num_ops + 1, 2),
        input_tensors=np.array(
            [t for op in range(num_ops) for t in (2 * op, 2 * op + 1)], np.int32
        ),
        output_offsets=np.arange(num_ops + 1),
        output_tensors=outputs,
        tensor_names=tuple(f"tensor_{t}" for t in range(len(shapes))),
        tensor_bytes=sizes,
        tensor_shapes=tuple(shapes),
        tensor_dtypes=("int8",) * len(shapes),
        tensor_quantization=tuple(quantization),
        is_constant=is_constant,
        model_inputs=np.zeros(1, np.int32),
        model_outputs=outputs[-1:],
        colocated=np.zeros((0, 2), np.int32),
        op_attributes=tuple(
            OpAttributes(padding="SAME" if kind == "CONV_2D" else "") for kind, _, _ in layers
        ),
    )
