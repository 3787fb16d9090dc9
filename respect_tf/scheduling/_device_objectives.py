"""Objectives of the device model: milliseconds per inference, and from end to end."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from respect_tf._errors import ArgumentError
from respect_tf.device import (
    MIB,
    EdgeTpu,
    PipelinePrediction,
    checked_rate,
    first_device,
    predict,
    resolve_device,
    under_load,
)
from respect_tf.graph import OpGraph
from respect_tf.scheduling._device_bounds import bus_bound, room_bound, stage_bounds
from respect_tf.scheduling._device_objective import DeviceObjective
from respect_tf.scheduling._linear_bound import Floats, LinearBound, RoomBound
from respect_tf.scheduling._objective import Objective
from respect_tf.scheduling._schedule import Schedule

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["DeviceObjective", "Latency", "ReplicatedThroughput", "Throughput", "prepared_for"]


class Throughput(DeviceObjective):
    """Milliseconds per inference of a full pipeline, as `respect_tf.predict` gives them.

    That is the time of the slowest stage, or of the bus that all devices share, or of the host that
    hands out the work, whichever is longest.
    """

    @property
    def name(self) -> str:
        """`"throughput"`."""
        return "throughput"

    @functools.cached_property
    def _judges(self) -> Sequence[int]:
        """Of hosts where stages take as long, the one where that costs most."""
        if self.optima is None:
            return super()._judges
        dearest: dict[EdgeTpu, int] = {}
        for index, (device, optimum) in enumerate(zip(self.devices, self.optima, strict=True)):
            other = dearest.setdefault(stage_device(device), index)
            if optimum < self.optima[other]:
                dearest[stage_device(device)] = index
        return list(dearest.values())

    @property
    def _asks_bytes(self) -> bool:
        return self._bus_cost > 0

    @property
    def _bus_cost(self) -> float:
        """What a byte on the bus costs: of several devices, where it costs most."""
        if self.num_stages == 1:
            return 0.0
        rates = np.array([device.bus_ms_per_mib for device in self.devices]) / MIB
        return float((rates * self._scales).max())

    @property
    def _dispatch_cost(self) -> float:
        return float((self._dispatch * self._scales).max())

    def linear_bounds(self, graph: OpGraph) -> list[LinearBound]:
        """See `Objective`: work and transfers, and what an empty chip has no room for."""
        found = []
        scales = self._scales[self._judges]
        for one, scale in zip(self._costs(graph), scales.tolist(), strict=True):
            found += stage_bounds(one, scale)
        if self._asks_bytes and found:
            found += [bus_bound(self._costs(graph)[0], self._bus_cost)]
        return found

    def room_bounds(self, graph: OpGraph) -> list[RoomBound]:
        """See `Objective`: for graphs whose layers take as much of each tile."""
        costs, scales = self._costs(graph), self._scales[self._judges].tolist()
        return (
            [room_bound(one, scale) for one, scale in zip(costs, scales, strict=True)]
            if (costs[0].chip.is_even and costs[0].chip.all_supported)
            else []
        )

    def _of(self, prediction: PipelinePrediction) -> float:
        return prediction.interval_ms

    def _least_of_all(self, total: Floats, moved: float) -> float:
        slowest = float((total * self._scales[self._judges]).max()) / self.num_stages
        return max(slowest, self._dispatch_cost, self._bus_cost * moved)

    def _finish(self, total: Floats, moved: Floats) -> tuple[Floats, Floats]:
        dearest = (total * self._scales[self._judges]).max(axis=1)
        return np.maximum(dearest, self._dispatch_cost), moved * self._bus_cost


@functools.lru_cache(maxsize=256)
def stage_device(device: EdgeTpu) -> EdgeTpu:
    """What of a device says how long its stages take: equal for those that differ in the rest."""
    return dataclasses.replace(device, name="", bus_ms_per_mib=0.0, stage_ms=0.0)


class ReplicatedThroughput(Throughput):
    """Milliseconds per inference of a full pipeline with replicas, as `predict` gives them.

    It judges schedules; what finds them is `respect_tf.plan`. `replicas` are the numbers of devices
    of the stages.
    """

    def __init__(
        self, device: Any, replicas: Sequence[int], optima: tuple[float, ...] | None = None
    ) -> None:
        self.replicas = tuple(replicas)
        super().__init__(device, len(self.replicas), optima)

    @property
    def name(self) -> str:
        """`"throughput(replicas=2,1)"`, or `"throughput"` where each stage has one device."""
        if set(self.replicas) == {1}:
            return "throughput"
        return f"throughput(replicas={','.join(map(str, self.replicas))})"

    @property
    def _num_at_work(self) -> int:
        return sum(self.replicas)

    def for_stages(self, num_stages: int) -> Self:
        """The same: it is about one number of stages."""
        if num_stages != len(self.replicas):
            raise ArgumentError(
                f"The objective {self.name} is about {len(self.replicas)} stages. Received: "
                f"{num_stages}."
            )
        return self

    @property
    def _arguments(self) -> dict[str, Any]:
        return {"device": self._device, "replicas": self.replicas, "optima": self.optima}

    def times(self, graph: OpGraph, schedule: Schedule) -> Floats:
        """See `DeviceObjective`."""
        found = predict(graph, schedule, self._device, replicas=self.replicas)
        return np.array([self._of(one) for one in found.by_host.values()])


class Latency(DeviceObjective):
    """Milliseconds from one input to its output, alone in the pipeline or under load.

    Alone, no other device works at the same time, so transfers are not slowed down. Of several
    devices, stages add up for each by itself; solvers add up the mean of them.

    Under load, inputs arrive at random, and the mean time from an input's arrival to its result
    counts, on the first of several devices: `respect_tf.device.under_load`.

    Args:
        device: See `DeviceObjective`.
        num_stages: See `DeviceObjective`.
        optima: See `DeviceObjective`.
        arrivals_per_second: Inputs that arrive per second, in the mean; None for one alone.

    Raises:
        ArgumentError: See `DeviceObjective`; or the rate is no finite number above 0.
    """

    def __init__(
        self,
        device: Any = "usb3",
        num_stages: int = 1,
        optima: tuple[float, ...] | None = None,
        *,
        arrivals_per_second: float | None = None,
    ) -> None:
        if arrivals_per_second is not None:
            arrivals_per_second = checked_rate(arrivals_per_second)
            device = first_device(resolve_device(device))
        super().__init__(device, num_stages, optima)
        self.arrivals_per_second = arrivals_per_second

    @property
    def combine(self) -> Literal["max", "sum"]:
        """The stages come one after the other."""
        return "sum"

    @property
    def name(self) -> str:
        """`"latency"`, or `"latency(arrivals_per_second=R)"`."""
        if self.arrivals_per_second is None:
            return "latency"
        return f"latency(arrivals_per_second={self.arrivals_per_second!r})"

    @property
    def _arguments(self) -> dict[str, Any]:
        return super()._arguments | {"arrivals_per_second": self.arrivals_per_second}

    @property
    def _num_at_work(self) -> int:
        return 1

    def _of(self, prediction: PipelinePrediction) -> float:
        if self.arrivals_per_second is not None:
            return under_load(prediction, self.arrivals_per_second).mean_ms
        return prediction.latency_ms

    def linear_bounds(self, graph: OpGraph) -> list[LinearBound]:
        """See `Objective`: the mean of the devices."""
        weights, num_stages = self._weights.tolist(), self.num_stages
        parts = [
            stage_bounds(one, weight)[0]
            for one, weight in zip(self._costs(graph), weights, strict=True)
        ]
        return [
            LinearBound(
                np.sum([part.ops for part in parts], axis=0),
                sum(part.rest for part in parts) + self._dispatch_cost / num_stages,
                np.sum([part.enter for part in parts], axis=0),
                np.sum([part.leave for part in parts], axis=0),
                parts[0].counts,
                is_shared=True,
            )
        ]

    def _least_of_all(self, total: Floats, moved: float) -> float:
        del moved
        return float(((total + self._dispatch) * self._weights).sum())

    def _finish(self, total: Floats, moved: Floats) -> tuple[Floats, Floats]:
        cost = np.full(len(total), self._dispatch_cost / self.num_stages)
        for column, weight in zip(total.T, self._weights.tolist(), strict=True):
            cost += weight * column
        return cost, np.zeros_like(moved)

    @property
    def _dispatch_cost(self) -> float:
        return float((self._dispatch * self._weights).sum())


def prepared_for(schedule: Schedule, objective: Objective) -> Objective:
    """An objective with the optima that a schedule for the same devices says."""
    if (
        isinstance(objective, DeviceObjective)
        and objective.needs_optima
        and schedule.optima is not None
        and schedule.device == objective.device
        and schedule.objective == objective.name
    ):
        return objective.with_optima(schedule.optima)
    return objective
