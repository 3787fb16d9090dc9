"""Cutting a .tflite model into the segments of a schedule."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import UnsupportedModelError
from respect_tf.graph import OpGraph
from respect_tf.segmentation._build import SegmentBuilder
from respect_tf.segmentation._metadata import Interface
from respect_tf.segmentation._metadata_writer import write_with_metadata
from respect_tf.segmentation._names import TensorNames
from respect_tf.segmentation._plan import Border, plan_segments
from respect_tf.segmentation._segment import Segment, TensorSpec


def cut(
    model: Any,
    graph: OpGraph,
    stages: npt.NDArray[np.int32],
    *,
    name: str,
    cpu_stages: Collection[int] = (),
    interface: Interface | None = None,
) -> tuple[Segment, ...]:
    """Cut a model. Neither `model` nor anything in it is changed.

    Args:
        model: The unpacked whole model.
        graph: Its op graph.
        stages: int32 [num_ops], a valid schedule.
        name: Base name of the segments' files.
        cpu_stages: The stages that are never compiled.
        interface: What the first segment says of the model's inputs, and the last of its outputs.
    """
    names = TensorNames(graph)
    plans = plan_segments(graph, stages, names)
    segments = []
    for index, plan in enumerate(plans):
        built = SegmentBuilder(model, graph, plan, names).build(whole=len(plans) == 1)
        inputs = tuple(_spec(graph, border) for border in plan.inputs)
        outputs = tuple(_spec(graph, border) for border in plan.outputs)
        said = (interface or Interface()).of_segment(index, len(plans))
        segments.append(
            Segment(
                index=index,
                name=f"{name}_segment_{index}_of_{len(plans)}",
                content=write_with_metadata(built, inputs, outputs, said, name=name),
                inputs=inputs,
                outputs=outputs,
                ops=plan.ops,
                on_cpu=index in cpu_stages,
            )
        )
    return tuple(segments)


def outer_tensors(graph: OpGraph) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """The inputs and the outputs of the whole model, as a pipeline of one segment has them."""
    (plan,) = plan_segments(graph, np.zeros(graph.num_ops, np.int32), TensorNames(graph))
    return [_spec(graph, one) for one in plan.inputs], [_spec(graph, one) for one in plan.outputs]


def _spec(graph: OpGraph, border: Border) -> TensorSpec:
    dtype = graph.tensor_dtypes[border.tensor]
    try:
        np.dtype(dtype)
    except TypeError:  # "int4", "bfloat16" and the like
        raise UnsupportedModelError(
            f"Tensor {border.tensor} '{border.name}', which is an input or output of a segment, is "
            f"of type {dtype}, which no array can hold. Expected int8: convert the model with full "
            "int8 quantisation."
        ) from None
    return TensorSpec(
        name=border.name,
        tensor=border.tensor,
        dtype=graph.tensor_dtypes[border.tensor],
        shape=graph.tensor_shapes[border.tensor],
        quantization=graph.tensor_quantization[border.tensor],
    )
