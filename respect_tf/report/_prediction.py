"""What the report says about a pipeline on its device."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from respect_tf.compile import ModelLog, logged_figures
from respect_tf.device import PipelinePrediction, StagePrediction
from respect_tf.planning import DeviceCount
from respect_tf.report._comparison import Comparison
from respect_tf.scheduling import Schedule
from respect_tf.segmentation import Segment

PREDICTED, COMPILER_LOG = "predicted", "compiler log"

# Fewer Edge TPUs are as fast if results come at most so much later.
_AS_FAST = 1.01


@dataclasses.dataclass(frozen=True)
class StageOnDevice:
    """One stage on its Edge TPU.

    Attributes:
        predicted: Memory and time by the device model.
        logged: The compiler's own figures; None for a stage that is not compiled.
    """

    predicted: StagePrediction
    logged: ModelLog | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON. Bytes and milliseconds, each group with where it comes from."""
        stage, cost, log = self.predicted, self.predicted.cost, self.logged
        return {
            "memory": {
                "stored_bytes": stage.stored_bytes,
                "cached_bytes": cost.cached_bytes,
                "streamed_bytes": cost.streamed_bytes,
                "activation_bytes": cost.activation_bytes,
                "room_left_bytes": stage.room_left_bytes,
                "source": PREDICTED,
            },
            "time": {
                "compute_ms": cost.compute_ms,
                "stream_ms": cost.stream_ms,
                "instruction_ms": cost.instruction_ms,
                "input_ms": cost.input_ms,
                "output_ms": cost.output_ms,
                "overhead_ms": cost.fixed_ms,
                "cpu_ms": cost.cpu_ms,
                "total_ms": cost.total_ms,
                "source": PREDICTED,
            },
            "cpu_ops": [dataclasses.asdict(op) for op in stage.cpu_ops],
            "warnings": list(stage.warnings),
            "on_cpu": stage.on_cpu,
            "logged": None
            if log is None
            else {
                "on_chip_used_bytes": log.on_chip_used_bytes,
                "on_chip_remaining_bytes": log.on_chip_remaining_bytes,
                "off_chip_bytes": log.off_chip_bytes,
                "source": COMPILER_LOG,
            },
        }


@dataclasses.dataclass(frozen=True)
class HostSpeed:
    """How fast a pipeline is on one of the hosts that the user may have.

    Attributes:
        device: Name of the host.
        frames_per_second: Results per second when the pipeline is full.
        interval_ms: Time between them.
        optimum_ms: The least interval of as many stages there; None where nobody looked.
        limited_by: `"stage N"`, `"bus"` or `"host"`.
    """

    device: str
    frames_per_second: float
    interval_ms: float
    optimum_ms: float | None
    limited_by: str

    @property
    def regret(self) -> float | None:
        """How far the interval is above the host's own optimum: their ratio minus 1."""
        return None if not self.optimum_ms else self.interval_ms / self.optimum_ms - 1


@dataclasses.dataclass(frozen=True)
class Speed:
    """How fast a pipeline is.

    Attributes:
        device: Name of the device.
        frames_per_second: Results per second when the pipeline is full.
        interval_ms: Time between them.
        limited_by: What takes that long: `"stage N"`, `"bus"` or `"host"`.
        latency_ms: One input alone, from end to end.
        first_inference_ms: The first result, loading of parameters included.
        one_tpu_frames_per_second: The whole model on one Edge TPU; None where nobody looked.
        compiler_frames_per_second: As many segments as `edgetpu_compiler --num_segments` cuts; None
            where nobody looked.
        by_host: The same for each of the hosts that the user may have, the device first.
        fewest_tpus: The least number of Edge TPUs that would be as fast; None where all are needed,
            or nobody looked.
        source: Where the figures come from.
    """

    device: str
    frames_per_second: float
    interval_ms: float
    limited_by: str
    latency_ms: float
    first_inference_ms: float
    one_tpu_frames_per_second: float | None
    compiler_frames_per_second: float | None
    by_host: tuple[HostSpeed, ...]
    fewest_tpus: int | None
    source: str = PREDICTED

    def __str__(self) -> str:
        """A sentence."""
        return (
            f"{self.frames_per_second:,.1f} frames/s on {self.device} ({self.source}): a result "
            f"every {self.interval_ms:.3f} ms, limited by {self.limited_by}, and "
            f"{self.latency_ms:.3f} ms from an input to its result."
        )

    @property
    def warning(self) -> str | None:
        """That fewer Edge TPUs would do, if so."""
        if self.fewest_tpus is None:
            return None
        count = "one Edge TPU" if self.fewest_tpus == 1 else f"{self.fewest_tpus} Edge TPUs"
        return (
            f"{count} would be as fast by the predictions for {self.device}: use num_segments="
            f'"auto" with num_devices={self.fewest_tpus}'
        )


def stages_on_device(
    prediction: PipelinePrediction, segments: Sequence[Segment]
) -> tuple[StageOnDevice, ...]:
    """What is predicted for each stage, and what the compiler said of it."""
    return tuple(
        StageOnDevice(stage, logged_figures(segment))
        for stage, segment in zip(prediction.stages, segments, strict=True)
    )


def speed_of(
    schedule: Schedule,
    prediction: PipelinePrediction,
    comparison: Comparison | None,
    frames: Sequence[DeviceCount],
) -> Speed:
    """How fast a pipeline is, against what it was compared with for the same device.

    Args:
        schedule: Its schedule.
        prediction: What is predicted for it.
        comparison: One Edge TPU and the compiler's cut; None where nobody looked.
        frames: What other numbers of Edge TPUs would give; empty where nobody looked.
    """
    device = prediction.device
    if comparison is not None and comparison.device != device:
        comparison = None
    return Speed(
        device=device.name,
        frames_per_second=prediction.frames_per_second,
        interval_ms=prediction.interval_ms,
        limited_by=prediction.bottleneck,
        latency_ms=prediction.latency_ms,
        first_inference_ms=prediction.first_ms,
        one_tpu_frames_per_second=_per_second(comparison.one_tpu_ms) if comparison else None,
        compiler_frames_per_second=_per_second(comparison.compiler_ms) if comparison else None,
        by_host=_by_host(schedule, prediction),
        fewest_tpus=_fewest_tpus(prediction, frames) if comparison else None,
    )


def _fewest_tpus(prediction: PipelinePrediction, frames: Sequence[DeviceCount]) -> int | None:
    """The least number of Edge TPUs, below those that are used, that gives results as often."""
    used = sum(
        count
        for stage, count in zip(prediction.stages, prediction.replicas, strict=True)
        if not stage.on_cpu
    )
    wanted = prediction.frames_per_second / _AS_FAST
    return next(
        (
            known.num_devices
            for known in frames
            if 0 < known.num_devices < used and known.frames_per_second >= wanted
        ),
        None,
    )


def _per_second(ms: float) -> float:
    return 1000.0 / ms if ms else math.inf


def _by_host(schedule: Schedule, prediction: PipelinePrediction) -> tuple[HostSpeed, ...]:
    predictions = list(prediction.by_host.values())
    optima: list[float | None] = [None] * len(predictions)
    if is_throughput(schedule.objective):
        if schedule.optima is not None and len(schedule.optima) == len(predictions):
            optima = list(schedule.optima)
        elif schedule.status == "optimal" and schedule.device == prediction.device:
            optima = [schedule.cost]
    return tuple(
        HostSpeed(
            device=one.device.name,
            frames_per_second=one.frames_per_second,
            interval_ms=one.interval_ms,
            optimum_ms=optimum,
            limited_by=one.bottleneck,
        )
        for one, optimum in zip(predictions, optima, strict=True)
    )


def is_throughput(objective: str | None) -> bool:
    """Whether an objective is the interval, of a pipeline with or without replicas."""
    return objective is not None and objective.partition("(")[0] == "throughput"
