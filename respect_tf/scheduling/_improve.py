"""`improve()`: a search that begins with a given schedule."""

from __future__ import annotations

import time

import numpy as np

from respect_tf._errors import ScheduleError
from respect_tf.graph import OpGraph
from respect_tf.scheduling._answers import Answer
from respect_tf.scheduling._arguments import checked_count, deadline_after
from respect_tf.scheduling._check import check_schedule, schedule_cost
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._device_objectives import DeviceObjective, prepared_for
from respect_tf.scheduling._objective import Number, Objective
from respect_tf.scheduling._optima import prepare
from respect_tf.scheduling._problem import Problem, build_problem
from respect_tf.scheduling._recount import recount
from respect_tf.scheduling._resolve import resolve_objective
from respect_tf.scheduling._schedule import Schedule, status_of
from respect_tf.scheduling._search import search_problem


def improve(
    graph: OpGraph,
    schedule: Schedule,
    *,
    objective: str | Objective | None = None,
    time_limit: float | None = None,
    seed: int = 0,
    constraints: Constraints | None = None,
) -> Schedule:
    """Make a schedule better by moving and exchanging ops across stage borders.

    It is the search of `"policy"`, which begins with the given schedule in place of cuts of orders:
    moves of ops, and complete search of neighbourhoods. The result is the given schedule, or one
    that costs less, or as much with fewer crossing bytes.

    Args:
        graph: The graph.
        schedule: A valid schedule for it.
        objective: What to lower; what the schedule's own cost was computed with if left out.
        time_limit: Seconds to go on for; without one, a fixed amount of work is done, and the
            same seed gives the same schedule.
        seed: 0 or more.
        constraints: What the schedule keeps, and is to keep.

    Returns:
        A schedule of as many stages, with the higher of two lower bounds: the given schedule's, if
        it is for the same objective, and the one that needs no search. `"optimal"` is what reaches
        it. `solve_seconds` counts the given schedule's, too.

    Raises:
        ArgumentError: An argument is out of range, or neither the objective nor the schedule's is
            known.
        ScheduleError: The schedule is not valid for the graph and the constraints, or its lower
            bound is wrong.
    """
    started = time.perf_counter()
    if objective is None:
        objective = schedule.objective if schedule.objective is not None else ""
    prepared = prepare(
        prepared_for(schedule, resolve_objective(objective, schedule.device)),
        graph,
        schedule.num_stages,
        constraints,
    )
    resolved = prepared.objective
    deadline = deadline_after(time_limit, started)
    seed = checked_count("seed", seed, 0)
    check_schedule(graph, Schedule(schedule.stages, schedule.num_stages), None, constraints)
    problem = build_problem(graph, schedule.num_stages, resolved, constraints)
    bound: Number = problem.lower_bound()
    if prepared.doubt < 1:
        bound = prepared.bound(float(bound))
    same = (schedule.objective, schedule.device) == (resolved.name, resolved.device)
    if same and schedule.lower_bound is not None:
        bound = max(bound, schedule.lower_bound)
    given = np.zeros(problem.num_items, np.int64)
    given[problem.item_of] = schedule.stages
    start = recount(problem, given)
    known = Answer(start, min(bound, start.cost))
    answer = search_problem(problem, start=known, deadline=deadline, seed=seed)
    best = min(start, answer.chain, key=lambda chain: (chain.cost, chain.crossing))
    stages = problem.stages_of_ops(best.stages)
    cost = schedule_cost(graph, Schedule(stages, schedule.num_stages), problem.objective)
    if prepared.doubt < 1:
        bound = max(bound, prepared.bound(answer.lower_bound))
    elif answer.lower_bound >= answer.chain.cost:
        bound = max(bound, cost)
    else:
        bound = max(bound, answer.lower_bound - problem.slack)
    result = Schedule(
        stages,
        schedule.num_stages,
        cost=cost,
        lower_bound=_bound_of(problem, schedule, bound, cost),
        status=status_of(cost, bound),
        objective=resolved.name,
        device=resolved.device,
        optima=resolved.optima if isinstance(resolved, DeviceObjective) else None,
        scheduler=f"{schedule.scheduler}+local",
        solve_seconds=(schedule.solve_seconds or 0.0) + time.perf_counter() - started,
    )
    check_schedule(graph, result, resolved, constraints)
    return result


def _bound_of(problem: Problem, schedule: Schedule, bound: Number, cost: Number) -> Number:
    if bound <= cost:
        return int(bound) if problem.integral else bound
    if bound > cost + problem.slack and bound != problem.lower_bound():
        raise ScheduleError(
            f"A schedule that costs {cost} was found, below the lower bound {schedule.lower_bound} "
            f"that scheduler {schedule.scheduler!r} gave. That bound is wrong, or holds under "
            "constraints only that were not given here. Give them, or report the graph."
        )
    return cost  # sums are rounded to a grid, so a bound can be too high by that much
