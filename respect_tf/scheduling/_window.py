"""`window_milp()`: exact search around a schedule."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from respect_tf.graph import OpGraph
from respect_tf.scheduling._agreement import check_agreement
from respect_tf.scheduling._arguments import checked_count, deadline_after
from respect_tf.scheduling._check import check_schedule
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._device_objectives import prepared_for
from respect_tf.scheduling._milp import search_window
from respect_tf.scheduling._objective import Objective, resolve_objective
from respect_tf.scheduling._optima import prepare
from respect_tf.scheduling._problem import build_problem
from respect_tf.scheduling._recount import recount
from respect_tf.scheduling._result import checked_schedule
from respect_tf.scheduling._schedule import Schedule


@dataclasses.dataclass(frozen=True)
class WindowResult:
    """A schedule found near another one.

    Attributes:
        schedule: It never costs more than the one that the search began with. Its lower bound and
            status are about all schedules.
        window_lower_bound: No schedule in the window costs less.
        optimal_in_window: Whether the schedule costs no more than that: optimal within the
            window, whatever there is outside.
    """

    schedule: Schedule
    window_lower_bound: int | float
    optimal_in_window: bool


def window_milp(
    graph: OpGraph,
    schedule: Schedule,
    *,
    objective: str | Objective | None = None,
    stage_window: int | None = 1,
    constraints: Constraints | None = None,
    time_limit: float | None = None,
) -> WindowResult:
    """Improve a schedule by a mixed-integer program over the schedules near it.

    Args:
        graph: The graph.
        schedule: A valid schedule for it. The search begins with it, so it helps if it is good.
        objective: What to minimise; if left out, the objective that the schedule names, or else
            `"memory"`.
        stage_window: How many stages each op may be moved; `None` for any number, which makes
            the result one for all schedules.
        constraints: What schedules have to keep; the given one does, too.
        time_limit: Seconds after which to give up; without one, after a fixed amount of work.

    Returns:
        A schedule that costs no more, checked by code of its own.

    Raises:
        ArgumentError: An argument is out of range.
        ScheduleError: The schedule is not valid for the graph, or breaks a constraint.
        SolverError: What the solver says is wrong, in every attempt.
    """
    started = time.perf_counter()
    if stage_window is not None:
        stage_window = checked_count("stage_window", stage_window, 0)
    deadline = deadline_after(time_limit, started)
    check_schedule(graph, Schedule(schedule.stages, schedule.num_stages), constraints=constraints)
    named = objective if objective is not None else (schedule.objective or "memory")
    resolved = prepare(
        prepared_for(schedule, resolve_objective(named, schedule.device)),
        graph,
        schedule.num_stages,
        constraints,
    ).objective
    problem = build_problem(graph, schedule.num_stages, resolved, constraints)
    stages = np.zeros(problem.num_items, np.int64)
    stages[problem.item_of] = schedule.stages
    near = search_window(problem, recount(problem, stages), stage_window, deadline)
    found = checked_schedule(problem, near.answer, "milp", started)
    if schedule.cost is not None and schedule.objective == found.objective:
        check_agreement(graph, schedule, found, resolved)
    optimal = near.window_bound >= near.answer.chain.cost
    bound = found.cost if optimal and found.cost is not None else near.window_bound
    return WindowResult(found, window_lower_bound=bound, optimal_in_window=optimal)
