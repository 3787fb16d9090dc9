"""What each op takes on the chip with its parameters there: work of a few kinds times prices.

The prices were fitted together to the networks that Google published times of, to stacks of
convolutions and of dense layers, and to segments of Keras networks, on seven hosts whose constants
were kept within what is known of them (`benchmarks/_device_networks.py`). They hold at 500 MHz.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from respect_tf.device._parameters import _pad_channels, round_up, stored_taps
from respect_tf.graph import OpGraph

Floats = npt.NDArray[np.float64]

CLOCK_MHZ = 500.0  # that of the prices
_MIB = 2.0**20
_GIGA = 1e9
_RECURRENT = {"LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM"}


@dataclasses.dataclass(frozen=True)
class Price:
    """What a unit of one kind of work takes.

    Attributes:
        name: The kind.
        value: ms per unit.
        low: One fit in twenty is lower, if the measured models are drawn anew, with repeats.
        high: One in twenty is higher.
        unit: Of value, low and high.
        source: Which measurements say so.
    """

    name: str
    value: float
    low: float
    high: float
    unit: str
    source: str


_PUBLIC = "fitted to public times of networks, stacks and segments together"
PRICES = (
    Price(
        "ms_per_pointwise_gmac", 0.49, 0.488, 0.76, "ms per 10**9 MACs",
        f"{_PUBLIC}: at the chip's peak of 4 TOPS, below which the fit may not go; MobileNets and "
        "ResNets tell it",
    ),
    Price(
        "ms_per_spatial_gmac", 1.02, 0.93, 1.07, "ms per 10**9 MACs",
        f"{_PUBLIC}: stacks of 3x3 (Jorgitou98) and of 7x7 convolutions (iwatake2222) agree, so a "
        "larger kernel costs its multiply-accumulates and no more",
    ),
    Price(
        "ms_per_depthwise_gmac", 29.4, 8.8, 36.0, "ms per 10**9 MACs",
        f"{_PUBLIC}: MobileNets (3x3) and EfficientNet-EdgeTpu (5x5)",
    ),
    Price(
        "ms_per_map_mib", 0.128, 0.11, 0.2, "ms per MiB",
        f"{_PUBLIC}: elementwise ops, concatenations, pools and what convolutions make cost alike; "
        "segments of DenseNet201 (pm2550) bound it from above",
    ),
    Price(
        "ms_per_vector_mib", 10.3, 8.3, 11.5, "ms per MiB read and made",
        f"{_PUBLIC}: stacks of dense layers (Jorgitou98), which take so much by the values that "
        "they read and make, not by their parameters",
    ),
)  # fmt: skip
_POINTWISE, _SPATIAL, _DEPTHWISE, _MAPS, _VECTORS = range(len(PRICES))


def op_work(graph: OpGraph) -> Floats:
    """Work of every op by kind. float64 [num_ops, len(PRICES)].

    `op_work(graph) @ [price.value for price in PRICES]` is the chip's ms for each op at 500 MHz
    with its parameters on chip. Channels are padded as they are stored. A graph without shapes
    (`OpGraph.from_arrays`) counts its MACs as those of spatial convolutions, and what its ops make.
    """
    work = np.zeros((graph.num_ops, len(PRICES)))
    for op in range(graph.num_ops):
        for kind, amount in _work(graph, op).items():
            work[op, kind] = amount
    return work


def chip_ms(graph: OpGraph) -> Floats:
    """What every op takes on the chip with its parameters there, at 500 MHz. float64 [num_ops]."""
    times: Floats = op_work(graph) @ np.array([price.value for price in PRICES])
    return times


def array_ms(macs: float) -> float:
    """Time on the chip at 500 MHz, in ms, of MACs of which nothing else is known."""
    return macs / _GIGA * PRICES[_SPATIAL].value


def padded_macs(graph: OpGraph, op: int) -> int:
    """Multiply-accumulates as the device spends them: channels padded as they are stored.

    Other ops than convolutions and dense layers count none. A graph without shapes counts its MACs
    as they are.
    """
    if not graph.op_attributes:
        return int(graph.macs[op])
    kind, inputs = graph.op_types[op], graph.inputs_of(op).tolist()
    if kind in _RECURRENT:
        return int(graph.macs[op])
    if not _has_weights(graph, op):
        return 0
    weights = graph.tensor_shapes[inputs[1]]
    made = graph.tensor_shapes[graph.outputs_of(op)[0]]
    if kind == "FULLY_CONNECTED":
        return math.prod(made[:-1]) * _pad_channels(weights[0]) * round_up(weights[-1], 4)
    image = graph.tensor_shapes[inputs[2 if kind == "TRANSPOSE_CONV" else 0]]
    if len(made) != 4 or len(image) != 4:
        return 0
    taps = stored_taps(kind, weights, image, made, graph.op_attributes[op])
    products: int = taps * math.prod((image if kind == "TRANSPOSE_CONV" else made)[:3])
    if kind == "DEPTHWISE_CONV_2D" and image[-1] == weights[-1]:
        return products * round_up(weights[-1], 8)
    # A depthwise op that makes several channels of each is stored as a plain convolution.
    return products * _pad_channels(made[-1]) * round_up(image[-1], 4)


def _work(graph: OpGraph, op: int) -> dict[int, float]:
    """Amounts of work of an op by the index of its price."""
    gmacs = padded_macs(graph, op) / _GIGA
    inputs = graph.inputs_of(op)
    activations = np.unique(inputs[~graph.is_constant[inputs]])
    read = float(graph.tensor_bytes[activations].sum()) / _MIB
    made = float(graph.tensor_bytes[graph.outputs_of(op)].sum()) / _MIB
    if not graph.op_attributes:
        return {_SPATIAL: gmacs, _MAPS: made}
    kind = graph.op_types[op]
    if kind in _RECURRENT or (kind == "FULLY_CONNECTED" and _has_weights(graph, op)):
        return {_POINTWISE: gmacs, _VECTORS: read + made}
    if not _has_weights(graph, op):
        return {_MAPS: max(read, made)}
    weights = graph.tensor_shapes[inputs[1]]
    if kind == "DEPTHWISE_CONV_2D" and graph.tensor_shapes[inputs[0]][-1] == weights[-1]:
        return {_DEPTHWISE: gmacs}
    spatial = math.prod(weights[1:3]) > 1
    return {_SPATIAL if spatial else _POINTWISE: gmacs, _MAPS: made}


def _has_weights(graph: OpGraph, op: int) -> bool:
    """Whether an op is a convolution or a dense layer whose weights are constant."""
    inputs = graph.inputs_of(op).tolist()
    weighted = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
    is_weighted = graph.op_types[op] in weighted and len(inputs) > 1
    return is_weighted and bool(graph.is_constant[inputs[1]])
