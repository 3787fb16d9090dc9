"""Schedules near a known one: boundaries that differ by few items, for all objectives."""

from __future__ import annotations

import numpy as np

from respect_tf.scheduling._chain import Budget, BudgetExceededError, Chain
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._pair_search import search_pairs
from respect_tf.scheduling._pairs import IdealNodes
from respect_tf.scheduling._problem import Bools, Problem
from respect_tf.scheduling._stage_ranges import closure_of

# Ideals around all boundaries together, and of each kind around one: all stages between two of them
# are looked at.
# benchmarks constants: _MAX_IDEALS half the same; twice 1.17 times the time. _MAX_OF_A_KIND half
#   and twice the same.
_MAX_IDEALS, _MAX_OF_A_KIND = 1200, 200

# Of more items, as many fewer ideals: with all of them, one look at 712 items takes a second.
# benchmarks constants: half 1.22 times the time; twice the same.
_MANY_ITEMS = 500


def neighbours(problem: Problem, stages: Ints, limit: float, budget: Budget) -> Chain | None:
    """The best schedule whose boundaries differ by few items from those of a known one.

    Every boundary may gain an item, lose an item, or both, together with what has to go along; all
    boundaries at the same time. `None` if none keeps the limit, or the budget did not last.
    """
    needs = closure_of(problem)
    num_stages = problem.num_stages
    ideals = int(_MAX_IDEALS * min(1.0, _MANY_ITEMS / problem.num_items))
    most = min(_MAX_OF_A_KIND, ideals // (3 * max(1, num_stages - 1)))
    rows = [np.zeros((1, problem.num_items), bool), np.ones((1, problem.num_items), bool)]
    rows += [_around(problem, needs, stages < k, most) for k in range(1, num_stages)]
    try:
        every = np.unique(np.concatenate(rows), axis=0)
        budget.check_cells(every.size)
        nodes = IdealNodes.of_rows(problem, every)
        return search_pairs(nodes, budget, limit, settle=False).chain
    except BudgetExceededError:
        return None


def _around(problem: Problem, needs: Bools, ideal: Bools, most: int) -> Bools:
    """Ideals that differ from one by few items. [num_found, num_items]."""
    outside, inside = np.flatnonzero(~ideal), np.flatnonzero(ideal)
    gained = needs[outside] & ~ideal  # [num_outside, num_items], what has to come along
    lost = needs[:, inside].T & ideal
    # Those that take fewest others along, and as many of either kind.
    gained = gained[np.argsort(gained.sum(axis=1), kind="stable")[:most]]
    lost = lost[np.argsort(lost.sum(axis=1), kind="stable")[:most]]
    few = int(np.sqrt(most))
    exchanged = ((ideal | gained[:few, None]) & ~lost[None, :few]).reshape(-1, len(ideal))
    before, after = problem.edges.T
    exchanged = exchanged[~(exchanged[:, after] & ~exchanged[:, before]).any(axis=1)]
    return np.concatenate([ideal[None], ideal | gained, ideal & ~lost, exchanged])
