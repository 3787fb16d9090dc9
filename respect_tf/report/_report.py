"""The report of a pipeline: what each stage holds and takes, and how good the cut is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from respect_tf.device import EdgeTpu, predict_pipeline
from respect_tf.graph import OpGraph
from respect_tf.report._prediction import (
    Speed,
    StageOnDevice,
    predict_speed,
    stages_on_device,
)
from respect_tf.report._text import format_bytes, table
from respect_tf.schedule import Schedule
from respect_tf.segment import ParityReport, Segment, TensorSpec

_MAX_CPU_OPS = 8  # lines about ops on the CPU in the printed report


@dataclasses.dataclass(frozen=True)
class StageReport:
    """One stage in figures. Those that are not `on_device` are read from the .tflite models.

    Attributes:
        index: The stage, from 0.
        num_ops: Ops of the whole model in it.
        parameter_bytes: Bytes of the constants that its ops read.
        input_bytes: Bytes that enter the segment.
        output_bytes: Bytes that leave it.
        macs: Multiply-accumulate operations.
        file_bytes: Size of its .tflite file.
        on_device: Memory and time on its Edge TPU.
    """

    index: int
    num_ops: int
    parameter_bytes: int
    input_bytes: int
    output_bytes: int
    macs: int
    file_bytes: int
    on_device: StageOnDevice


@dataclasses.dataclass(frozen=True)
class Report:
    """A pipeline in figures. `str(report)` is a table.

    Attributes:
        name: The model's name.
        stages: One entry per stage.
        speed: How fast the pipeline is.
        objective: What the cut minimises.
        cost: Its value for this cut, None for a cut that the user gave.
        lower_bound: No cut can cost less; None where unknown.
        gap: cost / lower_bound - 1, None where unknown.
        status: "optimal" (proved) or "feasible".
        scheduler: What chose the cut.
        solve_seconds: How long that took, None where unknown.
        parity: What was compared to prove the segments, None where that was not done.
        warnings: What the pipeline runner and the device accept, but a user may stumble over.
        recuts: A line for each cut that was compiled, where the compiler's log led to another one.
    """

    name: str
    stages: tuple[StageReport, ...]
    speed: Speed
    objective: str | None
    cost: float | None
    lower_bound: float | None
    gap: float | None
    status: str
    scheduler: str
    solve_seconds: float | None
    parity: ParityReport | None
    warnings: tuple[str, ...]
    recuts: tuple[str, ...] = ()

    @property
    def peak_parameter_bytes(self) -> int:
        """Parameter bytes of the fullest stage."""
        return max(stage.parameter_bytes for stage in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dicts, lists and numbers.

        `speed` and each stage's `memory` and `time` say in `source` where their figures come from;
        all others are read from the .tflite models.
        """
        return dataclasses.asdict(self) | {"peak_parameter_bytes": self.peak_parameter_bytes}

    def __str__(self) -> str:
        return "\n".join([*self._tables(), "", *self._summary()])

    def _tables(self) -> list[str]:
        model = [
            [
                stage.index,
                stage.num_ops,
                format_bytes(stage.parameter_bytes),
                format_bytes(stage.input_bytes),
                format_bytes(stage.output_bytes),
                f"{stage.macs / 1e6:,.1f} M",
                format_bytes(stage.file_bytes),
            ]
            for stage in self.stages
        ]
        memory = [row for stage in self.stages for row in _memory_rows(stage)]
        time = [
            [
                stage.index,
                *(
                    f"{part:.3f}"
                    for part in (
                        ms.compute_ms,
                        ms.stream_ms,
                        ms.input_ms,
                        ms.output_ms,
                        ms.overhead_ms,
                        ms.cpu_ms,
                        ms.total_ms,
                    )
                ),
                ms.source,
            ]
            for stage in self.stages
            for ms in [stage.on_device.time]
        ]
        columns = ["stage", "ops", "parameters", "bytes in", "bytes out", "MACs", "file"]
        places = ["stage", "stored", "cached", "streamed", "activations", "room left", "source"]
        causes = ["stage", "compute", "streaming", "input", "output", "overhead", "CPU ops"]
        title = f"{self.name} in {len(self.stages)} segments"
        return [
            table(columns, model, title=title),
            "",
            table(places, memory, title=f"parameters on each Edge TPU ({self.speed.device})"),
            "",
            table([*causes, "total", "source"], time, title="milliseconds per inference"),
        ]

    def _summary(self) -> list[str]:
        total = sum(stage.parameter_bytes for stage in self.stages)
        lines = [
            *self._speed_lines(),
            f"largest stage   {format_bytes(self.peak_parameter_bytes)} of "
            f"{format_bytes(total)} parameters",
        ]
        if self.cost is not None and self.lower_bound is not None:
            proof = (
                "proved optimal"
                if self.status == "optimal"
                else f"at most {self.gap:.2%} above the optimum"
            )
            lines.append(
                f"cost            {format_cost(self.cost, self.objective)} ({self.objective}), "
                f"bound {format_cost(self.lower_bound, self.objective)}: {proof}"
            )
        seconds = "" if self.solve_seconds is None else f" in {self.solve_seconds:.3f} s"
        lines.append(f"cut by          {self.scheduler}{seconds}")
        if self.parity is None:
            lines.append("parity          not verified")
        else:
            lines.append(
                f"parity          bit-exact: {self.parity.num_tensors} tensors, "
                f"{self.parity.num_inputs} inputs, {self.parity.num_bytes:,} bytes compared"
            )
        lines += [f"compiled        {line}" for line in self.recuts]
        lines += self._cpu_lines()
        lines += [f"warning         {warning}" for warning in self.warnings]
        lines.append(
            "Figures without a source are read from the .tflite models; predictions are the device "
            "model's."
        )
        return lines

    def _speed_lines(self) -> list[str]:
        speed = self.speed
        fps = speed.frames_per_second
        return [
            f"throughput      {fps:,.1f} frames/s ({speed.source} for {speed.device}), one every "
            f"{speed.interval_ms:.3f} ms; limited by: {speed.limited_by}",
            f"speed-up        {fps / speed.one_tpu_frames_per_second:.2f} over one Edge TPU "
            f"({speed.one_tpu_frames_per_second:,.1f} frames/s), "
            f"{fps / speed.compiler_frames_per_second:.2f} over the compiler's own cut "
            f"({speed.compiler_frames_per_second:,.1f}; {speed.source})",
            f"latency         {speed.latency_ms:.3f} ms, the first inference "
            f"{speed.first_inference_ms:.3f} ms ({speed.source})",
        ]

    def _cpu_lines(self) -> list[str]:
        found = [
            f"on the CPU      stage {stage.index}: {op.description}: {op.reason}"
            for stage in self.stages
            for op in stage.on_device.cpu_ops
        ]
        if len(found) > _MAX_CPU_OPS:
            more = len(found) - _MAX_CPU_OPS
            return [*found[:_MAX_CPU_OPS], f"on the CPU      and {more} more ops"]
        return found


def format_cost(cost: float | None, objective: str | None) -> str:
    """A cost as a person reads it."""
    if cost is None:
        return "unknown"
    if objective in ("throughput", "latency"):
        return f"{cost:,.3f} ms"
    return f"{cost:,.15g}"


def _memory_rows(stage: StageReport) -> list[list[Any]]:
    """What is predicted, and below it what the compiler said."""
    memory, logged = stage.on_device.memory, stage.on_device.logged
    predicted = [
        memory.stored_bytes,
        memory.cached_bytes,
        memory.streamed_bytes,
        memory.activation_bytes,
        memory.room_left_bytes,
    ]
    rows = [[stage.index, *map(format_bytes, predicted), memory.source]]
    if logged is not None:
        said = [
            None,
            logged.on_chip_used_bytes,
            logged.off_chip_bytes,
            None,
            logged.on_chip_remaining_bytes,
        ]
        cells = ["" if size is None else format_bytes(size) for size in said]
        rows.append([stage.index, *cells, logged.source])
    return rows


def build_report(
    graph: OpGraph,
    schedule: Schedule,
    segments: Sequence[Segment],
    *,
    name: str,
    device: EdgeTpu,
    parity: ParityReport | None,
    warnings: tuple[str, ...],
    recuts: tuple[str, ...] = (),
) -> Report:
    """Collect the figures of a pipeline."""
    prediction = predict_pipeline(graph, schedule.stages, device)
    on_device = stages_on_device(prediction, segments)
    speed = predict_speed(graph, schedule, prediction)
    lint = [text for stage in on_device for text in stage.warnings]
    return Report(
        name=name,
        stages=tuple(_stage(graph, *parts) for parts in zip(segments, on_device, strict=True)),
        speed=speed,
        objective=schedule.objective,
        cost=schedule.cost,
        lower_bound=schedule.lower_bound,
        gap=schedule.gap,
        status=schedule.status,
        scheduler=schedule.scheduler,
        solve_seconds=schedule.solve_seconds,
        parity=parity,
        warnings=(*warnings, *([speed.warning] if speed.warning else []), *lint),
        recuts=recuts,
    )


def _stage(graph: OpGraph, segment: Segment, on_device: StageOnDevice) -> StageReport:
    ops = np.array(segment.ops, np.int64)
    return StageReport(
        index=segment.index,
        num_ops=len(ops),
        parameter_bytes=int(graph.parameter_bytes[ops].sum()),
        input_bytes=_bytes(graph, segment.inputs),
        output_bytes=_bytes(graph, segment.outputs),
        macs=int(graph.macs[ops].sum()),
        file_bytes=len(segment.content),
        on_device=on_device,
    )


def _bytes(graph: OpGraph, specs: Sequence[TensorSpec]) -> int:
    return sum(int(graph.tensor_bytes[spec.tensor]) for spec in specs)
