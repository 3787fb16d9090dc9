"""Answers from stages of items: what they cost and how good that is at least."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from respect_tf.scheduling._bounded import BoundedObjective
from respect_tf.scheduling._chain import Chain
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools, Floats, Problem
from respect_tf.scheduling._stage_batch import stage_parts


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What a solver found out.

    Attributes:
        chain: The best schedule of items.
        lower_bound: No schedule costs less; equal to the chain's cost where that is the optimum.
        proposal: int64 [num_items], the schedule that the policy proposed; `None` if it was not
            asked.
    """

    chain: Chain
    lower_bound: float
    proposal: Ints | None = None


def answer_of(problem: Problem, stages: Ints) -> Answer:
    """A schedule of items with the lower bound that needs no search.

    Args:
        problem: The problem.
        stages: int64 [num_items], a valid schedule.
    """
    costs, crossing = costs_of(problem, stages)
    cost = float(costs.max() if problem.combine == "max" else costs.sum())
    cost = max(cost, shared_load(problem, stages))
    return Answer(Chain(stages, cost, crossing), min(problem.lower_bound(), cost))


def true_stage_value(problem: Problem, before: Bools, after: Bools) -> tuple[float, float]:
    """What the objective says that a stage costs, and adds to a load that all stages share.

    Args:
        problem: The problem.
        before: bool [num_items], the ideal that the stage begins with.
        after: bool [num_items], the larger ideal that it ends with.
    """
    parts = stage_parts(problem, before, after)
    objective = problem.objective
    if isinstance(objective, BoundedObjective):
        cost, load = objective.stage_value(problem.graph, *parts)
        return float(cost), float(load)
    return float(objective.stage_cost(problem.graph, *parts)), 0.0


def shared_load(problem: Problem, stages: Ints) -> float:
    """What all stages put on what they share; 0 where the objective knows no such thing."""
    if not isinstance(problem.objective, BoundedObjective):
        return 0.0
    every = range(problem.num_stages)
    return math.fsum(
        true_stage_value(problem, stages < stage, stages <= stage)[1] for stage in every
    )


def costs_of(problem: Problem, stages: Ints) -> tuple[Floats, float]:
    """Cost of each stage [num_stages], and crossing bytes of all stages together."""
    op_costs, entering, leaving = stage_sums(problem, stages)
    crossing = float(entering.sum() + leaving.sum())
    if problem.linear.exact:
        return problem.cost(op_costs, entering, leaving), crossing
    every = range(problem.num_stages)
    costs = [true_stage_value(problem, stages < stage, stages <= stage)[0] for stage in every]
    return np.array(costs), crossing


def stage_sums(problem: Problem, stages: Ints) -> tuple[Floats, Floats, Floats]:
    """Linear op costs, bytes that enter and bytes that leave. Each [num_stages]."""
    num_stages, offsets = problem.num_stages, problem.reader_offsets
    tensors = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    made_in = np.where(problem.tensor_items >= 0, stages[problem.tensor_items], -1)
    read_in = stages[problem.reader_items]
    later = read_in > made_in[tensors]
    pairs = np.unique(
        tensors[later] * num_stages + read_in[later]
    )  # (tensor, stage) that it enters
    left = np.unique(tensors[later & problem.tensor_leaves[tensors]])
    sizes = problem.tensor_bytes

    def sums(places: Ints, weights: Floats) -> Floats:
        return np.bincount(places, weights, num_stages).astype(np.float64)

    entering = sums(pairs % num_stages, sizes[pairs // num_stages])
    leaving = sums(stages, problem.output_bytes) + sums(made_in[left], sizes[left])
    return sums(stages, problem.op_costs), entering, leaving
