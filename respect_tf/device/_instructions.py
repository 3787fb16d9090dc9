"""Bytes of instructions that a segment's ops take. Placeholder until the fit lands."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from respect_tf.graph import OpGraph

_PER_OP = {
    "CONV_2D": 2000.0,
    "DEPTHWISE_CONV_2D": 1100.0,
    "FULLY_CONNECTED": 1700.0,
    "SOFTMAX": 30000.0,
}


def instruction_bytes(graph: OpGraph) -> tuple[float, npt.NDArray[np.float64]]:
    """Base of a segment, and what each op adds. float64 [num_ops]."""
    per_op = np.array([_PER_OP.get(kind, 1400.0) for kind in graph.op_types])
    if graph.op_attributes:
        sizes = graph.tensor_bytes.astype(np.float64)
        for op in range(graph.num_ops):
            largest = max((sizes[t] for t in graph.outputs_of(op).tolist()), default=0.0)
            per_op[op] += 15.8e3 * max(0.0, largest / 2**20 - 1.5)
    return 4000.0, per_op
