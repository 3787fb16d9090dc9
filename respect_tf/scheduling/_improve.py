"""`improve()`: a search that begins with a given schedule."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from respect_tf._errors import ScheduleError
from respect_tf.graph import OpGraph
from respect_tf.scheduling._answers import Answer, checked_schedule, recount
from respect_tf.scheduling._arguments import checked_count, deadline_after, resolve_objective
from respect_tf.scheduling._chain import quality
from respect_tf.scheduling._check import check_schedule
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._device_objectives import DeviceObjective, prepared_for
from respect_tf.scheduling._objective import Number, Objective
from respect_tf.scheduling._optima import prepare
from respect_tf.scheduling._problem import build_problem
from respect_tf.scheduling._schedule import Schedule
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
    objective = schedule.objective or "" if objective is None else objective
    prepared = prepare(
        prepared_for(schedule, resolve_objective(objective, schedule.device)),
        graph,
        schedule.num_stages,
        constraints,
    )
    deadline = deadline_after(time_limit, started)
    seed = checked_count("seed", seed, 0)
    check_schedule(graph, Schedule(schedule.stages, schedule.num_stages), None, constraints)
    resolved = prepared.objective
    problem = build_problem(graph, schedule.num_stages, resolved, constraints)
    low = problem.lower_bound()
    bound: Number = low
    same = (schedule.objective, schedule.device) == (resolved.name, resolved.device)
    if same and schedule.lower_bound is not None:
        bound = max(bound, schedule.lower_bound)
    given = np.zeros(problem.num_items, np.int64)
    given[problem.item_of] = schedule.stages
    start = recount(problem, given)
    is_mean = isinstance(resolved, DeviceObjective) and resolved.is_mean
    # The bound that the schedule came with is not one of means.
    known = Answer(start, min(low if is_mean else bound, start.cost))
    before = prepared.reported(known, problem)
    if not prepared.is_proved:
        bound = before.lower_bound
    answer = search_problem(problem, start=known, deadline=deadline, seed=seed)
    answer = min(prepared.reported(answer, problem), before, key=lambda one: quality(one.chain))
    best = answer.chain
    found = checked_schedule(problem, answer, f"{schedule.scheduler}+local", started)
    # Sums are rounded to a grid, so the bound that needs no search can be too high by that much.
    if bound > best.cost + problem.slack and bound != low:
        raise ScheduleError(
            f"A schedule that costs {best.cost:.15g} was found, below the lower bound "
            f"{schedule.lower_bound} that scheduler {schedule.scheduler!r} gave. That bound is "
            "wrong, or holds under constraints only that were not given here. Give them, or report "
            "the graph."
        )
    bound = max(int(bound) if problem.integral else bound, found.lower_bound or 0)
    seconds = (schedule.solve_seconds or 0.0) + time.perf_counter() - started
    return dataclasses.replace(found.with_bound(bound), solve_seconds=seconds)
