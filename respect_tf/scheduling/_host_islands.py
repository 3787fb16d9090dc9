"""Stages of which nothing is mapped need no Edge TPU: they become CPU stages."""

from __future__ import annotations

import dataclasses

import numpy as np

from respect_tf.device import predict
from respect_tf.graph import OpGraph
from respect_tf.scheduling._arguments import resolve_objective
from respect_tf.scheduling._check import check_schedule
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._device_objectives import DeviceObjective, prepared_for
from respect_tf.scheduling._host_bounds import host_bound
from respect_tf.scheduling._schedule import Schedule, status_of


def with_islands(
    graph: OpGraph, schedule: Schedule, constraints: Constraints | None = None
) -> Schedule:
    """The same cut, with stages of which nothing is mapped on the host.

    Solvers part ops that the compiler leaves on the CPU from the others where that pays; a stage of
    such ops alone takes as long with an Edge TPU as without one, which is then free, and no file of
    it has to be compiled.

    Args:
        graph: The graph.
        schedule: A cut. One that has CPU stages, or an objective without a host, stays as it is.
        constraints: What it keeps.
    """
    if schedule.cpu_stages or schedule.objective not in ("throughput", "latency"):
        return schedule
    named = resolve_objective(schedule.objective, schedule.device)
    objective = prepared_for(schedule, named)
    if not isinstance(objective, DeviceObjective):
        return schedule
    stages = predict(graph, schedule, objective.devices[0]).stages
    islands = [one.stage for one in stages if len(one.cost.cpu_ops) == len(one.cost.ops)]
    if not islands or len(islands) == len(stages):
        return schedule
    plain = Schedule(schedule.stages, schedule.num_stages, cpu_stages=islands)
    final = objective
    if schedule.optima is not None:
        times = objective.times(graph, plain)
        final = objective.with_optima(np.minimum(schedule.optima, times).tolist())
    cost = final.schedule_cost(graph, plain)
    bound = min(host_bound(graph, final, schedule.num_stages), cost)
    made = dataclasses.replace(
        schedule,
        cost=cost,
        lower_bound=bound,
        status=status_of(cost, bound),
        optima=final.optima,
        cpu_stages=tuple(islands),
    )
    check_schedule(graph, made, final, constraints)
    return made
