"""Topological orders from priorities, in O((N + E) log N): the greedy one, and random ones."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from respect_tf.graph import OpGraph

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Priorities are kept within this distance of 0, so that no op is ever ruled out.
CLIP = 10.0


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
    edges = graph.edges.astype(np.int64)  # sorted by maker
    counts = np.bincount(edges[:, 0], minlength=graph.num_ops)
    return Successors(
        np.concatenate([[0], np.cumsum(counts)]),
        np.ascontiguousarray(edges[:, 1]),
        np.bincount(edges[:, 1], minlength=graph.num_ops),
    )


def run_race(
    offsets: Ints, readers: Ints, waiting: Ints, priorities: Floats, draws: Floats
) -> tuple[Ints, Ints]:
    """Draw an order from the Plackett-Luce distribution over the ready ops, or take its mode.

    An op that becomes ready at some time finishes after an exponential time with the rate
    exp(priority), and ops are listed as they finish. Since exponential times have no memory, the
    next op is each of those that are ready with a probability proportional to its rate.

    Plain Python that numba can compile; `compiled_race` does.

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
    now = 0.0
    is_random = len(draws) > 0
    for op in range(num_ops):
        if left[op] == 0:
            key = draws[op] * np.exp(-priorities[op]) if is_random else -priorities[op]
            heapq.heappush(heap, (key, op))
    for place in range(num_ops):
        now, op = heapq.heappop(heap)
        order[place] = op
        for row in range(offsets[op], offsets[op + 1]):
            reader = readers[row]
            left[reader] -= 1
            if left[reader] == 0:
                ready_at[reader] = place + 1
                key = -priorities[reader]
                if is_random:
                    key = now + draws[reader] * np.exp(-priorities[reader])
                heapq.heappush(heap, (key, reader))
    return order, ready_at


_compiled: list[Callable[..., tuple[Ints, Ints]]] = []


def compiled_race() -> Callable[..., tuple[Ints, Ints]]:
    """`run_race`, compiled; the first call takes a second where no compiled code is on disk."""
    if not _compiled:
        import numba

        compiled: Any
        try:
            compiled = numba.njit(cache=True)(run_race)
        except RuntimeError:  # no folder to keep compiled code in can be written to
            compiled = numba.njit(run_race)
        _compiled.append(compiled)
    return _compiled[0]


def greedy_order(successors: Successors, priorities: npt.ArrayLike) -> Ints:
    """The order in which the ready op of the highest priority comes next. int64 [num_ops]."""
    keys = np.asarray(priorities, np.float64)
    order, _ = run_race(*successors, keys, np.empty(0))
    return order


def sample_orders(
    successors: Successors, priorities: npt.ArrayLike, num_samples: int, seed: int
) -> Ints:
    """Random orders. int64 [num_samples, num_ops]; the same seed gives the same ones."""
    keys = np.asarray(priorities, np.float64)
    draws = np.random.default_rng(seed).standard_exponential((num_samples, len(keys)))
    race = compiled_race()
    orders = np.empty(draws.shape, np.int64)
    for row in range(num_samples):
        orders[row] = race(*successors, keys, draws[row])[0]
    return orders
