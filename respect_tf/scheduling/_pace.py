"""How fast the limits of a complete search rise, and how much work each of them may take."""

from __future__ import annotations

import dataclasses
import math
import time

from respect_tf.scheduling._chain import Budget

# How much work, as `Budget` counts it, is done in a second at least.
# benchmarks constants: with a time limit, half +2.94 % gap; twice -1.41 % gap.
_WORK_PER_SECOND = 4e7

# How far the limit rises above the lower bound: at first this part of the way to a known cost, then
# by factors: boldly while that costs little work. Steps of less than a part of the known cost are
# no use.
# benchmarks constants: FIRST_STEP half +0.35 % gap; twice -0.29 % gap. _LEAST_STEP half and twice
#   the same.
FIRST_STEP, _LEAST_STEP = 1 / 24, 3e-4
# benchmarks constants: _FAR half +0.65 % gap; twice +0.18 % gap. _NEAR half +1.49 % gap, 0.89 times
#   the time; twice +0.44 % gap.
_FAR, _NEAR = 6.0, 1.5
# benchmarks constants: half and twice the same.
_LITTLE_WORK = 50_000

# Where there is so much work to do, a limit may take so many times as much as the one before it, or
# so much of the budget. Where that does not last, the step shrinks, and the next limit may take
# more: the first one that some schedule keeps often takes many times as much as those below it.
# benchmarks constants: _MUCH_WORK half the same; twice -0.31 % gap. _LIMIT_GROWTH half and twice
#   the same. _LIMIT_SHARE half 0.82 times the time; twice the same. _BACK half -1.09 % gap; twice
#   +0.78 % gap.
_MUCH_WORK, _LIMIT_GROWTH, _LIMIT_SHARE, _BACK = 5_000_000, 16.0, 0.8, 4.0


@dataclasses.dataclass(frozen=True)
class Pace:
    """How far the next limit rises above the bound.

    Attributes:
        step: That far.
        work: What the last limit took that ended within its share.
        growth: How many times as much the next one may take.
    """

    step: float
    work: float = 0.0
    growth: float = _LIMIT_GROWTH

    def after(self, work: float) -> Pace:
        """The next step, after a limit that took some work."""
        is_little = work < _LITTLE_WORK and self.growth <= _LIMIT_GROWTH
        factor = _FAR if is_little else _NEAR
        return Pace(factor * self.step, work, self.growth)

    def shorter(self, step: float) -> Pace:
        """The next step, after one that was too much work."""
        return Pace(step / _BACK, self.work, 2 * self.growth)

    def is_over(self, cost: float) -> bool:
        """Whether steps have got too small for a cost."""
        return self.step < _LEAST_STEP * cost


def part_of(budget: Budget, pace: Pace) -> tuple[Budget, bool]:
    """What the next limit may use of a budget: all of it, if it is little, or a part.

    With it comes whether nothing to speak of is left then.
    """
    if budget.work < _MUCH_WORK:
        return budget, True
    left = budget.work - budget.spent
    if math.isfinite(budget.deadline):
        left = min(left, _WORK_PER_SECOND * (budget.deadline - time.perf_counter()))
    most, share = pace.growth * max(pace.work, _LITTLE_WORK), _LIMIT_SHARE * left
    return Budget(budget.deadline, min(most, share), budget.cells), share < most
