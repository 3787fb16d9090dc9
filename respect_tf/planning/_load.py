"""Plans for inputs that arrive at random: short latency and short queues at once.

The fewer and shorter the stages, the sooner an input is through; the faster the slowest stage, the
less it waits. For each limit of the slowest stage, the chain of least latency is looked at.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from respect_tf.device import EdgeTpu, Load, checked_rate, first_device, predict, under_load
from respect_tf.graph import OpGraph
from respect_tf.planning._chains import SharedChains
from respect_tf.planning._table import Column, HostTimes, StageTable
from respect_tf.scheduling import Latency, Schedule
from respect_tf.scheduling.parts import MAX_WORK, NUM_LIMITS, Budget, build_problem, some_nodes


@dataclasses.dataclass(frozen=True)
class LoadedWay:
    """A way to use some devices under load.

    Attributes:
        schedule: The cut.
        replicas: Number of devices of each stage.
        load: Its latency.
        interval_ms: Time between results of the full pipeline.
    """

    schedule: Schedule
    replicas: tuple[int, ...]
    load: Load
    interval_ms: float

    @property
    def order(self) -> tuple[float, float, int, int]:
        """What decides: the least is the best."""
        mean = round(self.load.mean_ms, 9)
        return mean, self.interval_ms, sum(self.replicas), len(self.replicas)


def ways_under_load(
    graph: OpGraph,
    objective: Latency,
    num_devices: int,
) -> list[LoadedWay]:
    """Ways that may be the best for up to 1, 2, ... devices; judged on the first of several hosts.

    Args:
        graph: The graph.
        objective: How many inputs arrive, and what the devices are like.
        num_devices: Number of devices at most.

    Returns:
        The best way for each number of devices.
    """
    device = first_device(objective.device)
    times = HostTimes(device)
    problem, budget = build_problem(graph, 1, times), Budget(work=MAX_WORK)
    table = StageTable(some_nodes(problem, budget), times, budget)
    table.ask(np.arange(len(table)))
    judge = _Judge(graph, device, checked_rate(objective.arrivals_per_second))
    best: list[LoadedWay] = []
    for count in range(1, num_devices + 1):
        cuts = {
            (problem.stages_of_ops(stages).tobytes(), replicas): None
            for stages, replicas in _cuts(table, device, count, judge.rate)
        }
        ways = [
            judge.way(np.frombuffer(stages, np.int32), replicas, count) for stages, replicas in cuts
        ]
        ways += best[-1:]  # a device more need not be used
        best.append(min(ways, key=lambda way: way.order))
    return best


class _Judge:
    """Latency of cuts, each judged once."""

    def __init__(self, graph: OpGraph, device: EdgeTpu, rate: float) -> None:
        self._graph, self._device, self.rate = graph, device, rate

    def way(
        self, stages: np.typing.NDArray[np.int32], replicas: tuple[int, ...], num_devices: int
    ) -> LoadedWay:
        """A cut, with the devices that are left at the stages that take longest."""
        schedule = Schedule(stages, len(replicas), scheduler="plan")
        shared = list(replicas)
        found = predict(self._graph, schedule, self._device, replicas=shared)
        best = LoadedWay(schedule, tuple(shared), under_load(found, self.rate), found.interval_ms)
        if num_devices <= len(replicas):
            return best
        while sum(shared) < num_devices:
            shares = [stage.total_ms / n for stage, n in zip(found.stages, shared, strict=True)]
            shared[int(np.argmax(shares))] += 1
            found = predict(self._graph, schedule, self._device, replicas=shared)
            way = LoadedWay(
                schedule, tuple(shared), under_load(found, self.rate), found.interval_ms
            )
            best = min(best, way, key=lambda one: one.order)
        return best


def _cuts(
    table: StageTable, device: EdgeTpu, num_devices: int, rate: float
) -> list[tuple[np.typing.NDArray[np.int64], tuple[int, ...]]]:
    """Chains of least latency for some limits of the slowest stage: stages of items, replicas."""
    pairs = table.pairs
    column = table.column(slice(None), num_devices, np.ones(1))
    alone = table.times(0, slice(None), 1) + device.stage_ms
    chains = SharedChains(
        len(table.nodes), pairs.rows, pairs.columns, Column(column.costs, alone, 0.0),
        num_devices, num_devices,
    )  # fmt: skip
    fastest = float(chains.bottleneck().min())
    slowest = max(fastest, 1000.0 / rate)
    found = []
    for limit in np.geomspace(max(fastest, 1e-9), max(slowest, 1e-9), NUM_LIMITS).tolist():
        extended = chains.extended(limit)
        reached = [float(part[-1]) for part in extended.forward(alone, np.add)[1:]]
        possible = [k for k, ms in enumerate(reached, 1) if np.isfinite(ms)]
        if not possible:
            continue
        length = min(possible, key=lambda k: reached[k - 1])
        for parts in (extended.stages, extended.rows, extended.columns):
            del parts[length:]
        path = extended.lightest_path(alone)
        if path is None:
            continue
        replicas = tuple(chains.devices_within(limit)[path].tolist())
        stages = (~table.nodes.members(pairs.columns[path[:-1]])).sum(axis=0).astype(np.int64)
        found.append((stages, replicas))
    return found
