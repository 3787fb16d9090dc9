"""Some ops of a model as a model of its own, for looking at them alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from respect_tf.graph import OpGraph
from respect_tf.segmentation._build import SegmentBuilder
from respect_tf.segmentation._names import TensorNames
from respect_tf.segmentation._plan import Border, SegmentPlan
from respect_tf.tflite import write_model


def part_of(model: Any, graph: OpGraph, ops: Sequence[int]) -> bytes:
    """Some ops of a model as a model of its own.

    Unlike a segment it holds nothing but these ops, and is made for no pipeline.

    Args:
        model: The unpacked whole model; it is not changed.
        graph: Its op graph.
        ops: The ops in an order in which they can run. What others make for them becomes an
            input, what others read of them, or nobody, an output.
    """
    inside = np.zeros(graph.num_ops, bool)
    inside[list(ops)] = True
    readers, tensors = graph.reads
    made = {int(tensor) for op in ops for tensor in graph.outputs_of(op)}
    read = set(tensors[inside[readers]].tolist())
    wanted = set(tensors[~inside[readers]].tolist()) | set(graph.model_outputs.tolist())
    names = TensorNames(graph)
    plan = SegmentPlan(
        ops=tuple(ops),
        inputs=tuple(Border(tensor, names[tensor]) for tensor in sorted(read - made)),
        outputs=tuple(
            Border(tensor, names[tensor])
            for tensor in sorted(made)
            if tensor in wanted or tensor not in read
        ),
    )
    return write_model(SegmentBuilder(model, graph, plan, names).build(whole=False))
