"""Topological orders that follow from structure and costs: what the network starts from.

Nodes (ops, or items of ops that share a stage) are numbered in a topological order here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from respect_tf._loops.twins import loop
from respect_tf.graph._structural_loops import (
    run_depth_first,
    run_least_live,
    run_longest_paths,
    run_packed,
    run_ready_orders,
)

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

ORDERS = (
    "file",  # as the ops are numbered
    "depth_first",  # each chain to its end
    "backward",  # depth first from the outputs on: what an op needs comes right before it
    "least_live",  # next the ready op after which fewest bytes wait for their readers
    "late_levels",  # by the longest path to an output: as late as possible
    "file_packed",  # as "file", but what does not fit into the rest of a stage waits for the next
    "depth_first_packed",
    "levels_packed",  # by the longest path from an input: as soon as possible
    "late_levels_packed",
    "least_live_packed",
)


class Rows(NamedTuple):
    """Lists of nodes, one of each node or tensor, as compressed rows.

    Attributes:
        offsets: int64 [num_rows + 1]; row `i` is `nodes[offsets[i]:offsets[i + 1]]`.
        nodes: int64 [num_entries].
    """

    offsets: Ints
    nodes: Ints

    @property
    def counts(self) -> Ints:
        """How long each row is. int64 [num_rows]."""
        return self.offsets[1:] - self.offsets[:-1]

    def mirrored(self) -> Rows:
        """The rows, and what they list, numbered from the end on; each row backwards."""
        last = len(self.offsets) - 2
        return Rows(
            np.ascontiguousarray(len(self.nodes) - self.offsets[::-1]),
            np.ascontiguousarray(last - self.nodes[::-1]),
        )


class Links(NamedTuple):
    """The edges of a graph, both ways, ascending in each row.

    Attributes:
        before: The nodes that each node reads from.
        after: The nodes that read from each node.
        waiting: int64 [num_nodes], how many nodes each node reads from.
        unread: int64 [num_nodes], how many nodes read from it.
    """

    before: Rows
    after: Rows
    waiting: Ints
    unread: Ints


def links_of(edges: npt.NDArray[np.integer[Any]], num_nodes: int) -> Links:
    """Compressed rows of edges.

    Args:
        edges: int [num_edges, 2], pairs (maker, reader), sorted.
        num_nodes: Number of nodes.
    """
    makers, readers = np.ascontiguousarray(edges.T, np.int64)
    by_maker = Rows(_offsets(makers, num_nodes), readers)
    before = rows_of(readers, makers, num_nodes)
    return Links(before, by_maker, before.counts, by_maker.counts)


def rows_of(rows: Ints, nodes: Ints, num_rows: int) -> Rows:
    """Compressed rows of pairs.

    Args:
        rows: int64 [num_pairs], in which row each node is.
        nodes: int64 [num_pairs], which keep their order within each row.
        num_rows: Number of rows.
    """
    return Rows(_offsets(rows, num_rows), nodes[np.argsort(rows, kind="stable")])


def _offsets(rows: Ints, num_rows: int) -> Ints:
    offsets = np.zeros(num_rows + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=num_rows), out=offsets[1:])
    return offsets


def structural_orders(links: Links, costs: Floats, num_bytes: Floats, num_stages: int) -> Ints:
    """The orders that `ORDERS` names. int64 [num_orders, num_ops].

    Args:
        links: The edges.
        costs: float64 [num_ops], what each op adds to the cost of its stage.
        num_bytes: float64 [num_ops], what each op makes.
        num_stages: How many stages packed orders fill.
    """
    num_ops = len(costs)
    orders = np.empty((len(ORDERS), num_ops), np.int64)
    file, chains, backward, live, late = orders[:5]
    file[:] = np.arange(num_ops)
    chains[:] = depth_first(links.after, links.waiting)
    backward[:] = num_ops - 1 - depth_first(links.before.mirrored(), links.unread[::-1])[::-1]
    growth = growths(num_bytes, num_bytes, links.after)
    growth[links.unread == 0] = 0.0  # also where they end a tensor: the network knows them so
    live[:] = least_live(links, growth, num_bytes, links.after, links.before)
    late[:] = np.argsort(-longest_paths(links.after, backward=True), kind="stable")
    early = np.argsort(longest_paths(links.before), kind="stable")
    pack = loop(run_packed)
    pack(
        *links.after,
        links.waiting,
        np.stack([file, chains, early, late, live]),
        costs,
        num_stages,
        orders[5:],
    )
    return orders


def depth_first(after: Rows, waiting: Ints) -> Ints:
    """The topological order that goes on with the newest ready node, the first one of its row.

    Args:
        after: The nodes that read from each node.
        waiting: int64 [num_nodes], how many nodes each node reads from.

    Returns:
        int64 [num_nodes].
    """
    order: Ints = loop(run_depth_first)(*after, waiting.copy())
    return order


def ready_orders(after: Rows, waiting: Ints, keys: Ints | Floats) -> Ints:
    """The topological orders that always take the ready node of the least key next.

    Args:
        after: The nodes that read from each node.
        waiting: int64 [num_nodes], how many nodes each node reads from.
        keys: [num_orders, num_nodes], a row for each order. Of equals, the first node comes first.

    Returns:
        int64 [num_orders, num_nodes].
    """
    orders = np.empty(keys.shape, np.int64)
    loop(run_ready_orders)(*after, waiting, np.ascontiguousarray(keys, np.float64), orders)
    return orders


def growths(made: Floats, sizes: Floats, readers: Rows) -> Floats:
    """Bytes that wait after each node and not before it, if none of the others has come.

    Args:
        made: float64 [num_nodes], bytes that each node makes.
        sizes: float64 [num_tensors], bytes.
        readers: The nodes that read each tensor.

    Returns:
        float64 [num_nodes].
    """
    growth: Floats = made.copy()
    single = np.flatnonzero(readers.counts == 1)
    np.subtract.at(growth, readers.nodes[readers.offsets[single]], sizes[single])
    return growth


def least_live(links: Links, growth: Floats, sizes: Floats, readers: Rows, read: Rows) -> Ints:
    """The topological order in which the ready node comes next after which fewest bytes wait.

    Kahn's algorithm; a node's priority falls when it becomes the last reader of a tensor.

    Args:
        links: The edges.
        growth: float64 [num_nodes], `growths`.
        sizes: float64 [num_tensors], bytes.
        readers: The nodes that read each tensor.
        read: The tensors that each node reads.

    Returns:
        int64 [num_nodes].
    """
    order: Ints = loop(run_least_live)(
        *links.after, links.waiting.copy(), growth.copy(), sizes, *readers, *read
    )
    return order


def longest_paths(rows: Rows, weights: Floats | None = None, *, backward: bool = False) -> Floats:
    """The heaviest path to each node from those in its row, itself left out.

    Args:
        rows: The nodes before each node, or after it.
        weights: float64 [num_nodes]; 1 where none are given.
        backward: Whether the rows list nodes with larger numbers.

    Returns:
        float64 [num_nodes].
    """
    num_nodes = len(rows.offsets) - 1
    weights = np.ones(num_nodes) if weights is None else weights
    paths: Floats = loop(run_longest_paths)(*rows, weights, backward)
    return paths
