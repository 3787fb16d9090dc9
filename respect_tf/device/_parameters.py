"""Bytes that Google's compiler stores for the parameters of each op, and prints in its log.

The formulas were found in public pairs of source and compiled models (google-coral/test_data,
google-coral/edgetpu, LibrEdgeTPU, EdgeTPU_Analysis, Segments-Runner, EdgeTPU-MOT, edgetpu-tcn,
SR-GAN-Edge-TPU and others) and in public compiler logs;
`benchmarks/device.py` measures them against that data.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from respect_tf.graph import OpAttributes, OpGraph

_ROUNDING = 64  # bytes: parameters of an op start at multiples of it
_BIAS, _PER_CHANNEL = 4, 8  # bytes per output channel
_DENSE_BLOCK, _CONV_BLOCK = 64, 16  # output channels that stay together in one tile
_FEW_CHANNELS = 4  # spatial convolutions with no more output channels are not padded
# Elementwise ops keep a vector of constants as 16 bytes a channel, and stream it.
_ELEMENTWISE = {
    "ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "PRELU",
}  # fmt: skip
_VECTOR_BYTES = 16
# Two tables of so many bytes a class; what more classes take is known from one model: little.
_SOFTMAX_BYTES, _SOFTMAX_LARGEST = 24, 2048
_WEIGHTED = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"}
_RECURRENT = {"LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM"}
_SEQUENCE_BYTES = 48  # cached for each value of an LSTM's output; one more is streamed (seen once)
_ARRAY_TILES = 16  # graphs without shapes: parameters are spread evenly


@dataclasses.dataclass(frozen=True, eq=False)
class Parameters:
    """What the parameters of each op take. int64 [num_ops] each.

    Attributes:
        stored: Bytes in the compiled file.
        logged: Bytes that "memory used for caching" counts if the op's parameters are cached.
        streamed: Those of `stored` that are streamed at every inference whatever room there is.
        blocks: Number of equal blocks that the on-chip form is made of; a block stays in one tile.
        block_bytes: Size of a block.
    """

    stored: npt.NDArray[np.int64]
    logged: npt.NDArray[np.int64]
    streamed: npt.NDArray[np.int64]
    blocks: npt.NDArray[np.int64]
    block_bytes: npt.NDArray[np.int64]

    @property
    def movable(self) -> npt.NDArray[np.int64]:
        """Those of `stored` that are cached where there is room. int64 [num_ops]."""
        return self.stored - self.streamed


def op_parameters(graph: OpGraph, *, keeps_zero_biases: bool = False) -> Parameters:
    """The parameters of every op of a graph.

    A graph without shapes (`OpGraph.from_arrays`) stores its parameter bytes as they are.

    Args:
        graph: The graph.
        keeps_zero_biases: As compiler 1.0 did; later ones drop biases that are absent or zero.
    """
    if keeps_zero_biases and graph.op_attributes:
        attributes = (dataclasses.replace(item, has_bias=True) for item in graph.op_attributes)
        graph = dataclasses.replace(graph, op_attributes=tuple(attributes))
    rows = np.zeros((5, graph.num_ops), np.int64)
    for op in range(graph.num_ops):
        rows[:, op] = _of_op(graph, op) if graph.op_attributes else _of_array(graph, op)
    return Parameters(*rows)


_Row = tuple[int, int, int, int, int]  # stored, logged, streamed, blocks, block_bytes
_NOTHING: _Row = (0, 0, 0, 0, 0)


def _of_array(graph: OpGraph, op: int) -> _Row:
    stored = math.ceil(graph.parameter_bytes[op])
    block = -(-stored // _ARRAY_TILES)
    return (stored, stored, 0, _ARRAY_TILES if stored else 0, block)


def _of_op(graph: OpGraph, op: int) -> _Row:
    kind = graph.op_types[op]
    if kind in _WEIGHTED:
        return _weighted(graph, op)
    if kind in _RECURRENT:
        return _recurrent(graph, op)
    if kind in _ELEMENTWISE:
        streamed = _elementwise(graph, op)
        return (streamed, 0, streamed, 0, 0)
    if kind == "TRANSPOSE":
        return _transpose(graph, op)
    if kind == "SOFTMAX":
        classes = math.prod(graph.tensor_shapes[graph.inputs_of(op)[0]][-1:])
        if classes > _SOFTMAX_LARGEST:
            return _NOTHING
        return _one_block(2 * round_up(_SOFTMAX_BYTES * round_up(classes, 4), _ROUNDING))
    return _NOTHING


def _one_block(size: int) -> _Row:
    size = round_up(size, _ROUNDING)
    return (size, size, 0, 1, size)


def _weighted(graph: OpGraph, op: int) -> _Row:
    kind, attributes = graph.op_types[op], graph.op_attributes[op]
    inputs = graph.inputs_of(op)
    if len(inputs) < 2 or not graph.is_constant[inputs[1]]:
        return _NOTHING
    weights = graph.tensor_shapes[inputs[1]]
    overhead = _BIAS * attributes.has_bias + _PER_CHANNEL * _is_per_channel(graph, inputs[1])
    image = graph.tensor_shapes[inputs[2 if kind == "TRANSPOSE_CONV" else 0]]
    made = graph.tensor_shapes[graph.outputs_of(op)[0]]
    if kind == "FULLY_CONNECTED":
        return _dense(weights[0], _dense_inputs(weights, image), overhead)
    taps = stored_taps(kind, weights, image, made, attributes)
    channels_in = image[-1]
    if kind == "DEPTHWISE_CONV_2D" and channels_in == weights[-1]:
        per_channel = 4 * taps + overhead
        logged = round_up(channels_in, 64) * per_channel
        stored = round_up(round_up(channels_in, 8) * per_channel, _ROUNDING)
        return (stored, logged, 0, logged // (16 * per_channel), 16 * per_channel)
    # A depthwise op that makes several channels of each is stored as a plain convolution, but for
    # its biases and scales.
    channels_out = weights[-1] if kind == "DEPTHWISE_CONV_2D" else weights[0]
    read = channels_in if kind == "DEPTHWISE_CONV_2D" else weights[-1]
    per_channel = taps * round_up(read, 4) + overhead
    if channels_out <= _FEW_CHANNELS:
        stored = round_up(_FEW_CHANNELS * per_channel, _ROUNDING)
        logged = channels_out * per_channel
        return (stored, logged, 0, 1, logged)
    padded = _pad_channels(channels_out)
    beside = round_up(channels_out, 8) if kind == "DEPTHWISE_CONV_2D" else padded
    stored = round_up(padded * (per_channel - overhead) + beside * overhead, _ROUNDING)
    logged = round_up(channels_out, 64) * per_channel
    block = _CONV_BLOCK if math.prod(made[1:-1]) > 1 else _DENSE_BLOCK
    return (stored, logged, 0, round_up(channels_out, 64) // block, block * per_channel)


def _dense(units: int, inputs: int, overhead: int) -> _Row:
    per_unit = inputs + overhead
    stored = round_up(_pad_channels(units) * per_unit, _ROUNDING)
    blocks = round_up(units, 64) // _DENSE_BLOCK
    return (stored, _DENSE_BLOCK * blocks * per_unit, 0, blocks, _DENSE_BLOCK * per_unit)


def _dense_inputs(weights: Sequence[int], image: Sequence[int]) -> int:
    """A dense layer on a map pads the channels of each pixel, not their sum."""
    if len(image) == 4 and math.prod(image[1:]) == weights[-1] > image[-1]:
        return weights[-1] // image[-1] * round_up(image[-1], 4)
    return round_up(weights[-1], 4)


def _recurrent(graph: OpGraph, op: int) -> _Row:
    """The gates' matrices as dense layers without biases, four biases, and tables for each value.

    Matrices and biases are a guess: one public pair with an LSTM gives their sum with the tables.
    """
    stored = 0
    for tensor in graph.inputs_of(op).tolist():
        shape = graph.tensor_shapes[tensor]
        if graph.is_constant[tensor] and len(shape) == 2:
            stored += _pad_channels(shape[0]) * round_up(shape[1], 4)
        elif graph.is_constant[tensor] and graph.tensor_dtypes[tensor] == "int32":
            stored += _pad_channels(math.prod(shape)) * _BIAS
    if not stored:
        return _NOTHING
    made = round_up(math.prod(graph.tensor_shapes[graph.outputs_of(op)[0]]), _ROUNDING)
    cached = round_up(stored + _SEQUENCE_BYTES * made, _ROUNDING)
    return (cached + made, cached, made, 1, cached)


def _transpose(graph: OpGraph, op: int) -> _Row:
    """Moving the channels is a convolution with an identity matrix, other moves need nothing.

    One public pair shows two of them with the reshapes behind: 68,160 bytes, of which this explains
    55,296.
    """
    settings = graph.op_attributes[op].settings
    axes = (settings[-1] if settings else None) or ()
    read = graph.tensor_shapes[graph.inputs_of(op)[0]]
    if not axes or axes[-1] % len(axes) == len(axes) - 1:
        return _NOTHING
    row_bytes = round_up(read[-1], 4)
    stored = round_up(_pad_channels(read[-1]) * row_bytes, _ROUNDING)
    blocks = round_up(read[-1], 64) // _CONV_BLOCK
    return (stored, round_up(read[-1], 64) * row_bytes, 0, blocks, _CONV_BLOCK * row_bytes)


def _elementwise(graph: OpGraph, op: int) -> int:
    total = 0
    channels = graph.tensor_shapes[graph.outputs_of(op)[0]][-1:]
    for tensor in graph.inputs_of(op).tolist():
        if not graph.is_constant[tensor]:
            continue
        values = math.prod(graph.tensor_shapes[tensor])
        if values > 1:  # a single number is part of the instruction
            is_vector = values == math.prod(channels)
            total += round_up(values * (_VECTOR_BYTES if is_vector else 1), _ROUNDING)
    return total


def stored_taps(
    kind: str,
    weights: Sequence[int],
    image: Sequence[int],
    made: Sequence[int],
    attributes: OpAttributes,
) -> int:
    """Elements of a kernel that are stored: those that meet the map somewhere.

    Args:
        kind: The op's type.
        weights: Shape of the weights, [channels, height, width, channels] in either order.
        image: Shape of the map that is read, [batch, height, width, channels].
        made: Shape of the map that is made.
        attributes: The op's strides, dilation and padding.
    """
    taps = 1
    for axis in (1, 2):
        size = weights[axis]
        if size > 1 and kind != "TRANSPOSE_CONV" and len(image) == 4 and len(made) == 4:
            stride, dilation = attributes.strides[axis - 1], attributes.dilation[axis - 1]
            same = attributes.padding == "SAME"
            size = _used_taps(size, stride, dilation, image[axis], made[axis], same)
        taps *= size
    return taps


@functools.lru_cache(maxsize=4096)  # a network has few kinds of layers, and looks at each twice
def _used_taps(size: int, stride: int, dilation: int, read: int, made: int, same: bool) -> int:
    """Elements of a kernel along one axis that meet a map of `read` pixels somewhere."""
    span = (made - 1) * stride + (size - 1) * dilation + 1
    before = max(0, span - read) // 2 if same else 0
    starts = np.arange(size) * dilation - before
    # The first window in which an element is not before the map; no array of all windows is made,
    # because a file can claim any size of a map.
    first = np.maximum(0, -(starts // max(stride, 1)))
    return max(1, int(((first < made) & (starts + first * stride < read)).sum()))


def _is_per_channel(graph: OpGraph, tensor: int) -> bool:
    quantization = graph.tensor_quantization[tensor]
    return quantization is not None and len(quantization.scale) > 1


def _pad_channels(channels: int) -> int:
    return round_up(channels, 16 if channels <= 64 else 64)


def round_up(value: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is `value` or more."""
    return -(-value // multiple) * multiple
