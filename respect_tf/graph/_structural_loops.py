"""The loops behind the structural orders.

They are for `respect_tf._loops.loop`: they run compiled, or as they are.
"""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Packed stages hold this much more than an equal share: few of them come out even.
_MORE_ROOM = 1.05


def run_depth_first(offsets: Ints, readers: Ints, waiting: Ints) -> Ints:
    """See `depth_first`; `waiting` is used up."""
    num_nodes = len(waiting)
    ready, order = np.empty(num_nodes, np.int64), np.empty(num_nodes, np.int64)
    count = 0
    for node in range(num_nodes - 1, -1, -1):
        if waiting[node] == 0:
            ready[count] = node
            count += 1
    for place in range(num_nodes):
        count -= 1
        node = ready[count]
        order[place] = node
        for row in range(offsets[node + 1] - 1, offsets[node] - 1, -1):
            reader = readers[row]
            waiting[reader] -= 1
            if waiting[reader] == 0:
                ready[count] = reader
                count += 1
    return order


def run_ready_orders(
    offsets: Ints, readers: Ints, waiting: Ints, keys: Floats, orders: Ints
) -> None:
    """See `ready_orders`."""
    num_nodes = len(waiting)
    for number in range(len(keys)):
        left = waiting.copy()
        heap = [(0.0, 0)]
        heap.pop()
        for node in range(num_nodes):
            if left[node] == 0:
                heapq.heappush(heap, (keys[number, node], node))
        for place in range(num_nodes):
            _, node = heapq.heappop(heap)
            orders[number, place] = node
            for row in range(offsets[node], offsets[node + 1]):
                reader = readers[row]
                left[reader] -= 1
                if left[reader] == 0:
                    heapq.heappush(heap, (keys[number, reader], reader))


def run_longest_paths(offsets: Ints, nodes: Ints, weights: Floats, backward: bool) -> Floats:
    """See `longest_paths`."""
    num_nodes = len(weights)
    longest = np.zeros(num_nodes)
    for step in range(num_nodes):
        node = num_nodes - 1 - step if backward else step
        for row in range(offsets[node], offsets[node + 1]):
            other = nodes[row]
            longest[node] = max(longest[node], longest[other] + weights[other])
    return longest


def run_least_live(
    after_offsets: Ints,
    after: Ints,
    waiting: Ints,
    growth: Floats,
    sizes: Floats,
    reader_offsets: Ints,
    readers: Ints,
    read_offsets: Ints,
    read: Ints,
) -> Ints:
    """See `least_live`; `waiting` and `growth` are used up."""
    num_nodes = len(waiting)
    unread = reader_offsets[1:] - reader_offsets[:-1]
    heap = [(0.0, 0)]
    heap.pop()
    for node in range(num_nodes):
        if waiting[node] == 0:
            heapq.heappush(heap, (growth[node], node))
    done = np.zeros(num_nodes, np.bool_)
    order = np.empty(num_nodes, np.int64)
    place = 0
    while len(heap) > 0:
        known, node = heapq.heappop(heap)
        if done[node] or known != growth[node]:
            continue
        done[node] = True
        order[place] = node
        place += 1
        for row in range(read_offsets[node], read_offsets[node + 1]):
            tensor = read[row]
            unread[tensor] -= 1
            if unread[tensor] == 1:
                first = reader_offsets[tensor]
                while done[readers[first]]:
                    first += 1
                last = readers[first]
                growth[last] -= sizes[tensor]
                if waiting[last] == 0:
                    heapq.heappush(heap, (growth[last], last))
        for row in range(after_offsets[node], after_offsets[node + 1]):
            reader = after[row]
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heapq.heappush(heap, (growth[reader], reader))
    return order


def run_packed(
    offsets: Ints,
    readers: Ints,
    waiting: Ints,
    orders: Ints,
    costs: Floats,
    num_stages: int,
    packed: Ints,
) -> None:
    """Fill stage after stage with the first op of an order that is ready and fits.

    List scheduling (Graham 1969) where the time of an op is when its stage is full enough.

    Args:
        offsets: This and the next one are the ops that read from each op.
        readers: See there.
        waiting: int64 [num_ops], how many ops each op reads from.
        orders: int64 [num_orders, num_ops], topological orders.
        costs: float64 [num_ops].
        num_stages: How many stages there are.
        packed: int64 [num_orders, num_ops], the orders that result.
    """
    num_ops = len(costs)
    total, largest = 0.0, 0.0
    for op in range(num_ops):
        total += costs[op]
        largest = max(largest, costs[op])
    rank, held = np.empty(num_ops, np.int64), np.empty(num_ops, np.int64)
    for number in range(len(orders)):
        order, missing = orders[number], waiting.copy()
        for place in range(num_ops):
            rank[order[place]] = place
        heap = [0]
        heap.pop()
        for op in range(num_ops):
            if missing[op] == 0:
                heapq.heappush(heap, rank[op])
        left, stages_left, num_held, filled = total, num_stages, 0, 0.0
        room = _MORE_ROOM * max(left / num_stages, largest)
        done = 0
        while done < num_ops:
            if len(heap) == 0:
                for row in range(num_held):
                    heapq.heappush(heap, held[row])
                num_held, filled = 0, 0.0
                stages_left -= 1
                room = _MORE_ROOM * max(left / max(stages_left, 1), largest)
            place = heapq.heappop(heap)
            op = order[place]
            if filled > 0 and filled + costs[op] > room and stages_left > 1:
                held[num_held] = place
                num_held += 1
                continue
            filled += costs[op]
            left -= costs[op]
            packed[number, done] = op
            done += 1
            for row in range(offsets[op], offsets[op + 1]):
                reader = readers[row]
                missing[reader] -= 1
                if missing[reader] == 0:
                    heapq.heappush(heap, rank[reader])
