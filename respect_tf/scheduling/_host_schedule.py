"""Schedules with stages on the host: preparation around the solvers, which see Edge TPUs alone."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from respect_tf._errors import ScheduleError
from respect_tf.device import MARGINS, Hosts, predict
from respect_tf.graph import OpGraph, sub_graph
from respect_tf.scheduling._arguments import resolve_objective
from respect_tf.scheduling._check import check_schedule
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._device_objectives import DeviceObjective, prepared_for
from respect_tf.scheduling._host_bounds import chip_bound, host_bound
from respect_tf.scheduling._host_layout import host_layouts
from respect_tf.scheduling._host_phases import HostSplit, blocked_ops
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._objective import Objective
from respect_tf.scheduling._schedule import Schedule, status_of

_Objective = TypeVar("_Objective", bound=Objective)

# What an Edge TPU could do moves to the host only where that pays by more than predictions are off.
_AS_GOOD = 1.0 + MARGINS["ms"]

# Solves a part of the graph on Edge TPUs: the part, its ops in the whole graph, how many stages,
# and the constraints that concern it.
Solve = Callable[[OpGraph, Ints, int, Constraints | None], Schedule]


def host_split(
    graph: OpGraph, num_stages: int, constraints: Constraints | None
) -> HostSplit | None:
    """What has to run on the host; None where nothing has to, or no stage can be spared for it.

    Raises:
        ArgumentError: Constraints name what is not there.
        ScheduleError: The user wants ops on the host for which there are too few stages.
    """
    wanted = () if constraints is None else constraints.on_cpu
    host_ops = sorted({*blocked_ops(graph), *wanted})
    if not host_ops:
        return None
    groups: list[list[int]] = []
    if constraints is not None:
        constraints.check(graph, num_stages)
        groups = [ops for ops, _ in constraints.shared(graph)]
    split = HostSplit.of(graph, host_ops, groups)
    if num_stages >= split.least_stages:
        return split
    if wanted:
        raise split.too_few(num_stages)
    return None


def schedule_with_host(
    split: HostSplit,
    num_stages: int,
    objective: Objective,
    *,
    constraints: Constraints | None,
    solve: Solve,
    scheduler: str,
) -> Schedule:
    """A checked schedule whose CPU stages hold all ops that have to run on the host.

    The ops come in turns of Edge TPU and host. The best cuts of these say which stages are on the
    host, because ops have to, that pays, or there are too few stages; what follows each other on
    Edge TPUs is then cut by the scheduler that was asked for. What is predicted decides. Stages on
    the host count among `num_stages`; the bound, where there is one, is one for all schedules.

    Raises:
        ScheduleError: There are too few stages for one on an Edge TPU, or more than ops, or no
            schedule keeps the constraints, or none was found.
    """
    graph = split.graph
    if num_stages > int(split.item_of.max()) + 1:
        raise split.too_few(num_stages)
    layouts = host_layouts(split, num_stages, objective, constraints)
    if not layouts:
        raise split.too_few(num_stages)
    known = [layout for layout, _ in layouts]
    final = _with_optima(objective.for_stages(num_stages), graph, known)
    prices = [
        float(final.schedule_cost(graph, layout)) * (1.0 if is_modest else _AS_GOOD)
        for layout, is_modest in layouts
    ]
    best, error = None, None
    for which in np.argsort(np.round(prices, 9), kind="stable").tolist():
        try:
            best = _cut(split, known[which], constraints, solve)
            break
        except ScheduleError as failed:  # not all constraints are known to a layout
            error = failed
    if best is None:
        raise error or split.too_few(num_stages)
    final = _with_optima(final, graph, [best])
    bound = _bound(split, best, final, num_stages)
    made = dataclasses.replace(best, scheduler=scheduler)
    return _priced(graph, made, final, bound, constraints)


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
    objective = _with_optima(objective, graph, [plain])
    bound = host_bound(graph, objective, schedule.num_stages)
    made = dataclasses.replace(schedule, cpu_stages=plain.cpu_stages)
    return _priced(graph, made, objective, bound, constraints)


def _priced(
    graph: OpGraph,
    cut: Schedule,
    objective: Objective,
    bound: int | float | None,
    constraints: Constraints | None,
) -> Schedule:
    """A checked schedule that says what it costs, and a bound."""
    cost = objective.schedule_cost(graph, cut)
    bound = None if bound is None else min(bound, cost)
    made = dataclasses.replace(
        cut,
        cost=cost,
        lower_bound=bound,
        status=status_of(cost, bound),
        objective=objective.name,
        device=objective.device,
        optima=objective.optima if isinstance(objective, DeviceObjective) else None,
    )
    check_schedule(graph, made, objective, constraints)
    return made


def _with_optima(objective: _Objective, graph: OpGraph, known: Sequence[Schedule]) -> _Objective:
    """An objective for several devices with the least that is known to be possible on each."""
    if not isinstance(objective, DeviceObjective) or not isinstance(objective.device, Hosts):
        return objective
    times = [objective.times(graph, one) for one in known]
    optima = [np.array(objective.optima)] if objective.optima else []
    return objective.with_optima(np.min([*times, *optima], axis=0).tolist())


def _bound(
    split: HostSplit, found: Schedule, objective: Objective, num_stages: int
) -> int | float | None:
    if isinstance(objective, DeviceObjective):
        return host_bound(split.graph, objective, num_stages, split.on_host, split.item_of)
    if bool((np.isin(found.stages, found.cpu_stages) != split.on_host).any()):
        return None  # more is on the host than has to be
    turns = min(sum(phase.on_host for phase in phases) for phases in split.layerings)
    return chip_bound(split.graph, objective, num_stages - turns, split.on_host, split.item_of)


def _cut(
    split: HostSplit, layout: Schedule, constraints: Constraints | None, solve: Solve
) -> Schedule:
    """A layout whose stages on Edge TPUs are the solver's."""
    stages = layout.stages.astype(np.int64)
    for before, end in itertools.pairwise([-1, *layout.cpu_stages, layout.num_stages]):
        if end - before > 2:  # two stages or more
            ops = np.flatnonzero((layout.stages > before) & (layout.stages < end))
            part, count = sub_graph(split.graph, ops), end - before - 1
            limits = _constraints_of(split, constraints, ops, range(before + 1, end))
            stages[ops] = before + 1 + solve(part, ops, count, limits).stages
    made = Schedule(stages, layout.num_stages, cpu_stages=layout.cpu_stages)
    check_schedule(split.graph, made, constraints=constraints)
    return made


def _constraints_of(
    split: HostSplit, constraints: Constraints | None, ops: Ints, stages: range
) -> Constraints | None:
    """What concerns some ops and stages, in their own numbers."""
    position = {op: index for index, op in enumerate(ops.tolist())}
    given = constraints or Constraints()
    rooms = given.stage_bytes
    made = Constraints(
        stage_bytes=rooms[stages.start : stages.stop] if isinstance(rooms, Sequence) else rooms,
        colocated=[
            [position[op] for op in group]
            for group in split.groups
            if all(op in position for op in group)
        ],
        pinned={
            position[op]: stage - stages.start
            for op, stage in given.pinned.items()
            if op in position
        },
    )
    return made if made else None
