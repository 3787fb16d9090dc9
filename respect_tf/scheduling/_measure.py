"""`measure=` of `"profile"`: a function, or times that were measured on the hardware."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.device import (
    DeviceCosts,
    DeviceLike,
    EdgeTpu,
    calibrate,
    first_device,
    labelled_rows,
    resolve_device,
    stage_tensors,
)
from respect_tf.graph import OpGraph

Measure = Callable[[npt.NDArray[np.int64]], float]
"""Takes the ops of a segment, ascending, and returns its time in milliseconds."""


@dataclasses.dataclass(frozen=True)
class MeasuredTimes:
    """Times of segments that were measured on the hardware, and a device that is fitted to them.

    Attributes:
        ms_by_ops: Milliseconds by the segment's ops, sorted; the mean where it was measured several
            times.
        where: What messages call the row that has those ops.
        device: For segments that were not measured.
    """

    ms_by_ops: Mapping[tuple[int, ...], float]
    where: Mapping[tuple[int, ...], str]
    device: EdgeTpu

    @classmethod
    def read(
        cls,
        measurements: str | os.PathLike[str] | Sequence[Mapping[str, Any]],
        device: DeviceLike | None = None,
    ) -> MeasuredTimes:
        """Read what `run_pipeline.py --benchmark N` writes, or any other file of `calibrate`.

        Args:
            measurements: The file, or its rows: the columns of `calibrate`, and `ops`: the
                segment's ops in the whole model, separated by spaces; may be empty or left out.
                Those of several cuts may be joined.
            device: Where the fit starts; all hosts that are known if left out.

        Raises:
            ArgumentError: It is none that `calibrate` takes, or `ops` are no numbers.
        """
        fitted = calibrate(measurements, device).device
        times: dict[tuple[int, ...], list[float]] = {}
        where = {}
        for label, row in labelled_rows(measurements):
            words = str(row.get("ops") or "").split()
            # Numbers of so many digits could not be ops; int() refuses to read thousands of them.
            if any(not word.isdecimal() or len(word) > 9 for word in words):
                raise ArgumentError(
                    f"{label}, column ops: expected ops of the model, separated by spaces. "
                    f"Received: {row['ops']!r:.100}."
                )
            if words:
                ops = tuple(sorted(int(word) for word in words))
                times.setdefault(ops, []).append(float(row["ms"]))
                where[ops] = label
        means = {ops: float(np.mean(values)) for ops, values in times.items()}
        return cls(means, where, fitted)

    def of(self, graph: OpGraph) -> Measure:
        """The times of a model's segments: measured, or else predicted.

        Raises:
            ArgumentError: Ops are none of the model.
        """
        for ops in self.ms_by_ops:
            if ops[-1] >= graph.num_ops:
                raise ArgumentError(
                    f"{self.where[ops]}, column ops: expected ops of the model, 0 to "
                    f"{graph.num_ops - 1}. Received: {ops[-1]}. Measure segments of this model."
                )
        costs = DeviceCosts.of(graph, self.device)

        def measure(segment_ops: npt.NDArray[np.int64]) -> float:
            ops = tuple(np.sort(np.asarray(segment_ops)).tolist())
            if ops in self.ms_by_ops:
                return self.ms_by_ops[ops]
            stages, place = stages_around(graph, segment_ops)
            entering, leaving = stage_tensors(graph, stages.astype(np.int64), place)
            return costs.stage(list(ops), entering, leaving).total_ms

        return measure


MeasureLike = Measure | str | os.PathLike[str] | Sequence[Mapping[str, Any]] | MeasuredTimes
"""A function; or a CSV file or its rows, see `MeasuredTimes`."""


def read_measure(
    measure: MeasureLike | None, scheduler: str, device: DeviceLike
) -> Measure | MeasuredTimes | None:
    """Check the argument `measure`, and read its file."""
    if measure is None:
        return None
    if scheduler != "profile":
        raise ArgumentError(
            f'measure is for scheduler="profile". Received: scheduler={scheduler!r}.'
        )
    if isinstance(measure, MeasuredTimes) or callable(measure):
        return measure
    if not isinstance(measure, str | os.PathLike | Sequence) or isinstance(measure, bytes):
        raise ArgumentError(
            "measure must be a function from the ops of a segment to milliseconds, the path of a "
            f"CSV file, or a list of its rows. Received: {type(measure).__name__}."
        )
    return MeasuredTimes.read(measure, first_device(resolve_device(device)))


def stages_around(
    graph: OpGraph, segment_ops: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int32], int]:
    """A schedule that has some ops as a stage: what they need goes before, the rest behind.

    Returns:
        int32 [num_ops], and which stage it is.
    """
    ops = np.asarray(segment_ops)
    if ops.ndim != 1 or len(ops) == 0 or ops.dtype.kind not in "iu":
        raise ArgumentError(
            "segment_ops must be integers of the shape [num_segment_ops]. "
            f"Received: {ops.dtype} {list(ops.shape)}."
        )
    if ops.min() < 0 or ops.max() >= graph.num_ops:
        raise ArgumentError(
            f"segment_ops must be from 0 to {graph.num_ops - 1}. Received: {_shown(ops)}."
        )
    position = np.empty(graph.num_ops, np.int64)
    position[graph.topological_order] = np.arange(graph.num_ops)
    edges = graph.edges[np.argsort(-position[graph.edges[:, 1]], kind="stable")]
    stages = np.full(graph.num_ops, 2, np.int32)
    stages[ops] = 1
    for maker, reader in edges.tolist():
        # Readers come in reverse order, so what a reader needs is known before its makers' turn.
        if stages[reader] < 2 and stages[maker] == 2:
            stages[maker] = 0
        if stages[reader] == 0 and stages[maker] == 1:
            raise ArgumentError(
                f"{graph.describe_op(reader)} lies between ops of the segment {_shown(ops)} and is "
                "not one of them. Expected ops without a gap."
            )
    present = np.unique(stages)
    return np.searchsorted(present, stages).astype(np.int32), int(np.searchsorted(present, 1))


def _shown(ops: npt.NDArray[np.int64]) -> str:
    values = np.asarray(ops)[:8].tolist()
    return f"{values[0]} to {values[-1]}" if len(values) == 1 else str(values)
