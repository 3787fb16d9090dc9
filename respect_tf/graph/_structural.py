"""Topological orders that follow from structure and costs: what the network starts from.

In plain Python on lists of rows, because a graph of some hundred ops is done before anything
compiled is loaded. Ops are numbered in a topological order here.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

Rows = list[list[int]]

ORDERS = (
    "file",  # as the ops are numbered
    "depth_first",  # each chain to its end
    "backward",  # depth first from the outputs on: what an op needs comes right before it
    "least_live",  # next the ready op after which fewest bytes wait for their readers
    "late_levels",  # by the longest path to an output: as late as possible
    "file_packed",  # as "file", but what does not fit into the rest of a stage waits for the next
    "depth_first_packed",
    "levels_packed",  # by the longest path from an input: as soon as possible
    "late_levels_packed",
    "least_live_packed",
)

# Packed stages hold this much more than an equal share: few of them come out even.
_MORE_ROOM = 1.05


def structural_orders(
    before: Rows,
    after: Rows,
    costs: Sequence[float],
    num_bytes: Sequence[float],
    num_stages: int,
) -> tuple[list[int], ...]:
    """The orders that `ORDERS` names, each a list of all ops.

    Args:
        before: The ops that each op reads from; they have smaller numbers.
        after: The ops that read from each op.
        costs: What each op adds to the cost of its stage.
        num_bytes: What each op makes.
        num_stages: How many stages packed orders fill.
    """
    file = list(range(len(costs)))
    chains = depth_first(after)
    live = _least_live(before, after, num_bytes)
    level, height = levels(before), levels(after[::-1], mirrored=True)[::-1]
    early = sorted(file, key=level.__getitem__)
    late = sorted(file, key=lambda op: -height[op])
    mirrored = [[len(file) - 1 - maker for maker in row] for row in reversed(before)]
    backward = [len(file) - 1 - op for op in reversed(depth_first(mirrored))]
    packed: list[list[int]] = []
    orders = (file, chains, early, late, live)
    for number, order in enumerate(orders):
        # Networks without branches have one order only.
        same = orders.index(order)
        found = _packed(after, order, costs, num_stages) if same == number else packed[same]
        packed.append(found)
    return (file, chains, backward, live, late, *packed)


def levels(before: Rows, *, mirrored: bool = False) -> list[int]:
    """Edges of the longest path to each op.

    Args:
        before: The ops that each op reads from.
        mirrored: Whether these are numbered from the end of the list on.
    """
    last = len(before) - 1
    level = [0] * len(before)
    for op, row in enumerate(before):
        if row:
            makers = [last - maker for maker in row] if mirrored else row
            level[op] = 1 + max([level[maker] for maker in makers])
    return level


def depth_first(after: Rows) -> list[int]:
    """The topological order that goes on with the newest ready op, the first of several."""
    waiting = _waiting(after)
    ready = [op for op in reversed(range(len(after))) if not waiting[op]]
    order = []
    while ready:
        op = ready.pop()
        order.append(op)
        for reader in sorted(after[op], reverse=True):
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    return order


def _waiting(after: Rows) -> list[int]:
    waiting = [0] * len(after)
    for row in after:
        for reader in row:
            waiting[reader] += 1
    return waiting


def _least_live(before: Rows, after: Rows, num_bytes: Sequence[float]) -> list[int]:
    growth = list(num_bytes)  # bytes that start to wait less bytes that no longer do
    unread = [len(row) for row in after]
    done = [False] * len(after)
    for op, row in enumerate(after):
        if not row:
            growth[op] = 0
        elif len(row) == 1:
            growth[row[0]] -= num_bytes[op]
    waiting = _waiting(after)
    ready = [(growth[op], op) for op in range(len(after)) if not waiting[op]]
    heapq.heapify(ready)
    order = []
    while ready:
        known, op = heapq.heappop(ready)
        if done[op] or known != growth[op]:
            continue
        done[op] = True
        order.append(op)
        for maker in before[op]:
            unread[maker] -= 1
            if unread[maker] == 1:
                last = next(reader for reader in after[maker] if not done[reader])
                growth[last] -= num_bytes[maker]
                if not waiting[last]:
                    heapq.heappush(ready, (growth[last], last))
        for reader in after[op]:
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, (growth[reader], reader))
    return order


def _packed(
    after: Rows, order: Sequence[int], costs: Sequence[float], num_stages: int
) -> list[int]:
    """Fill stage after stage with the first op of an order that is ready and fits.

    List scheduling (Graham 1969) where the time of an op is when its stage is full enough.
    """
    rank = [0] * len(order)
    for place, op in enumerate(order):
        rank[op] = place
    waiting = _waiting(after)
    ready = [rank[op] for op in range(len(rank)) if not waiting[op]]
    heapq.heapify(ready)
    held: list[int] = []
    left, stages_left = float(sum(costs)), num_stages
    largest = max(costs)
    room, filled = _MORE_ROOM * max(left / num_stages, largest), 0.0
    packed = []
    while ready or held:
        if not ready:
            ready, held = held, []  # in the order in which a heap gave them, so a heap
            stages_left, filled = stages_left - 1, 0.0
            room = _MORE_ROOM * max(left / max(stages_left, 1), largest)
        place = heapq.heappop(ready)
        op = order[place]
        if filled > 0 and filled + costs[op] > room and stages_left > 1:
            held.append(place)
            continue
        filled += costs[op]
        left -= costs[op]
        packed.append(op)
        for reader in after[op]:
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, rank[reader])
    return packed
