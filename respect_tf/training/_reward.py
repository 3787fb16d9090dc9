"""What an order is worth: the cost of its best cut, or its likeness to a known schedule."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from respect_tf.scheduling._problem import Problem
from respect_tf.scheduling._search_state import wiring_of

Ints = npt.NDArray[np.int64]


class SlicedCost:
    """The cost of an order's best cut, in compiled code, for objectives that are sums.

    Args:
        problem: The problem.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._wiring = wiring_of(problem)
        self._stages = np.zeros(problem.num_items, np.int64)

    def __call__(self, order: Ints, limit: float = np.inf) -> float:
        """The cost, for ops in topological order, int64 [num_ops]; infinite if above the limit."""
        from respect_tf.scheduling._search_cut import slice_order

        problem = self._problem
        # Without ops that must share a stage, items are the ops with other numbers.
        is_plain = problem.num_items == len(order)
        items = problem.item_of[order] if is_plain else problem.item_order(order)
        linear = problem.linear
        cost, _ = slice_order(
            *self._wiring,
            items,
            float(linear.enter),
            float(linear.leave),
            problem.combine == "sum",
            limit,
            self._stages,
        )
        return float(cost)


def cosine_reward(stages: npt.NDArray[np.int32], order: Ints) -> float:
    """The reward of RESPECT (arXiv 2304.04716): 1 where an order goes through the stages in turn.

    The cosine of the angle between the teacher's stages, counted from 1, listed in an order, and
    the same stages sorted.

    Args:
        stages: int32 [num_ops], the teacher's.
        order: int64 [num_ops].
    """
    labels = stages.astype(np.float64) + 1
    return float(labels[order] @ np.sort(labels) / (labels @ labels))
