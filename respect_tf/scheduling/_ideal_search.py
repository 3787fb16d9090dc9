"""Complete search over order ideals below rising cost limits, in compiled code."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math

import numpy as np

from respect_tf.scheduling._answers import answer_of
from respect_tf.scheduling._chain import Budget, BudgetExceededError, Chain
from respect_tf.scheduling._compiled_search import search_ideals
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._pace import FIRST_STEP, Pace, part_of
from respect_tf.scheduling._problem import Problem


class IdealSearch:
    """The schedules of a problem whose linear cost is exact that keep a cost limit.

    `can_prune` says that candidates that others hold can be left out, which spares most work.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._pace: Pace | None = None
        self._ranges = (
            np.zeros(problem.num_items, np.int64),
            np.full(problem.num_items, problem.num_stages - 1),
        )
        # Without transfers, what can follow an ideal can follow a larger one: stages only lose
        # items, and where one of them loses all, another one can be split.
        self.can_prune = (
            problem.integral
            and problem.combine == "max"
            and problem.restrictions is None
            and problem.linear.enter == problem.linear.leave == 0
        )

    def raise_bound(self, known: Chain, low: float, budget: Budget) -> tuple[Chain, float]:
        """Search all schedules below limits that rise from a lower bound to a known cost.

        Gives the known schedule or a better one, and the best lower bound proved; they are equal
        where the search was complete.
        """
        pace = self._pace or Pace(FIRST_STEP * (known.cost - low))
        limit = self._next_limit(low + pace.step, low, known) if self._pace else low
        with contextlib.suppress(BudgetExceededError):
            while low < known.cost:
                part, is_last = part_of(budget, pace) if limit > low else (budget, True)
                before = part.spent
                try:
                    found = self.best_within(limit, part, prune=self.can_prune)
                except BudgetExceededError:
                    pace = pace.shorter(limit - low) if limit > low else pace
                    if is_last or pace.is_over(known.cost):
                        break
                    budget.spend_pairs(int(part.spent))
                    limit = self._next_limit(low + pace.step, low, known)
                    continue
                work = part.spent - before
                if part is not budget:
                    budget.spend_pairs(int(work))
                if found is not None and not self.can_prune:
                    return found, found.cost
                if found is not None:
                    known, limit = found, found.cost - 1
                    continue
                low = min(limit + 1.0 if self.problem.integral else limit, known.cost)
                pace = pace.after(work)
                limit = self._next_limit(low + pace.step, low, known)
        self._pace = pace
        return known, low

    def _next_limit(self, limit: float, low: float, known: Chain) -> float:
        """A limit that it makes sense to search below."""
        if not self.problem.integral:
            return min(limit, known.cost)
        # What costs as much as the known schedule is no gain.
        return max(min(float(math.floor(limit)), known.cost - 1), low)

    def within_stages(self, earliest: Ints, latest: Ints) -> IdealSearch:
        """The same search over schedules with items in ranges of stages, int64 [num_items] each."""
        part = copy.copy(self)
        part._ranges = earliest, latest
        part.can_prune = False
        return part

    def better_within(self, known: Chain, budget: Budget) -> Chain | None:
        """A schedule that costs less than a known one, if one is found within the budget."""
        limit = known.cost - 1 if self.problem.integral else known.cost * (1 - 1e-9)
        if limit >= known.cost:  # nothing costs less than nothing
            return None
        with contextlib.suppress(BudgetExceededError):
            return self.best_within(limit, budget, 0, prune=self.can_prune)
        return None

    def best_within(
        self, limit: float, budget: Budget, ties: float = 0, *, prune: bool = False
    ) -> Chain | None:
        """The cheapest of all schedules that keep a cost limit; `None` if there is none.

        Of several, it is one of fewest crossing bytes, where that takes no more than some work.
        Where candidates that others hold are left out, it is any that keeps the limit.
        """
        found = search_ideals(self.problem, self._ranges, limit, budget, prune=prune, settling=ties)
        if found is None:
            return None
        stages, cost = found
        return dataclasses.replace(answer_of(self.problem, stages).chain, cost=cost)
