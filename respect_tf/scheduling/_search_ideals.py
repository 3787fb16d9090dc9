"""Dynamic programming over some of the order ideals: those around schedules that are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from respect_tf.scheduling._chain import Budget, BudgetExceededError, Chain, reach
from respect_tf.scheduling._ideal_boundaries import IdealBoundaries
from respect_tf.scheduling._ideals import Ideals
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools, Problem
from respect_tf.scheduling._true_costs import is_batched, with_true_costs

# Ideals of each kind that are looked at for one boundary, in `neighbours`; and where an objective
# has to be asked for one stage after the other.
_MAX_IDEALS, _MAX_ASKED = 200, 8


def mix(problem: Problem, known: Sequence[Ints], limit: float, budget: Budget) -> Chain | None:
    """The best schedule made of boundaries of known ones, of their unions and intersections.

    Args:
        problem: The problem.
        known: Schedules of items, each int64 [num_items].
        limit: What the schedule may cost.
        budget: What may be used.

    Returns:
        `None` if none keeps the limit, or the budget did not last.
    """

    def around(k: int) -> Bools:
        ideals: Bools = np.unique(np.array([stages < k for stages in known]), axis=0)
        one, other = np.triu_indices(len(ideals), 1)
        joined, common = ideals[one] | ideals[other], ideals[one] & ideals[other]
        return np.concatenate([ideals, joined, common])

    return _best_of(problem, around, limit, budget)


def neighbours(problem: Problem, stages: Ints, limit: float, budget: Budget) -> Chain | None:
    """The best schedule whose boundaries differ from a known one's by few items each.

    Every boundary may gain an item, lose an item, or both, together with what has to go along; all
    boundaries at the same time.

    Args:
        problem: The problem.
        stages: The known schedule, int64 [num_items].
        limit: What the schedule may cost.
        budget: What may be used.

    Returns:
        `None` if none keeps the limit, or the budget did not last.
    """
    needs = _closure(problem)
    asks = not problem.linear.exact and not is_batched(problem.objective)
    most = _MAX_ASKED if asks else _MAX_IDEALS

    def around(k: int) -> Bools:
        ideal = stages < k
        outside, inside = np.flatnonzero(~ideal), np.flatnonzero(ideal)
        gained = needs[outside] & ~ideal  # [num_outside, num_items], what has to come along
        lost = needs[:, inside].T & ideal
        # Those that take fewest others along, and as many of either kind.
        gained = gained[np.argsort(gained.sum(axis=1), kind="stable")[:most]]
        lost = lost[np.argsort(lost.sum(axis=1), kind="stable")[:most]]
        few = int(np.sqrt(most))
        exchanged = (ideal | gained[:few, None]) & ~lost[None, :few]
        exchanged = exchanged.reshape(-1, len(ideal))
        exchanged = exchanged[_are_ideals(problem, exchanged)]
        return np.concatenate([ideal[None], ideal | gained, ideal & ~lost, exchanged])

    return _best_of(problem, around, limit, budget)


def _best_of(
    problem: Problem, around: Callable[[int], Bools], limit: float, budget: Budget
) -> Chain | None:
    """The cheapest chain of some ideals: `around(k)` lists those after k stages, as rows."""
    num_items, num_stages = problem.num_items, problem.num_stages
    ideals = [_listed(problem, np.zeros((1, num_items), bool))]
    try:
        for k in range(1, num_stages):
            rows = np.unique(around(k), axis=0)
            budget.check_cells(rows.size)
            counts = rows.sum(axis=1)
            rows = rows[(counts >= k) & (counts <= num_items - num_stages + k)]
            if problem.restrictions is not None:
                before, after = problem.restrictions.boundary_items(k)
                rows = rows[rows[:, before].all(axis=1) & ~rows[:, after].any(axis=1)]
            if len(rows) == 0:
                return None
            found = _listed(problem, rows)
            near = found.within(k, limit)
            if not near.any():
                return None
            ideals.append(found.select(near))
        ideals.append(_listed(problem, np.ones((1, num_items), bool)))
        boundaries = with_true_costs(IdealBoundaries(ideals, budget), budget)
        reached = reach(boundaries, limit, budget)
        return None if reached is None else reached.cheapest_chain(budget)
    except BudgetExceededError:
        return None


def _listed(problem: Problem, rows: Bools) -> Ideals:
    always: Bools = np.asarray(rows.all(axis=0))
    never: Bools = ~np.asarray(rows.any(axis=0))
    free = np.flatnonzero(~(always | never))
    packed = np.packbits(rows[:, free], axis=1, bitorder="little")
    return Ideals(problem, always, never, free, packed)


def _closure(problem: Problem) -> Bools:
    """Whether item `v` needs item `u`, itself included: bool [v, u] = [num_items, num_items]."""
    needs = np.eye(problem.num_items, dtype=bool)
    for item, row in enumerate(problem.predecessors):
        for before in row:
            needs[item] |= needs[before]
    return needs


def _are_ideals(problem: Problem, rows: Bools) -> Bools:
    before, after = problem.edges.T
    result: Bools = ~np.asarray((rows[:, after] & ~rows[:, before]).any(axis=1))
    return result


def has_few_ideals(problem: Problem, most: int) -> bool:
    """Whether there are at most so many order ideals, found out quickly if there are more."""
    levels = [0] * problem.num_items
    for item, row in enumerate(problem.predecessors):
        levels[item] = max((levels[other] + 1 for other in row), default=0)
    widths = np.minimum(np.bincount(levels), 60).tolist()
    # All items of a level can be added in any combination, once those of the levels before are in.
    if 1 + sum((1 << width) - 1 for width in widths) > most:
        return False
    needs = [sum(1 << other for other in row) for row in problem.predecessors]
    successors: list[list[int]] = [[] for _ in needs]
    for before, after in problem.edges.tolist():
        successors[before].append(after)
    # Each ideal is found once: items are added in ascending order, and what was passed over stays
    # out. Those with few items come first: the next ones are known, and counted, soonest.
    found = [(0, tuple(item for item, row in enumerate(needs) if not row))]
    for ideal, ready in found:  # it grows
        if len(found) + len(ready) > most:
            return False
        for index, item in enumerate(ready):
            larger = ideal | 1 << item
            added = [after for after in successors[item] if needs[after] & ~larger == 0]
            found.append((larger, (*ready[index + 1 :], *added)))
    return True
