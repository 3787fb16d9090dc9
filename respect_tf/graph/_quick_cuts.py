"""Cuts of an order that are soon made: how good the order will be, about."""

from __future__ import annotations

import numpy as np

from respect_tf._loops.twins import loop
from respect_tf.graph._structural import Floats, Ints, Rows

_BISECTIONS, _CROSSING_BISECTIONS = 20, 9
# The part of what crosses the borders of a stage that is made or read in it, as cuts assume it:
# one cut for each.
_SHARES_READ = (1.0, 0.4)


def quick_cuts(
    orders: Ints,
    after: Rows,
    costs: Floats,
    transfers: Floats,
    num_stages: int,
) -> Floats:
    """The heaviest stages of cuts of orders that are soon made.

    One is as even as can be without transfers; others fill each stage as far as a limit allows
    with what crosses its borders, under the least limit that is enough. The best cut, which takes a
    hundred times as long to find, costs less than these or as much.

    Args:
        orders: int64 [num_orders, num_ops], topological orders.
        after: The ops that read from each op.
        costs: float64 [num_ops], what each op adds to its stage.
        transfers: float64 [num_ops], what it takes to send what each op makes over a border, in
            both stages together, once into each stage that reads it.
        num_stages: Number of stages; as many as ops if that is less.

    Returns:
        float64 [num_orders, 2], that of the even cut without transfers, and the least one with
        them.
    """
    cuts = np.empty((len(orders), 2))
    cut = loop(run_quick_cuts)
    cut(orders, *after, costs, transfers / 2, cuts, min(num_stages, orders.shape[1]))
    return cuts


def run_quick_cuts(
    orders: Ints,
    offsets: Ints,
    readers: Ints,
    costs: Floats,
    sent: Floats,
    cuts: Floats,
    num_stages: int,
) -> None:
    """See `quick_cuts`; `sent` is the half of `transfers`. A loop for `_loops.loop`."""
    for order, cut in zip(orders, cuts, strict=True):
        cut[:] = _quick_cut(order, offsets, readers, costs, sent, num_stages)


# One long function, in step with its twin.
def _quick_cut(  # noqa: PLR0915
    order: Ints, offsets: Ints, readers: Ints, costs: Floats, sent: Floats, num_stages: int
) -> tuple[float, float]:
    num_ops = len(order)
    place = np.empty(num_ops, np.int64)
    sums = np.zeros(num_ops + 1)
    largest, most_sent = 0.0, 0.0
    for step in range(num_ops):
        op = order[step]
        place[op] = step
        sums[step + 1] = sums[step] + costs[op]
        largest = max(largest, sums[step + 1] - sums[step])
        most_sent = max(most_sent, sent[op])

    # Borders of intervals, the heaviest of which is as light as can be, up to rounding.
    best, cut = np.zeros(num_stages + 1, np.int64), np.zeros(num_stages + 1, np.int64)
    best[num_stages] = cut[num_stages] = num_ops
    for stage in range(num_stages):
        best[stage] = stage
    low, high = max(sums[num_ops] / num_stages, largest), sums[num_ops]
    for bisection in range(_BISECTIONS + 1):
        middle = low if bisection == 0 else (low + high) / 2
        limit = middle * (1 + 1e-9)
        for stage in range(1, num_stages):
            start = cut[stage - 1]
            # The last border that the limit allows, by bisection.
            stop, above = start, num_ops + 1
            while stop + 1 < above:
                border = (stop + above) // 2
                if sums[border] <= sums[start] + limit:
                    stop = border
                else:
                    above = border
            cut[stage] = min(max(stop, start + 1), num_ops - num_stages + stage)
        if sums[num_ops] - sums[cut[num_stages - 1]] <= limit:
            for stage in range(num_stages):
                best[stage] = cut[stage]
            high = middle
            if bisection == 0:
                break
        elif bisection > 0:
            low = middle
    heaviest = 0.0
    for stage in range(num_stages):
        heaviest = max(heaviest, sums[best[stage + 1]] - sums[best[stage]])
    if most_sent == 0:
        return heaviest, heaviest

    # What crosses each border: made before it and read after it.
    gone, crossing = np.zeros(num_ops + 1), np.zeros(num_ops + 1)
    for step in range(num_ops):
        op, last = order[step], step
        for row in range(offsets[op], offsets[op + 1]):
            last = max(last, place[readers[row]])
        gone[last + 1] += sent[op]
    made = left = most_crossing = 0.0
    for border in range(num_ops + 1):
        if border > 0:
            made += sent[order[border - 1]]
        left += gone[border]
        crossing[border] = made - left
    least = np.inf
    ends, starts = np.empty(num_ops + 1), np.empty(num_ops + 1)
    stage_of = np.empty(num_ops, np.int64)
    leaving, entering = np.empty(num_stages), np.empty(num_stages)
    entered = np.empty(num_stages, np.int64)
    for number in range(len(_SHARES_READ) + 1):
        if number > 0:
            # The same limit for all, with what crosses both borders: not all is read in between.
            most_crossing = -np.inf
            for border in range(num_ops + 1):
                part = _SHARES_READ[number - 1] * crossing[border]
                ends[border], starts[border] = sums[border] + part, sums[border] - part
                most_crossing = max(most_crossing, part)
            for stage in range(num_stages):
                best[stage] = stage
            low, high = heaviest, heaviest + 2 * most_crossing
            for _ in range(_CROSSING_BISECTIONS):
                middle = (low + high) / 2
                fits = True
                for stage in range(1, num_stages):
                    limit = starts[cut[stage - 1]] + middle
                    # Not the furthest border, but the one from which the next can be furthest.
                    chosen, reach = -1, -np.inf
                    for border in range(cut[stage - 1] + 1, num_ops - num_stages + stage + 1):
                        if sums[border] > limit:
                            break
                        if ends[border] <= limit and starts[border] > reach:
                            chosen, reach = border, starts[border]
                    if chosen < 0:
                        fits = False
                        break
                    cut[stage] = chosen
                if fits and ends[num_ops] <= starts[cut[num_stages - 1]] + middle:
                    for stage in range(num_stages):
                        best[stage] = cut[stage]
                    high = middle
                else:
                    low = middle
        # The cost of the heaviest stage of the cut.
        for stage in range(num_stages):
            leaving[stage] = entering[stage] = 0.0
            entered[stage] = -1
            for step in range(best[stage], best[stage + 1]):
                stage_of[step] = stage
        for step in range(num_ops):
            op, leaves = order[step], False
            for row in range(offsets[op], offsets[op + 1]):
                stage = stage_of[place[readers[row]]]
                if stage != stage_of[step] and entered[stage] != step:
                    entered[stage] = step
                    entering[stage] += sent[op]
                    leaves = True
            if leaves:
                leaving[stage_of[step]] += sent[op]
        dearest = 0.0
        for stage in range(num_stages):
            load = sums[best[stage + 1]] - sums[best[stage]] + leaving[stage] + entering[stage]
            dearest = max(dearest, load)
        least = min(least, dearest)
    return heaviest, least
