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
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._pair_search import Found, search_pairs
from respect_tf.scheduling._pairs import IntervalNodes
from respect_tf.scheduling._problem import Floats, Problem
from respect_tf.scheduling._room_bounds import StageSum, stage_sums

# Positions that are looked at in pairs of neighbouring boundaries, and the pairs; of more, some.
# benchmarks constants: _MAX_NODES half and twice the same. _MOST_NODES read by no case that was
#   run. _MAX_PAIRS half and twice the same.
_MAX_NODES, _MOST_NODES, _MAX_PAIRS = 1000, 2000, 400_000
# benchmarks constants: _SOME half 0.89 times the time; twice 1.16 times the time. _FEWEST half and
#   twice the same.
_SOME, _FEWEST = 50, 16
# How often a cut is looked for around the last one found.
# benchmarks constants: half and twice the same.
_DESCENTS = 4
# How often windows are narrowed by what follows from them.
# benchmarks constants: half and twice the same.
_ROUNDS = 12

# How close the least limit is found; sums are rounded; a limit that is above another one.
# benchmarks constants: half and twice the same.
_NEAR, _LOOSER, _ABOVE = 1 + 1e-5, 1 + 1e-12, 1 + 1e-9


class OrderWindows:
    """Where the boundaries of cuts of an order are that keep a limit.

    Args:
        problem: The problem.
        order: int64 [num_items], a topological order.
    """

    def __init__(self, problem: Problem, order: Ints) -> None:
        self._problem, self._order = problem, order
        self._sums = stage_sums(problem)
        self._running = [np.append(0.0, np.cumsum(one.items[order])) for one in self._sums]

    @property
    def _parts(self) -> Iterator[tuple[Floats, StageSum]]:
        return zip(self._running, self._sums, strict=True)

    @property
    def most(self) -> float:
        """What all items cost at least as one stage."""
        return max((float(run[-1] + one.rests.max()) for run, one in self._parts), default=0.0)

    def narrow(self, limit: float) -> tuple[Ints, Ints] | None:
        """`stops`, where what follows from them narrows them down further."""
        stops = self.stops(limit)
        for _ in range(_ROUNDS if any(one.room for one in self._sums) else 0):
            if stops is None:
                break
            place = np.arange(self._problem.num_items)
            stages = np.empty((2, len(place)), np.int64)
            for row, ends in zip(stages, reversed(stops), strict=True):
                row[self._order] = np.searchsorted(ends[1:], place, side="right")
            self._sums = [one.narrowed(self._problem, *stages) for one in self._sums]
            before, stops = stops, self.stops(limit)
            if stops is not None and np.array_equal(before, stops):
                break
        return stops

    def stops(self, limit: float) -> tuple[Ints, Ints] | None:
        """First and last position of each boundary, [num_stages + 1] each; `None` if there is none.

        Args:
            limit: What a stage may cost.
        """
        num_items, num_stages = self._problem.num_items, self._problem.num_stages
        first, last = np.zeros((2, num_stages + 1), np.int64)
        first[-1] = num_items
        parts = [(run, (limit * _LOOSER - one.rests).tolist()) for run, one in self._parts]
        for k in range(num_stages):
            reached = num_items - (num_stages - k - 1)
            for sums, caps in parts:
                value = (sums[last[k]] + caps[k]) * _LOOSER
                reached = min(reached, int(np.searchsorted(sums, value, side="right")) - 1)
            if reached <= last[k]:
                return None
            last[k + 1] = reached
        for k in reversed(range(num_stages)):
            begun = k
            for sums, caps in parts:
                value = sums[first[k + 1]] / _LOOSER - caps[k]
                begun = max(begun, int(np.searchsorted(sums, value, side="left")))
            if begun >= first[k + 1]:
                return None
            first[k] = begun
        return (first, last) if (first <= last).all() and first[0] == 0 else None

    def least(self, high: float) -> float:
        """A limit below which there are no positions, close to the least one with some.

        Args:
            high: A limit with some.
        """
        low = max((float(run[-1] + one.rests.sum()) for run, one in self._parts), default=0.0)
        low = min(high, max(0.0, low / self._problem.num_stages))
        while low * _NEAR < high:
            middle = (low + high) / 2
            if self.stops(middle) is None:
                low = middle
            else:
                high = middle
        return low


def search_order(
    problem: Problem, order: Ints, budget: Budget, upper: float = math.inf, *, settle: bool = True
) -> Found:
    """Find the best cut of an order, ties broken as `Schedule` says.

    Args:
        problem: The problem.
        order: int64 [num_items], a topological order.
        budget: See `search_pairs`.
        upper: Cuts that cost more are not looked for.
        settle: Whether to break ties.

    Returns:
        The best cut, `None` if each costs more, and what no cut of the order costs less than. Where
        there are too many positions to look at all pairs, a good cut, and a bound.

    Raises:
        BudgetExceededError: The budget did not even last to find a cut.
    """
    nodes = IntervalNodes(problem, order)
    if len(nodes) <= _MAX_NODES:
        return search_pairs(nodes, budget, upper, settle=settle)
    windows = OrderWindows(problem, order)
    least = windows.least(min(upper, windows.most))
    stops = windows.stops(least * _NEAR)
    if stops is None:
        return search_pairs(nodes, budget, upper, settle=settle)
    low = max(least, problem.lower_bound())
    if low >= upper:
        return Found(None, math.inf)
    known = search_pairs(nodes.select(np.unique(stops[1])), Budget(), upper, settle=False).chain
    limit = upper if known is None else known.cost
    stops = windows.stops(limit) or stops
    some = search_pairs(nodes.within(*stops, most=_most(problem)), budget, limit, settle=False)
    known = best_known(some.chain, known)
    if known is not None:
        known = _descended(nodes, known, budget)
        limit = known.cost
        stops = (windows.narrow(limit) if problem.has_one_order else None) or stops
    every = nodes.within(*stops)
    if problem.has_one_order and _num_pairs(stops) <= _MAX_PAIRS and len(every) <= _MOST_NODES:
        with contextlib.suppress(BudgetExceededError):
            found = search_pairs(every, budget, limit * _ABOVE, settle=settle)
            return Found(best_known(found.chain, known), max(low, found.lower_bound))
    return Found(known, low)


def _num_pairs(stops: tuple[Ints, Ints]) -> int:
    """Pairs of positions of neighbouring boundaries."""
    counts = stops[1] - stops[0] + 1
    return int((counts[:-1] * counts[1:]).sum())


def _most(problem: Problem) -> int:
    """Positions of each boundary that are looked at where there are too many."""
    return max(_FEWEST, min(_SOME, _MAX_NODES // problem.num_stages))


def _descended(nodes: IntervalNodes, known: Chain, budget: Budget) -> Chain:
    """The best cut with all boundaries near those of a known one, and near those of that."""
    reach = _most(nodes.problem) // 2
    num_stages = nodes.problem.num_stages
    last = nodes.problem.num_items - num_stages + np.arange(num_stages + 1)
    for _ in range(_DESCENTS):
        sizes = np.bincount(known.stages, minlength=num_stages)
        cut = np.append(0, np.cumsum(sizes))
        first = np.maximum(cut - reach, np.arange(len(cut)))
        stop = np.minimum(cut + reach, last)
        first[-1], stop[0] = cut[-1], 0
        near = nodes.within(first, stop)
        better = search_pairs(near, budget, known.cost, settle=False).chain
        if better is None or better.cost >= known.cost:
            break
        known = better
    return known
