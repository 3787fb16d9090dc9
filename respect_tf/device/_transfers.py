"""What crosses between host and Edge TPU: tensors of a stage, and their bytes on the way."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from respect_tf.device._parameters import round_up
from respect_tf.graph import OpGraph

_CHANNELS = 4  # tensors that leave the device are padded to so many values of the last dimension
_GRANULE = 8  # bytes that every tensor is padded to as a whole


def returned_bytes(graph: OpGraph) -> npt.NDArray[np.int64]:
    """Bytes that leave the device with each tensor, padding included. int64 [num_tensors].

    The last dimension is padded to 4, in vectors too, and the whole to 8 bytes: that is what the
    hints of all public compiled files say. A graph without shapes (`OpGraph.from_arrays`) returns
    its tensors as they are.
    """
    sizes = np.ceil(graph.tensor_bytes).astype(np.int64)
    if not graph.op_attributes:
        return sizes
    for tensor, shape in enumerate(graph.tensor_shapes):
        channels = int(shape[-1]) if shape else 0
        if channels % _CHANNELS:
            sizes[tensor] = sizes[tensor] // channels * round_up(channels, _CHANNELS)
    return -(-sizes // _GRANULE) * _GRANULE


def is_moved(graph: OpGraph) -> npt.NDArray[np.bool_]:
    """Tensors that can cross: made by an op or given to the model; states do not. [num_tensors]."""
    moved: npt.NDArray[np.bool_] = graph.producer >= 0
    moved[graph.model_inputs] = True
    return moved


def stage_tensors(
    graph: OpGraph, stage_of: npt.NDArray[np.int64], stage: int
) -> tuple[list[int], list[int]]:
    """Distinct tensors that enter and that leave a stage, ascending.

    Args:
        graph: The graph.
        stage_of: int64 [num_ops], the stage of each op.
        stage: The stage.
    """
    ops, tensors = graph.reads
    made_in = np.where(graph.producer >= 0, stage_of[graph.producer], -1)  # [num_tensors]
    moves = is_moved(graph)[tensors]
    enters = tensors[moves & (stage_of[ops] == stage) & (made_in[tensors] < stage)]
    carried = tensors[(made_in[tensors] == stage) & (stage_of[ops] > stage)]
    results = graph.model_outputs[made_in[graph.model_outputs] == stage]
    return np.unique(enters).tolist(), np.unique(np.concatenate([carried, results])).tolist()


def crossing_tensors(
    graph: OpGraph, mapped: Collection[int], on_cpu: Collection[int], leaving: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Distinct tensors that enter and leave the Edge TPU in a stage with ops on the CPU.

    What passes between the Edge TPU and the CPU inside the stage crosses, and what the CPU reads
    and makes by itself does not.

    Args:
        graph: The graph.
        mapped: The stage's ops on the Edge TPU.
        on_cpu: Its ops on the CPU.
        leaving: Tensors that leave the stage.
    """
    made = {t for op in mapped for t in graph.outputs_of(op).tolist()}
    moves = is_moved(graph)
    read = {t for op in mapped for t in graph.inputs_of(op).tolist() if moves[t]}
    by_cpu = {t for op in on_cpu for t in graph.inputs_of(op).tolist()}
    return sorted(read - made), sorted(made & (by_cpu | set(leaving)))
