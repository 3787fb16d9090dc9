"""Items: ops that must share a stage, merged."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from respect_tf.graph import OpGraph

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
    """Strongly connected components (Tarjan 1972, without recursion). int64 [num_nodes]."""
    successors: list[list[int]] = [[] for _ in range(num_nodes)]
    for before, after in edges.tolist():
        successors[before].append(after)
    index = [-1] * num_nodes
    low = [0] * num_nodes
    component = [-1] * num_nodes
    open_nodes: list[int] = []
    visited = found = 0
    for root in range(num_nodes):
        if index[root] >= 0:
            continue
        path = [(root, iter(successors[root]))]
        index[root] = low[root] = visited
        visited += 1
        open_nodes.append(root)
        while path:
            node, rest = path[-1]
            for after in rest:
                if index[after] < 0:
                    index[after] = low[after] = visited
                    visited += 1
                    open_nodes.append(after)
                    path.append((after, iter(successors[after])))
                    break
                if component[after] < 0:
                    low[node] = min(low[node], index[after])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[node])
                if low[node] == index[node]:
                    member = -1
                    while member != node:
                        member = open_nodes.pop()
                        component[member] = found
                    found += 1
    return np.array(component, np.int64)


def topological_items(edges: Ints, priority: Ints) -> Ints:
    """Kahn's algorithm: among the items that are ready, the smallest priority first. int64 [n]."""
    num_items = len(priority)
    successors: list[list[int]] = [[] for _ in range(num_items)]
    for before, after in edges.tolist():
        successors[before].append(after)
    waiting = np.bincount(edges[:, 1], minlength=num_items).tolist()
    keys = priority.tolist()
    ready = [(keys[item], item) for item in range(num_items) if waiting[item] == 0]
    heapq.heapify(ready)
    order = []
    while ready:
        item = heapq.heappop(ready)[1]
        order.append(item)
        for after in successors[item]:
            waiting[after] -= 1
            if waiting[after] == 0:
                heapq.heappush(ready, (keys[after], after))
    return np.array(order, np.int64)
