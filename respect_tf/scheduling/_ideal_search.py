"""Complete search over order ideals below rising cost limits, in compiled code."""

from __future__ import annotations

import contextlib
import copy
import math
import sys
import time
from typing import Any

import numpy as np

from respect_tf._compiled import is_on_disk
from respect_tf.scheduling._answers import costs_of
from respect_tf.scheduling._chain import Budget, BudgetExceededError, Chain
from respect_tf.scheduling._ideal_arrays import (
    NEVER,
    NUM_NUMBERS,
    WEIGHT,
    Candidates,
    Wires,
)
from respect_tf.scheduling._ideal_paths import (
    Chains,
    advance_within,
    least_crossing_stages,
    selected,
)
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._local_state import network_of
from respect_tf.scheduling._pace import FIRST_STEP, Pace, part_of, spend, work_left
from respect_tf.scheduling._problem import Problem

# What it takes to load the loops, and to compile them for the first time.
_LOAD_SECONDS, _COMPILE_SECONDS = 2.0, 90.0

# Pairs of candidates that are looked at for fewer crossing bytes at the same cost.
_MAX_TIES = 200_000


def is_loaded() -> bool:
    """Whether the compiled loops are at hand: to load them takes longer than most small graphs."""
    loops: Any = sys.modules.get("respect_tf.scheduling._ideal_chains")
    return loops is not None and bool(loops.advance.signatures)


def is_worth_loading(deadline: float) -> bool:
    """Whether there is time to load the compiled loops, or to compile them where that is to do."""
    left = deadline - time.perf_counter()
    if is_loaded() or left > _COMPILE_SECONDS:
        return True
    if left < _LOAD_SECONDS:
        return False
    from respect_tf.scheduling import _ideal_chains

    loop: Any = _ideal_chains.advance
    return is_on_disk(loop.py_func)


class IdealSearch:
    """The schedules of a problem that keep a cost limit.

    Args:
        problem: One whose linear cost is exact.

    Attributes:
        problem: The problem.
        can_prune: Whether candidates that others hold can be left out, which spares most work.
    """

    def __init__(self, problem: Problem) -> None:
        from respect_tf.scheduling._ideal_places import needed_sums

        self.problem = problem
        self._pace: Pace | None = None
        network = network_of(problem)
        self._rooms = network.rooms
        self._is_sum = problem.combine == "sum"
        self.wires = Wires(
            *network.before,
            *network.after,
            network.makers,
            network.sizes,
            network.leaves,
            problem.reader_offsets,
            problem.reader_items,
            problem.weights,
            network.op_costs,
            network.outputs,
            network.item_bytes,
            network.earliest,
            network.latest,
            needed_sums(*network.before, problem.weights),
            np.array([problem.linear.enter, problem.linear.leave], np.float64),
        )
        # Without transfers, what can follow an ideal can follow a larger one: stages only lose
        # items, and where one of them loses all, another one can be split.
        self.can_prune = (
            problem.integral
            and not self._is_sum
            and problem.restrictions is None
            and problem.linear.enter == problem.linear.leave == 0
        )
        # Then tensors do not matter, either.
        self._bare_wires = self.wires._replace(
            makers=np.zeros(0, np.int64),
            sizes=np.zeros(0),
            leaves=np.zeros(0, bool),
            reader_starts=np.zeros(1, np.int64),
        )
        nowhere, no_words = np.full(problem.num_items, NEVER), np.zeros((0, 1), np.uint64)
        self._nothing = Candidates(
            nowhere, np.zeros(0, np.int64), no_words, no_words, np.zeros((0, NUM_NUMBERS))
        )

    def optimum(self, known: Chain, budget: Budget) -> Chain:
        """The schedule that `"exact"` finds.

        Args:
            known: A schedule.
            budget: What may be used.

        Raises:
            BudgetExceededError: The budget did not last.
        """
        chain, low = self.raise_bound(known, self.problem.lower_bound(), budget)
        found = self.best_within(low, budget, math.inf) if low >= chain.cost else None
        if found is None:
            raise BudgetExceededError
        return found

    def raise_bound(self, known: Chain, low: float, budget: Budget) -> tuple[Chain, float]:
        """Search all schedules below limits that rise from a lower bound to a known cost.

        Args:
            known: A schedule.
            low: A lower bound of the cost.
            budget: What may be used.

        Returns:
            The known schedule or a better one, and the best lower bound proved; they are equal
            where the search was complete.
        """
        pace = self._pace or Pace(FIRST_STEP * (known.cost - low))
        limit = self._next_limit(low + pace.step, low, known) if self._pace else low
        with contextlib.suppress(BudgetExceededError):
            while low < known.cost:
                part, is_last = part_of(budget, pace) if limit > low else (budget, True)
                before = part.spent
                try:
                    chains = self._chains(limit, part, prune=self.can_prune)
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
                if chains is not None and not self.can_prune:
                    best = self._chosen(chains, _MAX_TIES)
                    return best, best.cost
                if chains is not None:
                    known = self._chosen(chains, 0)
                    limit = known.cost - 1
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
        from respect_tf.scheduling._ideal_places import spread_ranges

        part = copy.copy(self)
        earliest, latest = earliest.copy(), latest.copy()
        spread_ranges(self.wires, earliest, latest)
        part.wires = self.wires._replace(earliest=earliest, latest=latest)
        part.can_prune = False
        return part

    def better_within(self, known: Chain, budget: Budget) -> Chain | None:
        """A schedule that costs less than a known one, if one is found within the budget."""
        limit = known.cost - 1 if self.problem.integral else known.cost * (1 - 1e-9)
        if limit >= known.cost:  # nothing costs less than nothing
            return None
        with contextlib.suppress(BudgetExceededError):
            chains = self._chains(limit, budget, prune=self.can_prune)
            return None if chains is None else self._chosen(chains, 0)
        return None

    def best_within(self, limit: float, budget: Budget, ties: float = _MAX_TIES) -> Chain | None:
        """The cheapest of all schedules that keep a cost limit.

        Of several, it is the one that `Reached.best_chain` finds, unless there are too many.

        Args:
            limit: The limit.
            budget: What may be used.
            ties: Pairs of candidates that are looked at to choose among equal costs.

        Returns:
            `None` if there is none.

        Raises:
            BudgetExceededError: The budget did not last.
        """
        chains = self._chains(limit, budget)
        return None if chains is None else self._chosen(chains, ties)

    def _chosen(self, chains: Chains, ties: float) -> Chain:
        """The cheapest of some chains; of several, the best one, unless there are too many."""
        problem, cost, stages = self.problem, float(chains.best[-1][0]), chains.stages()
        if ties and not self._is_sum:
            with contextlib.suppress(BudgetExceededError):
                stages = least_crossing_stages(
                    problem, self.wires, self._rooms, chains, cost + problem.slack, ties
                )
        return Chain(stages, cost, costs_of(problem, stages)[1])

    def _chains(self, limit: float, budget: Budget, *, prune: bool = False) -> Chains | None:
        """The cheapest chains up to all candidates that keep a cost limit.

        Each boundary is listed beyond those candidates of the one before that chains get to.

        Args:
            limit: The limit.
            budget: What may be used.
            prune: Leave out candidates that others hold. If some chain keeps the limit, one of
                those left does, if not the cheapest one.
        """
        from respect_tf.scheduling._ideal_chains import join, largest

        wires = self._bare_wires if prune else self.wires
        limit += self.problem.slack  # differences of sums are rounded
        start = self._listed(wires, self._nothing, 0, limit, budget)
        found = Chains([start], [np.zeros(1)], [], [])
        for k in range(self.problem.num_stages):
            rows = found.boundaries[-1]
            columns = self._listed(wires, rows, k + 1, limit, budget)
            stage = join(wires, rows, columns)
            best, origin = advance_within(
                wires,
                (rows, columns),
                stage,
                found.best[-1],
                (limit, self._rooms[k]),
                budget,
                is_sum=self._is_sum,
            )
            near = np.isfinite(best)
            if not near.any():
                return None
            if prune:
                count, is_kept = largest(columns.sets[near], work_left(budget))
                budget.spend_pairs(count)
                near[near] = is_kept
            found.boundaries.append(selected(columns, near))
            found.between.append(
                stage._replace(
                    outside=stage.outside[near],
                    column_waiting=stage.column_waiting[near],
                    column_reads=stage.column_reads[near],
                )
            )
            found.best.append(best[near])
            found.origins.append(origin[near])
        return found

    def _listed(
        self, wires: Wires, rows: Candidates, k: int, limit: float, budget: Budget
    ) -> Candidates:
        """The candidates for a boundary, by weight."""
        from respect_tf.scheduling._ideal_loops import list_candidates

        problem, held = self.problem, (-math.inf, math.inf)
        if problem.restrictions is not None and problem.rooms is not None:
            held = problem.restrictions.boundary_bytes(k)
        most = work_left(budget)
        work, found = list_candidates(
            wires,
            rows,
            k,
            problem.num_stages,
            self._is_sum,
            wires is self._bare_wires,
            limit,
            *held,
            most,
        )
        spend(budget, work, most)
        budget.check_cells(found.sets.nbytes + found.waiting.nbytes + found.numbers.nbytes)
        return selected(found, np.argsort(found.numbers[:, WEIGHT], kind="stable"))
