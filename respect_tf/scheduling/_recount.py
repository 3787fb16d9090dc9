"""Costs of schedules that solvers hand over, from the definitions: no code of theirs is used."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from respect_tf.scheduling._chain import Chain
from respect_tf.scheduling._check import checked_cost
from respect_tf.scheduling._objective import LinearCost, Number, Objective, exact_sum
from respect_tf.scheduling._schedule import Schedule

if TYPE_CHECKING:
    from respect_tf.graph import OpGraph
    from respect_tf.scheduling._items import Ints
    from respect_tf.scheduling._problem import Problem


def recount(problem: Problem, stages: Ints) -> Chain:
    """Check the stages of items, and count what they cost.

    Args:
        problem: The problem.
        stages: int [num_items].

    Raises:
        ScheduleError: That is no valid schedule.
    """
    crossing = _Linear(LinearCost(np.zeros(problem.graph.num_ops, np.int64), 1, 1), "sum")
    return Chain(
        stages=np.asarray(stages, np.int64),
        cost=_cost(problem, stages, problem.objective),
        crossing=_cost(problem, stages, crossing),
    )


def linear_cost(problem: Problem, stages: Ints) -> float:
    """The linear form of the cost: less than the cost where that is not linear.

    Raises:
        ScheduleError: That is no valid schedule.
    """
    return _cost(problem, stages, _Linear(problem.linear, problem.objective.combine))


def _cost(problem: Problem, stages: Ints, objective: Objective) -> float:
    schedule = Schedule(problem.stages_of_ops(stages), problem.num_stages)
    return float(checked_cost(problem.graph, schedule, objective, problem.constraints))


@dataclasses.dataclass(frozen=True, eq=False)
class _Linear(Objective):
    """The objective that a `LinearCost` is all of."""

    linear: LinearCost
    how: Literal["max", "sum"]

    @property
    def combine(self) -> Literal["max", "sum"]:
        return self.how

    @property
    def name(self) -> str:
        return "linear"

    def stage_cost(
        self,
        graph: OpGraph,
        ops: Sequence[int],
        entering: Sequence[int],
        leaving: Sequence[int],
    ) -> Number:
        def total(values: npt.NDArray[Any], index: Sequence[int]) -> Number:
            return exact_sum(values[list(index)].tolist())

        cost = total(self.linear.op_costs, ops)
        if self.linear.enter > 0:
            cost += self.linear.enter * total(graph.tensor_bytes, entering)
        if self.linear.leave > 0:
            cost += self.linear.leave * total(graph.tensor_bytes, leaving)
        return cost

    def linear_cost(self, graph: OpGraph) -> LinearCost:
        del graph
        return self.linear
