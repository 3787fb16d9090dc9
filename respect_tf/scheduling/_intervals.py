"""Stages that are intervals of an order: their costs, for all pairs of positions."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import numpy as np

from respect_tf.scheduling._chain import Budget
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools, Floats, Problem
from respect_tf.scheduling._stage_batch import Nodes, Pairs

_ALL = slice(None)


@dataclasses.dataclass(frozen=True, eq=False)
class Intervals:
    """Costs of the stages [start, stop) of an order of items.

    Which tensors enter or leave changes with start and stop at few places only: a tensor enters
    through its reader at position r for the starts after the reader (or maker) before it, up to r,
    and all stops after r; it leaves for all starts up to its maker p and the stops after p, up to
    its last reader. Each of these is a rectangle in the plane of (start, stop), and the bytes that
    cross are the sum of the rectangles over a point. Their number is linear in the graph's size.

    """

    problem: Problem
    order: Ints  # topological, int64 [num_items]

    @functools.cached_property
    def position(self) -> Ints:
        """Position of each item. int64 [num_items]."""
        position = np.empty(len(self.order), np.int64)
        position[self.order] = np.arange(len(self.order))
        return position

    @functools.cached_property
    def op_sums(self) -> Floats:
        """Op costs of the first items. [num_items + 1]."""
        return _sums(self.problem.op_costs[self.order])

    @functools.cached_property
    def weight_sums(self) -> Floats:
        """Weights of the first items: what they add to any stage's cost. [num_items + 1]."""
        return _sums(self.problem.weights[self.order])

    @functools.cached_property
    def byte_sums(self) -> Floats:
        """Parameter bytes of the first items, where stages have limited room. [num_items + 1]."""
        restrictions = self.problem.restrictions
        if restrictions is None:
            return np.zeros(len(self.order) + 1)
        return _sums(restrictions.item_bytes[self.order])

    @functools.cached_property
    def waiting(self) -> Floats:
        """Bytes that wait at each position. [num_items + 1]."""
        places = np.arange(len(self.order) + 1)
        _, leaving, _ = self.moved(places[:1], places)
        return leaving.ravel()

    @functools.cached_property
    def first_stops(self) -> Ints:
        """The least position of each boundary: no stage is empty, and pins hold. [num_stages + 1].

        It may be above `last_stops`: then no cut of the order keeps the constraints.
        """
        num_items, num_stages = len(self.order), self.problem.num_stages
        stops = np.arange(num_stages + 1)
        stops[-1] = num_items
        if self.problem.restrictions is not None:
            for k in range(1, num_stages + 1):
                before, _ = self.problem.restrictions.boundary_items(k)
                stops[k] = max(
                    stops[k], stops[k - 1] + 1, self.position[before].max(initial=-1) + 1
                )
        return stops

    @functools.cached_property
    def last_stops(self) -> Ints:
        """The greatest position of each boundary. [num_stages + 1]."""
        num_items, num_stages = len(self.order), self.problem.num_stages
        stops = num_items - num_stages + np.arange(num_stages + 1)
        stops[0] = 0
        if self.problem.restrictions is not None:
            for k in reversed(range(1, num_stages)):
                _, after = self.problem.restrictions.boundary_items(k)
                least = self.position[after].min(initial=num_items)
                stops[k] = min(stops[k], stops[k + 1] - 1, least)
        return stops

    @functools.cached_property
    def rectangles(self) -> tuple[Ints, Floats, int]:
        """Bytes that cross, apart from the model's outputs.

        First and last start, first and last stop, [4, num_rectangles]; bytes, [num_rectangles]; and
        how many of the first ones are of tensors that enter: the others leave.
        """
        problem = self.problem
        num_items = len(self.order)
        offsets = problem.reader_offsets
        tensors = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        places = self.position[problem.reader_items]
        places = places[np.lexsort((places, tensors))]
        made_at = np.where(problem.tensor_items >= 0, self.position[problem.tensor_items], -1)
        before = np.concatenate([[0], places])[:-1]
        before[offsets[:-1]] = made_at
        entering = [before + 1, places, places + 1, np.full(len(places), num_items)]

        leaves = problem.tensor_leaves
        maker, last = made_at[leaves], places[offsets[1:] - 1][leaves]
        leaving = [np.zeros(len(maker), np.int64), maker, maker + 1, last]
        corners = np.concatenate([np.stack(entering), np.stack(leaving)], axis=1)
        sizes = np.concatenate([problem.tensor_bytes[tensors], problem.tensor_bytes[leaves]])
        return corners, sizes, len(places)

    @functools.cached_property
    def _leaving(self) -> tuple[Ints, Floats, Floats]:
        """The rectangles of all tensors that leave, the model's outputs too; bytes, and weights."""
        problem, (corners, sizes, num_entering) = self.problem, self.rectangles
        leaves, items = problem.tensor_leaves, np.flatnonzero(problem.output_bytes)
        places, num_items = self.position[items], len(self.order)
        outputs = [np.zeros_like(places), places, places + 1, np.full(len(places), num_items)]
        return (
            np.concatenate([corners[:, num_entering:], np.stack(outputs)], axis=1),
            np.append(sizes[num_entering:], problem.output_bytes[items]),
            np.append(problem.tensor_weights[leaves], problem.output_weights[items]),
        )

    def stage_costs(self, starts: Ints, stops: Ints) -> Floats:
        """Linear costs of all stages between ascending positions. [num_starts, num_stops]."""
        entering, leaving, _ = self.moved(starts, stops)
        op_costs = self.op_sums[stops] - self.op_sums[starts][:, None]
        costs: Floats = self.problem.cost(op_costs, entering, leaving)
        return costs

    def moved(self, starts: Ints, stops: Ints) -> tuple[Floats, Floats, Floats]:
        """Bytes that enter and leave stages between ascending positions, and what leaves weighs.

        Each [num_starts, num_stops].
        """
        corners, sizes, num_entering = self.rectangles
        entering = corners[:, :num_entering], sizes[:num_entering]
        corners, sizes, weights = self._leaving
        return (
            _rectangle_sums(*entering, starts, stops),
            _rectangle_sums(corners, sizes, starts, stops),
            _rectangle_sums(corners, weights, starts, stops),
        )


class IntervalNodes(Nodes):
    """Positions of an order: all, or some with both ends, ascending.

    `stops` are the first and last of each boundary where that is known, [num_stages + 1] each.
    """

    def __init__(
        self,
        problem: Problem,
        order: Ints | Intervals,
        positions: Ints | None = None,
        stops: tuple[Ints, Ints] | None = None,
    ) -> None:
        self.problem = problem
        self._intervals = order if isinstance(order, Intervals) else Intervals(problem, order)
        every = np.arange(len(self._intervals.order) + 1)
        self._positions, self._stops = every if positions is None else positions, stops

    def __len__(self) -> int:
        return len(self._positions)

    def pairs(self, allowed: Bools, budget: Budget) -> Pairs:
        budget.spend_pairs(len(self) ** 2)
        moved = self._intervals.moved(self._positions, self._positions)
        where = np.flatnonzero(np.triu(allowed, 1))
        rows, columns = np.divmod(where, len(self))
        return Pairs(rows, columns, *(part.take(where) for part in moved))

    def ends(self) -> tuple[Pairs, Pairs]:
        places, inner = self._positions, np.arange(1, len(self) - 1)
        first, last = np.zeros(len(inner), np.int64), np.full(len(inner), len(self) - 1)
        before = self._intervals.moved(places[:1], places[inner])
        after = self._intervals.moved(places[inner], places[-1:])
        return (
            Pairs(first, inner, *(part[0] for part in before)),
            Pairs(inner, last, *(part[:, 0] for part in after)),
        )

    def sums(self, values: Floats) -> Floats:
        return _sums(values[self._intervals.order])[self._positions]

    def members(self, nodes: Ints | slice = _ALL, items: Ints | slice = _ALL) -> Bools:
        held: Bools = self._intervals.position[items] < self._positions[nodes][:, None]
        return held

    def possible(self, boundary: int) -> Bools:
        place = self._positions
        possible = np.ones(len(place), bool)
        own = self._intervals.first_stops, self._intervals.last_stops
        for first, last in (own, self._stops or own):
            possible &= (place >= first[boundary]) & (place <= last[boundary])
        return possible

    def spans(self, items: Ints) -> tuple[Ints, Ints]:
        return self._intervals.position[items], self._positions

    def few(self, count: int) -> IntervalNodes:
        ends = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).astype(np.int64))
        inner = _narrowest(self._intervals.waiting[self._positions], ends + 1)[:-1]
        return IntervalNodes(
            self.problem, self._intervals, self._positions[[0, *inner, len(self) - 1]]
        )

    def select(self, which: Ints) -> IntervalNodes:
        return IntervalNodes(self.problem, self._intervals, self._positions[which], self._stops)

    def of(self, problem: Problem) -> IntervalNodes:
        return IntervalNodes(problem, self._intervals.order, self._positions)

    def within(self, first: Ints, last: Ints, most: int | None = None) -> IntervalNodes:
        """The positions that each boundary can have from a first to a last one, [num_stages + 1].

        Of more than `most` positions of a boundary, about so many are taken.
        """
        which = np.zeros(len(self._intervals.order) + 1, bool)
        for start, stop in zip(first.tolist(), last.tolist(), strict=True):
            if most is None or stop - start < 2 * most:
                which[start : stop + 1] = True
                continue
            ends = np.linspace(start, stop + 1, most + 1).astype(np.int64)
            which[_narrowest(self._intervals.waiting, ends)] = True
        return IntervalNodes(self.problem, self._intervals, np.flatnonzero(which), (first, last))


def _narrowest(waiting: Floats, ends: Ints) -> list[int]:
    """Of the positions from each end to the next, the one with fewest bytes waiting."""
    return [top + int(waiting[top:end].argmin()) for top, end in itertools.pairwise(ends.tolist())]


def _sums(values: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(values)])


def _rectangle_sums(corners: Ints, sizes: Floats, starts: Ints, stops: Ints) -> Floats:
    """Sum of the rectangles over each point of a grid. [num_starts, num_stops]."""
    top = np.searchsorted(starts, corners[0])
    bottom = np.searchsorted(starts, corners[1], side="right")
    left = np.searchsorted(stops, corners[2])
    right = np.searchsorted(stops, corners[3], side="right")
    rows = np.concatenate([top, bottom, top, bottom])
    columns = np.concatenate([left, right, right, left])
    signed = np.concatenate([sizes, sizes, -sizes, -sizes])
    inside = (rows < len(starts)) & (columns < len(stops))
    places = rows[inside] * len(stops) + columns[inside]
    grid: Floats = np.bincount(places, signed[inside], len(starts) * len(stops)).astype(
        np.float64, copy=False
    )
    grid = grid.reshape(len(starts), len(stops))
    # In place: another array of all pairs of 700 positions takes as long as its sums.
    np.cumsum(grid, axis=0, out=grid)
    np.cumsum(grid, axis=1, out=grid)
    return grid
