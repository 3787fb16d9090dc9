"""Topological orders from priorities, in O((N + E) log N): the greedy one, and random ones."""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from respect_tf._compiled import compiled_once, loop
from respect_tf.graph import OpGraph
from respect_tf.graph._structural import links_of

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_HEAP_STEPS = 4  # what a heap takes for an op, in steps of other loops


class Successors(NamedTuple):
    """The edges of a graph, as compressed rows.

    Attributes:
        offsets: int64 [num_ops + 1], rows of `readers`.
        readers: int64 [num_edges].
        waiting: int64 [num_ops], number of ops that each op reads from.
    """

    offsets: Ints
    readers: Ints
    waiting: Ints


def successors_of(graph: OpGraph) -> Successors:
    """The edges of a graph."""
    links = links_of(graph.edges, graph.num_ops)
    return Successors(*links.after, links.waiting)


def run_race(
    offsets: Ints, readers: Ints, waiting: Ints, priorities: Floats, draws: Floats
) -> tuple[Ints, Ints]:
    """Draw an order from the Plackett-Luce distribution over the ready ops, or take its mode.

    An op that becomes ready at some time finishes after an exponential time with the rate
    exp(priority), and ops are listed as they finish. Since exponential times have no memory, the
    next op is each of those that are ready with a probability proportional to its rate. Times are
    kept as logarithms, so that no rate is too large or too small.

    A loop for `respect_tf._compiled`: it runs compiled, or as it is.

    Args:
        offsets: This and the next two are `Successors`.
        readers: See there.
        waiting: See there.
        priorities: float64 [num_ops].
        draws: float64 [num_ops], standard exponential; empty for the greedy order, in which the
            ready op of the highest priority comes next, and the first of equals.

    Returns:
        int64 [num_ops], the ops in order, and int64 [num_ops], how many ops came before each one
        was ready.
    """
    num_ops = len(waiting)
    left = waiting.copy()
    order = np.empty(num_ops, np.int64)
    ready_at = np.zeros(num_ops, np.int64)
    heap = [(0.0, 0)]
    heap.pop()
    keys = -priorities
    is_random = len(draws) > 0
    if is_random:
        keys += np.log(np.maximum(draws, 1e-300))
    for op in range(num_ops):
        if left[op] == 0:
            heapq.heappush(heap, (keys[op], op))
    for place in range(num_ops):
        now, op = heapq.heappop(heap)
        order[place] = op
        for row in range(offsets[op], offsets[op + 1]):
            reader = readers[row]
            left[reader] -= 1
            if left[reader] == 0:
                ready_at[reader] = place + 1
                key = keys[reader]
                if is_random:
                    key = np.logaddexp(now, key)
                heapq.heappush(heap, (key, reader))
    return order, ready_at


def score_order(
    offsets: Ints, readers: Ints, waiting: Ints, priorities: Floats, order: Ints
) -> Floats:
    """The gradient of the logarithm of an order's probability by the priorities.

    The chosen op's is 1 less its probability among the ready ones, at each step; theirs are less
    by their probabilities. A loop for `respect_tf._compiled`, like `run_race`.

    Args:
        offsets: This and the next two are `Successors`.
        readers: See there.
        waiting: See there.
        priorities: float64 [num_ops].
        order: int64 [num_ops], a topological order.

    Returns:
        float64 [num_ops].
    """
    num_ops = len(waiting)
    left = waiting.copy()
    ready = np.empty(num_ops, np.int64)
    place = np.empty(num_ops, np.int64)
    rates = np.empty(num_ops)
    score = np.ones(num_ops)
    count = 0
    for op in range(num_ops):
        if left[op] == 0:
            ready[count], place[op] = op, count
            count += 1
    for step in range(num_ops):
        largest = priorities[ready[0]]
        for row in range(1, count):
            largest = max(largest, priorities[ready[row]])
        total = 0.0
        for row in range(count):
            rates[row] = np.exp(priorities[ready[row]] - largest)
            total += rates[row]
        for row in range(count):
            score[ready[row]] -= rates[row] / total
        op = order[step]
        count -= 1
        ready[place[op]], place[ready[count]] = ready[count], place[op]
        for row in range(offsets[op], offsets[op + 1]):
            reader = readers[row]
            left[reader] -= 1
            if left[reader] == 0:
                ready[count], place[reader] = reader, count
                count += 1
    return score


def greedy_order(successors: Successors, priorities: npt.ArrayLike) -> Ints:
    """The order in which the ready op of the highest priority comes next. int64 [num_ops]."""
    keys = np.asarray(priorities, np.float64)
    race = loop(run_race, len(successors.readers) + _HEAP_STEPS * len(keys))
    order: Ints = race(*successors, keys, np.empty(0))[0]
    return order


def sample_orders(
    successors: Successors, priorities: npt.ArrayLike, num_samples: int, seed: int
) -> Ints:
    """Random orders; the same seed gives the same ones.

    Args:
        successors: The graph.
        priorities: float64 [num_ops], or [num_samples, num_ops] with those of each sample.
        num_samples: How many.
        seed: 0 or more.

    Returns:
        int64 [num_samples, num_ops].
    """
    shape = (num_samples, len(successors.waiting))
    keys = np.broadcast_to(np.asarray(priorities, np.float64), shape).copy()
    draws = np.random.default_rng(seed).standard_exponential(shape)
    race = compiled_once(run_race)  # plain Python would round logarithms in another way
    orders = np.empty(shape, np.int64)
    for row in range(num_samples):
        orders[row] = race(*successors, keys[row], draws[row])[0]
    return orders
