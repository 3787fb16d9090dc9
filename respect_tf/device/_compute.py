"""What each op takes on the chip. Placeholder until the fit lands."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from respect_tf.device._parameters import round_up, stored_taps
from respect_tf.graph import OpGraph

MIB = 2.0**20
PRICES = (
    ("ms_per_pointwise_gmac", 0.49),
    ("ms_per_spatial_gmac", 1.1),
    ("ms_per_depthwise_mib", 0.3),
    ("ms_per_made_mib", 0.26),
    ("ms_per_vector_mib", 9.11),
)
_CONVOLUTIONS = ("CONV_2D", "TRANSPOSE_CONV")


def op_work(graph: OpGraph) -> npt.NDArray[np.float64]:
    """Work of each op by kind. float64 [num_ops, len(PRICES)]."""
    work = np.zeros((graph.num_ops, len(PRICES)))
    for op in range(graph.num_ops):
        if not graph.op_attributes:
            work[op, 1] = graph.macs[op] / 1e9
            continue
        kind = graph.op_types[op]
        inputs, made = graph.inputs_of(op).tolist(), graph.outputs_of(op).tolist()
        made_mib = sum(float(graph.tensor_bytes[t]) for t in made) / MIB
        if (
            len(inputs) > 1
            and graph.is_constant[inputs[1]]
            and kind in (*_CONVOLUTIONS, "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
        ):
            weights, shape = graph.tensor_shapes[inputs[1]], graph.tensor_shapes[made[0]]
            if kind == "FULLY_CONNECTED":
                work[op, 0] = (
                    math.prod(shape[:-1]) * round_up(weights[0], 64) * round_up(weights[-1], 4)
                ) / 1e9
                work[op, 4] = made_mib + float(graph.tensor_bytes[inputs[0]]) / MIB
            elif kind == "DEPTHWISE_CONV_2D":
                work[op, 2] = made_mib
            else:
                image = graph.tensor_shapes[inputs[2 if kind == "TRANSPOSE_CONV" else 0]]
                taps = stored_taps(kind, weights, image, shape, graph.op_attributes[op])
                pixels = math.prod((image if kind == "TRANSPOSE_CONV" else shape)[:3])
                macs = pixels * taps * round_up(weights[0], 64) * round_up(weights[-1], 4) / 1e9
                work[op, 0 if taps == 1 else 1] = macs
        else:
            work[op, 3] = made_mib
    return work


def chip_ms(graph: OpGraph) -> npt.NDArray[np.float64]:
    """Milliseconds of each op at 500 MHz. float64 [num_ops]."""
    ms: npt.NDArray[np.float64] = op_work(graph) @ np.array([price[1] for price in PRICES])
    return ms


def array_ms(macs: float) -> float:
    """Milliseconds at 500 MHz of multiply-accumulates of which nothing else is known."""
    return macs / 1e9 * PRICES[1][1]
