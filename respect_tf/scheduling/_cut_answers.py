"""Schedules and bounds of graphs of too many order ideals, for objectives that bound their costs.

By turns: minimum cuts find boundaries below the cost of the best schedule known, and raise the
bound; the best chain of those found is the next schedule.
"""

from __future__ import annotations

import contextlib
import math

from respect_tf.scheduling._answers import Answer
from respect_tf.scheduling._chain import Budget, BudgetExceededError, Chain, quality
from respect_tf.scheduling._cut_bounds import CutSearch
from respect_tf.scheduling._pair_search import search_pairs
from respect_tf.scheduling._problem import Problem

# Flows for each boundary of a part, at first and in a second round: with 24, NASNetMobile in 2 to 6
# stages is cut as well as can be, with 72 that is proved.
# benchmarks constants: half +0.17 % gap, 0.80 times the time; twice -1.11 % gap, 1.31 times the
#   time.
_FLOWS = (24, 72)

# A bound is raised by limits between it and the cost, down to steps of this part.
# benchmarks constants: _STEP half -0.56 % gap; twice the same. _MOST_LIMITS half 0.86 times the
#   time; twice the same.
_STEP, _MOST_LIMITS = 1.04, 5

# The next limit's place between bound and cost: what fails takes three times as long as what does.
# benchmarks constants: half -0.74 % gap; twice 1.25 times the time.
_NEXT = 1 / 3

# Of a proof that is unlikely, this part of the cost is enough: it takes a third of 90 %.
# benchmarks constants: read by no case that was run.
_ENOUGH = 0.86

# Costs are equal up to this factor.
_TIE = 1 + 1e-9


def improve_by_cuts(
    problem: Problem,
    answer: Answer,
    budget: Budget,
    *,
    is_hard: bool = False,
) -> Answer:
    """A schedule that is no worse, and a bound that is no lower.

    Args:
        problem: The problem; its objective is one that bounds its costs.
        answer: A schedule and a lower bound.
        budget: What may be used; where it does not last, what is known by then is the answer.
        is_hard: Whether a proof is unlikely, so that few are, and more on the bound.
    """
    best, low = answer.chain, answer.lower_bound
    if not math.isfinite(best.cost):
        return answer
    for num_flows in _FLOWS[:1] if is_hard else _FLOWS:
        best, low = _round(problem, best, low, num_flows, budget)
    low = _raised(problem, best, low, budget, enough=_ENOUGH if is_hard else 1.0)
    return Answer(best, min(low, best.cost))


def _round(
    problem: Problem, best: Chain, low: float, num_flows: int, budget: Budget
) -> tuple[Chain, float]:
    """Look for boundaries below the cost, again as long as that finds better schedules."""
    while low < best.cost and not budget.is_spent:
        search, known = CutSearch(problem, best.cost / _TIE, num_flows, budget), best
        with contextlib.suppress(BudgetExceededError):
            search.run()
            best = _best_chain(problem, search, best, budget)
        low = max(low, known.cost if search.is_proved else search.lower)
        low = best.cost if low * _TIE >= best.cost else low
        if best.cost * _TIE >= known.cost:
            best = min(best, known, key=quality)
            break
    return best, low


def _raised(problem: Problem, best: Chain, low: float, budget: Budget, *, enough: float) -> float:
    """A bound that no schedule is below, by limits that few boundaries keep.

    Below such a limit, parts have few places for a boundary, and are divided there.
    """
    high = best.cost
    limit = enough * best.cost if enough < 1 else low ** (1 - _NEXT) * high**_NEXT
    for _ in range(_MOST_LIMITS):
        if low * _STEP >= high or low >= enough * best.cost or budget.is_spent:
            break
        search = CutSearch(problem, limit, _FLOWS[-1], budget)
        with contextlib.suppress(BudgetExceededError):
            search.run()
        low = max(low, limit if search.is_proved else search.lower)
        if not search.is_proved:
            high = limit
        limit = low ** (1 - _NEXT) * high**_NEXT
    return low


def _best_chain(problem: Problem, search: CutSearch, known: Chain, budget: Budget) -> Chain:
    """The best chain of the boundaries that were come across, or the known one."""
    found = search_pairs(search.nodes([known.stages]), budget, known.cost * _TIE)
    return found.chain or known
