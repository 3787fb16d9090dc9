"""What a graph neural network sees of an op graph: numbers without units.

Every number is the same to the last bit on every machine: sums are of whole numbers or rounded once
(`math.fsum`), and shares are squashed by divisions, because logarithms differ from one library to
the next.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf._loops.twins import loop
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
        links: The same as rows.
        orders: int64 [len(ORDERS), num_ops], the topological orders that `ORDERS` names.
        costs: float64 [num_ops], what each op adds to the cost of its stage.
        transfers: float64 [num_ops], cost of sending what it makes over a boundary.
    """

    ops: Features
    graph: Features
    edges: npt.NDArray[np.int32]
    links: Links
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
    num_ops, edges = graph.num_ops, graph.edges
    transfers = transfer_cost * graph.activation_bytes.astype(np.float64)
    all_costs, all_transfers = math.fsum(costs.tolist()), math.fsum(transfers.tolist())
    # Where nothing has a cost, transfer sets the scale, and where nothing has any, nothing does.
    stage_cost = (all_costs or all_transfers or 1.0) / num_stages
    mass = costs + (_LEAST_MASS * all_costs / num_ops or 1.0)
    mass = np.rint(mass * (_WHOLE_MASS / math.fsum(mass.tolist())))
    leaving = transfer_cost / 2 * _output_bytes(graph)
    links = placed_links = links_of(edges, num_ops)
    # From here on, ops are numbered along the file's order.
    order = graph.topological_order.astype(np.int64)
    if not np.all(edges[:, 0] < edges[:, 1]):  # else that is how they are numbered
        place = np.empty(num_ops, np.int64)
        place[order] = np.arange(num_ops)
        placed = place[edges]
        placed_links = links_of(placed[np.lexsort((placed[:, 1], placed[:, 0]))], num_ops)
    own, sent, mass = costs[order], transfers[order], mass[order]
    num_bytes = graph.activation_bytes[order].astype(np.float64)
    orders = structural_orders(placed_links, own, num_bytes, num_stages)
    level = longest_paths(placed_links.before)
    ops = np.empty((num_ops, len(OP_FEATURES)), np.float32)
    loop(run_op_features)(
        order,
        own,
        sent,
        masses_before(placed_links, mass) / _WHOLE_MASS,
        masses_after(placed_links, mass) / _WHOLE_MASS,
        level,
        longest_paths(placed_links.after, backward=True),
        placed_links.waiting,
        placed_links.unread,
        orders,
        ops,
        stage_cost,
        num_stages,
    )
    depth = max(float(level.max()), 1.0) + 1
    whole = [
        _share(num_stages, _USUAL_DEGREE),
        _share(all_transfers, all_costs),
        _share(float(costs.max()), stage_cost),
        _share(len(edges), num_ops),
        depth / num_ops,
    ]
    return GraphFeatures(
        ops,
        np.array(whole, np.float32),
        graph.edges,
        links,
        order[orders],
        costs + leaving,
        transfers,
    )


def _output_bytes(graph: OpGraph) -> Floats:
    """Bytes of the model's outputs that each op makes: they leave any stage. [num_ops]."""
    producer = graph.producer
    made = graph.model_outputs[producer[graph.model_outputs] >= 0]
    sizes = graph.tensor_bytes[made].astype(np.float64)
    return np.bincount(producer[made], sizes, graph.num_ops).astype(np.float64)


def _share(part: float, rest: float) -> float:
    return part / (part + rest) if part + rest > 0 else 0.0


def run_op_features(
    order: Ints,
    own: Floats,
    sent: Floats,
    before: Floats,
    after: Floats,
    level: Floats,
    height: Floats,
    in_degree: Ints,
    out_degree: Ints,
    orders: Ints,
    features: Features,
    stage_cost: float,
    num_stages: int,
) -> None:
    """Set the features that `OP_FEATURES` names. A loop for `_loops.loop`.

    Args:
        order: int64 [num_ops], the file's order, along which ops are numbered in what follows.
        own: float64 [num_ops], costs.
        sent: float64 [num_ops], costs of transfers.
        before: float64 [num_ops], parts of the mass that their ancestors have.
        after: float64 [num_ops], and their descendants.
        level: float64 [num_ops], edges of the longest path from a source.
        height: float64 [num_ops], and to a sink.
        in_degree: int64 [num_ops], how many ops they read from.
        out_degree: int64 [num_ops], how many read from them.
        orders: int64 [num_orders, num_ops], the structural orders.
        features: float32 [num_ops, len(OP_FEATURES)], what is set, as the file numbers ops.
        stage_cost: Of an average stage.
        num_stages: Number of stages.
    """
    num_ops = len(order)
    longest = max(float(level.max()), 1.0)
    ranks = np.empty(orders.shape)
    ranks[np.arange(len(orders))[:, None], orders] = (np.arange(num_ops) + 0.5) / num_ops
    rows = [
        _shares(own, stage_cost),
        _shares(sent, stage_cost),
        _shares(sent, own),
        before,
        after,
        before * num_stages / 4,
        after * num_stages / 4,
        level / longest,
        height / longest,
        _shares(in_degree, _USUAL_DEGREE),
        _shares(out_degree, _USUAL_DEGREE),
        own > 0,
        in_degree > 1,
        out_degree > 1,
        *ranks,
    ]
    features[order] = np.array(rows).T


def _shares(part: Floats | Ints, rest: Floats | float) -> Floats:
    whole = np.asarray(part + rest, np.float64)
    share: Floats = np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
    return share
