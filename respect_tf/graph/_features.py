"""What a graph neural network sees of an op graph: numbers without units."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.graph._op_graph import OpGraph
from respect_tf.graph._quick_cuts import quick_cuts
from respect_tf.graph._structural import ORDERS, levels, structural_orders

Floats = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]

OP_FEATURES = (
    "cost_share",  # log(1 + the op's part of the cost of an average stage)
    "transfer_share",  # the same for sending what it makes over a boundary
    "transfer_ratio",  # transfer against transfer and cost of the op
    "mass_before",  # part of the whole mass that its ancestors have
    "mass_after",  # part that its descendants have
    "stages_before",  # the first times the number of stages, in quarters
    "stages_after",
    "level_from_source",  # longest path from a source, as a part of the longest path of all
    "level_from_sink",
    "in_degree",  # log(1 + number of ops that it reads from)
    "out_degree",
    "has_cost",  # whether it adds to the cost of its stage: a layer with weights
    "is_join",  # whether it reads from several ops
    "is_fork",  # whether several ops read from it
    *(f"{name}_rank" for name in ORDERS),  # place in a structural order, 0 to 1
)
GRAPH_FEATURES = (
    "num_stages",  # log2, in thirds
    "transfer_ratio",  # transfer against transfer and cost, of all ops
    "largest_cost_share",  # log(1 + ...)
    "mean_degree",  # log(1 + edges per op)
    "depth",  # levels per op
    # Of each structural order, compared with the best of them: the heaviest stage of a quick cut,
    # without transfers and with them.
    *(f"{name}_heaviest" for name in ORDERS),
    *(f"{name}_bottleneck" for name in ORDERS),
)
FIRST_RANK = OP_FEATURES.index(f"{ORDERS[0]}_rank")
"""Where the ranks begin in `OP_FEATURES`: all of them, in the order of `ORDERS`, come last."""

# What an op weighs at least when masses are added up, as a part of the mean: ops without cost
# still have a place.
_LEAST_MASS = 0.01
_CHUNK_BYTES = 1 << 24
_PER_TENTH = 1 / np.log(1.1)


@dataclasses.dataclass(frozen=True, eq=False)
class GraphFeatures:
    """The features of one graph.

    Attributes:
        ops: float32 [num_ops, len(OP_FEATURES)].
        graph: float32 [len(GRAPH_FEATURES)].
        edges: int32 [num_edges, 2], pairs (maker, reader).
    """

    ops: Features
    graph: Features
    edges: npt.NDArray[np.int32]


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
    # Where nothing has a cost, transfer sets the scale, and where nothing has any, nothing does.
    stage_cost = (costs.sum() or transfers.sum() or 1.0) / num_stages
    walk = _walk(graph, costs, num_stages)
    mass = costs + (_LEAST_MASS * costs.mean() or 1.0)
    before, after = _masses(walk.reachable, mass / mass.sum(), graph.topological_order)
    longest = max(int(walk.level.max()), 1)
    in_degree = np.bincount(edges[:, 1], minlength=num_ops)
    out_degree = np.bincount(edges[:, 0], minlength=num_ops)
    columns = [
        np.log1p(costs / stage_cost),
        np.log1p(transfers / stage_cost),
        _share(transfers, costs),
        before,
        after,
        before * num_stages / 4,
        after * num_stages / 4,
        walk.level / longest,
        walk.height / longest,
        np.log1p(in_degree),
        np.log1p(out_degree),
        costs > 0,
        in_degree > 1,
        out_degree > 1,
        *(_ranks(order) for order in walk.orders),
    ]
    whole = [
        np.log2(num_stages) / 3,
        float(_share(transfers.sum(), costs.sum())),
        float(np.log1p(costs.max() / stage_cost)),
        np.log1p(len(edges) / num_ops),
        (longest + 1) / num_ops,
        *_compared(
            walk.orders,
            edges,
            (costs + transfer_cost / 2 * _output_bytes(graph)) / stage_cost,
            transfers / stage_cost,
            num_stages,
        ),
    ]
    return GraphFeatures(
        np.stack(columns, axis=1).astype(np.float32), np.array(whole, np.float32), edges
    )


def _output_bytes(graph: OpGraph) -> Floats:
    """Bytes of the model's outputs that each op makes: they leave any stage. [num_ops]."""
    producer = graph.producer
    made = graph.model_outputs[producer[graph.model_outputs] >= 0]
    sizes = graph.tensor_bytes[made].astype(np.float64)
    return np.bincount(producer[made], sizes, graph.num_ops).astype(np.float64)


def _compared(
    orders: npt.NDArray[np.int64],
    edges: npt.NDArray[np.int32],
    costs: Floats,
    transfers: Floats,
    num_stages: int,
) -> Floats:
    """The features of the orders, compared with each other. [2 * num_orders]."""
    found: dict[bytes, tuple[float, float]] = {}
    rows = []
    for order in orders:
        key = order.tobytes()
        if key not in found:
            found[key] = quick_cuts(order, edges, costs, transfers, num_stages)
        rows.append(found[key])
    # A tenth more than the best one counts 1.
    values = np.log1p(np.array(rows).T)
    compared: Floats = np.minimum(_PER_TENTH * (values - values.min(axis=1, keepdims=True)), 3.0)
    return compared.ravel()


def _ranks(order: npt.NDArray[np.int64]) -> Floats:
    """Places in an order, 0 to 1, by op. [num_ops]."""
    ranks = np.empty(len(order))
    ranks[order] = (np.arange(len(order)) + 0.5) / len(order)
    return ranks


def _share(part: npt.ArrayLike, rest: npt.ArrayLike) -> Floats:
    part, rest = np.asarray(part, np.float64), np.asarray(rest, np.float64)
    whole = part + rest
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


@dataclasses.dataclass(frozen=True, eq=False)
class _Walk:
    """What one pass over the ops finds out.

    Attributes:
        reachable: uint8 [num_ops, ceil(num_ops / 8)], bits: ancestors of each op; rows and bits
            are in the file's order.
        level: int64 [num_ops], edges of the longest path from a source.
        height: int64 [num_ops], edges of the longest path to a sink.
        orders: int64 [num_orders, num_ops], the topological orders that `ORDERS` names.
    """

    reachable: npt.NDArray[np.uint8]
    level: npt.NDArray[np.int64]
    height: npt.NDArray[np.int64]
    orders: npt.NDArray[np.int64]


def _walk(graph: OpGraph, costs: Floats, num_stages: int) -> _Walk:
    num_ops = graph.num_ops
    # Ops are numbered along the file's order here, and as in the graph in what is returned.
    order = graph.topological_order.astype(np.int64)
    place = np.empty(num_ops, np.int64)
    place[order] = np.arange(num_ops)
    before: list[list[int]] = [[] for _ in range(num_ops)]
    after: list[list[int]] = [[] for _ in range(num_ops)]
    edges = place[graph.edges]
    for maker, reader in edges[np.lexsort(edges.T)].tolist():
        before[reader].append(maker)
        after[maker].append(reader)
    reachable = np.zeros((num_ops, (num_ops + 7) // 8), np.uint8)
    for op in range(num_ops):
        row = reachable[op]
        for maker in before[op]:
            row |= reachable[maker]
            row[maker >> 3] |= 0x80 >> (maker & 7)
    level, height = levels(before), levels(after[::-1], mirrored=True)[::-1]
    found = structural_orders(
        before,
        after,
        costs[order].tolist(),
        graph.activation_bytes[order].tolist(),
        num_stages,
    )
    return _Walk(reachable, np.array(level)[place], np.array(height)[place], order[np.array(found)])


def _masses(
    reachable: npt.NDArray[np.uint8], mass: Floats, order: npt.NDArray[np.int32]
) -> tuple[Floats, Floats]:
    """Mass of the ancestors and of the descendants of each op. Each [num_ops]."""
    num_ops = len(mass)
    mass = mass[order]
    before, after = np.empty(num_ops), np.zeros(num_ops)
    rows = max(1, _CHUNK_BYTES // (8 * num_ops))
    for start in range(0, num_ops, rows):
        part = slice(start, start + rows)
        bits = np.unpackbits(reachable[part], axis=1, count=num_ops).astype(np.float64)
        # Not by BLAS: its threads cost more than they gain where others keep the machine busy.
        before[order[part]] = np.einsum("ab,b->a", bits, mass)
        after += np.einsum("a,ab->b", mass[part], bits)
    scattered = np.empty(num_ops)
    scattered[order] = after
    return before, scattered
