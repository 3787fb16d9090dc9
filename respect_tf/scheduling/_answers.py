"""Answers: stages of items, what they cost, and the checked `Schedule` that they become."""

from __future__ import annotations

import dataclasses
import math
import time

import numpy as np

from respect_tf._errors import ScheduleError
from respect_tf.scheduling._chain import Chain
from respect_tf.scheduling._check import check_schedule
from respect_tf.scheduling._device_objectives import DeviceObjective
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Floats, Problem
from respect_tf.scheduling._schedule import Schedule, status_of
from respect_tf.scheduling._stage_batch import stage_parts


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What a solver found out.

    No schedule costs less than the lower bound, which equals the chain's cost where that is the
    optimum. The proposal is the policy's schedule, int64 [num_items]; `None` if it was not asked.
    """

    chain: Chain
    lower_bound: float
    proposal: Ints | None = None


def answer_of(problem: Problem, stages: Ints) -> Answer:
    """A valid schedule, int64 [num_items], with the lower bound that needs no search."""
    op_costs, entering, leaving = stage_sums(problem, stages)
    crossing = float(entering.sum() + leaving.sum())
    if problem.linear.exact:
        costs = problem.cost(op_costs, entering, leaving)
        cost = float(costs.max() if problem.combine == "max" else costs.sum())
    else:
        cost = true_cost(problem, stages)
    return unsearched(problem, Chain(stages, cost, crossing))


def unsearched(problem: Problem, chain: Chain) -> Answer:
    """A schedule with the lower bound that needs no search."""
    return Answer(chain, min(problem.lower_bound(), chain.cost))


def true_cost(problem: Problem, stages: Ints) -> float:
    """What a valid schedule of items costs, stage by stage."""
    objective = problem.objective
    values = [
        objective.stage_value(problem.graph, *stage_parts(problem, stages < k, stages <= k))
        for k in range(problem.num_stages)
    ]
    return float(objective.total_cost(*zip(*values, strict=True)))


def linear_cost(problem: Problem, stages: Ints) -> float:
    """The linear form of the cost: less than the cost where that is not linear."""
    costs = problem.cost(*stage_sums(problem, stages))
    return float(costs.max() if problem.combine == "max" else costs.sum())


def stage_sums(problem: Problem, stages: Ints) -> tuple[Floats, Floats, Floats]:
    """Linear op costs, bytes that enter and bytes that leave. Each [num_stages]."""
    num_stages, offsets = problem.num_stages, problem.reader_offsets
    tensors = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    made_in = np.where(problem.tensor_items >= 0, stages[problem.tensor_items], -1)
    read_in = stages[problem.reader_items]
    later = read_in > made_in[tensors]
    pairs = np.unique(tensors[later] * num_stages + read_in[later])  # of a tensor and a stage
    left = np.unique(tensors[later & problem.tensor_leaves[tensors]])
    sizes = problem.tensor_bytes

    def sums(places: Ints, weights: Floats) -> Floats:
        return np.bincount(places, weights, num_stages).astype(np.float64)

    entering = sums(pairs % num_stages, sizes[pairs // num_stages])
    leaving = sums(stages, problem.output_bytes) + sums(made_in[left], sizes[left])
    return sums(stages, problem.op_costs), entering, leaving


def checked_schedule(problem: Problem, answer: Answer, scheduler: str, started: float) -> Schedule:
    """The public value of what a solver found, checked to be valid and to cost what it says."""
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
    """Check stages of items that come from outside, int [num_items], and count what they cost."""
    _checked(problem, stages)
    return answer_of(problem, np.asarray(stages, np.int64)).chain


def _cost_of_items(problem: Problem, stages: Ints) -> float:
    return problem.objective.schedule_cost(problem.graph, _checked(problem, stages))


def _checked(problem: Problem, stages: Ints) -> Schedule:
    found = Schedule(problem.stages_of_ops(stages), problem.num_stages)
    check_schedule(problem.graph, found, constraints=problem.constraints)
    return found
