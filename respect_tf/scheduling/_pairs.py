"""All boundaries of a small problem, and all stages between two of them, as plain lists."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from respect_tf.scheduling._chain import Budget
from respect_tf.scheduling._ideal_pairs import bytes_between, nested
from respect_tf.scheduling._ideals import Ideals, list_ideals
from respect_tf.scheduling._intervals import Intervals
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools, Floats, Problem
from respect_tf.scheduling._stage_batch import Pairs, StageBatch, item_sums

# benchmarks constants: half and twice the same.
_MAX_IDEALS = 4000


class Nodes(Protocol):
    """Sets of items that can come before a boundary: node 0 is nothing, the last is everything."""

    @property
    def problem(self) -> Problem: ...

    def __len__(self) -> int: ...

    def pairs(self, allowed: Bools, budget: Budget) -> Pairs:
        """All stages between two nodes of those that are allowed, [num_nodes, num_nodes]."""

    def batch(self, pairs: Pairs) -> StageBatch:
        """The same stages for objectives."""

    def possible(self, boundary: int) -> Bools:
        """Which nodes can be a boundary. [num_nodes]."""

    def held_bytes(self) -> Floats:
        """Parameter bytes of each node, where stages have limited room. [num_nodes]."""

    def op_sums(self, values: npt.NDArray[Any]) -> Floats:
        """Sum of a value per op over each node, as `StageBatch.op_sums` has it. [num_nodes]."""

    def holds(self, items: Ints) -> Bools:
        """Which of some items are in each node. [num_nodes, len(items)]."""

    def members(self, nodes: Ints) -> Bools:
        """Items of nodes. bool [len(nodes), num_items]."""

    def spans(self, items: Ints) -> tuple[Ints, Ints] | None:
        """Where nodes are positions of an order: places of items in it, and each node's position.

        int64 [len(items)] and [num_nodes]; `None` where they are not.
        """

    def few(self, count: int) -> Nodes:
        """Some of the nodes, about as many as asked for, that make a chain."""

    def select(self, which: Ints) -> Nodes:
        """Some of the nodes; `which` are ascending and hold the first and the last."""

    def of(self, problem: Problem) -> Nodes:
        """The same nodes for another objective."""

    def ends(self) -> tuple[Pairs, Pairs]:
        """Stages from nothing to each inner node, and from each to everything.

        Bytes that enter or leave may be fewer than they are.
        """


def find_nodes(problem: Problem, budget: Budget) -> Nodes | None:
    """The order ideals of a problem, `None` if they are too many.

    Raises:
        BudgetExceededError: It takes too long.
    """
    if problem.num_items >= _MAX_IDEALS:  # even a chain of items has one ideal more than items
        return None
    if problem.has_one_order:
        return IntervalNodes(problem, np.arange(problem.num_items))
    # Pins and room differ from boundary to boundary: the ideals are listed without them.
    rows = list_ideals(problem, _MAX_IDEALS, budget)
    if rows is None:
        return None
    return IdealNodes.of_rows(problem, rows)


def some_nodes(problem: Problem, budget: Budget, most: int = 128) -> Nodes:
    """The order ideals of a problem, or some that make a chain where they are more than `most`."""
    nodes = find_nodes(problem, budget)
    if nodes is None:
        nodes = IntervalNodes(problem, np.arange(problem.num_items))
    return nodes if len(nodes) <= most else nodes.few(most)


@dataclasses.dataclass(frozen=True, eq=False)
class IdealNodes(Ideals):
    """Order ideals, by their number of items."""

    def pairs(self, allowed: Bools, budget: Budget) -> Pairs:
        """See `Nodes`."""
        budget.spend_pairs(len(self) ** 2)
        rows, columns = nested(self, allowed)
        return Pairs(rows, columns, *bytes_between(self, rows, columns, budget))

    def batch(self, pairs: Pairs) -> StageBatch:
        """See `Nodes`."""
        return StageBatch(self, pairs)

    def possible(self, boundary: int) -> Bools:
        """See `Nodes`."""
        problem, counts = self.problem, self.counts
        last = problem.num_items - problem.num_stages + boundary
        possible = (counts >= boundary) & (counts <= last)
        if problem.restrictions is not None:
            before, after = map(np.flatnonzero, problem.restrictions.boundary_items(boundary))
            possible &= self.rows[:, before].all(axis=1)
            possible &= ~self.rows[:, after].any(axis=1)
        return possible

    def spans(self, items: Ints) -> None:
        """See `Nodes`."""

    def few(self, count: int) -> Nodes:
        """See `Nodes`."""
        return IntervalNodes(self.problem, np.arange(self.problem.num_items)).few(count)

    def ends(self) -> tuple[Pairs, Pairs]:
        """See `Nodes`."""
        problem, inner = self.problem, np.arange(1, len(self) - 1)
        sizes, leaves = problem.tensor_bytes, problem.tensor_leaves
        amounts = [sizes, sizes * leaves, problem.tensor_weights * leaves]
        entering, leaving, weights = (self.waiting[inner] @ np.stack(amounts, axis=1)).T
        made = self.sums(problem.output_bytes)[inner]
        made_weights = self.sums(problem.output_weights)[inner]
        nothing, last = np.zeros(len(inner)), np.full(len(inner), len(self) - 1)
        after = problem.output_bytes.sum() - made, problem.output_weights.sum() - made_weights
        return (
            Pairs(
                np.zeros(len(inner), np.int64),
                inner,
                nothing,
                leaving + made,
                weights + made_weights,
            ),
            Pairs(inner, last, entering, *after),
        )


class IntervalNodes:
    """Positions of an order: all, or some with both ends."""

    def __init__(
        self,
        problem: Problem,
        order: Ints | Intervals,
        positions: Ints | None = None,
        stops: tuple[Ints, Ints] | None = None,
    ) -> None:
        self.problem = problem
        self._intervals = order if isinstance(order, Intervals) else Intervals(problem, order)
        order = self._intervals.order
        self._positions = np.arange(len(order) + 1) if positions is None else positions
        self._stops = stops

    def __len__(self) -> int:
        return len(self._positions)

    def pairs(self, allowed: Bools, budget: Budget) -> Pairs:
        """See `Nodes`."""
        budget.spend_pairs(len(self) ** 2)
        moved = self._intervals.all_moved(self._positions, self._positions)
        where = rows, columns = np.nonzero(np.triu(allowed, 1))
        return Pairs(rows, columns, *(part[where] for part in moved))

    def batch(self, pairs: Pairs) -> StageBatch:
        """See `Nodes`."""
        return StageBatch(self, pairs)

    def possible(self, boundary: int) -> Bools:
        """See `Nodes`."""
        place = self._positions
        possible = np.ones(len(place), bool)
        own = self._intervals.first_stops, self._intervals.last_stops
        for first, last in (own, self._stops or own):
            possible &= (place >= first[boundary]) & (place <= last[boundary])
        return possible

    def held_bytes(self) -> Floats:
        """See `Nodes`."""
        return self._intervals.byte_sums[self._positions]

    def op_sums(self, values: npt.NDArray[Any]) -> Floats:
        """See `Nodes`."""
        sums = np.cumsum(item_sums(self.problem, values)[self._intervals.order])
        return np.append(0.0, sums)[self._positions]

    def holds(self, items: Ints) -> Bools:
        """See `Nodes`."""
        held: Bools = self._intervals.position[items] < self._positions[:, None]
        return held

    def spans(self, items: Ints) -> tuple[Ints, Ints]:
        """See `Nodes`."""
        return self._intervals.position[items], self._positions

    def members(self, nodes: Ints) -> Bools:
        """See `Nodes`."""
        return self._intervals.position < self._positions[nodes][:, None]

    def few(self, count: int) -> Nodes:
        """See `Nodes`."""
        # Of neighbours, the one with fewest bytes waiting.
        places = self._positions
        waiting = self._intervals.bytes_moved(places[:1], places)[1][0]
        ends = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).astype(np.int64))
        inner = [top + int(waiting[top:end].argmin()) for top, end in itertools.pairwise(ends + 1)]
        which = np.array([0, *inner[:-1], len(self) - 1])
        return IntervalNodes(self.problem, self._intervals, places[which])

    def select(self, which: Ints) -> Nodes:
        """See `Nodes`."""
        return IntervalNodes(self.problem, self._intervals, self._positions[which], self._stops)

    def within(self, first: Ints, last: Ints, most: int | None = None) -> IntervalNodes:
        """The positions that each boundary can have from a first one to a last one.

        Args:
            first: [num_stages + 1], of each boundary.
            last: Likewise.
            most: Of more positions of a boundary, about so many are taken: of neighbours, the one
                with fewest bytes waiting.
        """
        which = np.zeros(len(self._intervals.order) + 1, bool)
        for start, stop in zip(first.tolist(), last.tolist(), strict=True):
            if most is None or stop - start < 2 * most:
                which[start : stop + 1] = True
                continue
            ends = np.linspace(start, stop + 1, most + 1).astype(np.int64)
            for top, end in itertools.pairwise(ends.tolist()):
                which[top + int(self._waiting[top:end].argmin())] = True
        positions = np.flatnonzero(which)
        return IntervalNodes(self.problem, self._intervals, positions, (first, last))

    @functools.cached_property
    def _waiting(self) -> Floats:
        """Bytes that wait at each position of the order. [num_items + 1]."""
        places = np.arange(len(self._intervals.order) + 1)
        waiting: Floats = self._intervals.bytes_moved(places[:1], places)[1][0]
        return waiting

    def of(self, problem: Problem) -> Nodes:
        """See `Nodes`."""
        return IntervalNodes(problem, self._intervals.order, self._positions)

    def ends(self) -> tuple[Pairs, Pairs]:
        """See `Nodes`."""
        places, inner = self._positions, np.arange(1, len(self) - 1)
        first, last = np.zeros(len(inner), np.int64), np.full(len(inner), len(self) - 1)
        before = self._intervals.all_moved(places[:1], places[inner])
        after = self._intervals.all_moved(places[inner], places[-1:])
        return (
            Pairs(first, inner, *(part[0] for part in before)),
            Pairs(inner, last, *(part[:, 0] for part in after)),
        )
