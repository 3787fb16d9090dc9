"""Schedules for inputs that arrive at random: short stages, of which the slowest keeps up.

The shorter the stages, the sooner an input is through; the faster the slowest, the less it waits.
For each limit of the slowest stage, the chain of least latency is looked at.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from respect_tf.device import checked_rate
from respect_tf.graph import OpGraph
from respect_tf.scheduling._chain import MAX_WORK, Budget
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._device_objectives import Latency, Throughput
from respect_tf.scheduling._pair_chains import PairChains
from respect_tf.scheduling._pairs import some_nodes
from respect_tf.scheduling._problem import build_problem
from respect_tf.scheduling._schedule import Schedule

# Limits that are looked at between the fastest pipeline and one that can just keep up.
# benchmarks constants: half the same; twice 1.26 times the time.
NUM_LIMITS = 12


def schedule_under_load(
    graph: OpGraph,
    objective: Latency,
    known: Sequence[Schedule],
    constraints: Constraints | None,
    scheduler: str,
    started: float,
) -> Schedule:
    """The schedule of least latency under load that is known, of some to begin with and chains.

    Where there are constraints, or CPU stages, only those at hand are looked at.
    """
    num_stages, cuts = known[0].num_stages, list(known)
    if constraints is None and not any(one.cpu_stages for one in known):
        cuts += [Schedule(one, num_stages) for one in _cuts(graph, objective, num_stages)]
    costs = [float(objective.schedule_cost(graph, cut)) for cut in cuts]
    which = int(np.argmin(np.round(costs, 9)))
    best, cost = cuts[which], costs[which]
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


def _cuts(graph: OpGraph, objective: Latency, num_stages: int) -> Iterator[npt.NDArray[np.int32]]:
    """Stages of ops of the chains of least latency within some limits of the slowest stage."""
    rate = checked_rate(objective.arrivals_per_second)
    slowest = Throughput(objective.device, num_stages)
    latency = Latency(objective.device, num_stages)
    problem = build_problem(graph, num_stages, slowest)
    budget = Budget(work=MAX_WORK)
    nodes = some_nodes(problem, budget)
    pairs = nodes.pairs(np.triu(np.ones((len(nodes), len(nodes)), bool), 1), budget)
    batch = nodes.batch(pairs)
    costs, _, _ = slowest.batch_values(batch)
    alone, _, _ = latency.batch_values(batch)
    every = [np.arange(len(pairs))] * num_stages
    chains = PairChains(len(nodes), pairs.rows, pairs.columns, every)
    fastest = max(chains.least(costs, np.maximum), 1e-9)
    if not math.isfinite(fastest):
        return
    for limit in np.geomspace(fastest, max(fastest, 1000.0 / rate), NUM_LIMITS).tolist():
        path = chains.within(costs, limit * (1 + 1e-9)).lightest_path(alone)
        if path is not None:
            inner = nodes.members(pairs.columns[path[:-1]])
            yield problem.stages_of_ops((~inner).sum(axis=0).astype(np.int64))
