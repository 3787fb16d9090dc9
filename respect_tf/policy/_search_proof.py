"""Complete search below a cost limit: proofs, and better schedules where there are any."""

from __future__ import annotations

import math

from respect_tf.schedule._chain import Budget, BudgetExceededError, Chain, reach
from respect_tf.schedule._ideal_boundaries import IdealBoundaries
from respect_tf.schedule._ideals import IdealSource
from respect_tf.schedule._problem import Problem

# The first step from the lower bound up, as a part of the way to the known cost, and how steps
# grow: boldly while they cost little work.
_FIRST_STEP, _FAR, _NEAR = 1 / 64, 3.0, 1.5
_LITTLE_WORK = 200_000


def raise_bound(problem: Problem, known: Chain, low: float, budget: Budget) -> tuple[Chain, float]:
    """Search all schedules below limits that rise from a lower bound to the cost of a known one.

    Only for objectives whose linear cost is exact.

    Args:
        problem: The problem.
        known: A schedule.
        low: A lower bound of the cost.
        budget: What may be used.

    Returns:
        The known schedule or a better one, and the best lower bound proved; they are equal where
        the search was complete.
    """
    limit, step = low, _FIRST_STEP * (known.cost - low)
    try:
        source = IdealSource(problem, budget)
        while low < known.cost:
            before = budget.spent
            found = _best_within(source, limit, budget)
            if found is not None:
                return found, found.cost
            low = min(limit + 1.0 if problem.integral else limit, known.cost)
            if limit >= known.cost:
                break
            step *= _FAR if budget.spent - before < _LITTLE_WORK else _NEAR
            limit = min(low + step, known.cost)
            if problem.integral:  # what costs as much as the known schedule is no gain
                limit = min(max(float(math.floor(limit)), low), known.cost - 1)
    except BudgetExceededError:
        pass
    return known, low


def better_within(problem: Problem, known: Chain, budget: Budget) -> Chain | None:
    """A schedule that costs less than a known one, if the search finds one within its budget."""
    limit = known.cost - 1 if problem.integral else known.cost * (1 - 1e-9)
    try:
        return _best_within(IdealSource(problem, budget), limit, budget)
    except BudgetExceededError:
        return None


def _best_within(source: IdealSource, limit: float, budget: Budget) -> Chain | None:
    """The cheapest of all schedules that keep a cost limit, `None` if there is none."""
    ideals = source.boundaries(limit, budget)
    if ideals is None:
        return None
    reached = reach(IdealBoundaries(ideals, budget), limit, budget)
    return None if reached is None else reached.cheapest_chain(Budget())
