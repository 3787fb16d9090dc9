"""What solvers may use, and what they find.

A schedule of K stages is a chain of K + 1 boundaries, from nothing to everything; a boundary is
the set of items before it (an order ideal), and a stage is the difference of two of them.
"""

from __future__ import annotations

import dataclasses
import math
import time

from respect_tf.scheduling._items import Ints

# What may be done where no time limit is set: some seconds of work, the same on every machine.
# benchmarks constants: half 0.65 times the time; twice 0.63 times the time.
MAX_WORK = 300_000_000
# Seconds that a byte of a boundary's candidates takes, about.
# benchmarks constants: with a time limit, half +174.09 % gap; twice +174.09 % gap.
_CELL_SECONDS = 5e-9


class BudgetExceededError(Exception):
    """A solver may not go on. Never leaves `scheduling` and `planning`."""


@dataclasses.dataclass
class Budget:
    """What a solver may use.

    Attributes:
        deadline: On `time.perf_counter()`'s clock in seconds, infinite for none.
        work: Pairs of candidates that may be looked at in all, or as much other work.
        cells: Bytes that the candidates of one boundary may take, about.
        spent: Work done so far, in the unit of `work`.
    """

    deadline: float = math.inf
    work: float = math.inf
    cells: float = math.inf
    spent: float = 0.0

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left of it."""
        return self.spent > self.work or time.perf_counter() > self.deadline

    def check_cells(self, count: int) -> None:
        """Raise `BudgetExceededError` if that many are too many, or take too long."""
        late = time.perf_counter() + _CELL_SECONDS * count > self.deadline
        if count > self.cells or late:
            raise BudgetExceededError

    def check_time(self) -> None:
        """Raise `BudgetExceededError` after the deadline."""
        if time.perf_counter() > self.deadline:
            raise BudgetExceededError

    def spend_pairs(self, count: int) -> None:
        """Raise `BudgetExceededError` if that many are too many."""
        self.spent += count
        if self.spent > self.work:
            raise BudgetExceededError
        self.check_time()


@dataclasses.dataclass(frozen=True, eq=False)
class Chain:
    """A schedule of items: their stages, int64 [num_items], its cost, and its crossing bytes."""

    stages: Ints
    cost: float
    crossing: float


def quality(chain: Chain) -> tuple[float, float]:
    """What the better one of two schedules has less of."""
    return chain.cost, chain.crossing


def best_known(*chains: Chain | None) -> Chain | None:
    """The cheapest of some schedules, and of equals the one of fewest crossing bytes."""
    return min((chain for chain in chains if chain is not None), key=quality, default=None)
