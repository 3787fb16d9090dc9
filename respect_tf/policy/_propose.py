"""`propose()`: orders of the ops of a graph that the network expects to be worth cutting."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.graph import (
    GraphFeatures,
    Ints,
    OpGraph,
    graph_features,
    quick_cuts,
    ready_orders,
)
from respect_tf.policy._forward import Floats, head_inputs, trunk
from respect_tf.policy._refine import refined_orders
from respect_tf.policy._weights import Weights, load_weights

MOST_ORDERS = 8
"""How many orders `propose` returns at most."""

# Keys are whole numbers of this part of the whole order; the products behind them are exact.
_KEYS = 2.0**16


def propose(
    graph: OpGraph,
    num_stages: int,
    *,
    op_costs: npt.ArrayLike | None = None,
    transfer_cost: float = 0.0,
    weights: Weights | None = None,
    max_orders: int = MOST_ORDERS,
) -> npt.NDArray[np.int32]:
    """Propose topological orders, one of which should have a good cut.

    They are the best ones of those that the network's heads give, of the structural ones, and of
    some near the best of these. The best comes first, the rule's, which is the structural order
    with the best quick cut, second. The same on every machine with compiled loops, and without
    TensorFlow.

    Args:
        graph: The graph.
        num_stages: Number of stages, 1 or more.
        op_costs: [num_ops], what each op adds to the cost of its stage; parameter bytes if left
            out.
        transfer_cost: Cost of a byte that crosses a boundary, in the stage that it leaves and the
            one that it enters together.
        weights: The network; the shipped one if left out.
        max_orders: How many orders there are at most; orders that equal another are left out.

    Returns:
        int32 [num_orders, num_ops], each row a topological order of the ops.

    Raises:
        ArgumentError: A shape is wrong, or a number out of range.
        PolicyFileError: The weights are missing or damaged.
    """
    return proposals(
        graph,
        num_stages,
        op_costs=op_costs,
        transfer_cost=transfer_cost,
        weights=weights,
        max_orders=max_orders,
    )[0]


def proposals(
    graph: OpGraph,
    num_stages: int,
    *,
    op_costs: npt.ArrayLike | None,
    transfer_cost: float,
    weights: Weights | None,
    max_orders: int,
) -> tuple[npt.NDArray[np.int32], float]:
    """What `propose` returns, and a cost that the first order has a cut for, up to rounding."""
    if isinstance(max_orders, bool) or not isinstance(max_orders, int) or max_orders < 1:
        raise ArgumentError(
            f"max_orders must be a whole number, 1 or more. Received: {max_orders!r}."
        )
    weights = load_weights() if weights is None else weights
    features = graph_features(graph, num_stages, op_costs=op_costs, transfer_cost=transfer_cost)
    view = view_of(features, num_stages)
    network = weights.network
    inputs = head_inputs(trunk(network, features), features, view.rule)
    given = np.concatenate([view.rule[None], head_orders(view, inputs @ network.heads)])
    tried, costs = refined_orders(features, given, num_stages)
    best, *others = np.argsort(costs, kind="stable")
    found: dict[bytes, Ints] = {}
    for row in (best, 0, *others):  # 0 is the rule's
        if len(found) == max_orders:
            break
        found.setdefault(tried[row].tobytes(), tried[row])
    return np.array(list(found.values()), np.int32), float(costs[best])


class GraphView(NamedTuple):
    """What turns scores into orders."""

    features: GraphFeatures
    num_stages: int
    rule: Ints  # int64 [num_ops], the structural order with the best quick cut


def view_of(features: GraphFeatures, num_stages: int) -> GraphView:
    """Find the rule's order."""
    cuts = quick_cuts(
        features.orders, features.links.after, features.costs, features.transfers, num_stages
    )
    # With what crosses, and of equals without.
    best = np.lexsort((cuts[:, 0], cuts[:, 1]))[0]
    return GraphView(features, num_stages, features.orders[best])


def head_orders(view: GraphView, scores: Floats) -> Ints:
    """The orders that scores give: the ready op of the least score comes next.

    int64 [num_heads, num_ops], from float64 [num_ops, num_heads].
    """
    keys = np.floor(scores.T * _KEYS + 0.5)
    links = view.features.links
    return ready_orders(links.after, links.waiting, keys)
