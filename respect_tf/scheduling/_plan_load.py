"""Plans for inputs that arrive at random: short latency and short queues at once.

The fewer and shorter the stages, the sooner an input is through; the faster the slowest stage, the
less it waits. For each limit of the slowest stage, the chain of least latency is looked at.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence

import numpy as np

from respect_tf.device import EdgeTpu, Load, checked_rate, first_device, predict, under_load
from respect_tf.graph import OpGraph
from respect_tf.scheduling._chain import Budget
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._device_objectives import Latency
from respect_tf.scheduling._pairs import IntervalNodes, Nodes, find_nodes
from respect_tf.scheduling._plan_chains import SharedChains
from respect_tf.scheduling._plan_table import Column, HostTimes, StageTable
from respect_tf.scheduling._problem import Problem, build_problem
from respect_tf.scheduling._schedule import Schedule

# Nodes that boundaries are taken from, and limits that are looked at between the fastest pipeline
# and one that can just keep up.
_MAX_NODES, _NUM_LIMITS = 128, 12
_WORK = 300_000_000


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
    *,
    num_stages: int | None = None,
    known: tuple[Schedule, ...] = (),
) -> list[LoadedWay]:
    """Ways that may be the best for up to 1, 2, ... devices; judged on the first of several hosts.

    Args:
        graph: The graph.
        objective: How many inputs arrive, and what the devices are like.
        num_devices: Number of devices at most.
        num_stages: Number of stages, one device each; any, with replicas, if left out.
        known: Cuts to judge as well.

    Returns:
        The best way for each number of devices, or the one for as many stages.
    """
    device = first_device(objective.device)
    times = HostTimes(device)
    problem = build_problem(graph, 1, times)
    table = StageTable(_some_nodes(problem), times, Budget(work=_WORK))
    table.ask(np.arange(len(table)))
    judge = _Judge(graph, device, checked_rate(objective.arrivals_per_second))
    best: list[LoadedWay] = []
    counts = [num_devices] if num_stages is not None else range(1, num_devices + 1)
    for count in counts:
        cuts = {
            (problem.stages_of_ops(stages).tobytes(), replicas): None
            for stages, replicas in _cuts(table, device, count, num_stages, judge.rate)
        }
        ways = [
            judge.way(np.frombuffer(stages, np.int32), replicas, count) for stages, replicas in cuts
        ]
        ways += [judge.way(cut.stages, (1,) * cut.num_stages, count) for cut in known]
        ways += best[-1:] if num_stages is None else []  # a device more need not be used
        best.append(min(ways, key=lambda way: way.order))
    return best


def schedule_under_load(
    graph: OpGraph,
    objective: Latency,
    known: Sequence[Schedule],
    constraints: Constraints | None,
    scheduler: str,
    started: float,
) -> Schedule:
    """The schedule of least latency under load that is known.

    Args:
        graph: The graph.
        objective: How many inputs arrive, and what the devices are like.
        known: Schedules to begin with, all for as many stages.
        constraints: What schedules have to keep: then only those at hand are looked at.
        scheduler: What made them.
        started: When the search began, on `time.perf_counter()`'s clock.
    """
    best = min(known, key=lambda one: objective.schedule_cost(graph, one))
    num_stages, cost = best.num_stages, float(objective.schedule_cost(graph, best))
    if constraints is None and not any(one.cpu_stages for one in known):
        found = ways_under_load(graph, objective, num_stages, num_stages=num_stages)[0].schedule
        if objective.schedule_cost(graph, found) < cost:
            best, cost = found, float(objective.schedule_cost(graph, found))
    is_known = math.isfinite(cost)  # else more arrive than any of them can work on
    return Schedule(
        best.stages,
        num_stages,
        cost=cost if is_known else None,
        objective=objective.name if is_known else None,
        device=objective.device if is_known else None,
        lower_bound=0.0 if is_known else None,
        cpu_stages=best.cpu_stages,
        scheduler=scheduler,
        solve_seconds=time.perf_counter() - started,
    )


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


def _some_nodes(problem: Problem) -> Nodes:
    nodes = find_nodes(problem, Budget(work=_WORK))
    if nodes is None:
        nodes = IntervalNodes(problem, np.arange(problem.num_items))
    return nodes if len(nodes) <= _MAX_NODES else nodes.few(_MAX_NODES)


def _cuts(
    table: StageTable, device: EdgeTpu, num_devices: int, num_stages: int | None, rate: float
) -> list[tuple[np.typing.NDArray[np.int64], tuple[int, ...]]]:
    """Chains of least latency for some limits of the slowest stage: stages of items, replicas."""
    pairs = table.pairs
    column = table.column(slice(None), num_devices, np.ones(1))
    alone = table.times(0, slice(None), 1) + device.stage_ms
    most_replicas = num_devices if num_stages is None else 1
    chains = SharedChains(
        len(table.nodes), pairs.rows, pairs.columns, Column(column.costs, alone, 0.0),
        num_devices, most_replicas,
    )  # fmt: skip
    fastest = float(chains.bottleneck().min())
    slowest = max(fastest, 1000.0 / rate)
    found = []
    for limit in np.geomspace(max(fastest, 1e-9), max(slowest, 1e-9), _NUM_LIMITS).tolist():
        extended = chains.extended(limit)
        reached = [float(part[-1]) for part in extended.forward(alone, np.add)[1:]]
        counts = [num_stages] if num_stages is not None else range(1, len(reached) + 1)
        possible = [k for k in counts if k <= len(reached) and np.isfinite(reached[k - 1])]
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
