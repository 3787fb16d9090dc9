"""Items: ops that must share a stage, merged, and what constraints mean for them.

Contradictions that need no search are found here.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ScheduleError
from respect_tf.graph import OpGraph, links_of, ready_orders
from respect_tf.scheduling._constraints import Constraints

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def merge_colocated(graph: OpGraph, groups: Sequence[Sequence[int]] = ()) -> tuple[Ints, Ints]:
    """Number the groups of ops that share a stage, topologically.

    A pair in one stage is a pair of edges in both directions, and a cycle of edges is one stage:
    the groups are the strongly connected components, and merging them loses no schedule. Groups are
    ops that must share a stage, beside `graph.colocated`.

    Returns:
        int64 [num_ops], the item of each op, and int64 [num_edges, 2], sorted edges of items.
    """
    edges = graph.edges.astype(np.int64)
    position = np.empty(graph.num_ops, np.int64)
    position[graph.topological_order] = np.arange(graph.num_ops)
    listed = [pair for group in groups for pair in itertools.pairwise(group)]
    pairs = np.array([*graph.colocated.tolist(), *listed], np.int64).reshape(-1, 2)
    if len(pairs) == 0:
        return position, _distinct_edges(position[edges], graph.num_ops)
    component = _components(np.concatenate([edges, pairs, pairs[:, ::-1]]), graph.num_ops)
    num_items = int(component.max()) + 1
    first = np.full(num_items, graph.num_ops, np.int64)
    np.minimum.at(first, component, position)
    order = topological_items(_distinct_edges(component[edges], num_items), first)
    rank = np.empty(num_items, np.int64)
    rank[order] = np.arange(num_items)
    item_of = rank[component]
    return item_of, _distinct_edges(item_of[edges], num_items)


def _distinct_edges(edges: Ints, num_items: int) -> Ints:
    inner = edges[edges[:, 0] != edges[:, 1]]
    keys = np.unique(inner[:, 0] * num_items + inner[:, 1])
    return np.stack([keys // num_items, keys % num_items], axis=1)


def _components(edges: Ints, num_nodes: int) -> Ints:
    """Strongly connected components. int64 [num_nodes]."""
    from scipy.sparse import csgraph, csr_matrix

    matrix = csr_matrix((np.ones(len(edges)), edges.T), (num_nodes, num_nodes))
    found: Ints = csgraph.connected_components(matrix, connection="strong")[1].astype(np.int64)
    return found


def topological_items(edges: Ints, priority: Ints) -> Ints:
    """Among the items that are ready, that of the smallest priority comes next. int64 [n]."""
    links = links_of(edges, len(priority))
    order: Ints = ready_orders(links.after, links.waiting, priority[None])[0]
    return order


@dataclasses.dataclass(frozen=True, eq=False)
class Restrictions:
    """Stages that items may have, and bytes that stages may hold.

    Attributes:
        earliest: int64 [num_items], the first stage that pins leave an item.
        latest: int64 [num_items], the last one.
        item_bytes: [num_items], parameter bytes.
        rooms: [num_stages], the most parameter bytes of each stage; `None` for no limits.
    """

    earliest: Ints
    latest: Ints
    item_bytes: Floats
    rooms: Floats | None

    def boundary_items(self, boundary: int) -> tuple[Bools, Bools]:
        """Items that are surely before a boundary, and surely after it. bool [num_items] each."""
        return self.latest < boundary, self.earliest >= boundary


def restrict(
    graph: OpGraph,
    num_stages: int,
    constraints: Constraints,
    item_of: Ints,
    edges: Ints,
    op_bytes: Floats,
) -> Restrictions:
    """Bring constraints from ops to items; edges are sorted pairs of them, int64 [num_edges, 2].

    Groups of ops that share a stage are items already; bytes of ops are on a grid with exact sums.
    """
    num_items = int(item_of.max()) + 1
    earliest, latest = _stage_ranges(graph, num_stages, constraints, item_of, edges)
    for stage in range(num_stages):
        if not ((earliest <= stage) & (stage <= latest)).any():
            raise ScheduleError(
                f"Stage {stage} can hold no op: every op is pinned to another stage, comes before "
                "an op that is pinned to an earlier stage or after one that is pinned to a later "
                f"one. Expected an op for each of the {num_stages} stages; unpin some, or ask for "
                "fewer stages."
            )
    item_bytes = np.bincount(item_of, weights=op_bytes, minlength=num_items).astype(np.float64)
    limits = constraints.rooms(num_stages)
    if limits is None:
        return Restrictions(earliest, latest, item_bytes, None)
    rooms = np.array(limits, np.float64)
    if graph.parameter_bytes.dtype.kind == "f":
        rooms += 1e-12 * float(op_bytes.sum())  # rounding of sums
    result = Restrictions(earliest, latest, item_bytes, rooms)
    _check_rooms(graph, result, rooms, limits, item_of)
    return result


def _stage_ranges(
    graph: OpGraph, num_stages: int, constraints: Constraints, item_of: Ints, edges: Ints
) -> tuple[Ints, Ints]:
    """First and last stage of each item. Both int64 [num_items]."""
    num_items = int(item_of.max()) + 1
    pins: dict[int, int] = {}  # the op that pins an item
    earliest, latest = [0] * num_items, [num_stages - 1] * num_items
    for op, stage in constraints.pinned.items():
        item = int(item_of[op])
        other = pins.setdefault(item, op)
        if constraints.pinned[other] != stage:
            raise ScheduleError(
                f"{_pinned(graph, constraints, other)} and {_pinned(graph, constraints, op)}, but "
                "they must share a stage: as `colocated`, `colocate_children` or `uncut_tensors` "
                "say, or by the rules of the pipeline runner. Pin them to the same stage."
            )
        earliest[item] = latest[item] = stage
    if pins:
        held_by, held_back_by = dict(pins), dict(pins)
        # Edges ascend, so an item's own range is known before it is handed on.
        for before, after in edges.tolist():
            if earliest[before] > earliest[after]:
                earliest[after], held_by[after] = earliest[before], held_by[before]
        for before, after in reversed(edges.tolist()):
            if latest[after] < latest[before]:
                latest[before], held_back_by[before] = latest[after], held_back_by[after]
        for item in range(num_items):
            if earliest[item] > latest[item]:
                raise ScheduleError(
                    f"{_pinned(graph, constraints, held_by[item])} and "
                    f"{_pinned(graph, constraints, held_back_by[item])}, but the second one needs "
                    "what the first one makes. Expected stages that do not go back along the edges."
                )
    return np.array(earliest, np.int64), np.array(latest, np.int64)


def _pinned(graph: OpGraph, constraints: Constraints, op: int) -> str:
    return f"{graph.describe_op(op)} is pinned to stage {constraints.pinned[op]}"


def _check_rooms(
    graph: OpGraph, restrictions: Restrictions, rooms: Floats, limits: list[float], item_of: Ints
) -> None:
    earliest, latest = restrictions.earliest, restrictions.latest
    item_bytes = restrictions.item_bytes
    stages = np.arange(len(rooms))[:, None]
    fits = (earliest <= stages) & (stages <= latest) & (item_bytes <= rooms[:, None])
    if not fits.any(axis=0).all():
        item = int(np.flatnonzero(~fits.any(axis=0))[0])
        first, last = int(earliest[item]), int(latest[item])
        raise ScheduleError(
            f"{_ops_of(graph, item_of == item)} cannot be placed: {item_bytes[item]:.15g} "
            f"parameter bytes in one stage, which may be one from {first} to {last}. stage_bytes "
            f"allows at most {max(limits[first : last + 1]):.15g} there."
        )
    for stage, room in enumerate(rooms):
        here = (earliest == stage) & (latest == stage)
        if item_bytes[here].sum() > room:
            raise ScheduleError(
                f"Pins put {_ops_of(graph, here[item_of])} into stage {stage}: "
                f"{item_bytes[here].sum():.15g} parameter bytes. stage_bytes allows "
                f"{limits[stage]:.15g} there."
            )
    if item_bytes.sum() > rooms.sum():
        raise ScheduleError(
            f"The ops have {item_bytes.sum():.15g} parameter bytes. stage_bytes allows "
            f"{sum(limits):.15g} in all {len(limits)} stages together; ask for more stages or "
            "allow more bytes."
        )


def _ops_of(graph: OpGraph, mask: Bools) -> str:
    ops = np.flatnonzero(mask).tolist()
    shown = ", ".join(graph.describe_op(op) for op in ops[:4])
    return shown + (f" and {len(ops) - 4} more that must be with them" if len(ops) > 4 else "")
