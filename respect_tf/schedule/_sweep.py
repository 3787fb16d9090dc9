"""Compiled loops for slicing large graphs. Import this module only where it is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from respect_tf.schedule._intervals import Intervals
from respect_tf.schedule._items import Ints
from respect_tf.schedule._problem import Floats


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return numba.njit(cache=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # no folder to keep compiled code in can be written to
        return numba.njit(function)  # type: ignore[no-any-return]


@_compiled
def _bring_up(least: Floats, added: Floats, node: int) -> None:
    """Renew the nodes above a leaf."""
    node >>= 1
    while node >= 1:
        for k in range(least.shape[1]):
            least[node, k] = min(least[2 * node, k], least[2 * node + 1, k]) + added[node]
        node >>= 1


class Sweep:
    """Finds how far chains within a cost limit get, from the first item on or from the last.

    Args:
        intervals: The order.
        backward: Begin with the last item: positions then count from the end.
    """

    def __init__(self, intervals: Intervals, *, backward: bool = False) -> None:
        problem = intervals.problem
        corners, sizes, num_entering = intervals.rectangles
        sums = intervals.op_sums + problem.linear.leave * intervals.output_sums
        if backward:
            corners = len(intervals.order) - corners[::-1]
            sums = sums[-1] - sums[::-1]
        costs = sizes * problem.linear.leave
        costs[:num_entering] = sizes[:num_entering] * problem.linear.enter
        stops = np.concatenate([corners[2], corners[3] + 1])
        order = np.argsort(stops, kind="stable")
        num_positions = len(intervals.order) + 1
        self._num_stages = problem.num_stages
        self._additive = problem.combine == "sum"
        self._offsets = np.searchsorted(stops[order], np.arange(num_positions + 1))
        self._spans = np.concatenate([corners[:2], corners[:2]], axis=1)[:, order]
        self._changes = np.concatenate([costs, -costs])[order]
        self._sums = sums

    def reach(self, limit: float) -> tuple[Floats, float]:
        """The least cost of a chain up to each position, infinite above the limit.

        Where stages combine by the largest, the cost is 0 wherever the limit can be kept.

        Returns:
            [num_stages + 1, num_items + 1], and the least limit above this one that would let any
            chain get further.
        """
        reached = np.full((self._num_stages + 1, len(self._sums)), np.inf)
        beyond = _reach(
            self._offsets, self._spans, self._changes, self._sums, self._additive, limit, reached
        )
        return reached, float(beyond)


@_compiled
def _reach(
    offsets: Ints,
    spans: Ints,
    changes: Floats,
    sums: Floats,
    additive: bool,
    limit: float,
    reached: Floats,
) -> float:
    """Sweep over stops; a segment tree holds, for every start, the cost of the stage so far.

    One tree serves all boundaries: what is added to a range of starts is the same for all of them,
    only which starts are active differs. Nothing is added to a start before it is active.
    """
    num_stages, num_positions = reached.shape[0] - 1, len(sums)
    size = 1
    while size <= num_positions:
        size *= 2
    least = np.full((2 * size, num_stages), np.inf)  # of the starts below each node
    added = np.zeros(2 * size)  # to all starts below each node
    beyond = np.inf
    reached[0, 0] = 0.0
    for stop in range(num_positions):
        for event in range(offsets[stop], offsets[stop + 1]):
            left, right = spans[0, event] + size, spans[1, event] + size + 1
            while left < right:
                if left & 1:
                    added[left] += changes[event]
                    least[left] += changes[event]
                    left += 1
                if right & 1:
                    right -= 1
                    added[right] += changes[event]
                    least[right] += changes[event]
                left >>= 1
                right >>= 1
            # The first and the newest start end most ranges: they are brought up once, below.
            if spans[0, event] > 0:
                _bring_up(least, added, spans[0, event] + size)
            if spans[1, event] < stop - 1:
                _bring_up(least, added, spans[1, event] + size)
        if stop > 0:
            _bring_up(least, added, size)
            _bring_up(least, added, stop - 1 + size)
        for k in range(num_stages):
            cost = least[1, k] + sums[stop]
            if cost <= limit:
                reached[k + 1, stop] = cost if additive else 0.0
            elif cost < beyond:
                beyond = cost
        for k in range(num_stages):
            least[stop + size, k] = reached[k, stop] - sums[stop]
    return beyond
