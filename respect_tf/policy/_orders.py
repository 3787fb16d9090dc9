"""Topological orders that follow from a graph's structure alone, each in O(N log N)."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.schedule._fallback import depth_first
from respect_tf.schedule._items import Ints
from respect_tf.schedule._problem import Floats, Problem


def structural_order(problem: Problem, name: str) -> Ints:
    """One of `ORDER_NAMES`.

    * `"file"`: as the items are numbered, which is the file's order where it can be kept.
    * `"depth_first"`: follow each chain to its end. `"depth_first_backward"`: the same from the
      outputs on, so that what an item needs comes right before it.
    * `"breadth_first"`: what became ready first comes first.
    * `"levels"`: by the longest path, in items, from an item without predecessors.
    * `"late_levels"`: by the longest path to an item without successors, last ones last.
    * `"mass"`: by the weight that flows into an item against the weight that flows out of it.
    * `"critical_path"`: by the heaviest path to an item against the heaviest path from it.
    * `"least_live"`: next the ready item after which fewest bytes wait for readers.

    Args:
        problem: The problem.
        name: The name of the order.

    Returns:
        int64 [num_items], a topological order. Ties are broken by item number.

    Raises:
        ArgumentError: No order has that name.
    """
    make = _ORDERS.get(name)
    if make is None:
        raise ArgumentError(
            f"Unknown order. Expected one of {', '.join(map(repr, ORDER_NAMES))}. "
            f"Received: {name!r}."
        )
    return make(problem)


def structural_orders(problem: Problem) -> dict[str, Ints]:
    """All of `ORDER_NAMES`, without those that equal one before them. Each int64 [num_items]."""
    orders: dict[str, Ints] = {}
    seen: set[bytes] = set()
    for name in ORDER_NAMES:
        order = structural_order(problem, name)
        if order.tobytes() not in seen:
            seen.add(order.tobytes())
            orders[name] = order
    return orders


def priority_order(problem: Problem, priorities: npt.ArrayLike) -> Ints:
    """The topological order that always takes the ready item of least priority next.

    Args:
        problem: The problem.
        priorities: Numbers, not NaN [num_items]. Ties are broken by item number.

    Returns:
        int64 [num_items].

    Raises:
        ArgumentError: Their shape is another one, or one of them is NaN.
    """
    values = np.asarray(priorities, np.float64)
    if values.shape != (problem.num_items,) or np.isnan(values).any():
        raise ArgumentError(
            f"priorities must be numbers, not NaN, of the shape [{problem.num_items}]. "
            f"Received: {values.dtype} {list(values.shape)}, {int(np.isnan(values).sum())} NaN."
        )
    ranks = np.empty(len(values), np.int64)
    by_rank = np.lexsort((np.arange(len(values)), values))
    ranks[by_rank] = np.arange(len(values))
    rank, item_of = ranks.tolist(), by_rank.tolist()
    successors, waiting = _successors(problem), _num_predecessors(problem)
    ready = [rank[item] for item in range(len(rank)) if not waiting[item]]
    heapq.heapify(ready)
    order = []
    while ready:
        item = item_of[heapq.heappop(ready)]
        order.append(item)
        for after in successors[item]:
            waiting[after] -= 1
            if not waiting[after]:
                heapq.heappush(ready, rank[after])
    return np.array(order, np.int64)


def _file(problem: Problem) -> Ints:
    return np.arange(problem.num_items)


def _depth_first(problem: Problem) -> Ints:
    return depth_first(_successors(problem), _num_predecessors(problem))


def _depth_first_backward(problem: Problem) -> Ints:
    last = problem.num_items - 1
    mirrored = [[last - item for item in row] for row in reversed(problem.predecessors)]
    waiting = [len(row) for row in reversed(_successors(problem))]
    return last - depth_first(mirrored, waiting)[::-1]


def _breadth_first(problem: Problem) -> Ints:
    successors, waiting = _successors(problem), _num_predecessors(problem)
    order = [item for item in range(problem.num_items) if not waiting[item]]
    for item in order:  # grows while it is read
        for after in successors[item]:
            waiting[after] -= 1
            if not waiting[after]:
                order.append(after)
    return np.array(order, np.int64)


def _levels(problem: Problem) -> Ints:
    return np.argsort(_longest_paths(problem.predecessors), kind="stable")


def _late_levels(problem: Problem) -> Ints:
    return np.argsort(-_paths_to_end(problem, None), kind="stable")


def _critical_path(problem: Problem) -> Ints:
    weights = problem.weights
    before = _longest_paths(problem.predecessors, weights)  # up to the item, without it
    after = _paths_to_end(problem, weights)
    return priority_order(problem, _share(before, after, weights))


def _mass(problem: Problem) -> Ints:
    """Each item hands its weight, and what it was handed, on to its readers in equal parts.

    A stand-in for the weight of all ancestors and descendants, which takes no closure.
    """
    successors, weights = _successors(problem), problem.weights
    before = _handed_on(problem.predecessors, [len(row) for row in successors], weights)
    last = problem.num_items - 1
    mirrored = [[last - item for item in row] for row in reversed(successors)]
    counts = [len(row) for row in reversed(problem.predecessors)]
    after = _handed_on(mirrored, counts, weights[::-1])[::-1]
    return priority_order(problem, _share(before, after, weights))


def _least_live(problem: Problem) -> Ints:
    """Kahn's algorithm; an item's priority falls when it becomes the last reader of a tensor."""
    sizes = problem.tensor_bytes.tolist()
    offsets, readers = problem.reader_offsets.tolist(), problem.reader_items.tolist()
    unread = [offsets[tensor + 1] - offsets[tensor] for tensor in range(len(sizes))]
    read: list[list[int]] = [[] for _ in range(problem.num_items)]
    growth = [0.0] * problem.num_items  # bytes that start to wait less bytes that no longer do
    for tensor, maker in enumerate(problem.tensor_items.tolist()):
        row = readers[offsets[tensor] : offsets[tensor + 1]]
        for item in row:
            read[item].append(tensor)
        if maker >= 0:
            growth[maker] += sizes[tensor]
        if len(row) == 1:
            growth[row[0]] -= sizes[tensor]
    successors, waiting = _successors(problem), _num_predecessors(problem)
    ready = [(growth[item], item) for item in range(problem.num_items) if not waiting[item]]
    heapq.heapify(ready)
    done = [False] * problem.num_items
    order = []
    while ready:
        known, item = heapq.heappop(ready)
        if done[item] or known != growth[item]:
            continue
        done[item] = True
        order.append(item)
        for tensor in read[item]:
            unread[tensor] -= 1
            if unread[tensor] == 1:
                row = readers[offsets[tensor] : offsets[tensor + 1]]
                last = next(other for other in row if not done[other])
                growth[last] -= sizes[tensor]
                if not waiting[last]:
                    heapq.heappush(ready, (growth[last], last))
        for after in successors[item]:
            waiting[after] -= 1
            if not waiting[after]:
                heapq.heappush(ready, (growth[after], after))
    return np.array(order, np.int64)


def _successors(problem: Problem) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in range(problem.num_items)]
    for before, after in problem.edges.tolist():
        rows[before].append(after)
    return rows


def _num_predecessors(problem: Problem) -> list[int]:
    return [len(row) for row in problem.predecessors]


def _longest_paths(predecessors: Sequence[list[int]], weights: Floats | None = None) -> Floats:
    """The heaviest path to each item, itself left out; weights are 1 where none are given."""
    weight = [1.0] * len(predecessors) if weights is None else weights.tolist()
    longest = [0.0] * len(predecessors)
    for item, row in enumerate(predecessors):
        longest[item] = max((longest[other] + weight[other] for other in row), default=0.0)
    return np.array(longest)


def _paths_to_end(problem: Problem, weights: Floats | None) -> Floats:
    last = problem.num_items - 1
    mirrored = [[last - item for item in row] for row in reversed(_successors(problem))]
    return _longest_paths(mirrored, None if weights is None else weights[::-1])[::-1]


def _handed_on(predecessors: Sequence[list[int]], counts: list[int], weights: Floats) -> Floats:
    """What items are handed by those before them, each of which splits it among its readers."""
    weight = weights.tolist()
    handed = [0.0] * len(predecessors)
    for item, row in enumerate(predecessors):
        handed[item] = sum((handed[other] + weight[other]) / counts[other] for other in row)
    return np.array(handed)


def _share(before: Floats, after: Floats, weights: Floats) -> Floats:
    """Where the middle of an item lies between the beginning, 0, and the end, 1."""
    total = before + after + weights
    return np.divide(before + weights / 2, total, out=np.full(len(total), 0.5), where=total > 0)


_ORDERS: dict[str, Callable[[Problem], Ints]] = {
    "file": _file,
    "depth_first": _depth_first,
    "depth_first_backward": _depth_first_backward,
    "breadth_first": _breadth_first,
    "levels": _levels,
    "late_levels": _late_levels,
    "mass": _mass,
    "critical_path": _critical_path,
    "least_live": _least_live,
}

ORDER_NAMES: tuple[str, ...] = tuple(_ORDERS)
"""What `structural_order` can make."""
