"""The report of a pipeline: what each stage holds and takes, and how good the cut is."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from respect_tf._reporting import printable
from respect_tf.device import StageCost, blocking_remarks, mapping_remarks
from respect_tf.graph import OpGraph
from respect_tf.planning import DeviceCount
from respect_tf.report._comparison import Comparison
from respect_tf.report._placed_graph import PlacedGraph
from respect_tf.report._prediction import (
    Speed,
    StageOnDevice,
    speed_of,
    stages_on_device,
)
from respect_tf.report._report_text import report_text
from respect_tf.scheduling import Schedule
from respect_tf.segmentation import ParityReport, Segment, TensorSpec


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
        ends_after: The layer of its last op.
        on_device: Memory and time on its Edge TPU.
    """

    index: int
    num_ops: int
    parameter_bytes: int
    input_bytes: int
    output_bytes: int
    macs: int
    file_bytes: int
    ends_after: str
    on_device: StageOnDevice

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return plain | {"on_device": self.on_device.to_dict()}


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
        status: "optimal" (proved), "optimal within 1e-6" or "feasible".
        scheduler: What chose the cut.
        solve_seconds: How long that took, None where unknown.
        proposal_cost: What the network's proposal alone would have cost, None where it was not
            asked.
        proposal_gap: proposal_cost / cost - 1, None where unknown.
        is_relative: Whether the cost is relative to the optima of several hosts.
        parity: What was compared to prove the segments, None where that was not done.
        warnings: What the pipeline runner and the device accept, but a user may stumble over.
        recuts: A line for each cut that was compiled, where the compiler's log led to another one.
        rewritten: A line for each kind of op that was rewritten before the model was quantised.
        replicas: Number of Edge TPUs that run each stage.
        choice: What a plan chose and why; empty where the user chose.
        made: When the pipeline was made, with which versions and options; empty where unknown.
        frames: What other numbers of Edge TPUs would give; empty where nobody looked.
        placed: What the pictures of `to_html` are drawn from; None for none.
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
    proposal_cost: float | None
    proposal_gap: float | None
    is_relative: bool
    parity: ParityReport | None
    warnings: tuple[str, ...]
    recuts: tuple[str, ...] = ()
    rewritten: tuple[str, ...] = ()
    replicas: tuple[int, ...] = ()
    choice: str = ""
    made: str = ""
    frames: tuple[DeviceCount, ...] = ()
    placed: PlacedGraph | None = dataclasses.field(default=None, repr=False, compare=False)

    @property
    def peak_parameter_bytes(self) -> int:
        """Parameter bytes of the fullest stage."""
        return max(stage.parameter_bytes for stage in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain dicts, lists and numbers.

        `speed` and each stage's `memory` and `time` say in `source` where their figures come from;
        all others are read from the .tflite models.
        """
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del plain["placed"]
        return plain | {
            "stages": [stage.to_dict() for stage in self.stages],
            "speed": dataclasses.asdict(self.speed),
            "parity": None if self.parity is None else dataclasses.asdict(self.parity),
            "warnings": list(self.warnings),
            "recuts": list(self.recuts),
            "rewritten": list(self.rewritten),
            "replicas": list(self.replicas),
            "frames": [
                dataclasses.asdict(known) | {"replicas": list(known.replicas)}
                for known in self.frames
            ],
            "peak_parameter_bytes": self.peak_parameter_bytes,
        }

    def to_html(self) -> str:
        """The report as an HTML page of its own, with pictures.

        It needs no network; a script in it finds ops in the picture of the graph, and zooms. How
        long the scheduler took is left out, so the same pipeline gives the same page.
        """
        from respect_tf.report._html import html_page

        return html_page(self)

    def _repr_html_(self) -> str:
        from respect_tf.report._html import html_fragment

        return html_fragment(self)

    def __str__(self) -> str:
        return printable(report_text(self))


def build_report(
    placed: PlacedGraph,
    schedule: Schedule,
    segments: Sequence[Segment],
    *,
    name: str,
    parity: ParityReport | None,
    warnings: tuple[str, ...],
    recuts: tuple[str, ...] = (),
    rewritten: tuple[str, ...] = (),
    comparison: Comparison | None = None,
    choice: str = "",
    made: str = "",
    frames: tuple[DeviceCount, ...] = (),
) -> Report:
    """Collect the figures of a pipeline."""
    graph = placed.graph
    on_device = stages_on_device(placed.prediction, segments)
    if comparison is None or comparison.device != placed.prediction.device:
        comparison, frames = None, ()  # they are about another device
    speed = speed_of(schedule, placed.prediction, comparison, frames)
    mapped = sorted({op for stage in placed.prediction.stages for op in _mapped(stage.cost)})
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
        proposal_cost=schedule.proposal_cost,
        proposal_gap=schedule.proposal_gap,
        is_relative=schedule.optima is not None,
        parity=parity,
        warnings=(  # what matters most comes last, next to the prompt
            *mapping_remarks(graph, mapped),
            *warnings,
            *([speed.warning] if speed.warning else []),
            *blocking_remarks(
                graph,
                range(graph.num_ops),
                on_cpu=np.flatnonzero(np.isin(schedule.stages, schedule.cpu_stages)).tolist(),
            ),
        ),
        recuts=recuts,
        rewritten=rewritten,
        replicas=placed.prediction.replicas,
        choice=choice,
        made=made,
        frames=frames,
        placed=placed,
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
        ends_after=layer_label(graph.op_names[int(ops[-1])]),
        on_device=on_device,
    )


def layer_label(op_name: str) -> str:
    """The layer that an op comes from, by the name that TensorFlow made of it.

    TensorFlow writes `model/layer_1/Op`, joins what it fuses by `;`, and counts calls of a layer.
    """
    name = op_name.split(";", maxsplit=1)[0]
    parts = [part for part in name.split("/") if part]
    label = parts[-2] if len(parts) > 1 else name
    return re.sub(r"_1$", "", label)


def _mapped(cost: StageCost) -> set[int]:
    return set(cost.ops) - set(cost.cpu_ops)


def _bytes(graph: OpGraph, specs: Sequence[TensorSpec]) -> int:
    return sum(int(graph.tensor_bytes[spec.tensor]) for spec in specs)
