"""What the report says about a pipeline on its device."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from respect_tf.compile import logged_figures
from respect_tf.device import CpuOp, EdgeTpu, PipelinePrediction, StagePrediction, predict
from respect_tf.graph import OpGraph
from respect_tf.scheduling import Schedule
from respect_tf.scheduling import schedule as choose_schedule
from respect_tf.segmentation import Segment

Source = Literal["predicted", "compiler log", "measured"]

# Fewer Edge TPUs are as fast if results come at most so much later.
_AS_FAST = 1.01
# Larger graphs take seconds to cut for each number of stages.
_MAX_OPS = 1500


@dataclasses.dataclass(frozen=True)
class StageMemory:
    """Where the parameters of a stage are. Bytes.

    Attributes:
        stored_bytes: Parameters in the compiled file.
        cached_bytes: Those that stay on the chip.
        streamed_bytes: Those that come from the host at every inference.
        activation_bytes: Room that activations take from parameters.
        room_left_bytes: Room for further parameters.
        source: Where the figures come from.
    """

    stored_bytes: int
    cached_bytes: int
    streamed_bytes: int
    activation_bytes: int
    room_left_bytes: int
    source: Source = "predicted"


@dataclasses.dataclass(frozen=True)
class StageTime:
    """What an inference of a stage takes, by cause. Milliseconds.

    Attributes:
        compute_ms: The Edge TPU at work.
        stream_ms: Waiting for parameters.
        instruction_ms: Sending instructions.
        input_ms: Bringing tensors in.
        output_ms: Bringing tensors out.
        overhead_ms: The inference itself.
        cpu_ms: Ops that stay on the CPU.
        total_ms: All of it.
        source: Where the figures come from.
    """

    compute_ms: float
    stream_ms: float
    instruction_ms: float
    input_ms: float
    output_ms: float
    overhead_ms: float
    cpu_ms: float
    total_ms: float
    source: Source = "predicted"


@dataclasses.dataclass(frozen=True)
class LoggedMemory:
    """What the compiler's log says of a compiled stage. Bytes, None where it says nothing.

    Attributes:
        on_chip_used_bytes: Memory that cached parameters take.
        on_chip_remaining_bytes: Memory that is left for more.
        off_chip_bytes: Parameters that are streamed at every inference.
        source: Where the figures come from.
    """

    on_chip_used_bytes: int | None
    on_chip_remaining_bytes: int | None
    off_chip_bytes: int | None
    source: Source = "compiler log"


@dataclasses.dataclass(frozen=True)
class StageOnDevice:
    """One stage on its Edge TPU.

    Attributes:
        memory: Where its parameters are.
        time: How long it takes.
        cpu_ops: Ops that stay on the CPU, with reasons.
        warnings: Ops of versions that the compiler may refuse.
        on_cpu: Whether it is a CPU stage: never compiled, it needs no Edge TPU.
        logged: The compiler's own figures; None for a stage that is not compiled.
    """

    memory: StageMemory
    time: StageTime
    cpu_ops: tuple[CpuOp, ...]
    warnings: tuple[str, ...]
    on_cpu: bool = False
    logged: LoggedMemory | None = None


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
        one_tpu_frames_per_second: The whole model on one Edge TPU.
        compiler_frames_per_second: As many segments as `edgetpu_compiler --num_segments` cuts.
        by_host: The same for each of the hosts that the user may have, the device first.
        fewest_tpus: The least number of Edge TPUs that would be as fast; None where nobody looked.
        source: Where the figures come from.
    """

    device: str
    frames_per_second: float
    interval_ms: float
    limited_by: str
    latency_ms: float
    first_inference_ms: float
    one_tpu_frames_per_second: float
    compiler_frames_per_second: float
    by_host: tuple[HostSpeed, ...]
    fewest_tpus: int | None
    source: Source = "predicted"

    @property
    def warning(self) -> str | None:
        """That fewer Edge TPUs would do, if so."""
        if self.fewest_tpus is None:
            return None
        count = "one Edge TPU" if self.fewest_tpus == 1 else f"{self.fewest_tpus} Edge TPUs"
        return (
            f"{count} would be as fast by the predictions for {self.device}: use "
            f"num_segments={self.fewest_tpus}"
        )


def stages_on_device(
    prediction: PipelinePrediction, segments: Sequence[Segment]
) -> tuple[StageOnDevice, ...]:
    """What is predicted for each stage, and what the compiler said of it."""
    return tuple(
        dataclasses.replace(_stage(stage), logged=_logged(segment))
        for stage, segment in zip(prediction.stages, segments, strict=True)
    )


def predict_speed(graph: OpGraph, schedule: Schedule, prediction: PipelinePrediction) -> Speed:
    """How fast a pipeline is, against one Edge TPU, the compiler's cut and fewer stages."""
    device, num_stages = prediction.device, schedule.num_stages
    alone = predict(graph, np.zeros(graph.num_ops, np.int64), device)
    stock = choose_schedule(graph, num_stages, "compiler", objective="throughput", device=device)
    stock_ms = float(prediction.interval_ms if stock.cost is None else stock.cost)
    return Speed(
        device=device.name,
        frames_per_second=prediction.frames_per_second,
        interval_ms=prediction.interval_ms,
        limited_by=bottleneck(prediction),
        latency_ms=prediction.latency_ms,
        first_inference_ms=prediction.first_ms,
        one_tpu_frames_per_second=alone.frames_per_second,
        compiler_frames_per_second=1000.0 / stock_ms if stock_ms else math.inf,
        by_host=_by_host(schedule, prediction),
        # Of CPU stages, nobody needs fewer to save an Edge TPU.
        fewest_tpus=None
        if schedule.cpu_stages
        else _fewest(graph, num_stages, device, prediction.interval_ms),
    )


def _by_host(schedule: Schedule, prediction: PipelinePrediction) -> tuple[HostSpeed, ...]:
    predictions = list(prediction.by_host.values())
    optima: list[float | None] = [None] * len(predictions)
    if schedule.objective == "throughput":
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
            limited_by=bottleneck(one),
        )
        for one, optimum in zip(predictions, optima, strict=True)
    )


def _logged(segment: Segment) -> LoggedMemory | None:
    log = logged_figures(segment)
    if log is None:
        return None
    return LoggedMemory(
        on_chip_used_bytes=log.on_chip_used_bytes,
        on_chip_remaining_bytes=log.on_chip_remaining_bytes,
        off_chip_bytes=log.off_chip_bytes,
    )


def bottleneck(prediction: PipelinePrediction) -> str:
    times = [stage.cost.total_ms for stage in prediction.stages]
    if max(times) >= max(prediction.bus_ms, prediction.dispatch_ms):
        return f"stage {int(np.argmax(times))}"
    return "bus" if prediction.bus_ms >= prediction.dispatch_ms else "host"


def _fewest(graph: OpGraph, num_stages: int, device: EdgeTpu, interval_ms: float) -> int | None:
    """The least number of stages, below the given one, that is as fast."""
    most = num_stages if graph.num_ops <= _MAX_OPS else min(num_stages, 2)
    for count in range(1, most):
        found = choose_schedule(graph, count, "slicing", objective="throughput", device=device)
        if found.cost is not None and found.cost <= _AS_FAST * interval_ms:
            return count
    return None


def _stage(prediction: StagePrediction) -> StageOnDevice:
    cost = prediction.cost
    return StageOnDevice(
        memory=StageMemory(
            stored_bytes=prediction.stored_bytes,
            cached_bytes=cost.cached_bytes,
            streamed_bytes=cost.streamed_bytes,
            activation_bytes=cost.activation_bytes,
            room_left_bytes=prediction.room_left_bytes,
        ),
        time=StageTime(
            compute_ms=cost.compute_ms,
            stream_ms=cost.stream_ms,
            instruction_ms=cost.instruction_ms,
            input_ms=cost.input_ms,
            output_ms=cost.output_ms,
            overhead_ms=cost.fixed_ms,
            cpu_ms=cost.cpu_ms,
            total_ms=cost.total_ms,
        ),
        cpu_ops=prediction.cpu_ops,
        warnings=prediction.warnings,
        on_cpu=prediction.on_cpu,
    )
