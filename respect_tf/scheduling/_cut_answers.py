"""Schedules and bounds of graphs of too many order ideals, for objectives that bound their costs.

By turns: minimum cuts find boundaries below the cost of the best schedule known, and raise the
bound; the best chain of those found is the next schedule.
"""

from __future__ import annotations

import math

from respect_tf.scheduling._answers import Answer
from respect_tf.scheduling._chain import Budget, BudgetExceededError, Chain
from respect_tf.scheduling._cut_bounds import CutSearch
from respect_tf.scheduling._pair_search import search_pairs
from respect_tf.scheduling._problem import Problem

# Flows for each boundary of a part, at first and as many times more in each further round: with
# 24, NASNetMobile in 2 to 6 stages is cut as well as can be, with 72 that is proved.
_FIRST_FLOWS, _MORE_FLOWS, _MOST_FLOWS = 24, 3, 700

# Costs are equal up to this factor.
_TIE = 1 + 1e-9

# Larger graphs take too much room for what each item needs.
_MAX_ITEMS = 4096


def improve_by_cuts(
    problem: Problem, answer: Answer, budget: Budget, *, most_flows: int = _MOST_FLOWS
) -> Answer:
    """A schedule that is no worse, and a bound that is no lower.

    Args:
        problem: The problem; its objective is one that bounds its costs.
        answer: A schedule and a lower bound.
        budget: What may be used; where it does not last, what is known by then is the answer.
        most_flows: Flows for each boundary of a part, at most.
    """
    best, low = answer.chain, answer.lower_bound
    if problem.num_items > _MAX_ITEMS or not math.isfinite(best.cost):
        return answer
    num_flows = _FIRST_FLOWS
    while low < best.cost and num_flows <= most_flows:
        search = CutSearch(problem, best.cost / _TIE, num_flows, budget)
        found = best
        try:
            search.run()
            found = _best_chain(problem, search, best, budget)
        except BudgetExceededError:
            num_flows = most_flows
        low = max(low, best.cost if search.is_proved else search.lower)
        if found.cost * _TIE >= best.cost:
            num_flows *= _MORE_FLOWS
        best = min(best, found, key=lambda chain: (chain.cost, chain.crossing))
        low = best.cost if low * _TIE >= best.cost else low
    return Answer(best, min(low, best.cost))


def _best_chain(problem: Problem, search: CutSearch, known: Chain, budget: Budget) -> Chain:
    """The best chain of the boundaries that were come across, or the known one."""
    found = search_pairs(search.nodes([known.stages]), budget, known.cost * _TIE)
    return found.chain or known
