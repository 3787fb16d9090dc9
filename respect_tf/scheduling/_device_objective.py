"""`DeviceObjective`: what objectives of the device model have in common."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.device import (
    DeviceCosts,
    EdgeTpu,
    Hosts,
    PipelinePrediction,
    batch_stages,
    devices_of,
    is_quick,
    predict,
    resolve_device,
    rooms_of,
    unstreamed,
)
from respect_tf.graph import OpGraph
from respect_tf.scheduling._device_bounds import (
    beside_cpu_ops,
    least_busy,
    least_streamed,
    least_waiting,
    surely_moved,
    surely_returned_by,
)
from respect_tf.scheduling._linear_bound import LOOSER, Bools, Floats
from respect_tf.scheduling._objective import LinearCost, Number, Objective
from respect_tf.scheduling._schedule import Schedule
from respect_tf.scheduling._stage_batch import StageBatch

if TYPE_CHECKING:
    from typing_extensions import Self


class DeviceObjective(Objective):
    """Milliseconds that the device model predicts; of several devices, the worst ratio.

    Where the machine may be one of several, the cost is the largest, over them, of the time there
    divided by that machine's optimum: 1 or more, without a unit. Solvers fill in the number of
    stages and, of several devices, the least that a schedule costs on each, in ms.

    Raises:
        ArgumentError: There is no such device, or as many optima are not given.
    """

    def __init__(
        self,
        device: Any = "usb3",
        num_stages: int = 1,
        optima: tuple[float, ...] | None = None,
    ) -> None:
        self._device = resolve_device(device)
        self.num_stages = num_stages
        self.optima = optima if isinstance(self._device, Hosts) else None
        if self.optima is not None and len(self.optima) != len(self.devices):
            raise ArgumentError(
                f"optima must hold a number for each of {len(self.devices)} devices. Received: "
                f"{len(self.optima)}."
            )
        self._known_costs: tuple[DeviceCosts, ...] = ()  # of the last graph

    @property
    def device(self) -> EdgeTpu | Hosts:
        """See `Objective`."""
        return self._device

    @property
    def devices(self) -> tuple[EdgeTpu, ...]:
        """The devices that it may be."""
        return devices_of(self._device)

    @property
    def is_batched(self) -> bool:
        """See `Objective`."""
        return True

    @property
    def needs_optima(self) -> bool:
        """Whether the optimum of each device has to be known, and is not."""
        return isinstance(self._device, Hosts) and self.optima is None

    @property
    def is_mean(self) -> bool:
        """Whether solvers add up the mean of several devices, which is no more than the cost."""
        return self.combine == "sum" and self.optima is not None

    def of_one(self, device: EdgeTpu) -> Self:
        """The same objective for one device."""
        return self._with(device=device, optima=None)

    def with_optima(self, optima: Sequence[float]) -> Self:
        """The same objective, once the optimum of each device is known. In ms."""
        return self._with(optima=tuple(optima))

    def for_stages(self, num_stages: int) -> Self:
        """See `Objective`."""
        return self._with(num_stages=num_stages)

    @property
    def _arguments(self) -> dict[str, Any]:
        """What makes an objective like this one."""
        return {"device": self._device, "num_stages": self.num_stages, "optima": self.optima}

    def _with(self, **changed: Any) -> Self:
        """An objective that differs, with the costs of the last graph where they are the same."""
        other = type(self)(**(self._arguments | changed))
        known = {one.device: one for one in self._known_costs}
        if other._num_at_work == self._num_at_work and known.keys() >= set(other.devices):
            other._known_costs = tuple(known[device] for device in other.devices)
        return other

    @property
    def _scales(self) -> Floats:
        """What a millisecond on each device costs. [num_devices]."""
        if self.needs_optima:
            raise ArgumentError(
                f"The {self.name} of {self._device.name} is relative to the optimum of each of "
                f"{len(self.devices)} devices, which are not known. Expected "
                f"`{type(self).__name__}(device, optima=...)`, or a single device."
            )
        if self.optima is None:
            return np.ones(1)
        scales: Floats = 1.0 / np.maximum(np.array(self.optima), math.ulp(0.0))
        return scales

    @property
    def _weights(self) -> Floats:
        """What a millisecond on each device counts in the mean over them. [num_devices]."""
        weights: Floats = self._scales * (1.0 / len(self.devices))
        return weights

    @property
    def _dispatch(self) -> Floats:
        """Time of each host for all stages; nothing to share out for a single one."""
        num_served = self.num_stages if self.num_stages > 1 else 0
        ms: Floats = np.array([device.stage_ms * num_served for device in self.devices], float)
        return ms

    @property
    def _num_at_work(self) -> int:
        """Number of devices that work at once."""
        return self.num_stages

    @property
    def _asks_bytes(self) -> bool:
        """Whether bytes on the bus matter."""
        return False

    @property
    def _judges(self) -> Sequence[int]:
        """The devices that say what stages cost: of those where all takes as long, one may do."""
        return range(len(self.devices))

    def _costs(self, graph: OpGraph) -> tuple[DeviceCosts, ...]:
        """The costs on each of the judges."""
        every = self._all_costs(graph)
        return tuple(every[index] for index in self._judges)

    def _all_costs(self, graph: OpGraph) -> tuple[DeviceCosts, ...]:
        if not self._known_costs or self._known_costs[0].graph is not graph:
            self._known_costs = tuple(
                DeviceCosts.of(graph, device, self._num_at_work) for device in self.devices
            )
        return self._known_costs

    def tensor_weights(self, graph: OpGraph) -> Floats:
        """See `Objective`: requests that bring a tensor back."""
        return self._costs(graph)[0].chip.requests.astype(np.float64)

    def batch_bounds(
        self, stages: StageBatch, *, closely: bool, num_parts: npt.NDArray[Any] | int = 1
    ) -> tuple[Floats, Floats, Floats, Bools]:
        """See `Objective`."""
        costs = self._costs(stages.graph)
        chip = costs[0].chip
        if closely and is_quick(chip, stages):
            return *self.batch_values(stages), np.ones(len(stages), bool)  # as quickly
        parts = np.full(len(stages), np.asarray(num_parts, np.float64))
        total, moved = unstreamed(costs, stages, parts)
        streamed = stages.op_sums(chip.parameters.streamed)
        whole = np.ones(len(stages), bool)
        if not chip.all_supported:
            # An op on the CPU drags others with it; only stages without one are known by sums.
            whole = stages.op_sums((~chip.supported).astype(np.int64)) == 0
            if not whole.all():
                total[~whole], moved[~whole] = beside_cpu_ops(costs, stages.select(~whole))
                streamed[~whole] = 0.0
        room = chip.whole_room * parts
        is_exact = np.zeros(len(stages), bool)
        asked = stages.op_sums(chip.asked_bytes)
        if closely:
            room, fit = rooms_of(chip, stages, asked)
            is_exact = whole & fit
        over = np.maximum(0.0, asked - room)
        some = whole & (over > 0)
        if some.any():
            few, over = stages.select(some), over[some]
            for index, one in enumerate(costs):
                total[some, index] += least_waiting(one, over, few.op_sums)
            streamed[some] += least_streamed(chip, over, few.op_sums)
        return (*self._finish(total, moved + streamed), streamed, is_exact)

    def batch_values(self, stages: StageBatch) -> tuple[Floats, Floats, Floats]:
        """See `Objective`."""
        total, moved, streamed = batch_stages(self._costs(stages.graph), stages)
        return (*self._finish(total, moved), streamed)

    def stage_cost(
        self, graph: OpGraph, ops: Sequence[int], entering: Sequence[int], leaving: Sequence[int]
    ) -> Number:
        """See `Objective`."""
        return self.stage_value(graph, ops, entering, leaving)[0]

    def stage_value(
        self, graph: OpGraph, ops: Sequence[int], entering: Sequence[int], leaving: Sequence[int]
    ) -> tuple[Number, Number]:
        """Cost of the stage, and its load of the bus."""
        costs = self._costs(graph)
        on_chip = costs[0].chip.stage(ops, entering, leaving)
        found = [one.time(on_chip) for one in costs]
        total = np.array([[stage.total_ms for stage in found]])
        values, loads = self._finish(total, np.array([found[0].moved_bytes]))
        return float(values[0]), float(loads[0])

    def schedule_cost(self, graph: OpGraph, schedule: Schedule) -> Number:
        """What the prediction says, or of several devices, the worst ratio."""
        return float((self.times(graph, schedule) * self._scales).max())

    def times(self, graph: OpGraph, schedule: Schedule) -> Floats:
        """What a schedule takes on each device, in ms. [num_devices]."""
        predictions = predict(graph, schedule, self._device).by_host.values()
        return np.array([self._of(one) for one in predictions])

    def least_cost(self, graph: OpGraph) -> float:
        """See `Objective`: all stages together, with the room of all their devices."""
        costs = self._costs(graph)
        chip, num_stages = costs[0].chip, self.num_stages
        requests = float(surely_returned_by(chip).sum())
        total = np.array(
            [float(least_busy(one).sum()) + one.leave_ms_per_request * requests for one in costs]
        )
        moved = float(surely_moved(chip).sum())
        if chip.all_supported:
            enters = graph.model_inputs[np.isin(graph.model_inputs, graph.reads[1])]
            leaves = np.unique(graph.model_outputs[graph.producer[graph.model_outputs] >= 0])
            sent = float(graph.tensor_bytes[np.unique(enters)].sum())
            requests = float(chip.requests[leaves].sum())
            over = float(chip.asked_bytes.sum()) - num_stages * chip.whole_room
            for index, one in enumerate(costs):
                total[index] = float(one.busy_ms.sum()) + num_stages * one.start_ms
                total[index] += one.enter_ms_per_byte * sent + one.leave_ms_per_request * requests
                total[index] += least_waiting(one, over, np.sum)
            moved += sent + requests * chip.device.request_bytes
            moved += num_stages * chip.base_instructions + least_streamed(chip, over, np.sum)
        return LOOSER * self._least_of_all(total, moved)

    def linear_cost(self, graph: OpGraph) -> LinearCost:
        """A lower bound: nothing is streamed, an inference starts in no time, requests are full.

        Of several devices, it is a mean of theirs, which is no more than the largest.
        """
        costs = self._all_costs(graph)
        chip = costs[0].chip
        parts = list(zip(costs, self._weights.tolist(), strict=True))
        if not chip.all_supported:  # a stage on the CPU only has no transfers
            return LinearCost(sum(scale * least_busy(one) for one, scale in parts), exact=False)
        size = chip.device.request_bytes
        return LinearCost(
            sum(scale * one.busy_ms for one, scale in parts),
            enter=sum(scale * one.enter_ms_per_byte for one, scale in parts),
            leave=sum(scale * one.leave_ms_per_request / size for one, scale in parts),
            exact=False,
        )

    @abc.abstractmethod
    def _of(self, prediction: PipelinePrediction) -> float:
        """What is minimised, of a prediction for one device."""

    @abc.abstractmethod
    def _least_of_all(self, total: Floats, moved: float) -> float:
        """A bound from ms of all stages on each judge and bytes on the bus, bounds themselves."""

    @abc.abstractmethod
    def _finish(self, total: Floats, moved: Floats) -> tuple[Floats, Floats]:
        """Costs and shared loads from ms of stages, [num_stages, num_judges], and bytes."""
