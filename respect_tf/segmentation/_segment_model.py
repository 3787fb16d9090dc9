"""`segment()`: a .tflite model and a schedule in, segments out."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.graph import OpGraph, op_graph_of
from respect_tf.scheduling import Schedule, check_schedule
from respect_tf.segmentation._cut import cut
from respect_tf.segmentation._cut_points import stages_from_cuts
from respect_tf.segmentation._rules import check_runner_rules
from respect_tf.segmentation._segment import Segment
from respect_tf.tflite import is_made_here, mark_made_here, read_content, read_model


def segment(
    model: bytes | str | os.PathLike[str],
    schedule: Schedule | Sequence[int] | npt.NDArray[np.int32] | None = None,
    *,
    cuts: Sequence[str | Sequence[str]] | None = None,
    name: str = "model",
) -> tuple[Segment, ...]:
    """Cut a .tflite model into segments for Coral's PipelinedModelRunner.

    Each segment is a .tflite model of its own. What they compute is not checked here; see
    `verify`. The model given stays as it is.

    Args:
        model: Bytes or path of the model.
        schedule: The stage of every op: a `Schedule`, or integers [num_ops].
        cuts: Instead of a schedule, the names of the tensors or Keras layers to cut after, in
            pipeline order. A cut through parallel branches is a list of names.
        name: Base name of the segments, `NAME_segment_I_of_N`.

    Raises:
        ArgumentError: Not exactly one of `schedule` and `cuts`, or an unknown name in `cuts`.
        InvalidModelError: The model is damaged.
        UnsupportedModelError: The model cannot be cut into a pipeline.
        ScheduleError: The schedule is not valid for the model.
        SegmentError: The segments break a rule of the pipeline runner.
    """
    content = read_content(model)
    unpacked = read_model(content)
    graph = op_graph_of(unpacked)
    chosen = schedule_of(graph, schedule, cuts=cuts)
    segments = cut(unpacked, graph, chosen.stages, name=name, cpu_stages=chosen.cpu_stages)
    if is_made_here(content):
        for part in segments:
            mark_made_here(part.content)
    check_runner_rules(segments)
    return segments


def schedule_of(
    graph: OpGraph,
    schedule: Schedule | Sequence[int] | npt.NDArray[np.int32] | None,
    *,
    cuts: Sequence[str | Sequence[str]] | None,
) -> Schedule:
    """The schedule that a user gives in one of the ways of `segment`, checked."""
    if (schedule is None) == (cuts is None):
        raise ArgumentError("Give either a schedule or cuts, not both and not neither.")
    if cuts is not None:
        schedule = Schedule(stages=stages_from_cuts(graph, cuts))
    elif not isinstance(schedule, Schedule):
        schedule = Schedule(stages=schedule)  # type: ignore[arg-type]  # checked there
    check_schedule(graph, schedule)
    return schedule
