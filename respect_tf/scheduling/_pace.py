"""How fast the limits of a complete search rise, and how much work each of them may take."""

from __future__ import annotations

import dataclasses

from respect_tf.scheduling._chain import Budget

# How far the limit rises above the lower bound: at first this part of the way to a known cost, then
# by factors: boldly while that costs little work. Steps of less than a part of the cost are no use.
# benchmarks constants: FIRST_STEP half +0.45 % gap; twice -0.17 % gap. _LEAST_STEP half and twice
#   the same; a tenth 1.16 times the time; ten times the same.
FIRST_STEP, _LEAST_STEP = 1 / 24, 3e-4
# benchmarks constants: _FAR half +0.77 % gap; twice -0.30 % gap. _NEAR half +0.82 % gap; twice
#   +1.24 % gap.
_FAR, _NEAR = 6.0, 1.5

# A limit may take so many times as much work as the one before it, or as little work. Where that
# does not last, the step shrinks, and the next limit may take more: the first one that some
# schedule keeps often takes many times as much as those below it.
# benchmarks constants: _LITTLE_WORK half and twice the same; a tenth +0.29 % gap; ten times +0.07 %
#   gap. _LIMIT_GROWTH half +0.06 % gap; twice the same. _BACK half -0.17 % gap; twice +0.26 % gap,
#   0.89 times the time.
_LITTLE_WORK, _LIMIT_GROWTH, _BACK = 50_000, 16.0, 4.0


@dataclasses.dataclass(frozen=True)
class Pace:
    """How far the next limit rises above the bound.

    Attributes:
        step: That far.
        work: What the last limit took that ended within its share, as `Budget` counts it.
        growth: How many times as much the next one may take.
    """

    step: float
    work: float = 0.0
    growth: float = _LIMIT_GROWTH

    def after(self, work: float) -> Pace:
        """The next step, after a limit that took some work."""
        is_little = work < _LITTLE_WORK and self.growth <= _LIMIT_GROWTH
        return Pace((_FAR if is_little else _NEAR) * self.step, work, self.growth)

    def shorter(self, step: float) -> Pace:
        """The next step, after one that was too much work."""
        return Pace(step / _BACK, self.work, 2 * self.growth)

    def is_over(self, cost: float) -> bool:
        """Whether steps have got too small for a cost."""
        return self.step < _LEAST_STEP * cost


def part_of(budget: Budget, pace: Pace) -> tuple[Budget, bool]:
    """What the next limit may use of a budget, and whether that is all of it."""
    left, most = budget.work - budget.spent, pace.growth * max(pace.work, _LITTLE_WORK)
    return Budget(budget.deadline, min(most, left), budget.cells), left <= most
