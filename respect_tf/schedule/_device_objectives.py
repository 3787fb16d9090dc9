"""Objectives of the device model: milliseconds per inference, and from end to end."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from respect_tf.device import DeviceCosts, EdgeTpu, predict_pipeline, resolve_device
from respect_tf.device._edge_tpu import MIB
from respect_tf.graph import OpGraph
from respect_tf.schedule._bounded import Bools, BoundedObjective, Floats
from respect_tf.schedule._device_batch import batch_stages, rooms_of
from respect_tf.schedule._device_bounds import PRICES, least_of, least_streaming
from respect_tf.schedule._objective import LinearCost, Number
from respect_tf.schedule._schedule import Schedule
from respect_tf.schedule._stage_batch import StageBatch

# Bounds are loosened by so much against rounding.
_LOOSER = 1 - 1e-12


@dataclasses.dataclass(frozen=True)
class DeviceObjective(BoundedObjective):
    """Milliseconds that the device model predicts.

    Attributes:
        tpu: The device; a preset's name will do.
        num_stages: Number of stages of the schedules; solvers fill it in.

    Raises:
        ArgumentError: There is no such preset.
    """

    tpu: EdgeTpu
    num_stages: int = 1

    def __init__(self, tpu: str | EdgeTpu = "usb3", num_stages: int = 1) -> None:
        object.__setattr__(self, "tpu", resolve_device(tpu))
        object.__setattr__(self, "num_stages", num_stages)

    @property
    def device(self) -> EdgeTpu:
        """See `Objective`."""
        return self.tpu

    def for_stages(self, num_stages: int) -> DeviceObjective:
        """See `Objective`."""
        return type(self)(self.tpu, num_stages)

    @property
    def _dispatch_ms(self) -> float:
        """Time of the host for all stages; it has nothing to share out for a single one."""
        return self.device.dispatch_ms * self.num_stages if self.num_stages > 1 else 0.0

    @property
    def _num_at_work(self) -> int:
        """Number of devices that work at once."""
        return self.num_stages

    @property
    def _asks_bytes(self) -> bool:
        """Whether bytes on the bus matter."""
        return False

    def _costs(self, graph: OpGraph) -> DeviceCosts:
        known: DeviceCosts | None = self.__dict__.get("_known_costs")
        if known is None or known.graph is not graph:
            known = DeviceCosts.of(graph, self.device, self._num_at_work)
            object.__setattr__(self, "_known_costs", known)  # of the last graph
        return known

    def batch_bounds(
        self, stages: StageBatch, *, closely: bool, num_parts: npt.NDArray[Any] | int = 1
    ) -> tuple[Floats, Floats, Bools]:
        """See `BoundedObjective`."""
        costs = self._costs(stages.graph)
        device = costs.device
        parts = np.full(len(stages), np.asarray(num_parts, np.float64))
        total = stages.op_sums(costs.compute_ms) + device.fixed_ms * parts
        transfer = stages.entering_bytes * _rate(costs, device.ms_per_input_mib)
        transfer += stages.leaving_bytes * _rate(costs, device.ms_per_output_mib)
        whole = np.ones(len(stages), bool)
        if not costs.supported.all():
            # An op on the CPU drags others with it; only stages without one are known by sums. One
            # that has any other op has transfers, but its parts may not.
            whole = stages.op_sums((~costs.supported).astype(np.int64)) == 0
            is_mapped = stages.op_sums(costs.supported.astype(np.int64)) > 0
            transfer[~whole & ~(is_mapped & (parts == 1))] = 0.0
            least = stages.op_sums(_least_busy(costs)) + device.fixed_ms * is_mapped
            total = np.where(whole, total, least)
        room = device.num_tiles * device.tile_bytes * parts
        is_exact = np.zeros(len(stages), bool)
        if closely:
            held = stages.op_sums(costs.parameters.blocks * costs.parameters.block_bytes)
            room, fit = rooms_of(costs, stages, held)
            is_exact = whole & fit
        waiting, streamed = least_streaming(
            costs, stages, room, total + transfer, closely=closely, in_bytes=self._asks_bytes
        )
        total = total + transfer + np.where(whole, waiting, 0.0)
        streamed = streamed + stages.op_sums(costs.parameters.streamed)
        moved = stages.entering_bytes + stages.leaving_bytes + np.where(whole, streamed, 0.0)
        return (*self._finish(total, moved), is_exact)

    def batch_values(self, stages: StageBatch) -> tuple[Floats, Floats]:
        """See `BoundedObjective`."""
        return self._finish(*batch_stages(self._costs(stages.graph), stages))

    def least_cost(self, graph: OpGraph) -> float:
        """See `BoundedObjective`: all stages together, with the room of all their devices."""
        costs = self._costs(graph)
        device, num_stages = self.device, self.num_stages
        enters = graph.model_inputs[np.isin(graph.model_inputs, graph.reads[1])]
        leaves = graph.model_outputs[graph.producer[graph.model_outputs] >= 0]
        total, moved = float(_least_busy(costs).sum()), 0.0
        if costs.supported.all():
            sizes = [float(graph.tensor_bytes[which].sum()) for which in (enters, leaves)]
            room = num_stages * device.num_tiles * device.tile_bytes
            parameters = costs.parameters
            asked = (parameters.blocks * parameters.block_bytes).astype(np.float64)
            waiting, streamed = least_of(
                costs,
                float(asked.sum()) - room,
                lambda values: float(values.sum()),
                PRICES,
                in_bytes=True,
            )
            total = float(costs.compute_ms.sum()) + num_stages * device.fixed_ms + waiting
            total += sizes[0] * _rate(costs, device.ms_per_input_mib)
            total += sizes[1] * _rate(costs, device.ms_per_output_mib)
            moved = sum(sizes) + streamed + float(parameters.streamed.sum())
        return _LOOSER * self._least_of_all(total, moved)

    @abc.abstractmethod
    def _least_of_all(self, total: float, moved: float) -> float:
        """A bound from ms of all stages and bytes on the bus, each a bound itself."""

    @abc.abstractmethod
    def _finish(self, total: Floats, moved: Floats) -> tuple[Floats, Floats]:
        """Costs and shared loads from ms of stages and bytes on the bus."""

    def linear_cost(self, graph: OpGraph) -> LinearCost:
        """A lower bound: nothing is streamed, and an inference starts in no time."""
        costs = self._costs(graph)
        if not costs.supported.all():  # a stage on the CPU only has no transfers
            return LinearCost(_least_busy(costs), exact=False)
        return LinearCost(
            costs.compute_ms,
            enter=_rate(costs, costs.device.ms_per_input_mib),
            leave=_rate(costs, costs.device.ms_per_output_mib),
            exact=False,
        )


class Throughput(DeviceObjective):
    """Milliseconds per inference of a full pipeline, as `predict_pipeline` gives them.

    That is the time of the slowest stage, or of the bus that all devices share, or of the host that
    hands out the work, whichever is longest.
    """

    @property
    def name(self) -> str:
        """`"throughput"`."""
        return "throughput"

    def stage_value(
        self,
        graph: OpGraph,
        ops: Sequence[int],
        entering: Sequence[int],
        leaving: Sequence[int],
    ) -> tuple[Number, Number]:
        """Milliseconds of the stage, or of the host for all stages if that is more; of the bus."""
        stage = self._costs(graph).stage(ops, entering, leaving)
        moved = float(graph.tensor_bytes[[*entering, *leaving]].sum()) + stage.streamed_bytes
        return max(stage.total_ms, self._dispatch_ms), self._bus_ms_per_byte * moved

    @property
    def _asks_bytes(self) -> bool:
        return self._bus_ms_per_byte > 0

    @property
    def _bus_ms_per_byte(self) -> float:
        return self.device.bus_ms_per_mib / MIB if self.num_stages > 1 else 0.0

    def least_sums(self, graph: OpGraph) -> list[tuple[Floats, float]]:
        """See `BoundedObjective`: compute, and streaming of what an empty chip has no room for."""
        costs, device = self._costs(graph), self.device
        if not costs.supported.all():
            return [(_least_busy(costs), 0.0)]
        unit = device.ms_per_streamed_mib / MIB
        asked = costs.parameters.blocks * costs.parameters.block_bytes
        busy = costs.compute_ms + np.minimum(costs.stream_ms, unit * asked)
        room = device.num_tiles * device.tile_bytes
        return [(costs.compute_ms, device.fixed_ms), (busy, device.fixed_ms - unit * room)]

    def schedule_cost(self, graph: OpGraph, schedule: Schedule) -> Number:
        """`interval_ms` of the prediction."""
        return predict_pipeline(graph, schedule.stages, self.device).interval_ms

    def _least_of_all(self, total: float, moved: float) -> float:
        return max(total / self.num_stages, self._dispatch_ms, self._bus_ms_per_byte * moved)

    def _finish(self, total: Floats, moved: Floats) -> tuple[Floats, Floats]:
        return np.maximum(total, self._dispatch_ms), moved * self._bus_ms_per_byte


class Latency(DeviceObjective):
    """Milliseconds from one input to its output, alone in the pipeline.

    No other device works at the same time, so transfers are not slowed down.
    """

    @property
    def combine(self) -> Literal["max", "sum"]:
        """The stages come one after the other."""
        return "sum"

    @property
    def name(self) -> str:
        """`"latency"`."""
        return "latency"

    @property
    def _num_at_work(self) -> int:
        return 1

    def stage_value(
        self,
        graph: OpGraph,
        ops: Sequence[int],
        entering: Sequence[int],
        leaving: Sequence[int],
    ) -> tuple[Number, Number]:
        """Milliseconds of the stage, and of the host for it; nothing is shared."""
        stage = self._costs(graph).stage(ops, entering, leaving)
        return stage.total_ms + self._dispatch_ms / self.num_stages, 0.0

    def schedule_cost(self, graph: OpGraph, schedule: Schedule) -> Number:
        """`latency_ms` of the prediction."""
        return predict_pipeline(graph, schedule.stages, self.device).latency_ms

    def _least_of_all(self, total: float, moved: float) -> float:
        del moved
        return total + self._dispatch_ms

    def _finish(self, total: Floats, moved: Floats) -> tuple[Floats, Floats]:
        del moved
        return total + self._dispatch_ms / self.num_stages, np.zeros(len(total))


def _rate(costs: DeviceCosts, ms_per_mib: float) -> float:
    """Ms per byte of a transfer, slowed down as in `DeviceCosts.enter_ms`."""
    return ms_per_mib * costs.device.slowdown(costs.num_stages) / MIB


def _least_busy(costs: DeviceCosts) -> Floats:
    """Milliseconds of each op at least, be it on the Edge TPU or on the CPU. [num_ops]."""
    cheapest = np.minimum(costs.compute_ms, costs.cpu_ms)
    return np.where(costs.supported, cheapest, costs.cpu_ms)
