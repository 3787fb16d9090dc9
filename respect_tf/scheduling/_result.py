"""From what a solver found to a `Schedule` that was checked."""

from __future__ import annotations

import math
import time

import numpy as np

from respect_tf._errors import ScheduleError
from respect_tf.scheduling._answers import Answer, answer_of
from respect_tf.scheduling._chain import Chain
from respect_tf.scheduling._check import check_schedule
from respect_tf.scheduling._device_objectives import DeviceObjective
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Problem
from respect_tf.scheduling._schedule import Schedule, status_of


def checked_schedule(problem: Problem, answer: Answer, scheduler: str, started: float) -> Schedule:
    """Make the public value of what a solver found and have it checked.

    Raises:
        ScheduleError: The schedule is not valid, or costs something else than the solver says.
    """
    objective = problem.objective
    stages = problem.stages_of_ops(answer.chain.stages)
    # What solvers add up may be rounded to their grid; the reported cost is not.
    cost = _cost_of_items(problem, answer.chain.stages)
    proposed = None if answer.proposal is None else _cost_of_items(problem, answer.proposal)
    on_grid = problem.linear.exact and not problem.integral
    tolerance = 0.0 if problem.integral else 1e-9
    if not on_grid and not math.isclose(cost, answer.chain.cost, rel_tol=tolerance):
        raise ScheduleError(
            f"The objective {objective.name} gives a schedule the cost {answer.chain.cost} in "
            f"`batch_costs` and {cost} in `stage_cost`. Expected the same."
        )
    optimal = answer.lower_bound >= answer.chain.cost
    lower_bound: int | float
    if problem.integral:
        cost, lower_bound = int(cost), int(answer.lower_bound)
        proposed = None if proposed is None else int(proposed)
    else:
        lower_bound = cost if optimal else max(0.0, min(answer.lower_bound - problem.slack, cost))
    return Schedule(
        stages,
        problem.num_stages,
        cost=cost,
        lower_bound=lower_bound,
        status=status_of(cost, lower_bound),
        objective=objective.name,
        device=objective.device,
        optima=objective.optima if isinstance(objective, DeviceObjective) else None,
        scheduler=scheduler,
        solve_seconds=time.perf_counter() - started,
        proposal_cost=proposed,
    )


def recount(problem: Problem, stages: Ints) -> Chain:
    """Check stages of items that come from outside, int [num_items], and count what they cost.

    Raises:
        ScheduleError: That is no valid schedule.
    """
    _checked(problem, stages)
    return answer_of(problem, np.asarray(stages, np.int64)).chain


def _cost_of_items(problem: Problem, stages: Ints) -> float:
    return problem.objective.schedule_cost(problem.graph, _checked(problem, stages))


def _checked(problem: Problem, stages: Ints) -> Schedule:
    found = Schedule(problem.stages_of_ops(stages), problem.num_stages)
    check_schedule(problem.graph, found, constraints=problem.constraints)
    return found
