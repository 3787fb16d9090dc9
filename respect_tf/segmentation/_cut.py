"""Cutting a .tflite model into the segments of a schedule."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.graph import OpGraph
from respect_tf.segmentation._build import SegmentBuilder
from respect_tf.segmentation._names import TensorNames
from respect_tf.segmentation._plan import Border, plan_segments
from respect_tf.segmentation._segment import Segment, TensorSpec
from respect_tf.tflite import write_model


def cut(
    model: Any,
    graph: OpGraph,
    stages: npt.NDArray[np.int32],
    *,
    name: str,
    cpu_stages: Collection[int] = (),
) -> tuple[Segment, ...]:
    """Cut a model. Neither `model` nor anything in it is changed.

    Args:
        model: The unpacked whole model.
        graph: Its op graph.
        stages: int32 [num_ops], a valid schedule.
        name: Base name of the segments' files.
        cpu_stages: The stages that are never compiled.
    """
    names = TensorNames(graph)
    plans = plan_segments(graph, stages, names)
    segments = []
    for index, plan in enumerate(plans):
        builder = SegmentBuilder(model, graph, plan, names)
        content = write_model(builder.build(whole=len(plans) == 1))
        segments.append(
            Segment(
                index=index,
                name=f"{name}_segment_{index}_of_{len(plans)}",
                content=content,
                inputs=tuple(_spec(graph, border) for border in plan.inputs),
                outputs=tuple(_spec(graph, border) for border in plan.outputs),
                ops=plan.ops,
                on_cpu=index in cpu_stages,
            )
        )
    return tuple(segments)


def _spec(graph: OpGraph, border: Border) -> TensorSpec:
    return TensorSpec(
        name=border.name,
        tensor=border.tensor,
        dtype=graph.tensor_dtypes[border.tensor],
        shape=graph.tensor_shapes[border.tensor],
        quantization=graph.tensor_quantization[border.tensor],
    )
