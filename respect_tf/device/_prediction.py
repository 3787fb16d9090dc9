"""What the model predicts for a pipeline, stage by stage."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.device._costs import DeviceCosts, StageCost
from respect_tf.device._edge_tpu import MIB, EdgeTpu, resolve_device
from respect_tf.device._support import mapping_warnings, unsupported_reason
from respect_tf.graph import OpGraph

# Relative errors to expect, rounded up from what `benchmarks/device.py` prints for public data.
MARGINS = {"stored_bytes": 0.01, "room_bytes": 0.05, "ms": 0.1}


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
            was compiled, constants that must be zero.
    """

    stage: int
    cost: StageCost
    stored_bytes: int
    room_left_bytes: int
    load_ms: float
    cpu_ops: tuple[CpuOp, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; every figure is under `"predicted"`."""
        cost = self.cost
        return {
            "stage": self.stage,
            "predicted": {
                "stored_bytes": self.stored_bytes,
                "cached_bytes": cost.cached_bytes,
                "streamed_bytes": cost.streamed_bytes,
                "activation_bytes": cost.activation_bytes,
                "room_left_bytes": self.room_left_bytes,
                "ms": {
                    "fixed": cost.fixed_ms,
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
        }


@dataclasses.dataclass(frozen=True)
class PipelinePrediction:
    """What the model predicts for a pipeline; none of it is measured.

    Attributes:
        device: The device.
        stages: One per stage.
        latency_ms: One input alone, from its first stage to its last.
        interval_ms: Time between results when the pipeline is full: that of the slowest stage, of
            the shared bus, or of the host that serves all stages, whichever is longest.
        bus_ms: Time per inference on a bus that all devices share; 0 where each has its own.
        dispatch_ms: Time of the host per inference.
        first_ms: The first result, loading of parameters included.
    """

    device: EdgeTpu
    stages: tuple[StagePrediction, ...]
    latency_ms: float
    interval_ms: float
    bus_ms: float
    dispatch_ms: float
    first_ms: float

    @property
    def frames_per_second(self) -> float:
        """Results per second when the pipeline is full."""
        return 1000.0 / self.interval_ms if self.interval_ms else math.inf

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; every figure is under `"predicted"`."""
        return {
            "device": self.device.name,
            "margins": dict(MARGINS),
            "predicted": {
                "frames_per_second": self.frames_per_second,
                "interval_ms": self.interval_ms,
                "latency_ms": self.latency_ms,
                "bus_ms": self.bus_ms,
                "dispatch_ms": self.dispatch_ms,
                "first_inference_ms": self.first_ms,
            },
            "stages": [stage.to_dict() for stage in self.stages],
        }


def predict_pipeline(
    graph: OpGraph, stages: npt.ArrayLike, device: str | os.PathLike[str] | EdgeTpu = "usb3"
) -> PipelinePrediction:
    """What the model predicts for a graph in stages, one Edge TPU each.

    Args:
        graph: The graph.
        stages: int [num_ops], the stage of each op, from 0; each has an op, and no op reads from a
            later one. All zero asks for one Edge TPU.
        device: A preset's name, a file of constants (.json), or an `EdgeTpu`.

    Raises:
        ArgumentError: There is no such preset, the file describes no device, or the stages are not
            as said.
    """
    device = resolve_device(device)
    stage_of = _checked_stages(graph, stages)
    num_stages = int(stage_of.max()) + 1
    costs = DeviceCosts.of(graph, device, num_stages)
    slowdown = device.slowdown(num_stages)
    predictions, moved_mib, alone = [], 0.0, 0.0
    for stage in range(num_stages):
        ops = np.flatnonzero(stage_of == stage).tolist()
        entering, leaving = stage_tensors(graph, stage_of, stage)
        cost = costs.stage(ops, entering, leaving)
        predictions.append(_stage_prediction(costs, stage, cost))
        moved_mib += float(graph.tensor_bytes[[*entering, *leaving]].sum()) / MIB
        moved_mib += cost.streamed_bytes / MIB
        transfers = cost.input_ms + cost.output_ms
        alone += cost.total_ms - transfers + transfers / slowdown
    dispatch = device.dispatch_ms * num_stages if num_stages > 1 else 0.0
    bus = device.bus_ms_per_mib * moved_mib if num_stages > 1 else 0.0
    slowest = max(prediction.cost.total_ms for prediction in predictions)
    return PipelinePrediction(
        device=device,
        stages=tuple(predictions),
        latency_ms=alone + dispatch,
        interval_ms=max(slowest, bus, dispatch),
        bus_ms=bus,
        dispatch_ms=dispatch,
        first_ms=alone + dispatch + sum(prediction.load_ms for prediction in predictions),
    )


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


def stage_tensors(
    graph: OpGraph, stage_of: npt.NDArray[np.int64], stage: int
) -> tuple[list[int], list[int]]:
    """Distinct tensors that enter and that leave a stage, ascending.

    Args:
        graph: The graph.
        stage_of: int64 [num_ops], the stage of each op.
        stage: The stage.
    """
    ops, tensors = graph.reads
    made_in = np.where(graph.producer >= 0, stage_of[graph.producer], -1)  # [num_tensors]
    enters = tensors[(stage_of[ops] == stage) & (made_in[tensors] < stage)]
    carried = tensors[(made_in[tensors] == stage) & (stage_of[ops] > stage)]
    results = graph.model_outputs[made_in[graph.model_outputs] == stage]
    return np.unique(enters).tolist(), np.unique(np.concatenate([carried, results])).tolist()


def _stage_prediction(costs: DeviceCosts, stage: int, cost: StageCost) -> StagePrediction:
    graph = costs.graph
    on_cpu = set(cost.cpu_ops)
    warnings = (text for op in cost.ops if op not in on_cpu for text in mapping_warnings(graph, op))
    return StagePrediction(
        stage=stage,
        cost=cost,
        stored_bytes=cost.cached_bytes + cost.streamed_bytes,
        room_left_bytes=max(0, cost.room_bytes - cost.logged_bytes),
        load_ms=costs.load_ms(cost),
        cpu_ops=_cpu_ops(graph, cost.cpu_ops),
        warnings=tuple(warnings),
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
