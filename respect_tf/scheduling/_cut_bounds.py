"""Graphs of too many order ideals: a bound that knows transfers, and ideals worth looking at.

Every boundary of a schedule has a place where what is before it and what is after it cost little
enough. Branch and bound finds all such places of one boundary, or what the cheapest costs at least.
Where a boundary has few places, what is before and after each is a smaller problem of its own.
"""

from __future__ import annotations

import math

import numpy as np

from respect_tf.scheduling._chain import Budget
from respect_tf.scheduling._cut_network import CutNetwork, Side
from respect_tf.scheduling._cut_search import BoundarySearch
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._linear_bound import LOOSER, LinearBound, undominated
from respect_tf.scheduling._pairs import IdealNodes
from respect_tf.scheduling._problem import Problem
from respect_tf.scheduling._stage_ranges import closure_of

# A boundary with so many places or fewer divides the problem.
# benchmarks constants: half and twice the same.
_FEW_PLACES = 8

# The work of a flow, as `Budget` counts it, what each node and arc adds to it, and what a part of
# the problem takes for each bound.
# benchmarks constants: _FLOW_WORK half 1.23 times the time; twice the same. _ARC_WORK half and
#   twice the same. _PART_WORK half 1.28 times the time; twice the same.
_FLOW_WORK, _ARC_WORK, _PART_WORK = 60_000, 24, 100_000


class CutSearch:
    """A search for boundaries below a limit, part by part.

    Attributes:
        lower: No schedule costs less.
        is_proved: Whether none costs less than the limit.
    """

    def __init__(self, problem: Problem, limit: float, num_flows: int, budget: Budget) -> None:
        self._problem, self._limit = problem, limit
        self._num_flows, self._budget = num_flows, budget
        self._found: set[bytes] = set()
        self.lower, self.is_proved = 0.0, False

    def run(self) -> None:
        """Search.

        Raises:
            BudgetExceededError: The budget did not last; what is known by then holds.
        """
        problem = self._problem
        bounds = linear_bounds(problem)
        if bounds and 0 < self._limit < math.inf and problem.num_stages > 1:
            lower = self._bound(CutNetwork(problem, bounds, closure_of(problem)), is_whole=True)
            self.is_proved = lower >= self._limit
            self.lower = max(self.lower, LOOSER * lower)

    def _bound(self, network: CutNetwork, *, is_whole: bool = False) -> float:
        """What the stages of a part cost at least, up to the limit."""
        num_stages, limit = network.num_stages, self._limit
        self._budget.spend_pairs(_PART_WORK * network.num_bounds)
        if num_stages == 1:
            return min(limit, _stage_bound(network))
        lower, fewest = 0.0, None
        for boundary in range(1, num_stages):
            search = BoundarySearch(network, boundary, limit)
            while search.num_flows < self._num_flows and search.lower < limit and search.step():
                pass
            self._found |= search.found.keys() | search.whole.keys()
            lower = max(lower, min(search.lower, limit))
            if is_whole:
                self.lower = LOOSER * lower
            work = _FLOW_WORK + _ARC_WORK * network.size
            self._budget.spend_pairs(work * search.num_flows)
            if lower >= limit:
                return limit
            most = _FEW_PLACES if fewest is None else len(fewest[1]) - 1
            if search.is_complete and len(search.whole) <= most:
                fewest = boundary, search.whole
        if fewest is None or not network.is_divisible:
            return lower
        boundary, places = fewest
        least = limit
        for place, cost in sorted(places.items(), key=lambda pair: (pair[1], pair[0])):
            if cost < least:
                least = min(least, max(cost, self._divided(network, boundary, place)))
        return max(lower, least)

    def _divided(self, network: CutNetwork, boundary: int, place: bytes) -> float:
        """What the stages cost at least if a boundary is at a place."""
        before = np.frombuffer(place, bool)
        first = self._bound(network.part(network.before, ~before, boundary))
        if first >= self._limit:
            return first
        rest = network.num_stages - boundary
        return max(first, self._bound(network.part(before, network.after, rest)))

    def nodes(self, known: list[Ints]) -> IdealNodes:
        """The boundaries that were come across and those of known schedules of items."""
        problem = self._problem
        rows = [np.frombuffer(row, bool) for row in sorted(self._found)]
        for stages in known:
            rows += [stages < boundary for boundary in range(problem.num_stages + 1)]
        return IdealNodes.of_rows(problem, np.unique(np.array(rows), axis=0))


def linear_bounds(problem: Problem) -> list[LinearBound]:
    """Sums that no stage's cost is below, or the cost of no schedule."""
    return undominated(problem.objective.linear_bounds(problem.graph))


def _stage_bound(network: CutNetwork) -> float:
    """What a part of one stage costs at least."""
    sides = [Side(side.bound, 1.0, 0.0) for side in network.sides(1) if side.before]
    return float(network.values(sides, ~network.after).max(initial=0.0))
