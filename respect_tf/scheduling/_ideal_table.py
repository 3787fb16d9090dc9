"""Small problems: the costs of all stages between all order ideals, each computed once."""

from __future__ import annotations

import dataclasses

import numpy as np

from respect_tf.scheduling._chain import Budget
from respect_tf.scheduling._ideal_boundaries import IdealBatch, IdealBoundaries
from respect_tf.scheduling._ideal_source import IdealSource
from respect_tf.scheduling._ideals import Ideals
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools, Floats, Problem
from respect_tf.scheduling._true_costs import checked_costs

_MAX_IDEALS = 2000

# Ideals of about the same size: few tensors wait in any of them, which makes products cheap.
_BLOCK_ROWS = 32


class IdealTable:
    """All ideals as candidates for all boundaries.

    Worth it where true costs are dear and their linear bounds are weak: few candidates could be
    ruled out, and a stage between two ideals costs the same at any place of the pipeline.

    Args:
        problem: The problem.
        ideals: All its ideals by size: the first of no items, the last of all of them.
        limit: Stages that cost more may be left out.
        budget: What may be used.
    """

    block_rows = 1 << 8

    def __init__(self, problem: Problem, ideals: Ideals, limit: float, budget: Budget) -> None:
        self.problem = problem
        self._ideals = ideals
        count = len(ideals)
        everything = np.arange(count)
        between = IdealBoundaries([ideals, ideals], budget)
        entering, leaving = np.zeros((2, count, count))
        possible = np.zeros((count, count), bool)
        for top in range(0, count, _BLOCK_ROWS):
            rows, columns = everything[top : top + _BLOCK_ROWS], everything[top:]
            budget.spend_pairs(len(rows) * len(columns))
            place = slice(top, top + _BLOCK_ROWS), slice(top, None)
            entering[place], leaving[place] = between.bytes_moved(0, rows, columns)
            possible[place] = between.is_stage(0, rows, columns)
        op_costs = ideals.op_sums - ideals.op_sums[:, None]
        costs = problem.cost(op_costs, entering, leaving)
        above, across = np.nonzero(possible & (costs <= limit + problem.slack))
        pairs, moved = np.stack([above, across]), (entering[above, across], leaving[above, across])
        batch = IdealBatch(ideals, ideals, pairs, moved[0], moved[1])
        self._costs = np.full((count, count), np.inf)
        self._costs[above, across] = checked_costs(problem, batch, limit)
        self._crossing = entering + leaving
        self._keys = between.keys(0)
        inner = range(1, problem.num_stages)
        self._candidates = [
            everything[:1],
            *(np.flatnonzero(_possible(problem, ideals, k, limit)) for k in inner),
            everything[-1:],
        ]
        self.sizes = [len(row) for row in self._candidates]

    def stage_costs(
        self, stage: int, rows: Ints, columns: Ints, limit: float
    ) -> tuple[Floats, Floats]:
        """See `Boundaries`."""
        del limit
        before, after = self._candidates[stage][rows], self._candidates[stage + 1][columns]
        place = np.ix_(before, after)
        costs = self._costs[place]
        if self.problem.rooms is not None:
            sums = self._ideals.byte_sums
            costs[sums[after] - sums[before][:, None] > self.problem.rooms[stage]] = np.inf
        return costs, self._crossing[place]

    def keys(self, stage: int) -> tuple[Floats, Floats]:
        """See `Boundaries`."""
        rows, columns = self._keys
        return rows[self._candidates[stage]], columns[self._candidates[stage + 1]]

    def members(self, boundary: int, rows: Ints) -> Bools:
        """See `Boundaries`."""
        items = np.arange(self.problem.num_items)
        return self._ideals.members(items, self._candidates[boundary][rows])

    def crossing_floor(self, boundary: int) -> Floats:
        """See `Boundaries`."""
        floor: Floats = self._ideals.merged[2][self._candidates[boundary]]
        return floor


def ideal_table(problem: Problem, limit: float, budget: Budget) -> IdealTable | None:
    """The table of a problem, `None` if it has too many ideals.

    Raises:
        BudgetExceededError: It takes too long.
    """
    if problem.num_items >= _MAX_IDEALS:  # even a chain of items has one ideal more than items
        return None
    # Pins and room differ from boundary to boundary: the ideals are listed without them.
    anywhere = dataclasses.replace(problem, restrictions=None)
    ideals = IdealSource(anywhere, budget).all_ideals(_MAX_IDEALS, budget)
    if ideals is None:
        return None
    table_ideals = dataclasses.replace(ideals, problem=problem)
    return IdealTable(problem, table_ideals, limit, budget)


def _possible(problem: Problem, ideals: Ideals, k: int, limit: float) -> Bools:
    """Which ideals a schedule within a cost limit can have after k stages. [num_ideals]."""
    possible = ideals.within(k, limit)
    possible &= (ideals.counts >= k) & (ideals.counts <= problem.num_items - problem.num_stages + k)
    if problem.restrictions is not None:
        before, after = map(np.flatnonzero, problem.restrictions.boundary_items(k))
        possible &= ideals.members(before).all(axis=1) & ~ideals.members(after).any(axis=1)
    return possible
