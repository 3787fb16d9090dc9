"""Rounds of compiled search, and the schedules that they found."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterable

import numpy as np

from respect_tf._reporting import tell
from respect_tf.scheduling._chain import Chain, quality
from respect_tf.scheduling._compiled_search import MODULUS, anneal
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Floats, Problem
from respect_tf.scheduling._slicing import SWEPT, slice_below

# benchmarks constants: _MOVES_PER_ITEM half +0.04 % cost; twice +0.04 % cost, 1.16 times the time.
#   _LEAST_MOVES half and twice the same; a tenth the same; ten times -0.06 % cost, -0.13 % gap,
#   1.25 times the time. _MOST_MOVES half -0.06 % cost, -0.06 % gap; twice -0.04 % cost.
_MOVES_PER_ITEM, _LEAST_MOVES, _MOST_MOVES = 50, 5_000, 50_000  # in a round
# benchmarks constants: half -0.06 % cost, -0.06 % gap; twice -0.06 % cost, -0.07 % gap, 1.22 times
#   the time.
_NUM_STEPS = 50

# The first temperature of a round, in turn, as a part of what a typical item weighs; and the last
# one as a part of the first. Cold rounds do best; once they have done what they can, a very hot one
# leaves deep valleys.
# benchmarks constants: half -0.02 % cost; twice -0.01 % cost.
_HEATS = (0.05, 0.2, 0.1, 0.4, 0.05, 0.4, 0.1, 3.2)
# benchmarks constants: half -0.03 % cost; twice -0.03 % cost.
_COOLED = 1 / 40
# benchmarks constants: _FIRST_POWER half +0.43 % cost (worst +5.8), +0.46 % gap; twice +0.00 %
#   cost. _LAST_POWER half +0.02 % cost; twice -0.05 % cost, -0.06 % gap.
_FIRST_POWER, _LAST_POWER = 4, 5

# Cuts of orders that cost more than the best one by this factor are no place to begin.
# benchmarks constants: half and twice the same; a tenth +0.02 % cost; ten times 1.30 times the
#   time.
_WORST_START = 1.15
# benchmarks constants: half +0.01 % cost; twice +0.12 % cost (worst +3.0), +0.12 % gap, 1.14 times
#   the time.
_MOST_FOUND = 10


class Rounds:
    """The best schedules that were found, and the means to find better ones.

    Args:
        problem: The problem; its linear cost is exact.
        seed: 0 or more.

    Attributes:
        found: The best schedules, distinct, the best first.
        bound: What the search may stop at.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        self.problem = problem
        self.found: list[Chain] = []
        self.bound = problem.lower_bound()
        self._starts: list[Chain] = []
        self._seed, self._number = seed, 0
        self._unit = _typical_share(problem)

    @property
    def best(self) -> Chain:
        """The best schedule."""
        return self.found[0]

    @property
    def is_solved(self) -> bool:
        """Whether the best schedule is proved to be the best of all."""
        return self.best.cost <= self.bound

    def add(self, chain: Chain | None) -> None:
        """Take note of a schedule."""
        if chain is None or any(np.array_equal(chain.stages, one.stages) for one in self.found):
            return
        self.found = sorted([*self.found, chain], key=quality)[:_MOST_FOUND]
        if self.bound > 0:
            tell(f"searching: at most {self.best.cost / self.bound - 1:.2%} above the optimum")

    def add_orders(self, orders: Iterable[Ints], deadline: float) -> None:
        """Cut orders, as well as each can be cut, up to a deadline, but the first in any case."""
        is_swept = self.problem.num_items > SWEPT  # what is worse is known after one sweep
        worst = 1.0 if is_swept else _WORST_START
        limit = min((chain.cost * worst for chain in self._starts), default=math.inf)
        for order in orders:
            if self.found and time.perf_counter() > deadline:
                break
            chain = slice_below(self.problem, order, limit, deadline)
            if chain is None:
                continue
            limit = min(limit, chain.cost * worst)
            self.add(chain)
            if not any(np.array_equal(chain.stages, one.stages) for one in self._starts):
                self._starts.append(chain)
        self._starts.sort(key=quality)

    def run(
        self,
        num_moves: float,
        deadline: float,
        patience: float = 10,
        after_round: Callable[[int, float], None] | None = None,
    ) -> None:
        """Go on until the moves or the time are spent, or no round of so many finds a better one.

        After each round, `after_round` is called with its moves and the deadline.
        """
        stale = 0
        while self.found and not self.is_solved and num_moves > 0 and stale < patience:
            if time.perf_counter() > deadline:
                return
            before = self.best
            most = max(_LEAST_MOVES, _MOVES_PER_ITEM * self.problem.num_items)
            done = self.run_round(min(most, _MOST_MOVES))
            num_moves -= done
            if after_round is not None:
                after_round(done, deadline)
            stale = 0 if self.best is not before else stale + 1

    def run_round(self, num_moves: int) -> int:
        """Anneal once: from the best schedule or, every other time, from a cut of an order.

        Returns the number of moves.
        """
        problem, number = self.problem, self._number
        self._number += 1
        chain = self.best
        if number % 2 == 1 and self._starts:
            chain = self._starts[number // 2 % len(self._starts)]
        hot = _HEATS[number % len(_HEATS)] * self._unit
        moves_per_step = max(1, num_moves // _NUM_STEPS)
        self.add(
            anneal(
                problem,
                chain.stages,
                scale=chain.cost or 1.0,
                bound=self.bound,
                num_steps=_NUM_STEPS,
                moves_per_step=moves_per_step,
                heats=(hot, hot * _COOLED),
                powers=(0, 0) if problem.combine == "sum" else (_FIRST_POWER, _LAST_POWER),
                draws=_exponential_draws(),
                # Numbers of neighbouring seeds run side by side: rounds are set well apart.
                random=(self._seed * 69621 + number * 16807 * 7919) % (MODULUS - 1) + 1,
            )
        )
        return moves_per_step * _NUM_STEPS


def _typical_share(problem: Problem) -> float:
    """What an item weighs as a part of a stage: between the mean and the mean by weight."""
    weights = problem.weights
    total = float(weights.sum())
    mean = 1 / problem.num_items
    heavy = math.fsum((weights / total) ** 2) if total > 0 else mean  # the same on every machine
    return min(1.0, problem.num_stages * math.sqrt(mean * heavy))


@functools.cache
def _exponential_draws() -> Floats:
    """Evenly spaced quantiles, rounded: logarithms differ from machine to machine. [4096]."""
    count = 4096
    quantiles: Floats = (np.arange(count, dtype=np.float64) + 0.5) / count
    draws: Floats = np.round(-np.log(quantiles), 6).astype(np.float64)
    return draws
