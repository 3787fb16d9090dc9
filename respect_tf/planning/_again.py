"""Cuts for given replicas whose stages keep within some bytes, as a compiler's log asks for."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np

from respect_tf._errors import ScheduleError
from respect_tf.device import EdgeTpu, Hosts
from respect_tf.graph import OpGraph
from respect_tf.planning._chains import TIE
from respect_tf.planning._table import HostTimes, StageTable
from respect_tf.scheduling import Schedule
from respect_tf.scheduling.parts import (
    MAX_WORK,
    Bools,
    Budget,
    PairChains,
    ReplicatedThroughput,
    build_problem,
    some_nodes,
)


def cut_within(
    graph: OpGraph,
    planned: Schedule,
    device: EdgeTpu | Hosts,
    *,
    replicas: Sequence[int],
    rooms: Sequence[float],
) -> Schedule:
    """The fastest cut for the replicas of a plan whose stages keep within so many parameter bytes.

    Boundaries are taken from as many sets of ops as can be looked at in a moment.

    Args:
        graph: The graph.
        planned: The plan's cut, which says what counts of several hosts.
        device: The device.
        replicas: Number of devices of each stage.
        rooms: The most parameter bytes of each.

    Raises:
        ScheduleError: No cut keeps within them.
    """
    started = time.perf_counter()
    times, shared = HostTimes(device), np.array(replicas)
    problem, budget = build_problem(graph, 1, times), Budget(work=MAX_WORK)
    nodes = some_nodes(problem, budget)
    table = StageTable(nodes, times, budget)
    table.ask(np.arange(len(table)))
    scales = np.ones(len(table.devices))
    if planned.optima is not None:
        scales = 1.0 / np.maximum(planned.optima, math.ulp(0.0))
    column = table.column(slice(None), int(shared.sum()), scales)
    rows, columns = table.pairs.rows, table.pairs.columns
    held = nodes.op_sums(graph.parameter_bytes)
    filled = held[columns] - held[rows]
    chains = PairChains(
        len(nodes), rows, columns, [np.flatnonzero(filled <= room) for room in rooms]
    )

    def within(limit: float) -> PairChains:
        most = limit * (1 + TIE)
        good: list[Bools] = [
            column.costs[stage] <= most * count
            for stage, count in zip(chains.stages, shared, strict=True)
        ]
        return chains.only(good)

    parts = zip(chains.stages, shared, strict=True)
    limits = np.unique(np.concatenate([column.costs[stage] / count for stage, count in parts]))
    best, least = None, math.inf
    # With a higher limit of stages, chains put less on the bus: the best is where both meet.
    first, last = 0, len(limits) - 1
    while first <= last:
        middle = (first + last) // 2
        path = within(limits[middle]).lightest_path(column.loads)
        load = math.inf if path is None else float(column.loads[path].sum())
        if max(load, limits[middle]) < least:
            best, least = path, max(load, float(limits[middle]))
        if load <= limits[middle] * (1 + TIE):
            last = middle - 1
        else:
            first = middle + 1
    if best is None:
        raise ScheduleError("No cut keeps within the room that the compiler's log says.")
    stages = problem.stages_of_ops((~nodes.members(columns[best[:-1]])).sum(axis=0))
    judge = ReplicatedThroughput(device, tuple(shared.tolist()), planned.optima)
    return Schedule(
        stages,
        len(shared),
        cost=float(judge.schedule_cost(graph, Schedule(stages, len(shared)))),
        lower_bound=0.0,
        objective=judge.name,
        device=device,
        optima=planned.optima,
        scheduler=planned.scheduler,
        solve_seconds=time.perf_counter() - started,
    )
