"""Objectives that can bound and compute the costs of many stages at once, a shared load included.

A schedule costs what its dearest stage costs or, if that is more, what all stages together put on
something they share, such as a bus.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from respect_tf.scheduling._objective import Number, Objective, exact_sum

if TYPE_CHECKING:
    from respect_tf.graph import OpGraph
    from respect_tf.scheduling._schedule import Schedule
    from respect_tf.scheduling._stage_batch import StageBatch

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, eq=False)
class LinearBound:
    """A sum that the cost of no schedule with a stage is below.

    Attributes:
        ops: What each op of the stage adds, [num_ops].
        rest: What is added to the sum.
        enter: What each tensor adds that enters, [num_tensors].
        leave: What each tensor adds that leaves, [num_tensors].
        counts: The reads by which a tensor enters, bool [num_reads], as `OpGraph.reads` has them.
        is_shared: Whether it is the sum over all stages that no schedule's cost is below.
        is_first: Whether only the first stage is bounded, which holds what its ops need.
    """

    ops: Floats
    rest: float
    enter: Floats
    leave: Floats
    counts: Bools
    is_shared: bool = False
    is_first: bool = False


def undominated(bounds: list[LinearBound]) -> list[LinearBound]:
    """Those that say something which no other one says: many hosts differ in their bus only."""
    kept: list[LinearBound] = []
    for bound in sorted(bounds, key=lambda one: (-float(one.ops.sum()), -one.rest)):
        if not any(_covers(other, bound) for other in kept):
            kept.append(bound)
    return kept


def _covers(one: LinearBound, other: LinearBound) -> bool:
    """Whether the other one is nowhere higher, for the same stages."""
    if (one.is_shared, one.is_first) != (other.is_shared, other.is_first):
        return False
    names = ("ops", "rest", "enter", "leave", "counts")
    return all(bool(np.all(getattr(one, name) >= getattr(other, name))) for name in names)


class BoundedObjective(Objective):
    """What `"exact"` and `"slicing"` search by bounds first and by true costs where it matters.

    With `combine` `"sum"` there is no shared load: the stage costs are what is added up.
    """

    @abc.abstractmethod
    def batch_bounds(
        self, stages: StageBatch, *, closely: bool, num_parts: npt.NDArray[Any] | int = 1
    ) -> tuple[Floats, Floats, Floats, Bools]:
        """Lower bounds of the costs, of the shared loads and of the bytes that are streamed.

        Args:
            stages: The stages.
            num_parts: What is asked about is not each stage but the sums over so many stages that
                it is cut into; a number or [len(stages)].
            closely: Whether bounds may take some time: not where all stages are asked about.

        Returns:
            Costs, loads, streamed bytes, and where they are no bounds but the values. Each
            [len(stages)].
        """

    def linear_bounds(self, graph: OpGraph) -> list[LinearBound]:
        """Sums over each stage that the cost of a schedule is not below."""
        del graph
        return []

    @abc.abstractmethod
    def batch_values(self, stages: StageBatch) -> tuple[Floats, Floats, Floats]:
        """Costs, shared loads and streamed bytes themselves, up to rounding. [len(stages)] each."""

    def tensor_weights(self, graph: OpGraph) -> Floats:
        """What a tensor that leaves a stage weighs beside its bytes: whole numbers. [num_tensors].

        `StageBatch.leaving_weights` has their sums.
        """
        return np.zeros(graph.num_tensors)

    @abc.abstractmethod
    def least_cost(self, graph: OpGraph) -> float:
        """A lower bound of every schedule's cost that needs no search."""

    @abc.abstractmethod
    def schedule_cost(self, graph: OpGraph, schedule: Schedule) -> Number:
        """The cost of a schedule: the definition, to the last bit."""

    @abc.abstractmethod
    def stage_value(
        self,
        graph: OpGraph,
        ops: Sequence[int],
        entering: Sequence[int],
        leaving: Sequence[int],
    ) -> tuple[Number, Number]:
        """`stage_cost`, and what the stage adds to the shared load."""

    def stage_cost(
        self,
        graph: OpGraph,
        ops: Sequence[int],
        entering: Sequence[int],
        leaving: Sequence[int],
    ) -> Number:
        """See `Objective`."""
        return self.stage_value(graph, ops, entering, leaving)[0]

    def combined_cost(self, stage_costs: Sequence[Number], loads: Sequence[Number]) -> Number:
        """The cost of a schedule from the costs and the shared loads of its stages."""
        if self.combine == "sum":
            return exact_sum(stage_costs)
        return max(*stage_costs, exact_sum(loads))

    def batch_costs(self, stages: StageBatch, limit: float) -> Floats:
        """See `Objective`."""
        costs, *_ = self.batch_bounds(stages, closely=False)
        near = costs <= limit
        costs[~near] = np.maximum(costs[~near], np.nextafter(limit, np.inf))
        if near.any():
            costs[near] = self.batch_values(stages.select(near))[0]
        return costs
