"""The best cut of one order of any length, for objectives that bound their costs.

Sums over the ops of a stage bound its cost. Below a limit, each boundary then has a last position
that stages from the first item on reach, and a first one from which they still reach the last item.
A good cut is found among some of these positions, and then the best one among those that are left.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import numpy as np

from respect_tf.scheduling._chain import Budget, BudgetExceededError, Chain, best_known
from respect_tf.scheduling._intervals import IntervalNodes
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._linear_bound import LOOSER
from respect_tf.scheduling._pair_search import MAX_NODES, Found, search_pairs
from respect_tf.scheduling._problem import Floats, Problem
from respect_tf.scheduling._room_bounds import StageSum, stage_sums

# Of more positions than can be looked at in pairs, so many of each boundary, less for many stages:
# with 15 in place of 16, random layers of 10,000 ops in 64 stages cost 4.5 % more.
# benchmarks constants: _SOME half and twice the same; a tenth +0.06 % cost, +0.06 % gap, 0.89 times
#   the time; ten times the same. _FEWEST half +0.01 % cost; twice -0.02 % cost.
_SOME, _FEWEST = 50, 16


class OrderWindows:
    """Where the boundaries of cuts of an order, int64 [num_items], are that keep a limit."""

    def __init__(self, problem: Problem, order: Ints) -> None:
        self._problem, self._order = problem, order
        self._sums = stage_sums(problem)
        self._running = [np.append(0.0, np.cumsum(one.items[order])) for one in self._sums]

    @property
    def _parts(self) -> Iterator[tuple[Floats, StageSum]]:
        return zip(self._running, self._sums, strict=True)

    def narrow(self, limit: float) -> tuple[Ints, Ints] | None:
        """`stops`, where what follows from them narrows them down further."""
        stops, before = self.stops(limit), None
        while stops is not None and not np.array_equal(stops, before or ()):
            place = np.arange(self._problem.num_items)
            stages = np.empty((2, len(place)), np.int64)
            for row, ends in zip(stages, reversed(stops), strict=True):
                row[self._order] = np.searchsorted(ends[1:], place, side="right")
            self._sums = [one.narrowed(self._problem, *stages) for one in self._sums]
            before, stops = stops, self.stops(limit)
        return stops

    def stops(self, limit: float) -> tuple[Ints, Ints] | None:
        """First and last position of each boundary where stages keep a limit.

        int64 [num_stages + 1] each; `None` if there is none.
        """
        num_items, num_stages = self._problem.num_items, self._problem.num_stages
        first, last = np.zeros((2, num_stages + 1), np.int64)
        first[-1] = num_items
        parts = [(run, (limit / LOOSER - one.rests).tolist()) for run, one in self._parts]
        for k in range(num_stages):
            reached = num_items - (num_stages - k - 1)
            for sums, caps in parts:
                value = (sums[last[k]] + caps[k]) / LOOSER
                reached = min(reached, int(np.searchsorted(sums, value, side="right")) - 1)
            if reached <= last[k]:
                return None
            last[k + 1] = reached
        for k in reversed(range(num_stages)):
            begun = k
            for sums, caps in parts:
                value = sums[first[k + 1]] * LOOSER - caps[k]
                begun = max(begun, int(np.searchsorted(sums, value, side="left")))
            if begun >= first[k + 1]:
                return None
            first[k] = begun
        return (first, last) if (first <= last).all() and first[0] == 0 else None

    def least(self, upper: float) -> float:
        """A limit below which there are no positions, close to the least one; `upper` at most."""
        alone = [(float(run[-1]), one.rests) for run, one in self._parts]
        high = min(upper, max((run + rests.max() for run, rests in alone), default=0.0))
        low = max((run + rests.sum() for run, rests in alone), default=0.0)
        low = min(high, max(0.0, low / self._problem.num_stages))
        while low < LOOSER * high:
            middle = (low + high) / 2
            if self.stops(middle) is None:
                low = middle
            else:
                high = middle
        return low


def search_order(
    problem: Problem, order: Ints, budget: Budget, upper: float = math.inf, *, settle: bool = True
) -> Found:
    """The best cut of an order, int64 [num_items], as `search_pairs` finds it.

    Where there are too many positions to look at all pairs, a good cut, and a bound.

    Raises:
        BudgetExceededError: The budget did not even last to find a cut.
    """
    nodes = IntervalNodes(problem, order)
    if len(nodes) <= MAX_NODES // 2:
        return search_pairs(nodes, budget, upper, settle=settle)
    windows = OrderWindows(problem, order)
    least = windows.least(upper)
    stops = windows.stops(least / LOOSER)
    if stops is None:
        return search_pairs(nodes, budget, upper, settle=settle)
    low = max(least, problem.lower_bound())
    if low >= upper:
        return Found(None, math.inf)
    known = search_pairs(nodes.select(np.unique(stops[1])), Budget(), upper, settle=False).chain
    limit = upper if known is None else known.cost
    stops = windows.stops(limit) or stops
    most = max(_FEWEST, min(_SOME, MAX_NODES // 2 // problem.num_stages))
    some = search_pairs(nodes.within(*stops, most=most), budget, limit, settle=False).chain
    known = best_known(some, known)
    if known is not None:
        known = _descended(nodes, known, most // 2, budget)
    limit = upper if known is None else known.cost
    if problem.has_one_order:
        every = nodes.within(*(windows.narrow(limit) or stops))
        with contextlib.suppress(BudgetExceededError):
            found = search_pairs(every, budget, limit / LOOSER, settle=settle)
            return Found(best_known(found.chain, known), max(low, found.lower_bound))
    return Found(known, low)


def _descended(nodes: IntervalNodes, known: Chain, reach: int, budget: Budget) -> Chain:
    """The best cut with all boundaries near those of a known one, then near those of that."""
    num_stages, num_items = nodes.problem.num_stages, nodes.problem.num_items
    while True:
        ends = np.append(0, np.cumsum(np.bincount(known.stages, minlength=num_stages)))
        first, last = np.maximum(ends - reach, 0), np.minimum(ends + reach, num_items)
        first[-1], last[0] = num_items, 0
        near = nodes.within(first, last)
        better = search_pairs(near, budget, known.cost, settle=False).chain
        if better is None or better.cost >= known.cost:
            return known
        known = better
