"""What a graph neural network sees of an op graph: numbers without units.

Every number is the same to the last bit on every machine: sums are of whole numbers or rounded once
(`math.fsum`), and shares are squashed by divisions, because logarithms differ from one library to
the next.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.graph._masses import masses_after, masses_before
from respect_tf.graph._op_graph import OpGraph
from respect_tf.graph._structural import (
    ORDERS,
    Floats,
    Ints,
    Links,
    links_of,
    longest_paths,
    structural_orders,
)

Features = npt.NDArray[np.float32]

OP_FEATURES = (
    "cost_share",  # x / (1 + x) of the op's part of the cost of an average stage
    "transfer_share",  # the same for sending what it makes over a boundary
    "transfer_ratio",  # transfer against transfer and cost of the op
    "mass_before",  # part of the whole mass that its ancestors have
    "mass_after",  # part that its descendants have
    "stages_before",  # the first times the number of stages, in quarters
    "stages_after",
    "level_from_source",  # longest path from a source, as a part of the longest path of all
    "level_from_sink",
    "in_degree",  # x / (4 + x) of the number of ops that it reads from
    "out_degree",
    "has_cost",  # whether it adds to the cost of its stage: a layer with weights
    "is_join",  # whether it reads from several ops
    "is_fork",  # whether several ops read from it
    *(f"{name}_rank" for name in ORDERS),  # place in a structural order, 0 to 1
)
GRAPH_FEATURES = (
    "num_stages",  # x / (4 + x)
    "transfer_ratio",  # transfer against transfer and cost, of all ops
    "largest_cost_share",  # x / (1 + x)
    "mean_degree",  # x / (1 + x) of edges per op
    "depth",  # levels per op
)

# What an op weighs at least when masses are added up, as a part of the mean: ops without cost
# still have a place.
_LEAST_MASS = 0.01
# Masses are whole numbers that add up to about this many, so that any order of adding is exact.
_WHOLE_MASS = 2.0**40
_USUAL_DEGREE = 4.0  # also a usual number of stages: squashed to a half


@dataclasses.dataclass(frozen=True, eq=False)
class GraphFeatures:
    """The features of one graph.

    Attributes:
        ops: float32 [num_ops, len(OP_FEATURES)].
        graph: float32 [len(GRAPH_FEATURES)].
        edges: int32 [num_edges, 2], pairs (maker, reader).
        orders: int64 [len(ORDERS), num_ops], the topological orders that `ORDERS` names.
        costs: float64 [num_ops], what each op adds to the cost of its stage.
        transfers: float64 [num_ops], cost of sending what it makes over a boundary.
    """

    ops: Features
    graph: Features
    edges: npt.NDArray[np.int32]
    orders: Ints
    costs: Floats
    transfers: Floats


def graph_features(
    graph: OpGraph,
    num_stages: int,
    *,
    op_costs: npt.ArrayLike | None = None,
    transfer_cost: float = 0.0,
) -> GraphFeatures:
    """Compute the features of a graph, for an objective that is a sum.

    Args:
        graph: The graph.
        num_stages: Number of stages, 1 or more.
        op_costs: [num_ops], what each op adds to the cost of its stage; parameter bytes if left
            out.
        transfer_cost: Cost of a byte that crosses a boundary, in the stage that it leaves and the
            one that it enters together.

    Raises:
        ArgumentError: A shape is wrong, or a number out of range.
    """
    if isinstance(num_stages, bool) or not isinstance(num_stages, int | np.integer):
        raise ArgumentError(f"num_stages must be a whole number. Received: {num_stages!r}.")
    if num_stages < 1:
        raise ArgumentError(f"num_stages must be 1 or more. Received: {num_stages}.")
    costs = np.asarray(graph.parameter_bytes if op_costs is None else op_costs, np.float64)
    if costs.shape != (graph.num_ops,) or not np.all(np.isfinite(costs) & (costs >= 0)):
        raise ArgumentError(
            f"op_costs must be {graph.num_ops} finite numbers, 0 or more, one per op. Received: "
            f"an array of the shape {list(costs.shape)}."
        )
    if not (np.isfinite(transfer_cost) and transfer_cost >= 0):
        raise ArgumentError(f"transfer_cost must be 0 or more. Received: {transfer_cost!r}.")
    return _features(graph, int(num_stages), costs, float(transfer_cost))


def _features(
    graph: OpGraph, num_stages: int, costs: Floats, transfer_cost: float
) -> GraphFeatures:
    num_ops = graph.num_ops
    transfers = transfer_cost * graph.activation_bytes.astype(np.float64)
    all_costs, all_transfers = math.fsum(costs), math.fsum(transfers)
    # Where nothing has a cost, transfer sets the scale, and where nothing has any, nothing does.
    stage_cost = (all_costs or all_transfers or 1.0) / num_stages
    mass = costs + (_LEAST_MASS * all_costs / num_ops or 1.0)
    mass = np.rint(mass * (_WHOLE_MASS / math.fsum(mass)))
    leaving = transfer_cost / 2 * _output_bytes(graph)
    # From here on, ops are numbered along the file's order.
    order = graph.topological_order.astype(np.int64)
    own, sent, mass = costs[order], transfers[order], mass[order]
    walk = _walk(graph, order, own, num_stages)
    before = masses_before(walk.edges, mass) / _WHOLE_MASS
    after = masses_after(walk.edges, mass) / _WHOLE_MASS
    longest = max(float(walk.level.max()), 1.0)
    in_degree, out_degree = walk.links.waiting, walk.links.unread
    ranks = np.empty((len(ORDERS), num_ops))
    ranks[np.arange(len(ORDERS))[:, None], walk.orders] = (np.arange(num_ops) + 0.5) / num_ops
    rows = [
        _share(own, stage_cost),
        _share(sent, stage_cost),
        _share(sent, own),
        before,
        after,
        before * num_stages / 4,
        after * num_stages / 4,
        walk.level / longest,
        walk.height / longest,
        _share(in_degree, _USUAL_DEGREE),
        _share(out_degree, _USUAL_DEGREE),
        own > 0,
        in_degree > 1,
        out_degree > 1,
        *ranks,
    ]
    ops = np.empty((num_ops, len(OP_FEATURES)), np.float32)
    ops[order] = np.array(rows).T
    whole = [
        _share(num_stages, _USUAL_DEGREE),
        _share(all_transfers, all_costs),
        _share(costs.max(), stage_cost),
        _share(len(graph.edges), num_ops),
        (longest + 1) / num_ops,
    ]
    return GraphFeatures(
        ops,
        np.array(whole, np.float32),
        graph.edges,
        order[walk.orders],
        costs + leaving,
        transfers,
    )


def _output_bytes(graph: OpGraph) -> Floats:
    """Bytes of the model's outputs that each op makes: they leave any stage. [num_ops]."""
    producer = graph.producer
    made = graph.model_outputs[producer[graph.model_outputs] >= 0]
    sizes = graph.tensor_bytes[made].astype(np.float64)
    return np.bincount(producer[made], sizes, graph.num_ops).astype(np.float64)


def _share(part: npt.ArrayLike, rest: npt.ArrayLike) -> Floats:
    part, rest = np.asarray(part, np.float64), np.asarray(rest, np.float64)
    whole = part + rest
    share: Floats = np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
    return share


@dataclasses.dataclass(frozen=True, eq=False)
class _Walk:
    """What one pass over the ops, in the order of which they are numbered here, finds out.

    Attributes:
        links: The edges.
        edges: int [num_edges, 2], the same, sorted.
        level: float64 [num_ops], edges of the longest path from a source.
        height: float64 [num_ops], edges of the longest path to a sink.
        orders: int64 [num_orders, num_ops], the topological orders that `ORDERS` names.
    """

    links: Links
    edges: npt.NDArray[np.integer[Any]]
    level: Floats
    height: Floats
    orders: Ints


def _walk(graph: OpGraph, order: Ints, costs: Floats, num_stages: int) -> _Walk:
    num_ops, edges = graph.num_ops, graph.edges
    if not np.all(edges[:, 0] < edges[:, 1]):  # else the order is that of the numbers
        place = np.empty(num_ops, np.int64)
        place[order] = np.arange(num_ops)
        edges = place[edges].astype(np.int32)
        edges = edges[np.lexsort((edges[:, 1], edges[:, 0]))]
    links = links_of(edges, num_ops)
    return _Walk(
        links,
        edges,
        longest_paths(links.before),
        longest_paths(links.after, backward=True),
        structural_orders(
            links, costs, graph.activation_bytes[order].astype(np.float64), num_stages
        ),
    )
