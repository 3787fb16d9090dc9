"""Cutting again where the compiler's log says that parameters are streamed against expectation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

from respect_tf._errors import ScheduleError
from respect_tf.compile._compilation import Compilation
from respect_tf.compile._log import ModelLog
from respect_tf.device import DeviceLike, predict
from respect_tf.graph import OpGraph
from respect_tf.scheduling import Schedule
from respect_tf.segmentation import Segment

# What the log may say beyond the prediction: it is printed with two decimals, and the prediction
# of stored bytes is right to one percent.
_TOLERANCE_BYTES, _TOLERANCE = 16 * 1024, 0.02
_MIB = 1024 * 1024


@dataclasses.dataclass(frozen=True)
class CutAttempt:
    """One cut that was compiled.

    Attributes:
        schedule: The cut.
        stage_bytes: The most parameter bytes of each stage that it was made under; None for the
            first, which had no limits.
        expected_bytes: Parameters that each stage streams, as predicted.
        streamed_bytes: The same as the compiler's log has it, or else the compiled model; None
            where neither says it.
        num_failed: Segments that could not be compiled.
    """

    schedule: Schedule
    stage_bytes: tuple[float, ...] | None
    expected_bytes: tuple[int, ...]
    streamed_bytes: tuple[int | None, ...]
    num_failed: int

    @property
    def unexpected(self) -> tuple[int, ...]:
        """The stages that stream more than predicted."""
        return tuple(
            stage
            for stage, (found, expected) in enumerate(
                zip(self.streamed_bytes, self.expected_bytes, strict=True)
            )
            if found is not None and found > expected * (1 + _TOLERANCE) + _TOLERANCE_BYTES
        )

    @property
    def unknown(self) -> tuple[int, ...]:
        """The stages of which nothing says what they stream."""
        return tuple(stage for stage, found in enumerate(self.streamed_bytes) if found is None)

    def __str__(self) -> str:
        if self.num_failed:
            return f"{self.num_failed} segments could not be compiled"
        lines = [
            f"segment {stage} streams {(self.streamed_bytes[stage] or 0) / _MIB:.2f} MiB, "
            f"{self.expected_bytes[stage] / _MIB:.2f} MiB predicted"
            for stage in self.unexpected
        ]
        lines += [f"nothing says what segment {stage} streams" for stage in self.unknown]
        return "; ".join(lines) or "no segment streams more parameters than predicted"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; no limit is None."""
        limits = self.stage_bytes
        return {
            "stages": self.schedule.stages.tolist(),
            "stage_bytes": None
            if limits is None
            else [limit if math.isfinite(limit) else None for limit in limits],
            "predicted_streamed_bytes": list(self.expected_bytes),
            "logged_streamed_bytes": list(self.streamed_bytes),
            "num_failed": self.num_failed,
        }


@dataclasses.dataclass(frozen=True)
class CompiledCut:
    """The best cut that was compiled.

    Attributes:
        schedule: The cut.
        compilation: What became of its segments.
        attempts: All cuts that were compiled, in their order.
    """

    schedule: Schedule
    compilation: Compilation
    attempts: tuple[CutAttempt, ...]

    @property
    def chosen(self) -> int:
        """Which attempt it is."""
        return next(i for i, a in enumerate(self.attempts) if a.schedule is self.schedule)

    def describe(self) -> tuple[str, ...]:
        """A line per attempt; none where the first one was as predicted."""
        first = self.attempts[0]
        told = first.unexpected or (first.unknown and not first.num_failed)
        if len(self.attempts) == 1 and not told:
            return ()
        lines = [
            f"cut {number} of {len(self.attempts)}: {attempt}"
            + (" (chosen)" if number - 1 == self.chosen else "")
            for number, attempt in enumerate(self.attempts, 1)
        ]
        return tuple(lines)


def compile_and_recut(
    graph: OpGraph,
    schedule: Schedule,
    cut: Callable[[Schedule], Sequence[Segment]],
    *,
    compile_segments: Callable[[Sequence[Segment]], Compilation],
    reschedule: Callable[[Sequence[float]], Schedule] | None = None,
    device: DeviceLike = "usb3",
    max_recuts: int = 3,
) -> CompiledCut:
    """Compile a cut; if stages stream parameters that should stay on chip, cut again.

    The log says how much room a stage really has. Where one streams more than predicted, although
    all stages together have room for it, the schedule is made anew with what the log says as the
    limit of each stage, and compiled again.

    Args:
        graph: The whole model's graph.
        schedule: The cut to begin with.
        cut: Makes the segments of a schedule.
        compile_segments: Compiles them.
        reschedule: Makes a schedule that keeps within so many parameter bytes of each stage; None
            for a cut that is not to be changed.
        device: The device that the prediction is for.
        max_recuts: How often to cut again at most.

    Returns:
        Of all cuts compiled the one that streams least; of equals the first. The bound of a cut
        that was made anew is that of the first one, which knows of no limits.

    Raises:
        CompilerError: The compiler cannot be started.
    """
    limits: tuple[float, ...] | None = None
    attempts: list[CutAttempt] = []
    compiled: list[Compilation] = []
    while True:
        compilation = compile_segments(cut(schedule))
        prediction = predict(graph, schedule, device)
        attempt = CutAttempt(
            schedule=schedule,
            stage_bytes=limits,
            expected_bytes=tuple(stage.cost.streamed_bytes for stage in prediction.stages),
            streamed_bytes=compilation.streamed_bytes,
            num_failed=len(compilation.failed),
        )
        attempts.append(attempt)
        compiled.append(compilation)
        if reschedule is None or not attempt.unexpected or len(attempts) > max_recuts:
            break
        limits = _limits(graph, attempt, compilation)
        if limits is None:
            break
        try:
            schedule = _judged(reschedule(limits), attempts[0].schedule)
        except ScheduleError:
            break  # no cut keeps within what the log says; the best one so far stands
        if any((schedule.stages == before.schedule.stages).all() for before in attempts):
            break
    best = min(range(len(attempts)), key=lambda number: _badness(attempts[number]))
    return CompiledCut(attempts[best].schedule, compiled[best], tuple(attempts))


def _judged(schedule: Schedule, first: Schedule) -> Schedule:
    """A schedule made under limits with the bound of all schedules, which knows of no limits."""
    same = all(
        getattr(schedule, name) == getattr(first, name)
        for name in ("objective", "device", "optima")
    )
    return schedule.with_bound(first.lower_bound if same else None)


def _badness(attempt: CutAttempt) -> tuple[int, int, int]:
    streamed = sum(streamed or 0 for streamed in attempt.streamed_bytes)
    return attempt.num_failed, len(attempt.unknown), streamed


def _limits(
    graph: OpGraph, attempt: CutAttempt, compilation: Compilation
) -> tuple[float, ...] | None:
    """The most parameter bytes of each stage by the logs; None if there is no room to gain."""
    logs = [result.log for result in compilation.results]
    on_cpu = [result.segment.on_cpu for result in compilation.results]
    if any(
        not host and (log is None or log.room_bytes is None or log.off_chip_bytes is None)
        for host, log in zip(on_cpu, logs, strict=True)
    ):
        return None
    stage_of = attempt.schedule.stages
    limits, spare = [], 0.0
    for stage, log in enumerate(logs):
        if on_cpu[stage]:
            limits.append(0.0)  # no Edge TPU is known to be there; on the host there is no limit
            continue
        raw = float(graph.parameter_bytes[stage_of == stage].sum())
        limit = _limit(raw, log, streams=stage in attempt.unexpected)
        if attempt.stage_bytes is not None:
            limit = min(limit, attempt.stage_bytes[stage])  # what was learnt before stays true
        limits.append(limit)
        spare += limit - raw
    return tuple(limits) if spare >= 0 else None


def _limit(raw: float, log: ModelLog | None, *, streams: bool) -> float:
    """How many of the model's parameter bytes a stage has room for.

    The log counts bytes as the device stores them; the stage's own ratio of both converts them.
    """
    if log is None or log.room_bytes is None:
        return raw
    used, streamed = log.on_chip_used_bytes or 0, log.off_chip_bytes or 0
    total = used + streamed
    raw_per_stored = raw / total if total else 1.0
    if not streams:
        return raw + max(0, log.room_bytes - total) * raw_per_stored
    # The compiler has been seen to stream although the figures say that there is room.
    room = log.room_bytes if log.room_bytes < total else used
    return room * raw_per_stored
