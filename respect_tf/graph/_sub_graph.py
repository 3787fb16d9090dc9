"""Some ops of a graph as a graph of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from respect_tf.graph._op_graph import OpGraph


def sub_graph(graph: OpGraph, ops: Sequence[int] | npt.NDArray[np.int64]) -> OpGraph:
    """Some ops of a graph as a graph of their own, as a stage of a pipeline sees them.

    What other ops make for them is an input of it, what other ops read of them an output. Tensors
    keep their numbers.

    Args:
        graph: The graph.
        ops: Ops, ascending; op `ops[i]` is op `i` of the result.
    """
    index = np.asarray(ops, np.int64)
    inside = np.zeros(graph.num_ops, bool)
    inside[index] = True
    readers, tensors = graph.reads
    made_inside = np.zeros(graph.num_tensors, bool)
    made_inside[graph.producer >= 0] = inside[graph.producer[graph.producer >= 0]]
    is_input = np.zeros(graph.num_tensors, bool)
    is_input[graph.model_inputs] = True
    can_enter = (is_input | (graph.producer >= 0)) & ~made_inside
    read_here, read_elsewhere = tensors[inside[readers]], tensors[~inside[readers]]
    results = graph.model_outputs[made_inside[graph.model_outputs]]
    position = np.full(graph.num_ops, -1, np.int64)
    position[index] = np.arange(len(index))
    pairs = position[graph.colocated.astype(np.int64)].reshape(-1, 2)
    in_offsets, in_tensors = _rows(graph.input_offsets, graph.input_tensors, index)
    out_offsets, out_tensors = _rows(graph.output_offsets, graph.output_tensors, index)
    return dataclasses.replace(
        graph,
        op_names=tuple(graph.op_names[op] for op in index),
        op_types=tuple(graph.op_types[op] for op in index),
        parameter_bytes=graph.parameter_bytes[index],
        macs=graph.macs[index],
        input_offsets=in_offsets,
        input_tensors=in_tensors,
        output_offsets=out_offsets,
        output_tensors=out_tensors,
        model_inputs=np.unique(read_here[can_enter[read_here]]).astype(np.int32),
        model_outputs=np.union1d(read_elsewhere[made_inside[read_elsewhere]], results).astype(
            np.int32
        ),
        colocated=pairs[(pairs >= 0).all(axis=1)].astype(np.int32),
        op_attributes=tuple(graph.op_attributes[op] for op in index) if graph.op_attributes else (),
    )


def _rows(
    offsets: npt.NDArray[np.int64], values: npt.NDArray[np.int32], rows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Some of compressed rows."""
    taken = [values[offsets[row] : offsets[row + 1]] for row in rows.tolist()]
    lengths = [len(row) for row in taken]
    joined = np.concatenate([np.zeros(0, np.int32), *taken]).astype(np.int32)
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), joined
