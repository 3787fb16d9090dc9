"""Compiled loops for slicing large graphs. Import this module only where it is needed."""

from __future__ import annotations

import numpy as np

from respect_tf._compiled import compiled, is_on_disk
from respect_tf.scheduling._chain import Budget
from respect_tf.scheduling._intervals import Intervals
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Floats

# Positions between looks at the clock.
_CHUNK = 1 << 13


@compiled
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
        budget: Whose deadline holds.
        backward: Begin with the last item: positions then count from the end.
    """

    def __init__(self, intervals: Intervals, budget: Budget, *, backward: bool = False) -> None:
        problem = intervals.problem
        corners, sizes, num_entering = intervals.rectangles
        num_items, num_stages = len(intervals.order), problem.num_stages
        sums, held = intervals.weight_sums, intervals.byte_sums
        first, last = intervals.first_stops, intervals.last_stops
        rooms = np.full(num_stages, np.inf) if problem.rooms is None else problem.rooms
        if backward:
            corners = num_items - corners[::-1]
            sums, held, rooms = sums[-1] - sums[::-1], held[-1] - held[::-1], rooms[::-1]
            first, last = num_items - last[::-1], num_items - first[::-1]
        costs = sizes * problem.linear.leave
        costs[:num_entering] = sizes[:num_entering] * problem.linear.enter
        kept = np.flatnonzero(costs)
        corners, costs = corners[:, kept], costs[kept]
        stops = np.concatenate([corners[2], corners[3] + 1])
        order = np.argsort(stops, kind="stable")
        self._budget = budget
        self._additive = problem.combine == "sum"
        self._events = (
            np.searchsorted(stops[order], np.arange(num_items + 2)),
            np.ascontiguousarray(np.concatenate([corners[:2], corners[:2]], axis=1)[:, order]),
            np.concatenate([costs, -costs])[order],
        )
        self._sums = np.ascontiguousarray(sums)
        self._within = (first, last, np.ascontiguousarray(held), np.ascontiguousarray(rooms))

    def reach(self, limit: float) -> tuple[Floats, float]:
        """The least cost of a chain up to each position, infinite above the limit.

        Where stages combine by the largest, the cost is 0 wherever the limit can be kept.

        Returns:
            [num_stages + 1, num_items + 1], and the least limit above this one that would let any
            chain get further.

        Raises:
            BudgetExceededError: It takes too long.
        """
        num_stages, num_positions = len(self._within[0]) - 1, len(self._sums)
        size = 1
        while size <= num_positions:
            size *= 2
        reached = np.full((num_stages + 1, num_positions), np.inf)
        reached[0, 0] = 0.0
        least = np.full((2 * size, num_stages), np.inf)  # of the starts below each node
        added = np.zeros(2 * size)  # to all starts below each node
        oldest = np.zeros(num_stages, np.int64)  # the first start from which a stage has room
        beyond = np.inf
        for begin in range(0, num_positions, _CHUNK):
            self._budget.check_time()
            span = (begin, min(begin + _CHUNK, num_positions))
            state = (least, added, oldest, reached)
            further = _reach(
                span, self._events, self._sums, self._within, self._additive, limit, state
            )
            beyond = min(beyond, further)
        return reached, float(beyond)


@compiled
def _reach(
    span: tuple[int, int],
    events: tuple[Ints, Ints, Floats],
    sums: Floats,
    within: tuple[Ints, Ints, Floats, Floats],
    additive: bool,
    limit: float,
    state: tuple[Floats, Floats, Ints, Floats],
) -> float:
    """Sweep over stops; a segment tree holds, for every start, the cost of the stage so far.

    One tree serves all boundaries: what is added to a range of starts is the same for all of them,
    only which starts are active differs. Nothing is added to a start before it is active.
    """
    offsets, spans, changes = events
    first, last, held, rooms = within
    least, added, oldest, reached = state
    num_stages, size = least.shape[1], least.shape[0] // 2
    beyond = np.inf
    for stop in range(span[0], span[1]):
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
            while held[stop] - held[oldest[k]] > rooms[k]:
                least[oldest[k] + size, k] = np.inf
                _bring_up(least, added, oldest[k] + size)
                oldest[k] += 1
            if first[k + 1] <= stop <= last[k + 1]:
                cost = least[1, k] + sums[stop]
                if cost <= limit:
                    reached[k + 1, stop] = cost if additive else 0.0
                elif cost < beyond:
                    beyond = cost
        for k in range(num_stages):
            least[stop + size, k] = reached[k, stop] - sums[stop]
    return beyond


def is_soon_compiled() -> bool:
    """Whether the first sweep begins within a second: the loops are compiled, or on disk."""
    return bool(_reach.signatures) or is_on_disk(_reach.py_func)  # type: ignore[attr-defined]
