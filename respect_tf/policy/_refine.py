"""Orders near the best one so far: noise, always the same, around what the network proposes."""

from __future__ import annotations

import functools
import math

import numpy as np

from respect_tf._loops.twins import compiled
from respect_tf.graph import Floats, GraphFeatures, Ints, quick_cuts

# How far noise moves an op, as a part of the whole order, and below which normally distributed draw
# it moves one at all: one op in six. Chosen on 144 random and 112 structured graphs of other seeds
# than those of training and of the tables: 32 orders after the network's leave 36 % and 48 % of the
# rule's gap, and 42 % and 56 % where all ops move, by a tenth.
# benchmarks constants: _BLUR half -0.03 % cost, -0.06 % gap; twice -0.01 % cost. _MOVES_BELOW half
#   +0.02 % cost; twice +0.01 % cost.
_BLUR, _MOVES_BELOW = 0.25, -1.0
# Draws, a power of two of them.
# benchmarks constants: half +0.05 % cost, +0.08 % gap; twice +0.10 % crossing bytes.
_NUM_DRAWS = 1 << 14
# Of larger graphs the given orders would take all of the work below, and the last ones would not be
# cut at all: on 10,000 ops in towers, 1.7 % dearer, and up to 120 ms more.
# benchmarks constants: half the same; twice 1.13 times the time.
_MOST_OPS = 3000
# How many orders are tried, and after how many intervals, of all cuts together, no more of them:
# that is some 2 ms. Of 128, 256 and 400 orders, 25, 19 and 17 % of the rule's gap are left on 144
# random graphs of 30 to 100 ops (43 % of structured ones, where the intervals end it), in 1.6, 2.1
# and 2.4 ms a graph; of 100,000 to 400,000 intervals, 200,000 keep 500 ops below 5 ms.
# benchmarks constants: half +0.00 % cost; twice the same.
MORE_ORDERS = 384
# benchmarks constants: half +0.00 % cost; twice -0.45 % crossing bytes.
_MOST_WORK = 200_000


def refined_orders(
    features: GraphFeatures,
    given: Ints,
    num_stages: int,
    more: int = MORE_ORDERS,
    most_work: int = _MOST_WORK,
) -> tuple[Ints, Floats]:
    """Cut orders, the structural ones, and more of them, each near the best one before it.

    Args:
        features: The graph.
        given: int64 [num_given, num_ops], topological orders.
        num_stages: Number of stages.
        more: How many more at most.
        most_work: After so many intervals of cuts, and 4 for each op of an order that was tried,
            no more is.

    Returns:
        int64 [num_orders, num_ops], topological orders, the given ones first, and what the best
        cut of each costs, float64 [num_orders], infinite unless it is less than all before it. Of
        large graphs, without a compiler, and where all orders are the same, these are the given
        ones alone, and their quick cuts.
    """
    num_ops = given.shape[1]
    links = features.links
    num_stages = min(num_stages, num_ops)
    refine = compiled("refine") if num_ops <= _MOST_OPS else None
    if refine is not None:
        different = (features.orders != given[0]).any(axis=1)
        given = np.concatenate([given, features.orders[different]])
    is_cut = refine is not None and bool((given != given[0]).any())
    quick = quick_cuts(
        given[:1] if is_cut else given,
        links.after,
        features.costs,
        features.transfers,
        num_stages,
    )
    if refine is None or not is_cut:
        return given, quick[:, 1]
    # Those that are never tried are the first one again.
    orders = np.concatenate([given, np.broadcast_to(given[0], (more, num_ops))])
    costs = np.empty(len(orders))
    refine(
        *links.after,
        *links.before,
        links.waiting,
        features.costs,
        features.transfers / 2,
        _draws(),
        orders,
        costs,
        num_stages,
        len(given),
        quick[0, 1] * (1 + 1e-9),
        _BLUR * num_ops,
        _MOVES_BELOW,
        most_work,
    )
    return orders, costs


@functools.cache
def _draws() -> Floats:
    """About normally distributed numbers, the same with every version of numpy (NEP 19)."""
    bits = np.random.PCG64(0).random_raw(_NUM_DRAWS)
    parts = [(bits >> np.uint64(16 * part)) & np.uint64(0xFFFF) for part in range(4)]
    summed: Floats = np.asarray(np.sum(parts, axis=0), np.float64)
    return (summed / 2**16 - 2) * math.sqrt(3)
