"""What the stage that holds a certain item costs at least, as the capacity of a cut of a network.

Whatever else the stage holds, it costs its items, and the tensors that enter and leave it. The
cheapest set with an item in it is a minimum cut; that no path may leave a stage and come back is
left out. Where there are many stages, this is what the dearest of them costs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from respect_tf.scheduling._answers import stage_sums
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._least_cut import MOST_CLOSED, Network
from respect_tf.scheduling._problem import Floats, Problem

# Sets that are looked for, the dearest items first: each takes a flow, some milliseconds.
_MOST_SETS = 64

_MOST_CAPACITY = 1 << 30


def item_bound(problem: Problem, low: float) -> float:
    """What no schedule costs less than, for linear costs of which the largest counts.

    What does not raise a lower bound is not looked for.
    """
    if problem.num_items > MOST_CLOSED or problem.combine != "max":
        return low
    # What each item costs as a stage of its own.
    apart = dataclasses.replace(problem, num_stages=problem.num_items)
    alone: Floats = problem.cost(*stage_sums(apart, np.arange(problem.num_items)))
    least: Callable[[int], float] | None = None
    for item in np.argsort(-alone, kind="stable")[:_MOST_SETS].tolist():
        if alone[item] <= low:
            break
        least = least or _cheapest_sets(problem, float(alone.max()))
        low = max(low, least(item))
    return low


def _cheapest_sets(problem: Problem, limit: float) -> Callable[[int], float]:
    """What the cheapest set costs at least that holds an item, where that is within a limit.

    The network is one of items, both ends, and two nodes for each tensor: some item reads it, all
    do.
    """
    num_items, num_tensors = problem.num_items, len(problem.tensor_bytes)
    linear, sizes = problem.linear, problem.tensor_bytes
    source, sink = num_items, num_items + 1
    some = num_items + 2 + np.arange(num_tensors)
    every = some + num_tensors
    makers, readers = problem.tensor_items, problem.reader_items
    tensors = np.repeat(np.arange(num_tensors), np.diff(problem.reader_offsets))
    leaves = np.flatnonzero(problem.tensor_leaves)
    read = problem.tensor_leaves[tensors]
    items = np.arange(num_items)
    arcs: list[tuple[Ints, Ints, Floats | float]] = [
        (items, np.full(num_items, sink), problem.weights),
        (readers, some[tensors], np.inf),
        (some, np.where(makers >= 0, makers, sink), float(linear.enter) * sizes),
        (makers[leaves], every[leaves], float(linear.leave) * sizes[leaves]),
        (every[tensors[read]], readers[read], np.inf),
        (np.full(num_items, source), items, 0.0),
    ]
    tails = np.concatenate([tails for tails, _, _ in arcs])
    heads = np.concatenate([heads for _, heads, _ in arcs])
    values = [np.broadcast_to(np.asarray(some, float), len(tails)) for tails, _, some in arcs]
    # Whole numbers: a flow is no more than what one item sends.
    unit = max(1.0 if problem.integral else 0.0, limit / _MOST_CAPACITY)
    capacities = np.minimum(np.concatenate(values) / unit, _MOST_CAPACITY)
    network = Network(num_items + 2 + 2 * num_tensors, tails, heads)
    rest = np.zeros(network.num_places, np.int32)
    rest[network.places] = np.floor(capacities)
    of_items = network.places[-num_items:]

    def least(item: int) -> float:
        capacities = rest.copy()
        capacities[of_items[item]] = _MOST_CAPACITY
        return network.least_cut(capacities, source, sink)[0] * unit

    return least
