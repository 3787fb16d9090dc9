"""Complete search of neighbourhoods: of all schedules that differ from a good one by some items."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from respect_tf.scheduling._answers import stage_sums
from respect_tf.scheduling._chain import Budget, Chain
from respect_tf.scheduling._compiled_search import MODULUS, choose_band
from respect_tf.scheduling._ideal_search import IdealSearch
from respect_tf.scheduling._problem import Bools
from respect_tf.scheduling._search_rounds import Rounds

T = TypeVar("T")

# Stages on either side of the dearest one whose items may move; all stages in place of the last.
# benchmarks constants: half +0.06 % cost, +0.06 % gap; twice +0.06 % cost, +0.06 % gap.
_REACHES = (0, 1, 2, 10**6)
# How many edges items may be away from the boundary that they cross, less one.
# benchmarks constants: half +0.06 % cost, +0.06 % gap; twice -1.11 % crossing bytes.
_DEPTHS = (1, 2, 3, 4, 6, 8)

# Items that may cross a boundary at first; there are fewer of them after a neighbourhood that was
# too large to be searched with so much work, and more after a small one.
# benchmarks constants: half -0.48 % crossing bytes; twice -0.49 % crossing bytes.
_FIRST = 10
# benchmarks constants: _FEWER half +0.06 % cost, +0.07 % gap; twice +0.02 % cost, 1.17 times the
#   time. _MORE half -1.60 % crossing bytes, 1.12 times the time; twice +0.47 % crossing bytes.
_FEWER, _MORE = 0.9, 1.05
# benchmarks constants: _WORK half +0.06 % cost, +0.06 % gap; twice -0.06 % cost, -0.14 % gap.
#   _LITTLE_WORK half -2.27 % crossing bytes; twice +0.10 % cost, +0.10 % gap.
_WORK, _LITTLE_WORK = 150_000, 40_000
# What a neighbourhood costs beside its search, in the same unit.
# benchmarks constants: half +0.06 % cost, +0.06 % gap; twice -0.46 % crossing bytes.
_BASE_WORK = 15_000

# One neighbourhood in so many is that of a schedule that is not the best one.
# benchmarks constants: half +0.02 % cost; twice +0.06 % crossing bytes.
_OTHERS = 4


class Bands:
    """Improves the best schedules of some rounds, with complete search.

    A neighbourhood is that of some items near some boundaries, which may cross them or not: an
    order ideal for each boundary, between the smallest and the largest one. All combinations are
    looked at (large neighbourhood search, Shaw 1998, by dynamic programming).
    """

    def __init__(self, rounds: Rounds, ideals: IdealSearch, seed: int) -> None:
        self._rounds, self._ideals = rounds, ideals
        self._random = (seed * 69621 + 16807) % (MODULUS - 1) + 1
        self._number, self._num_items = 0, float(_FIRST)

    def run(self, work: float, deadline: float) -> None:
        """Look at neighbourhoods up to so much work, as `Budget` counts it, or a deadline."""
        while work > 0 and not self._rounds.is_solved and time.perf_counter() < deadline:
            work -= self._look(deadline) + _BASE_WORK

    def _look(self, deadline: float) -> float:
        """Search one neighbourhood, and return the work done."""
        self._number += 1
        known = self._rounds.found
        is_other = self._number % _OTHERS == 0 and len(known) > 1
        base = self._draw(known[1:]) if is_other else known[0]
        earliest, latest, self._random = choose_band(
            self._rounds.problem,
            base.stages,
            self._open_boundaries(base),
            self._draw(_DEPTHS),
            int(self._num_items),
            self._random,
        )
        budget = Budget(deadline, _WORK)
        ideals = self._ideals.within_stages(earliest, latest)
        self._rounds.add(ideals.better_within(base, budget))
        if budget.spent >= _WORK:
            self._num_items = max(_FEWER * self._num_items, 1.0)
        elif budget.spent < _LITTLE_WORK:
            most = self._rounds.problem.num_items
            self._num_items = min(_MORE * self._num_items, float(most))
        return budget.spent

    def _open_boundaries(self, base: Chain) -> Bools:
        """Boundaries around the dearest stages. bool [num_stages + 1]."""
        problem, reach = self._rounds.problem, self._draw(_REACHES)
        costs = problem.cost(*stage_sums(problem, base.stages))
        stages = np.arange(problem.num_stages + 1)
        is_open = np.zeros(len(stages), bool)
        for worst in np.flatnonzero(costs >= costs.max()):
            is_open |= (stages >= worst - reach) & (stages <= worst + 1 + reach)
        return is_open

    def _draw(self, values: Sequence[T]) -> T:
        self._random = self._random * 48271 % MODULUS
        return values[self._random % len(values)]
