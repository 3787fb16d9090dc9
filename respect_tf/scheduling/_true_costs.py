"""Objectives that are no sum: their true stage costs, asked for where the bound allows a stage."""

from __future__ import annotations

import numpy as np

from respect_tf._errors import ArgumentError
from respect_tf.scheduling._bounded import BoundedObjective
from respect_tf.scheduling._chain import BatchBoundaries, Boundaries, Budget
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._objective import Objective
from respect_tf.scheduling._problem import Bools, Floats, Problem
from respect_tf.scheduling._stage_batch import StageBatch, stage_parts

# Costs of that many pairs of candidates of two boundaries are remembered.
_MAX_KNOWN = 1 << 22

# Stages that are asked for at once: as arrays, or one call each. Both take some milliseconds.
_MAX_BATCH, _MAX_CALLS = 1 << 17, 1 << 7
_BATCH_WORK = 1_000_000


def with_true_costs(boundaries: BatchBoundaries, budget: Budget) -> Boundaries:
    """The same candidates with the objective's own stage costs."""
    return boundaries if boundaries.problem.linear.exact else _TrueCosts(boundaries, budget)


def is_batched(objective: Objective) -> bool:
    """Whether an objective has a way of its own to cost many stages at once."""
    return type(objective).batch_costs is not Objective.batch_costs


class _TrueCosts:
    """Asks the objective for the cost of each stage whose linear bound keeps the limit."""

    def __init__(self, bounds: BatchBoundaries, budget: Budget) -> None:
        self._budget = budget
        self.problem = bounds.problem
        self.sizes = bounds.sizes
        self.block_rows = bounds.block_rows
        self._bounds = bounds
        self._limit = -np.inf
        self._known: list[Floats | None] = [None] * self.problem.num_stages

    def keys(self, stage: int) -> tuple[Floats, Floats]:
        """See `Boundaries`."""
        return self._bounds.keys(stage)

    def members(self, boundary: int, rows: Ints) -> Bools:
        """See `Boundaries`."""
        return self._bounds.members(boundary, rows)

    def crossing_floor(self, boundary: int) -> Floats:
        """See `Boundaries`."""
        return self._bounds.crossing_floor(boundary)

    def stage_costs(
        self, stage: int, rows: Ints, columns: Ints, limit: float
    ) -> tuple[Floats, Floats]:
        """See `Boundaries`."""
        if limit > self._limit:  # what was said of stages above the last one need not hold
            self._known = [None] * self.problem.num_stages
        self._limit = limit
        costs, crossing = self._bounds.stage_costs(stage, rows, columns, limit)
        near = np.isfinite(costs) & (costs <= limit + self.problem.slack)
        costs[~near] = np.inf
        known = self._known[stage]
        if known is None and self.sizes[stage] * self.sizes[stage + 1] <= _MAX_KNOWN:
            known = np.full((self.sizes[stage], self.sizes[stage + 1]), np.nan)
            self._known[stage] = known
        if known is not None:
            place = np.ix_(rows, columns)
            found = known[place]
            costs = np.where(near, found, np.inf)
            near &= np.isnan(found)
        asked = np.nonzero(near)
        size = _MAX_BATCH if is_batched(self.problem.objective) else _MAX_CALLS
        for top in range(0, len(asked[0]), size):
            above, across = asked[0][top : top + size], asked[1][top : top + size]
            self._budget.spend_pairs(_BATCH_WORK)
            batch = self._bounds.batch(stage, rows, columns, (above, across))
            costs[above, across] = checked_costs(self.problem, batch, limit)
            if known is not None:
                known[rows[above], columns[across]] = costs[above, across]
        return costs, crossing


def checked_costs(problem: Problem, batch: StageBatch, limit: float) -> Floats:
    """What the objective says that stages cost. [len(batch)].

    Raises:
        ArgumentError: It gives another number of costs, or one that is negative or not finite.
    """
    costs = np.asarray(problem.objective.batch_costs(batch, limit), np.float64)
    if costs.shape != (len(batch),) or not (np.isfinite(costs) & (costs >= 0)).all():
        raise ArgumentError(
            f"The objective {problem.objective.name} must give {len(batch)} stages as many costs, "
            f"finite and 0 or more. Received: the shape {list(costs.shape)}, least "
            f"{costs.min(initial=np.inf)}, largest {costs.max(initial=-np.inf)}."
        )
    return costs


def true_stage_cost(problem: Problem, before: Bools, after: Bools) -> float:
    """What the objective says that the items of `after` but not of `before` cost as a stage.

    Args:
        problem: The problem.
        before: bool [num_items], an ideal.
        after: bool [num_items], a larger ideal.
    """
    return float(problem.objective.stage_cost(problem.graph, *stage_parts(problem, before, after)))


def true_stage_value(problem: Problem, before: Bools, after: Bools) -> tuple[float, float]:
    """`true_stage_cost`, and what the stage adds to a load that all stages share."""
    parts = stage_parts(problem, before, after)
    objective = problem.objective
    if isinstance(objective, BoundedObjective):
        cost, load = objective.stage_value(problem.graph, *parts)
        return float(cost), float(load)
    return float(objective.stage_cost(problem.graph, *parts)), 0.0
