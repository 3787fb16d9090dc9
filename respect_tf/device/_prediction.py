"""What the model predicts for a pipeline, stage by stage."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence
from typing import Any, Literal

import numpy as np

from respect_tf._errors import ArgumentError
from respect_tf.device._chip import ChipCosts, ChipStage
from respect_tf.device._costs import DeviceCosts, StageCost
from respect_tf.device._cpu_ops import CpuOp, in_cpu_stage, left_on_cpu
from respect_tf.device._edge_tpu import MIB, EdgeTpu
from respect_tf.device._hosts import DeviceLike, devices_of, resolve_device
from respect_tf.device._mapping_notes import blocking_remarks, mapping_remarks
from respect_tf.device._stages import checked_replicas, checked_stages
from respect_tf.device._transfers import stage_tensors
from respect_tf.graph import OpGraph

# Relative errors to expect, rounded up from what `benchmarks/device.py` prints for public data.
# Of times: 9 of 10 models on a known host; 3 of 4 on an unknown one of a known link.
MARGINS = {"stored_bytes": 0.01, "room_bytes": 0.05, "ms": 0.2, "ms_unknown_host": 0.4}

# CPU stages that a host works on at a time, each with one thread: Raspberry Pi 3 to 5, Jetson Nano
# and Coral's Dev Boards have four cores, PCs four or more.
HOST_CORES = 4


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
        on_cpu: Whether it is a CPU stage: never compiled, it needs no Edge TPU.
    """

    stage: int
    cost: StageCost
    stored_bytes: int
    room_left_bytes: int
    load_ms: float
    cpu_ops: tuple[CpuOp, ...]
    warnings: tuple[str, ...]
    blockers: tuple[str, ...] = ()
    on_cpu: bool = False

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
            "on_cpu": self.on_cpu,
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
        replicas: Number of devices that run each stage; 1 for a CPU stage, which has none.
        stages: One per stage.
        latency_ms: One input alone, from its first stage to its last.
        interval_ms: Time between results when the pipeline is full: that of the stage that takes
            longest for its devices, of the shared bus, or of the host that serves all stages and
            whose cores CPU stages share, whichever is longest.
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
    def num_devices(self) -> int:
        """Edge TPUs, replicas included; CPU stages have none."""
        parts = zip(self.replicas, self.stages, strict=True)
        return sum(count for count, stage in parts if not stage.on_cpu)

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
    def cores_ms(self) -> float:
        """Time per inference that CPU stages take of the host at least, on all of its cores."""
        return cores_ms(self.stages)

    @property
    def cpu_ops(self) -> tuple[CpuOp, ...]:
        """Ops that stay on the CPU."""
        return tuple(op for stage in self.stages for op in stage.cpu_ops)

    @property
    def bottleneck(self) -> str:
        """What sets the interval: `"stage N"`, `"bus"` or `"host"`."""
        parts = zip(self.stages, self.replicas, strict=True)
        times = [stage.total_ms / count for stage, count in parts]
        host = max(self.dispatch_ms, self.cores_ms)
        if max(times) >= max(self.bus_ms, host):
            return f"stage {int(np.argmax(times))}"
        return "bus" if self.bus_ms >= host else "host"

    @property
    def limited_by(self) -> Literal["stage", "bus", "host"]:
        """What sets the interval: the slowest stage, the bus, or the host's own work."""
        limit = self.bottleneck
        if limit == "bus":
            return "bus"
        return "host" if limit == "host" else "stage"

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
    cpu_stages: Collection[int] | None = None,
) -> PipelinePrediction:
    """What the model predicts for a graph in stages.

    Args:
        graph: The graph.
        schedule: A `Schedule`, or int [num_ops], the stage of each op, from 0; each has an op, and
            no op reads from a later one. All zero asks for one stage.
        device: A preset's name, a file of constants (.json), an `EdgeTpu`, or several: then the
            figures are those of the first, and `by_host` has all.
        replicas: Number of devices of each stage; one each if left out. 1 for CPU stages.
        instruction_bytes: Of each stage, the bytes that its compiled file sends at every inference;
            predicted where that is None or left out.
        cpu_stages: The stages that run on the host; those of a `Schedule` if left out.

    Raises:
        ArgumentError: There is no such preset, the file describes no device, or the stages or
            replicas are not as said.
    """
    devices = devices_of(resolve_device(device))
    stage_of = checked_stages(graph, getattr(schedule, "stages", schedule))
    num_stages = int(stage_of.max()) + 1
    on_host = getattr(schedule, "cpu_stages", ()) if cpu_stages is None else cpu_stages
    if not set(on_host) <= set(range(num_stages)):
        raise ArgumentError(
            f"cpu_stages must be stages, 0 to {num_stages - 1}. Received: {cpu_stages!r}."
        )
    counts = checked_replicas(replicas, num_stages, on_host)
    chip = ChipCosts.of(graph, devices[0])
    notes = []
    for stage in range(num_stages):
        ops = np.flatnonzero(stage_of == stage).tolist()
        moved = stage_tensors(graph, stage_of, stage)
        note = _notes(chip, ops, *moved, on_host=stage in on_host)
        known = None if instruction_bytes is None else instruction_bytes[stage]
        if known is not None and not note.on_host:
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
    on_host: bool


def _notes(
    chip: ChipCosts,
    ops: Sequence[int],
    entering: Sequence[int],
    leaving: Sequence[int],
    *,
    on_host: bool,
) -> _Notes:
    graph = chip.graph
    if on_host:
        return _Notes(chip.cpu_stage(ops), in_cpu_stage(graph, ops), (), (), True)
    on_chip = chip.stage(ops, entering, leaving)
    return _Notes(
        on_chip,
        left_on_cpu(graph, on_chip.on_cpu),
        mapping_remarks(graph, on_chip.mapped),
        blocking_remarks(graph, on_chip.ops),
        False,
    )


def _predict(
    graph: OpGraph, notes: Sequence[_Notes], device: EdgeTpu, replicas: tuple[int, ...]
) -> PipelinePrediction:
    num_stages = len(notes)
    num_devices = sum(
        count for count, note in zip(replicas, notes, strict=True) if not note.on_host
    )
    costs = DeviceCosts.of(graph, device, num_devices)
    slowdown = device.slowdown(num_devices)
    stages, moved_mib, alone = [], 0.0, 0.0
    for stage, note in enumerate(notes):
        cost = costs.time(note.on_chip)
        stages.append(_stage_prediction(costs, stage, cost, note))
        moved_mib += cost.moved_bytes / MIB
        transfers = cost.input_ms + cost.output_ms
        alone += cost.total_ms - transfers + transfers / slowdown
    dispatch = device.stage_ms * num_stages if num_devices > 1 or num_stages > 1 else 0.0
    bus = device.bus_ms_per_mib * moved_mib if num_devices > 1 else 0.0
    shares = (stage.cost.total_ms / count for stage, count in zip(stages, replicas, strict=True))
    return PipelinePrediction(
        device=device,
        replicas=replicas,
        stages=tuple(stages),
        latency_ms=alone + dispatch,
        interval_ms=max(*shares, bus, dispatch, cores_ms(stages)),
        bus_ms=bus,
        dispatch_ms=dispatch,
        first_ms=alone + dispatch + sum(stage.load_ms for stage in stages),
    )


def cores_ms(stages: Sequence[StagePrediction]) -> float:
    """What CPU stages take of a host at least, each being on one core at a time."""
    return sum(stage.total_ms for stage in stages if stage.on_cpu) / HOST_CORES


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
        on_cpu=notes.on_host,
    )
