"""Topological orders that follow from a graph's structure alone, each in O(N log N)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf._loops.twins import loop
from respect_tf.graph import (
    Rows,
    depth_first,
    growths,
    least_live,
    longest_paths,
    ready_orders,
    rows_of,
)
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Floats, Problem


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
    order: Ints = ready_orders(problem.links.after, problem.links.waiting, values[None])[0]
    return order


def _file(problem: Problem) -> Ints:
    return np.arange(problem.num_items)


def _depth_first(problem: Problem) -> Ints:
    return depth_first(problem.links.after, problem.links.waiting)


def _depth_first_backward(problem: Problem) -> Ints:
    """Of several inputs, the first one first: unlike the "backward" order of the network."""
    last, (makers, readers) = problem.num_items - 1, problem.edges.T
    mirrored = rows_of(last - readers, last - makers, problem.num_items)
    return last - depth_first(mirrored, problem.links.unread[::-1])[::-1]


def _breadth_first(problem: Problem) -> Ints:
    links = problem.links
    order: Ints = loop(run_breadth_first)(*links.after, links.waiting.copy())
    return order


def _levels(problem: Problem) -> Ints:
    return np.argsort(longest_paths(problem.links.before), kind="stable")


def _late_levels(problem: Problem) -> Ints:
    return np.argsort(-longest_paths(problem.links.after, backward=True), kind="stable")


def _critical_path(problem: Problem) -> Ints:
    links, weights = problem.links, problem.weights
    before = longest_paths(links.before, weights)
    after = longest_paths(links.after, weights, backward=True)
    return priority_order(problem, _share(before, after, weights))


def _mass(problem: Problem) -> Ints:
    """Each item hands its weight, and what it was handed, on to its readers in equal parts.

    A stand-in for the weight of all ancestors and descendants, which takes no closure.
    """
    links, weights = problem.links, problem.weights
    hand_on = loop(run_handed_on)
    handed = hand_on(*links.before, links.unread, weights, False)
    handed_back = hand_on(*links.after, links.waiting, weights, True)
    return priority_order(problem, _share(handed, handed_back, weights))


def _least_live(problem: Problem) -> Ints:
    """By tensors, of which an item may make several, or none that others read."""
    sizes, makers = problem.tensor_bytes, problem.tensor_items
    readers = Rows(problem.reader_offsets, problem.reader_items)
    inner = makers >= 0
    made = np.bincount(makers[inner], sizes[inner], problem.num_items).astype(np.float64)
    tensors = np.repeat(np.arange(len(sizes)), readers.counts)
    read = rows_of(readers.nodes, tensors, problem.num_items)
    return least_live(problem.links, growths(made, sizes, readers), sizes, readers, read)


def run_breadth_first(offsets: Ints, readers: Ints, waiting: Ints) -> Ints:
    """What became ready first comes first; `waiting` is used up. A loop for `_loops.loop`."""
    num_nodes = len(waiting)
    order = np.empty(num_nodes, np.int64)
    count = 0
    for node in range(num_nodes):
        if waiting[node] == 0:
            order[count] = node
            count += 1
    for place in range(num_nodes):
        node = order[place]
        for row in range(offsets[node], offsets[node + 1]):
            reader = readers[row]
            waiting[reader] -= 1
            if waiting[reader] == 0:
                order[count] = reader
                count += 1
    return order


def run_handed_on(
    offsets: Ints, nodes: Ints, counts: Ints, weights: Floats, backward: bool
) -> Floats:
    """What nodes are handed by those in their rows, each of which splits it into equal parts.

    A loop for `_loops.loop`.

    Args:
        offsets: This and the next one are `Rows`.
        nodes: See there.
        counts: int64 [num_nodes], into how many parts each node splits what it has.
        weights: float64 [num_nodes].
        backward: Whether the rows list nodes with larger numbers.

    Returns:
        float64 [num_nodes].
    """
    num_nodes = len(weights)
    handed = np.zeros(num_nodes)
    for step in range(num_nodes):
        node = num_nodes - 1 - step if backward else step
        for row in range(offsets[node], offsets[node + 1]):
            other = nodes[row]
            handed[node] += (handed[other] + weights[other]) / counts[other]
    return handed


def _share(before: Floats, after: Floats, weights: Floats) -> Floats:
    """Where the middle of an item lies between the beginning, 0, and the end, 1."""
    total = before + after + weights
    middle, half = before + weights / 2, np.full(len(total), 0.5)
    share: Floats = np.divide(middle, total, out=half, where=total > 0)
    return share


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
