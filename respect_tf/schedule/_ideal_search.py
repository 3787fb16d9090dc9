"""Complete search over order ideals below rising cost limits, in compiled code."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import sys
import time
from typing import Any

import numpy as np

from respect_tf.schedule._answers import costs_of
from respect_tf.schedule._chain import Budget, BudgetExceededError, Chain
from respect_tf.schedule._ideal_arrays import ALWAYS, WEIGHT, Candidates, Stage, Wires
from respect_tf.schedule._items import Ints
from respect_tf.schedule._local_state import network_of
from respect_tf.schedule._problem import Bools, Floats, Problem

# How much work, as `Budget` counts it, is done in a second at least.
_WORK_PER_SECOND, _MOST_WORK = 2e7, 1 << 60

# How far the limit rises above the lower bound: at first a part of the way to a known cost, then
# by factors: boldly while that costs little work, or hardly more than the step before.
_FIRST_STEP, _FAR, _NEAR = 1 / 64, 6.0, 1.5
_LITTLE_WORK, _LITTLE_GROWTH = 50_000, 1.3

# Pairs of candidates that are looked at for fewer crossing bytes at the same cost.
_MAX_TIES = 200_000


def is_loaded() -> bool:
    """Whether the compiled loops are at hand: to load them takes longer than most small graphs."""
    loops: Any = sys.modules.get("respect_tf.schedule._ideal_chains")
    return loops is not None and bool(loops.advance.signatures)


class IdealSearch:
    """The schedules of a problem that keep a cost limit.

    Args:
        problem: One whose linear cost is exact.
    """

    def __init__(self, problem: Problem) -> None:
        from respect_tf.schedule._ideal_loops import needed_sums

        self.problem = problem
        network = network_of(problem)
        self._rooms = network.rooms
        self._is_sum = problem.combine == "sum"
        self._wires = Wires(
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
        limit, step, last = low, _FIRST_STEP * (known.cost - low), 0.0
        integral = self.problem.integral
        try:
            while low < known.cost:
                before = budget.spent
                found = self.best_within(limit, budget)
                if found is not None:
                    return found, found.cost
                low = min(limit + 1.0 if integral else limit, known.cost)
                work = budget.spent - before
                step *= _FAR if work < max(_LITTLE_WORK, _LITTLE_GROWTH * last) else _NEAR
                last = work
                limit = low + step
                if integral:  # what costs as much as the known schedule is no gain
                    limit = max(min(float(math.floor(limit)), known.cost - 1), low)
                else:
                    limit = min(limit, known.cost)
        except BudgetExceededError:
            pass
        return known, low

    def better_within(self, known: Chain, budget: Budget) -> Chain | None:
        """A schedule that costs less than a known one, if one is found within the budget."""
        limit = known.cost - 1 if self.problem.integral else known.cost * (1 - 1e-9)
        with contextlib.suppress(BudgetExceededError):
            return self.best_within(limit, budget)
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
        boundaries = self._boundaries(limit, budget)
        if boundaries is None:
            return None
        chains = self._chains(boundaries, limit, budget, by_crossing=False)
        if chains is None:
            return None
        cost, stages = float(chains.best[-1][0]), chains.stages()
        if not self._is_sum:
            with contextlib.suppress(BudgetExceededError):
                chosen = self._chains(boundaries, cost, Budget(work=ties), by_crossing=True)
                stages = stages if chosen is None else self._smallest_stages(chosen, cost)
        return Chain(stages, cost, costs_of(self.problem, stages)[1])

    def _boundaries(self, limit: float, budget: Budget) -> list[Candidates] | None:
        """Candidates for all boundaries, `None` if one of them has none."""
        from respect_tf.schedule._ideal_loops import list_candidates

        problem, held = self.problem, (-math.inf, math.inf)
        boundaries = []
        for k in range(problem.num_stages + 1):
            if problem.restrictions is not None and problem.rooms is not None:
                held = problem.restrictions.boundary_bytes(k)
            work, found = list_candidates(
                self._wires,
                k,
                problem.num_stages,
                self._is_sum,
                limit + problem.slack,
                *held,
                _work_left(budget),
            )
            budget.spend_pairs(work)
            budget.check_cells(found.sets.nbytes + found.waiting.nbytes + found.numbers.nbytes)
            if len(found.sets) == 0:
                return None
            by_weight = np.argsort(found.numbers[:, WEIGHT], kind="stable")
            boundaries.append(
                found._replace(
                    sets=found.sets[by_weight],
                    waiting=found.waiting[by_weight],
                    numbers=found.numbers[by_weight],
                )
            )
        return boundaries

    def _chains(
        self, boundaries: list[Candidates], limit: float, budget: Budget, *, by_crossing: bool
    ) -> _Chains | None:
        """The best chains within a cost limit."""
        from respect_tf.schedule._ideal_chains import advance, join

        found = _Chains(boundaries, [np.zeros(1)], [], [])
        for k, (rows, columns) in enumerate(itertools.pairwise(boundaries)):
            stage = join(self._wires, rows, columns)
            count, best, origin = advance(
                self._wires,
                rows,
                columns,
                stage,
                found.best[-1],
                self._is_sum,
                by_crossing,
                limit,
                self._rooms[k],
                _work_left(budget),
            )
            budget.spend_pairs(count)
            if not np.isfinite(best).any():
                return None
            found.best.append(best)
            found.origins.append(origin)
            found.between.append(stage)
        return found

    def _smallest_stages(self, chains: _Chains, limit: float) -> Ints:
        """The lexicographically smallest stages of the chains of fewest crossing bytes.

        Of two chains that meet in an ideal, the smaller before it stays the smaller whatever
        follows: keeping the smallest chain up to each candidate is enough.
        """
        from respect_tf.schedule._ideal_chains import best_pairs

        wanted = np.zeros(1, np.int64)
        pairs: list[tuple[Ints, Ints]] = []
        for k in reversed(range(len(chains.between))):
            rows, columns = best_pairs(
                self._wires,
                *chains.boundaries[k : k + 2],
                chains.between[k],
                *chains.best[k : k + 2],
                wanted,
                limit,
                self._rooms[k],
            )
            pairs.insert(0, (rows, columns))
            wanted = np.unique(rows)
        order = self.problem.stage_order
        stages = {0: np.zeros(self.problem.num_items, np.int64)}  # so far, up to each candidate
        for k, (rows, columns) in enumerate(pairs, start=1):
            least: dict[int, Ints] = {}
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
                so_far = least.get(column)
                if so_far is None or tuple(stages[row][order]) < tuple(so_far[order]):
                    least[column] = stages[row]
            if k < len(pairs):
                ideals = chains.boundaries[k]
                least = {place: row + ~_members(ideals, place) for place, row in least.items()}
            stages = least
        return stages[0]


@dataclasses.dataclass(frozen=True, eq=False)
class _Chains:
    """The best chains up to each candidate.

    Attributes:
        boundaries: The candidates.
        best: Cost or crossing bytes up to each candidate, [num_candidates] for each boundary.
        origins: The candidate that each one comes from, for each boundary but the first.
        between: What `join` makes of each two boundaries.
    """

    boundaries: list[Candidates]
    best: list[Floats]
    origins: list[Ints]
    between: list[Stage]

    def stages(self) -> Ints:
        """Stages of the best chain. int64 [num_items]."""
        inner, place = self.boundaries[1:-1], 0
        stages = np.zeros(len(self.boundaries[0].places), np.int64)
        for ideals, origin in zip(reversed(inner), reversed(self.origins[1:]), strict=True):
            place = int(origin[place])
            stages += ~_members(ideals, place)
        return stages


def _members(ideals: Candidates, row: int) -> Bools:
    """Which items an ideal holds. bool [num_items]."""
    places = ideals.places
    bits = np.unpackbits(ideals.sets[row].view(np.uint8), bitorder="little").astype(bool)
    held: Bools = np.where(places >= 0, bits[np.maximum(places, 0)], places == ALWAYS)
    return held


def _work_left(budget: Budget) -> int:
    """What may still be done, in the unit of `Budget`."""
    work = budget.work - budget.spent
    if math.isfinite(budget.deadline):
        left = budget.deadline - time.perf_counter()
        work = min(work, _WORK_PER_SECOND * left)
    return int(max(0, min(work, _MOST_WORK)))
