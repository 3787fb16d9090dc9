"""The ways to serve some models by some devices, and what each loads."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.device import EdgeTpu, PipelinePrediction, predict, with_less_room
from respect_tf.graph import OpGraph
from respect_tf.planning._fleet_search import Use
from respect_tf.planning._plan import plan_devices
from respect_tf.scheduling import Schedule, blocked_ops

Floats = npt.NDArray[np.float64]

_ROUND = 1e-12  # of figures that are equal but for rounding

# Of groups of more models two orders of compilation are looked at, instead of all that may be best:
# up to 720 of six models, 5,040 of seven.
_MOST_ORDERED = 6


@dataclasses.dataclass(frozen=True)
class FleetGroup:
    """Some models and their devices.

    Attributes:
        models: Names. Several are compiled together and share the memory of each device, in this
            order: the first one's parameters are kept first.
        replicas: Number of devices of each segment. Several models have one segment each, on all
            devices of the group.
        schedule: The cut of a single model, or that of several: none.
        load: Share of the time that the busiest device works, 1 at most if the rates are met.
        inference_ms: What an inference of each model takes on the device that takes longest for it.
        stage_ms: What an inference of the first model takes in each of its segments.
        streamed_bytes: Parameters of each model that are brought from the host at every inference.
        apart_ms: Of models that share a device, what an inference would take right after another
            model's if they were compiled apart: each switch brings all parameters again.
    """

    models: tuple[str, ...]
    replicas: tuple[int, ...]
    schedule: Schedule
    load: float
    inference_ms: dict[str, float]
    stage_ms: tuple[float, ...]
    streamed_bytes: dict[str, int]
    apart_ms: dict[str, float]

    @property
    def num_devices(self) -> int:
        """Number of devices; stages on the host's CPU take none."""
        return _devices(self.schedule, self.replicas)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; every figure is under `"predicted"`."""
        return {
            "models": list(self.models),
            "replicas": list(self.replicas),
            "predicted": {
                "load": self.load,
                "inference_ms": dict(self.inference_ms),
                "streamed_bytes": dict(self.streamed_bytes),
                "inference_ms_compiled_apart": dict(self.apart_ms),
            },
        }


@dataclasses.dataclass(frozen=True)
class _Part:
    """What an inference takes of the devices of one segment, in ms."""

    own_ms: float
    transfer_ms: float  # while no other device works
    replicas: int

    def ms(self, slowdown: float) -> float:
        return self.own_ms + self.transfer_ms * slowdown


@dataclasses.dataclass(frozen=True)
class _Way:
    """A way to run one model."""

    schedule: Schedule
    parts: tuple[_Part, ...]
    bus_ms: float  # if several devices work
    cores_ms: float
    streamed_bytes: int
    cached_bytes: int
    load_ms: float

    @property
    def replicas(self) -> tuple[int, ...]:
        return tuple(part.replicas for part in self.parts)

    @property
    def num_devices(self) -> int:
        return _devices(self.schedule, self.replicas)

    @property
    def cost(self) -> Floats:
        """Time on a device, on the bus, and bytes that are streamed, of an inference. [3]."""
        return np.array([self.slowest_ms(1.0), self.bus_ms, float(self.streamed_bytes)])

    def slowest_ms(self, slowdown: float) -> float:
        return max(part.ms(slowdown) for part in self.parts)

    def interval_ms(self, slowdown: float) -> float:
        return max(self.cores_ms, *(part.ms(slowdown) / part.replicas for part in self.parts))


class FleetUses:
    """The ways to serve groups of models, which are given as bits.

    Args:
        graphs: The models by name.
        rates: Inferences per second of each.
        device: The host.
        num_devices: Number of devices at most.
        seed: See `schedule`.
    """

    def __init__(
        self,
        graphs: Mapping[str, OpGraph],
        rates: Mapping[str, float],
        device: EdgeTpu,
        num_devices: int,
        seed: int,
    ) -> None:
        self._names = tuple(graphs)
        self._graphs = tuple(graphs.values())
        self._rates = tuple(rates[name] / 1000.0 for name in self._names)  # per ms
        self._device = device
        # Of a model with such an op no file can be compiled, and none together with others.
        self.stands_alone = tuple(bool(blocked_ops(graph)) for graph in self._graphs)
        self._alone = [self._ways(graph, num_devices, seed) for graph in self._graphs]
        self._shared: dict[tuple[int, int], _Way] = {}
        self._orders: dict[int, list[tuple[int, ...]]] = {}

    def of(self, group: int, num_devices: int, at_work: int) -> Iterator[Use]:
        """The ways to serve a group by so many devices, while `at_work` of them work in all."""
        for number, ways in enumerate(self._options(group, num_devices)):
            yield self._use(ways, num_devices, at_work, number)

    def group(self, group: int, num_devices: int, number: int, at_work: int) -> FleetGroup:
        """A group in the way that `of` has given a number."""
        ways = self._options(group, num_devices)[number]
        slowdown = self._device.slowdown(at_work)
        first = ways[0][1]
        apart = [(m, self._whole(m, 0)) for m, _ in ways] if len(ways) > 1 else []
        return FleetGroup(
            models=tuple(self._names[model] for model, _ in ways),
            replicas=first.replicas if len(ways) == 1 else (num_devices,),
            schedule=first.schedule,
            load=self._use(ways, num_devices, at_work, number).device_load,
            inference_ms={self._names[m]: way.slowest_ms(slowdown) for m, way in ways},
            stage_ms=tuple(part.ms(slowdown) for part in first.parts),
            streamed_bytes={self._names[m]: way.streamed_bytes for m, way in ways},
            apart_ms={self._names[m]: way.slowest_ms(slowdown) + way.load_ms for m, way in apart},
        )

    def is_alone(self, group: int) -> bool:
        """Whether a model of a group shares no device with others."""
        return any(alone and group >> m & 1 for m, alone in enumerate(self.stands_alone))

    @property
    def fewest_devices(self) -> int:
        """Devices that the models need at least, however slow."""
        apart = [
            min(way.num_devices for way in ways)
            for ways, alone in zip(self._alone, self.stands_alone, strict=True)
            if alone
        ]
        return sum(apart) + (len(apart) < len(self._graphs))

    def work_of(self, group: int) -> float:
        """Devices that a group keeps busy at least, whatever it shares with others."""
        return sum(
            self._rates[model] * min(sum(part.ms(1.0) for part in way.parts) for way in ways)
            for model, ways in enumerate(self._alone)
            if group >> model & 1
        )

    def least_work(self) -> float:
        """Devices that all models keep busy at least."""
        return self.work_of((1 << len(self._names)) - 1)

    def _options(self, group: int, num_devices: int) -> list[list[tuple[int, _Way]]]:
        """Ways, one per model, in the order in which the models are compiled."""
        models = [model for model in range(len(self._names)) if group >> model & 1]
        if len(models) == 1:
            (model,) = models
            ways = self._alone[model]
            return [[(model, way)] for way in ways if way.num_devices == num_devices]
        if self.is_alone(group):
            return []
        if group not in self._orders:
            self._orders[group] = self._best_orders(models)
        return [self._together(order) for order in self._orders[group]]

    def _best_orders(self, models: Sequence[int]) -> list[tuple[int, ...]]:
        """Orders of compilation that no other one beats in time, transfers and streamed bytes.

        Branch and bound: less room makes no inference shorter, so what is still to be compiled
        takes at least what it would if it came next.
        """
        by_work = sorted(models, key=lambda model: (self.work_of(1 << model), model))
        if len(models) > _MOST_ORDERED:
            return [tuple(by_work), tuple(by_work[::-1])]
        best: list[tuple[Floats, tuple[int, ...]]] = []

        def visit(order: tuple[int, ...], taken: int, spent: Floats, left: list[int]) -> None:
            ways = {model: self._whole(model, taken) for model in left}
            costs = {m: self._rates[m] * way.cost for m, way in ways.items()}
            bound = sum(costs.values(), spent)
            if any((known <= bound * (1 + _ROUND)).all() for known, _ in best):
                return
            if not left:
                best.append((spent, order))
                return
            for model in left:
                rest = [other for other in left if other != model]
                after = taken + ways[model].cached_bytes
                visit((*order, model), after, spent + costs[model], rest)

        visit((), 0, np.zeros(3), by_work[::-1])
        return [order for _, order in best]

    def _together(self, order: Sequence[int]) -> list[tuple[int, _Way]]:
        """Whole models on one device: the first keeps what parameters it can, and so on."""
        taken, ways = 0, []
        for model in order:
            way = self._whole(model, taken)
            taken += way.cached_bytes
            ways.append((model, way))
        return ways

    def _whole(self, model: int, taken: int) -> _Way:
        """A whole model on one device, of whose memory others take so many bytes."""
        key = model, taken
        if key not in self._shared:
            graph, room = self._graphs[model], with_less_room(self._device, taken)
            whole = Schedule(np.zeros(graph.num_ops, np.int64))
            self._shared[key] = _way(whole, predict(graph, whole, room), self._device)
        return self._shared[key]

    def _use(
        self, ways: Sequence[tuple[int, _Way]], num_devices: int, at_work: int, number: int
    ) -> Use:
        slowdown, several = self._device.slowdown(at_work), at_work > 1
        rates = [self._rates[model] for model, _ in ways]
        if len(ways) == 1:
            busy = ways[0][1].interval_ms(slowdown) * rates[0]
        else:
            each = (way.slowest_ms(slowdown) for _, way in ways)
            busy = sum(r * ms for r, ms in zip(rates, each, strict=True)) / num_devices
        bus = sum(r * way.bus_ms for r, (_, way) in zip(rates, ways, strict=True))
        dispatched = sum(r * len(way.parts) for r, (_, way) in zip(rates, ways, strict=True))
        dispatched *= self._device.stage_ms if several else 0.0
        cores = sum(r * way.cores_ms for r, (_, way) in zip(rates, ways, strict=True))
        streamed = sum(r * way.streamed_bytes for r, (_, way) in zip(rates, ways, strict=True))
        return Use(
            device_load=busy,
            bus_load=bus if several else 0.0,
            host_load=max(dispatched, cores),
            streamed=1000.0 * streamed,
            number=number,
        )

    def _ways(self, graph: OpGraph, num_devices: int, seed: int) -> list[_Way]:
        """The best way for each number of devices, pipelines without replicas, and copies."""
        plan = plan_devices(graph, num_devices, device=self._device, seed=seed)
        ways: list[_Way] = []
        seen: set[tuple[object, ...]] = set()
        for row in (*plan.rows, *plan.pipelines, *plan.copies):
            if row.schedule is None:  # the CPU
                continue
            key = (row.replicas, row.schedule.stages.tobytes())
            if key not in seen:
                seen.add(key)
                predicted = predict(graph, row.schedule, self._device, replicas=row.replicas)
                ways.append(_way(row.schedule, predicted, self._device))
        return ways


def _devices(schedule: Schedule, replicas: Sequence[int]) -> int:
    return sum(n for stage, n in enumerate(replicas) if stage not in schedule.cpu_stages)


def _way(schedule: Schedule, predicted: PipelinePrediction, device: EdgeTpu) -> _Way:
    slowdown = device.slowdown(sum(predicted.replicas))
    parts, moved = [], 0.0
    for stage, count in zip(predicted.stages, predicted.replicas, strict=True):
        transfers = stage.cost.input_ms + stage.cost.output_ms
        parts.append(_Part(stage.total_ms - transfers, transfers / slowdown, count))
        moved += stage.cost.moved_bytes / 2**20
    return _Way(
        schedule=schedule,
        parts=tuple(parts),
        bus_ms=device.bus_ms_per_mib * moved,
        cores_ms=predicted.cores_ms,
        streamed_bytes=predicted.streamed_bytes,
        cached_bytes=sum(stage.cost.cached_bytes for stage in predicted.stages),
        load_ms=sum(stage.load_ms for stage in predicted.stages),
    )
