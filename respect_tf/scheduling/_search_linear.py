"""The search where the linear cost is exact: proofs, moves and neighbourhoods by turns."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Iterator

from respect_tf.scheduling._answers import Answer, answer_of
from respect_tf.scheduling._chain import Budget, BudgetExceededError
from respect_tf.scheduling._ideal_search import IdealSearch
from respect_tf.scheduling._item_bounds import item_bound
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Problem
from respect_tf.scheduling._proof import first_schedule
from respect_tf.scheduling._search_bands import Bands
from respect_tf.scheduling._search_rounds import Rounds
from respect_tf.scheduling._slicing import SWEPT

# Work of complete searches, as `Budget` counts it: of the first order's cut, before the first move,
# and in the end for each move; and for each move that of neighbourhoods, which takes as long as it.
# benchmarks constants: _FIRST_WORK half +0.07 % gap; twice the same. _SECOND_WORK half +0.10 % gap;
#   twice -0.10 % gap. _WORK_PER_MOVE half -1 proofs, +0.65 % gap, 0.82 times the time; twice -0.66
#   % gap, 1.26 times the time. _BAND_WORK_PER_MOVE half 0.85 times the time; twice -0.42 % crossing
#   bytes.
_FIRST_WORK, _SECOND_WORK, _WORK_PER_MOVE, _BAND_WORK_PER_MOVE = 600_000, 5_000_000, 110, 40

# Graphs of more items are not searched completely, nor their neighbourhoods: too many order ideals.
# benchmarks constants: half and twice the same; a tenth +0.00 % cost, 0.78 times the time; ten
#   times the same.
_MOST_PROVED = 10_000
# Bytes of the candidates of all boundaries together.
_MAX_CELLS = 200_000_000

# What may be spent on fewer crossing bytes once the cost is proved.
# benchmarks constants: half +0.45 % crossing bytes; twice -0.47 % crossing bytes.
_SETTLING_WORK = 4_000_000

# Rounds after which moves are over if none of them found anything better.
# benchmarks constants: half +0.23 % crossing bytes, 0.80 times the time; twice -0.26 % crossing
#   bytes, 1.37 times the time.
_PATIENCE = 10
# The same of graphs that are swept: with 8, 10,000 ops in random layers end 1.10 % above the bound
# in place of 1.18 %, after twice the time.
# benchmarks constants: half +0.01 % cost, 0.81 times the time; twice -0.19 % cost, -0.20 % gap,
#   2.66 times the time.
_HASTILY = 3

# The part of the time left that each step may take but the last.
# benchmarks constants: with a time limit, half +3.88 % gap; twice +0.10 % cost, +0.07 % gap.
_SHARE = 0.4


class LinearSearch:
    """A search for a schedule whose linear cost is exact. Arguments: see `search_problem`."""

    def __init__(self, problem: Problem, budget: int, deadline: float, seed: int) -> None:
        self._problem, self._deadline = problem, deadline
        self._num_moves = budget * problem.num_items
        self._is_limited = math.isfinite(deadline)
        self._rounds = Rounds(problem, seed)
        can_be_searched = problem.num_items <= _MOST_PROVED
        self._ideals = IdealSearch(problem) if can_be_searched else None
        self._bands = None if self._ideals is None else Bands(self._rounds, self._ideals, seed)

    def run(self, orders: Iterator[Ints], start: Answer | None = None) -> Answer:
        """Search from the best cuts of some orders on, or from what is known."""
        problem, rounds, deadline = self._problem, self._rounds, self._deadline
        if start is not None:
            self._begin_with(start)
        # Few ideals are searched before other orders are even made.
        rounds.add_orders(itertools.islice(orders, 1), deadline)
        self._prove(_FIRST_WORK)
        if not (rounds.found and rounds.is_solved):
            rounds.add_orders(orders, deadline)
        if not rounds.found:
            self._begin_with(first_schedule(problem, deadline))
        self._prove(_FIRST_WORK)
        by_item = rounds.bound
        if not rounds.is_solved and self._num_moves > 0:
            by_item = item_bound(problem, rounds.bound)
        if by_item >= rounds.best.cost:  # else complete search begins lower, where it takes less
            rounds.bound = by_item
        self._prove(self._much(_SECOND_WORK))
        self._explore(self._much(self._num_moves))
        self._prove(self._much(_WORK_PER_MOVE * self._num_moves))
        if self._is_limited:
            self._explore(math.inf, share=1.0)
        rounds.bound = max(rounds.bound, by_item)
        self._settle()
        # Sums of compiled loops may be rounded otherwise than those of the checker.
        best = answer_of(problem, rounds.best.stages).chain
        return Answer(best, best.cost if rounds.is_solved else min(rounds.bound, best.cost))

    def _begin_with(self, start: Answer) -> None:
        self._rounds.add(start.chain)
        self._rounds.bound = max(self._rounds.bound, start.lower_bound)

    def _part_of_time(self, share: float) -> float:
        now = time.perf_counter()
        return now + share * (self._deadline - now) if self._is_limited else math.inf

    def _part(self, work: float) -> Budget:
        cells = _MAX_CELLS // self._problem.num_stages
        return Budget(self._part_of_time(_SHARE), work, cells)

    def _much(self, work: float) -> float:
        """So much work, or what the time allows."""
        return math.inf if self._is_limited else work

    def _explore(self, num_moves: float, share: float = _SHARE) -> None:
        """So many moves, and complete search of neighbourhoods, by turns."""
        patience = self._much(_HASTILY if self._problem.num_items > SWEPT else _PATIENCE)
        self._rounds.run(num_moves, self._part_of_time(share), patience, self._search_bands)

    def _search_bands(self, num_moves: int, deadline: float) -> None:
        """Search neighbourhoods for about as long as so many moves took."""
        if self._bands is not None:
            self._bands.run(_BAND_WORK_PER_MOVE * num_moves, deadline)

    def _prove(self, work: float) -> None:
        """Complete search, as far as some work goes."""
        rounds = self._rounds
        if self._ideals is None or not rounds.found or rounds.is_solved or self._num_moves == 0:
            return
        part = self._part(work)
        chain, rounds.bound = self._ideals.raise_bound(rounds.best, rounds.bound, part)
        rounds.add(chain)

    def _settle(self) -> None:
        """Of the schedules of least cost, take the one of fewest crossing bytes."""
        rounds, is_sum = self._rounds, self._problem.combine == "sum"
        if self._ideals is None or not rounds.is_solved or is_sum or self._num_moves == 0:
            return
        with contextlib.suppress(BudgetExceededError):
            part = self._part(_SETTLING_WORK)
            rounds.add(self._ideals.best_within(rounds.best.cost, part, math.inf))
