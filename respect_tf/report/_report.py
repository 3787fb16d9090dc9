"""The report of a pipeline: what each stage holds, and how good the cut is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from respect_tf.graph import OpGraph
from respect_tf.report._text import format_bytes, table
from respect_tf.schedule import Schedule
from respect_tf.segment import ParityReport, Segment, TensorSpec


@dataclasses.dataclass(frozen=True)
class StageReport:
    """One stage in figures, all read from the .tflite models.

    Attributes:
        index: The stage, from 0.
        num_ops: Ops of the whole model in it.
        parameter_bytes: Bytes of the constants that its ops read.
        input_bytes: Bytes that enter the segment.
        output_bytes: Bytes that leave it.
        macs: Multiply-accumulate operations.
        file_bytes: Size of its .tflite file.
    """

    index: int
    num_ops: int
    parameter_bytes: int
    input_bytes: int
    output_bytes: int
    macs: int
    file_bytes: int


@dataclasses.dataclass(frozen=True)
class Report:
    """A pipeline in figures. `str(report)` is a table.

    Attributes:
        name: The model's name.
        stages: One entry per stage.
        objective: What the cut minimises.
        cost: Its value for this cut, None for a cut that the user gave.
        lower_bound: No cut can cost less; None where unknown.
        gap: cost / lower_bound - 1, None where unknown.
        status: "optimal" (proved) or "feasible".
        scheduler: What chose the cut.
        solve_seconds: How long that took, None where unknown.
        parity: What was compared to prove the segments, None where that was not done.
        warnings: What the pipeline runner accepts, but a user may stumble over.
    """

    name: str
    stages: tuple[StageReport, ...]
    objective: str | None
    cost: float | None
    lower_bound: float | None
    gap: float | None
    status: str
    scheduler: str
    solve_seconds: float | None
    parity: ParityReport | None
    warnings: tuple[str, ...]

    @property
    def peak_parameter_bytes(self) -> int:
        """Parameter bytes of the fullest stage."""
        return max(stage.parameter_bytes for stage in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dicts, lists and numbers."""
        return dataclasses.asdict(self) | {"peak_parameter_bytes": self.peak_parameter_bytes}

    def __str__(self) -> str:
        rows = [
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
        columns = ["stage", "ops", "parameters", "bytes in", "bytes out", "MACs", "file"]
        title = f"{self.name} in {len(self.stages)} segments"
        lines = [table(columns, rows, title=title), "", *self._summary()]
        return "\n".join(lines)

    def _summary(self) -> list[str]:
        total = sum(stage.parameter_bytes for stage in self.stages)
        lines = [
            f"largest stage   {format_bytes(self.peak_parameter_bytes)} of "
            f"{format_bytes(total)} parameters"
        ]
        if self.cost is not None and self.lower_bound is not None:
            proof = (
                "proved optimal"
                if self.status == "optimal"
                else f"at most {self.gap:.2%} above the optimum"
            )
            lines.append(
                f"cost            {self.cost:,.15g} ({self.objective}), bound "
                f"{self.lower_bound:,.15g}: {proof}"
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
        lines += [f"warning         {warning}" for warning in self.warnings]
        lines.append("All figures are read from the .tflite models; none is measured on a device.")
        return lines


def build_report(
    graph: OpGraph,
    schedule: Schedule,
    segments: Sequence[Segment],
    *,
    name: str,
    parity: ParityReport | None,
    warnings: tuple[str, ...],
) -> Report:
    """Collect the figures of a pipeline."""
    return Report(
        name=name,
        stages=tuple(_stage(graph, segment) for segment in segments),
        objective=schedule.objective,
        cost=schedule.cost,
        lower_bound=schedule.lower_bound,
        gap=schedule.gap,
        status=schedule.status,
        scheduler=schedule.scheduler,
        solve_seconds=schedule.solve_seconds,
        parity=parity,
        warnings=warnings,
    )


def _stage(graph: OpGraph, segment: Segment) -> StageReport:
    ops = np.array(segment.ops, np.int64)
    return StageReport(
        index=segment.index,
        num_ops=len(ops),
        parameter_bytes=int(graph.parameter_bytes[ops].sum()),
        input_bytes=_bytes(graph, segment.inputs),
        output_bytes=_bytes(graph, segment.outputs),
        macs=int(graph.macs[ops].sum()),
        file_bytes=len(segment.content),
    )


def _bytes(graph: OpGraph, specs: Sequence[TensorSpec]) -> int:
    return sum(int(graph.tensor_bytes[spec.tensor]) for spec in specs)
