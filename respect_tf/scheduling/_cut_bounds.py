"""Graphs of too many order ideals: schedules and bounds by minimum cuts.

Every boundary of a schedule has a place where what is before it and what is after it cost little
enough. Branch and bound finds all such places of one boundary, or what the cheapest costs at least.
Where a boundary has few places, what is before and after each is a smaller problem of its own. The
best chain of what was found below the cost of the best schedule known is the next schedule.
"""

from __future__ import annotations

import contextlib
import math

import numpy as np

from respect_tf.scheduling._answers import Answer
from respect_tf.scheduling._chain import Budget, BudgetExceededError, Chain, quality
from respect_tf.scheduling._cut_network import CutNetwork
from respect_tf.scheduling._cut_search import BoundarySearch
from respect_tf.scheduling._ideals import IdealNodes, closure_of
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._linear_bound import LOOSER, undominated
from respect_tf.scheduling._pair_search import search_pairs
from respect_tf.scheduling._problem import Problem

# Flows for each boundary of a part, at first and in a second round: with 24, NASNetMobile in 2 to 6
# stages is cut as well as can be, with 72 that is proved.
# benchmarks constants: half +0.16 % cost (worst +1.4), -1 proofs, +3.57 % gap, 0.75 times the time;
#   twice -0.23 % gap, 1.16 times the time.
_FLOWS = (24, 72)

# A bound is raised by limits between it and the cost, down to steps of this part.
# benchmarks constants: half -0.13 % gap; twice the same.
_STEP = 1.04

# The next limit's place between bound and cost: what fails takes three times as long as what does.
# benchmarks constants: half -0.17 % gap; twice 1.24 times the time.
_NEXT = 1 / 3

# Of a proof that is unlikely, this part of the cost is enough. A CRNN and a YOLOv8 in 4 stages for
# all USB 3 hosts end 18 and 21 % above their bounds; with 0.80 26 and 27 %, with 0.92 17 and 35 %.
# benchmarks constants: read by no case that was run.
_ENOUGH = 0.86

# Costs are equal up to this factor.
_TIE = 1 + 1e-9

# The work of a flow, as `Budget` counts it, which a part of the problem takes for each bound, too;
# and what each node and arc adds to it.
# benchmarks constants: _FLOW_WORK half and twice the same; a tenth the same; ten times -1 proofs,
#   +7.61 % gap, 0.79 times the time. _ARC_WORK half and twice the same; a tenth the same; ten times
#   -1 proofs, +7.61 % gap, 0.87 times the time.
_FLOW_WORK, _ARC_WORK = 60_000, 24


def improve_by_cuts(
    problem: Problem, answer: Answer, budget: Budget, *, is_hard: bool = False
) -> Answer:
    """A schedule that is no worse, and a bound that is no lower, as far as a budget lasts.

    The objective is one that bounds its costs. Where it is hard, a proof is unlikely: fewer flows
    are spent on it, and more on the bound.
    """
    best, low = answer.chain, answer.lower_bound
    if not low < best.cost < math.inf or budget.is_spent:
        return answer
    network = network_of(problem)
    if network is None:
        return answer
    for num_flows in _FLOWS[:1] if is_hard else _FLOWS:
        best, low = _round(network, best, low, num_flows, budget)
    low = _raised(network, best, low, budget, _ENOUGH if is_hard else 1.0)
    return Answer(best, min(low, best.cost))


def _round(
    network: CutNetwork, best: Chain, low: float, num_flows: int, budget: Budget
) -> tuple[Chain, float]:
    """Look for boundaries below the cost, again as long as that finds better schedules."""
    while low < best.cost and not budget.is_spent:
        search, known = CutSearch(network, best.cost / _TIE, num_flows, budget), best
        with contextlib.suppress(BudgetExceededError):
            search.run()
            found = search_pairs(search.nodes([known.stages]), budget, known.cost * _TIE)
            best = found.chain or known
        low = max(low, known.cost if search.is_proved else search.lower)
        low = best.cost if low * _TIE >= best.cost else low
        if best.cost * _TIE >= known.cost:
            return min(best, known, key=quality), low
    return best, low


def _raised(network: CutNetwork, best: Chain, low: float, budget: Budget, enough: float) -> float:
    """A bound that no schedule is below, by limits that few boundaries keep.

    Below such a limit, parts have few places for a boundary, and are divided there.
    """
    high = best.cost
    limit = enough * high if enough < 1 else low ** (1 - _NEXT) * high**_NEXT
    while low * _STEP < high and low < enough * best.cost and not budget.is_spent:
        search = CutSearch(network, limit, _FLOWS[-1], budget)
        with contextlib.suppress(BudgetExceededError):
            search.run()
        low = max(low, limit if search.is_proved else search.lower)
        high = high if search.is_proved else limit
        limit = low ** (1 - _NEXT) * high**_NEXT
    return low


class CutSearch:
    """A search for boundaries below a limit, part by part.

    Attributes:
        lower: No schedule costs less.
        is_proved: Whether none costs less than the limit.
    """

    def __init__(self, network: CutNetwork, limit: float, num_flows: int, budget: Budget) -> None:
        self._network, self._limit = network, limit
        self._num_flows, self._budget = num_flows, budget
        self._found: set[bytes] = set()
        self.lower, self.is_proved = 0.0, False

    def run(self) -> None:
        """Search.

        Raises:
            BudgetExceededError: The budget did not last; what is known by then holds.
        """
        if self._limit > 0:
            lower = self._bound(self._network, is_whole=True)
            self.is_proved = lower >= self._limit
            self.lower = max(self.lower, LOOSER * lower)

    def _bound(self, network: CutNetwork, *, is_whole: bool = False) -> float:
        """What the stages of a part cost at least, up to the limit."""
        num_stages, limit = network.num_stages, self._limit
        self._budget.spend_pairs(_FLOW_WORK * len(network.bounds))
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
            if search.is_complete and (fewest is None or len(search.whole) < len(fewest[1])):
                fewest = boundary, search.whole
        divides = any(not bound.is_shared for bound in network.bounds)
        if fewest is None or not divides:
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
        problem = self._network.problem
        rows = [np.frombuffer(row, bool) for row in sorted(self._found)]
        for stages in known:
            rows += [stages < boundary for boundary in range(problem.num_stages + 1)]
        return IdealNodes.of_rows(problem, np.unique(np.array(rows), axis=0))


def network_of(problem: Problem) -> CutNetwork | None:
    """The network of a problem; `None` if it has no boundary, or nothing bounds its costs."""
    bounds = undominated(problem.objective.linear_bounds(problem.graph))
    if not bounds or problem.num_stages == 1:
        return None
    return CutNetwork(problem, bounds, closure_of(problem))


def _stage_bound(network: CutNetwork) -> float:
    """What a part of one stage costs at least."""
    sides = [side for side in network.sides(1) if side.before]
    return float(network.values(sides, ~network.after).max(initial=0.0))
