"""What the model predicts for a pipeline, stage by stage."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.device._chip import ChipCosts, ChipStage
from respect_tf.device._costs import DeviceCosts, StageCost
from respect_tf.device._edge_tpu import MIB, EdgeTpu
from respect_tf.device._hosts import DeviceLike, devices_of, resolve_device
from respect_tf.device._mapping_notes import blocking_remarks, mapping_remarks
from respect_tf.device._support import unsupported_reason
from respect_tf.device._transfers import stage_tensors
from respect_tf.graph import OpGraph

# Relative errors to expect, rounded up from what `benchmarks/device.py` prints for public data.
# Of times: 9 of 10 models on a known host; 3 of 4 on an unknown one of a known link.
MARGINS = {"stored_bytes": 0.01, "room_bytes": 0.05, "ms": 0.2, "ms_unknown_host": 0.4}


@dataclasses.dataclass(frozen=True)
class CpuOp:
    """An op that stays on the CPU.

    Attributes:
        op: Its index.
        description: Index, type and name.
        reason: Why, in the compiler's words where it has some.
    """

    op: int
    description: str
    reason: str


@dataclasses.dataclass(frozen=True)
class StagePrediction:
    """What the model predicts for one stage; none of it is measured.

    Attributes:
        stage: The stage, from 0.
        cost: Bytes, and ms by cause, with a transfer's slowdown by the other devices.
        stored_bytes: Bytes of parameters in the compiled file.
        room_left_bytes: Room for further parameters.
        load_ms: What the first inference takes longer.
        cpu_ops: Ops that stay on the CPU, with reasons.
        warnings: What only the compiler can tell: ops of versions that no public model had when it
            was compiled, constants that must be zero. Equal ones are one, with the ops' names.
        blockers: Ops that stop the compilation of the whole file, by reason.
    """

    stage: int
    cost: StageCost
    stored_bytes: int
    room_left_bytes: int
    load_ms: float
    cpu_ops: tuple[CpuOp, ...]
    warnings: tuple[str, ...]
    blockers: tuple[str, ...] = ()

    @property
    def total_ms(self) -> float:
        """What an inference takes in this stage."""
        return self.cost.total_ms

    @property
    def streamed_bytes(self) -> int:
        """Bytes of parameters that are brought from the host at every inference."""
        return self.cost.streamed_bytes

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; every figure is under `"predicted"`."""
        cost = self.cost
        return {
            "stage": self.stage,
            "predicted": {
                "stored_bytes": self.stored_bytes,
                "cached_bytes": cost.cached_bytes,
                "streamed_bytes": cost.streamed_bytes,
                "instruction_bytes": cost.instruction_bytes,
                "input_bytes": cost.input_bytes,
                "output_bytes": cost.output_bytes,
                "activation_bytes": cost.activation_bytes,
                "room_left_bytes": self.room_left_bytes,
                "ms": {
                    "fixed": cost.fixed_ms,
                    "instructions": cost.instruction_ms,
                    "compute": cost.compute_ms,
                    "stream": cost.stream_ms,
                    "input": cost.input_ms,
                    "output": cost.output_ms,
                    "cpu": cost.cpu_ms,
                    "total": cost.total_ms,
                },
                "first_inference_ms": self.load_ms + cost.total_ms,
            },
            "cpu_ops": [dataclasses.asdict(op) for op in self.cpu_ops],
            "warnings": list(self.warnings),
            "blockers": list(self.blockers),
        }


@dataclasses.dataclass(frozen=True)
class PipelinePrediction:
    """What the model predicts for a pipeline; none of it is measured.

    Attributes:
        device: The device.
        replicas: Number of devices that run each stage.
        stages: One per stage.
        latency_ms: One input alone, from its first stage to its last.
        interval_ms: Time between results when the pipeline is full: that of the stage that takes
            longest for its devices, of the shared bus, or of the host that serves all stages,
            whichever is longest.
        bus_ms: Time per inference on a bus that all devices share; 0 where each has its own.
        dispatch_ms: Time of the host per inference.
        first_ms: The first result, loading of parameters included.
        others: The same for the other devices that the user may have.
    """

    device: EdgeTpu
    replicas: tuple[int, ...]
    stages: tuple[StagePrediction, ...]
    latency_ms: float
    interval_ms: float
    bus_ms: float
    dispatch_ms: float
    first_ms: float
    others: tuple[PipelinePrediction, ...] = dataclasses.field(default=(), repr=False)

    @property
    def by_host(self) -> dict[str, PipelinePrediction]:
        """The predictions for all devices that the user may have, by the device's name."""
        return {one.device.name: one for one in (self, *self.others)}

    @property
    def frames_per_second(self) -> float:
        """Results per second when the pipeline is full."""
        return 1000.0 / self.interval_ms if self.interval_ms else math.inf

    @property
    def streamed_bytes(self) -> int:
        """Bytes of parameters that are brought from the host at every inference."""
        return sum(stage.cost.streamed_bytes for stage in self.stages)

    @property
    def cpu_ops(self) -> tuple[CpuOp, ...]:
        """Ops that stay on the CPU."""
        return tuple(op for stage in self.stages for op in stage.cpu_ops)

    @property
    def limited_by(self) -> Literal["stage", "bus", "host"]:
        """What sets the interval: the slowest stage, the bus, or the host's own work."""
        if self.interval_ms > max(self.bus_ms, self.dispatch_ms):
            return "stage"
        return "bus" if self.bus_ms >= self.dispatch_ms else "host"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; every figure is under `"predicted"`."""
        return {
            "device": self.device.name,
            "margins": {
                "stored_bytes": MARGINS["stored_bytes"],
                "room_bytes": MARGINS["room_bytes"],
                "ms": MARGINS["ms_unknown_host" if self.others else "ms"],
            },
            "replicas": list(self.replicas),
            "predicted": {
                "frames_per_second": self.frames_per_second,
                "interval_ms": self.interval_ms,
                "latency_ms": self.latency_ms,
                "bus_ms": self.bus_ms,
                "dispatch_ms": self.dispatch_ms,
                "first_inference_ms": self.first_ms,
                "interval_ms_by_host": {
                    name: one.interval_ms for name, one in self.by_host.items()
                },
            },
            "stages": [stage.to_dict() for stage in self.stages],
        }


def predict(
    graph: OpGraph,
    schedule: Any,
    device: DeviceLike = "usb3-pi5",
    *,
    replicas: Sequence[int] | None = None,
    instruction_bytes: Sequence[int | None] | None = None,
) -> PipelinePrediction:
    """What the model predicts for a graph in stages.

    Args:
        graph: The graph.
        schedule: A `Schedule`, or int [num_ops], the stage of each op, from 0; each has an op, and
            no op reads from a later one. All zero asks for one stage.
        device: A preset's name, a file of constants (.json), an `EdgeTpu`, or several: then the
            figures are those of the first, and `by_host` has all.
        replicas: Number of devices of each stage; one each if left out.
        instruction_bytes: Of each stage, the bytes that its compiled file sends at every inference;
            predicted where that is None or left out.

    Raises:
        ArgumentError: There is no such preset, the file describes no device, or the stages or
            replicas are not as said.
    """
    devices = devices_of(resolve_device(device))
    stage_of = _checked_stages(graph, getattr(schedule, "stages", schedule))
    num_stages = int(stage_of.max()) + 1
    counts = _checked_replicas(replicas, num_stages)
    chip = ChipCosts.of(graph, devices[0])
    notes = []
    for stage in range(num_stages):
        ops = np.flatnonzero(stage_of == stage).tolist()
        note = _notes(chip, ops, *stage_tensors(graph, stage_of, stage))
        known = None if instruction_bytes is None else instruction_bytes[stage]
        if known is not None:
            on_chip = dataclasses.replace(note.on_chip, instruction_bytes=float(known))
            note = dataclasses.replace(note, on_chip=on_chip)
        notes.append(note)
    first, *others = (_predict(graph, notes, one, counts) for one in devices)
    return dataclasses.replace(first, others=tuple(others))


@dataclasses.dataclass(frozen=True)
class _Notes:
    """What is to be said about a stage whatever the host."""

    on_chip: ChipStage
    cpu_ops: tuple[CpuOp, ...]
    warnings: tuple[str, ...]
    blockers: tuple[str, ...]


def _notes(
    chip: ChipCosts, ops: Sequence[int], entering: Sequence[int], leaving: Sequence[int]
) -> _Notes:
    on_chip = chip.stage(ops, entering, leaving)
    graph = chip.graph
    return _Notes(
        on_chip,
        _cpu_ops(graph, on_chip.on_cpu),
        mapping_remarks(graph, on_chip.mapped),
        blocking_remarks(graph, on_chip.ops),
    )


def _predict(
    graph: OpGraph, notes: Sequence[_Notes], device: EdgeTpu, replicas: tuple[int, ...]
) -> PipelinePrediction:
    num_stages, num_devices = len(notes), sum(replicas)
    costs = DeviceCosts.of(graph, device, num_devices)
    slowdown = device.slowdown(num_devices)
    stages, moved_mib, alone = [], 0.0, 0.0
    for stage, note in enumerate(notes):
        cost = costs.time(note.on_chip)
        stages.append(_stage_prediction(costs, stage, cost, note))
        moved_mib += cost.moved_bytes / MIB
        transfers = cost.input_ms + cost.output_ms
        alone += cost.total_ms - transfers + transfers / slowdown
    dispatch = device.stage_ms * num_stages if num_devices > 1 else 0.0
    bus = device.bus_ms_per_mib * moved_mib if num_devices > 1 else 0.0
    shares = (stage.cost.total_ms / count for stage, count in zip(stages, replicas, strict=True))
    return PipelinePrediction(
        device=device,
        replicas=replicas,
        stages=tuple(stages),
        latency_ms=alone + dispatch,
        interval_ms=max(*shares, bus, dispatch),
        bus_ms=bus,
        dispatch_ms=dispatch,
        first_ms=alone + dispatch + sum(stage.load_ms for stage in stages),
    )


def _checked_replicas(replicas: Sequence[int] | None, num_stages: int) -> tuple[int, ...]:
    if replicas is None:
        return (1,) * num_stages
    counts = tuple(replicas)
    good = all(
        isinstance(n, int | np.integer) and not isinstance(n, bool) and n >= 1 for n in counts
    )
    if len(counts) != num_stages or not good:
        raise ArgumentError(
            f"replicas must be whole numbers, 1 or more, one for each of {num_stages} stages. "
            f"Received: {replicas!r}."
        )
    return tuple(int(n) for n in counts)


def _checked_stages(graph: OpGraph, stages: npt.ArrayLike) -> npt.NDArray[np.int64]:
    given = np.asarray(stages)
    if given.shape != (graph.num_ops,) or given.dtype.kind not in "iu":
        raise ArgumentError(
            f"Stages must be whole numbers, one for each of {graph.num_ops} ops. Received: shape "
            f"{given.shape}, dtype {given.dtype}."
        )
    stage_of = given.astype(np.int64)
    if set(stage_of.tolist()) != set(range(int(stage_of.max(initial=-1)) + 1)) or not len(stage_of):
        raise ArgumentError(
            "Every stage from 0 on must have an op. Received the stages "
            f"{sorted(set(stage_of.tolist()))}."
        )
    ops, tensors = graph.reads
    makers = graph.producer[tensors]
    late = np.flatnonzero((makers >= 0) & (stage_of[makers] > stage_of[ops]))
    if len(late):
        reader, maker = int(ops[late[0]]), int(makers[late[0]])
        raise ArgumentError(
            f"{graph.describe_op(reader)} is in stage {stage_of[reader]} and reads from "
            f"{graph.describe_op(maker)} in stage {stage_of[maker]}. Expected no op to read from a "
            "later stage."
        )
    return stage_of


def _stage_prediction(
    costs: DeviceCosts, stage: int, cost: StageCost, notes: _Notes
) -> StagePrediction:
    return StagePrediction(
        stage=stage,
        cost=cost,
        stored_bytes=cost.cached_bytes + cost.streamed_bytes,
        room_left_bytes=max(0, cost.room_bytes - cost.logged_bytes),
        load_ms=costs.load_ms(cost),
        cpu_ops=notes.cpu_ops,
        warnings=notes.warnings,
        blockers=notes.blockers,
    )


def _cpu_ops(graph: OpGraph, ops: Sequence[int]) -> tuple[CpuOp, ...]:
    on_cpu = set(ops)
    found = []
    for op in ops:
        reason = unsupported_reason(graph, op)
        if reason is None:
            makers = {int(graph.producer[t]) for t in graph.inputs_of(op).tolist()}
            before = min(makers & on_cpu)
            reason = (
                f"More than one subgraph is not supported: it follows {graph.describe_op(before)}, "
                "which stays on the CPU; a cut right after that op brings it back"
            )
        found.append(CpuOp(op, graph.describe_op(op), reason))
    return tuple(found)
