"""Compiled: orders cut as well as they can be cut. Import this module only where it is needed.

The arrays are those of `Wiring`. All sums are exact, so that the same seed gives the same schedule
everywhere.
"""

from __future__ import annotations

import numpy as np

from respect_tf._compiled import compiled
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Floats
from respect_tf.scheduling._search_random import next_random
from respect_tf.scheduling._search_state import (
    AFTER,
    BEFORE,
    EARLIEST,
    LATEST,
    LEAVES,
    MADE,
    MAKER,
    MODULUS,
    OP_COST,
    OUTPUT,
    READ,
    READERS,
    ROOM,
    ROWS_END,
)


# Long functions: each one that is split off is compiled once more, into every caller.
@compiled
def slice_order(  # noqa: PLR0915
    w_items: Ints,
    lists: Ints,
    tensors: Ints,
    sizes: Floats,
    amounts: Floats,
    rooms: Floats,
    order: Ints,
    enter: float,
    leave: float,
    is_sum: bool,
    limit: float,
    stages: Ints,
) -> tuple[float, float]:
    """The best cut of an order into intervals.

    Costs of the intervals from one start on are kept up to date while the stop moves on, as far as
    their weight keeps the limit.

    Args:
        w_items: This and what follows up to `rooms` are a `Wiring`.
        lists: See there.
        tensors: See there.
        sizes: See there.
        amounts: See there.
        rooms: See there.
        order: int64 [num_items], a topological order.
        enter: Cost per byte that enters.
        leave: Cost per byte that leaves.
        is_sum: Whether the costs of stages are added up.
        limit: Schedules that cost more are left out.
        stages: int64 [num_items], is filled with the schedule.

    Returns:
        Its cost and crossing bytes, the fewest of the cuts that were compared; infinite, and
        `stages` as they were, if none keeps the limit and the constraints.
    """
    num_items, num_stages = len(order), len(rooms)
    position = np.empty(num_items, np.int64)
    for place in range(num_items):
        position[order[place]] = place
    first, last = np.empty(num_stages + 1, np.int64), np.empty(num_stages + 1, np.int64)
    last_fit = np.zeros(num_stages + 1, np.int64)
    for k in range(num_stages + 1):
        first[k], last[k] = k, num_items - num_stages + k
    first[num_stages], last[0] = num_items, 0
    for item in range(num_items):
        k = w_items[item, LATEST] + 1
        first[k] = max(first[k], position[item] + 1)
        k = w_items[item, EARLIEST]
        if k > 0:
            last[k] = min(last[k], position[item])
    if not is_sum:  # what is before and after a boundary must fit into so many stages
        before = total = 0.0
        for item in range(num_items):
            total += amounts[item, OP_COST] + leave * amounts[item, OUTPUT]
        for place in range(num_items + 1):
            for k in range(1, num_stages):
                if before <= k * limit:
                    last_fit[k] = place
                if total - before > (num_stages - k) * limit:
                    first[k] = max(first[k], place + 1)
            if place < num_items:
                item = order[place]
                before += amounts[item, OP_COST] + leave * amounts[item, OUTPUT]
        for k in range(1, num_stages):
            last[k] = min(last[k], last_fit[k])
    for k in range(1, num_stages):
        first[k] = max(first[k], first[k - 1] + 1)
    for k in range(num_stages - 1, 0, -1):
        last[k] = min(last[k], last[k + 1] - 1)

    unread = np.empty(len(sizes), np.int64)
    seen = np.full(len(sizes), -1, np.int64)
    best = np.full((num_stages + 1, num_items + 1), np.inf)
    origin = np.zeros((num_stages + 1, num_items + 1), np.int64)
    crossings = np.zeros((num_stages + 1, num_items + 1))
    best[0, 0] = 0.0
    for start in range(num_items):
        low, high = num_stages, -1
        least = np.inf
        for k in range(num_stages):
            if best[k, start] < np.inf:
                low, high = min(low, k), max(high, k)
                least = min(least, best[k, start])
        if high < 0:
            continue
        allowed = limit - least if is_sum else limit
        weight = filled = op_costs = entering = leaving = 0.0
        for stop in range(start + 1, last[high + 1] + 1):
            item = order[stop - 1]
            op_costs += amounts[item, OP_COST]
            weight += amounts[item, OP_COST] + leave * amounts[item, OUTPUT]
            filled += amounts[item, ROOM]
            if weight > allowed:
                break
            leaving += amounts[item, OUTPUT]
            for row in range(w_items[item, READ], w_items[item, MADE]):
                tensor = lists[row]
                maker = tensors[tensor, MAKER]
                if maker < 0 or position[maker] < start:
                    if seen[tensor] != start:
                        seen[tensor] = start
                        entering += sizes[tensor]
                else:
                    unread[tensor] -= 1
                    if unread[tensor] == 0 and tensors[tensor, LEAVES]:
                        leaving -= sizes[tensor]
            for row in range(w_items[item, MADE], w_items[item, ROWS_END]):
                tensor = lists[row]
                unread[tensor] = tensors[tensor, READERS]
                if tensors[tensor, LEAVES]:
                    leaving += sizes[tensor]
            cost = op_costs + enter * entering + leave * leaving
            if cost > allowed:
                continue
            for k in range(low, high + 1):
                if first[k + 1] <= stop <= last[k + 1] and filled <= rooms[k]:
                    total = best[k, start] + cost if is_sum else max(best[k, start], cost)
                    crossing = crossings[k, start] + entering + leaving
                    if total <= limit and (
                        total < best[k + 1, stop]
                        or (total == best[k + 1, stop] and crossing < crossings[k + 1, stop])
                    ):
                        best[k + 1, stop] = total
                        crossings[k + 1, stop] = crossing
                        origin[k + 1, stop] = start
    total = best[num_stages, num_items]
    if total == np.inf:
        return np.inf, np.inf
    stop = num_items
    for k in range(num_stages, 0, -1):
        start = origin[k, stop]
        for place in range(start, stop):
            stages[order[place]] = k - 1
        stop = start
    return total, crossings[num_stages, num_items]


@compiled
def vary_order(
    w_items: Ints,
    lists: Ints,
    tensors: Ints,
    sizes: Floats,
    amounts: Floats,
    rooms: Floats,
    order: Ints,
    enter: float,
    leave: float,
    is_sum: bool,
    cost: float,
    crossing: float,
    slack: float,
    bound: float,
    num_orders: int,
    blurs: Floats,
    random: int,
    best: Ints,
) -> tuple[float, float, int]:
    """A walk over orders: places are blurred, and what costs little more than the best is kept.

    Args:
        w_items: This and what follows up to `rooms` are a `Wiring`.
        lists: See there.
        tensors: See there.
        sizes: See there.
        amounts: See there.
        rooms: See there.
        order: int64 [num_items], a topological order; is changed.
        enter: Cost per byte that enters.
        leave: Cost per byte that leaves.
        is_sum: Whether the costs of stages are added up.
        cost: What the best cut of the order costs.
        crossing: Its crossing bytes.
        slack: How much dearer than the best an order may be, as a part of it.
        bound: What costs no more is not improved.
        num_orders: How many orders are cut.
        blurs: How far items move, in turn, as a part of the whole order.
        random: State of the random numbers.
        best: int64 [num_items], is filled with the best schedule, if a better one is found.

    Returns:
        Cost and crossing bytes of the best schedule, and the state of the random numbers.
    """
    num_items = len(order)
    keys = np.empty(num_items)
    stages = np.empty(num_items, np.int64)
    for number in range(num_orders):
        if cost <= bound:
            break
        blur = blurs[number % len(blurs)] * num_items / MODULUS
        for place in range(num_items):
            random = next_random(random)
            first = random
            random = next_random(random)
            keys[order[place]] = place + blur * (first - random)
        # Items are numbered topologically, so that equal keys leave them in order.
        if number & 1 == 0:
            for item in range(num_items):
                for row in range(w_items[item, BEFORE], w_items[item, AFTER]):
                    keys[item] = max(keys[item], keys[lists[row]])
        else:
            for item in range(num_items - 1, -1, -1):
                for row in range(w_items[item, AFTER], w_items[item, READ]):
                    keys[item] = min(keys[item], keys[lists[row]])
        varied = np.argsort(keys, kind="mergesort")
        limit = cost * (1.0 + slack)
        found, crossed = slice_order(
            w_items, lists, tensors, sizes, amounts, rooms, varied, enter, leave, is_sum,
            limit, stages,
        )  # fmt: skip
        if found == np.inf:
            continue
        order[:] = varied
        if found < cost or (found == cost and crossed < crossing):
            cost, crossing = found, crossed
            best[:] = stages
    return cost, crossing, random
