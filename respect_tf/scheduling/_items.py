"""Items: ops that must share a stage, merged."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from respect_tf.graph import OpGraph, links_of, ready_orders

Ints = npt.NDArray[np.int64]


def merge_colocated(graph: OpGraph, groups: Sequence[Sequence[int]] = ()) -> tuple[Ints, Ints]:
    """Number the groups of ops that share a stage, topologically.

    A pair in one stage is a pair of edges in both directions, and a cycle of edges is one stage:
    the groups are the strongly connected components, and merging them loses no schedule.

    Args:
        graph: The graph.
        groups: Ops that must share a stage, beside `graph.colocated`.

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
