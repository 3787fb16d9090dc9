"""Least cuts of networks, by a largest flow (Ford and Fulkerson); a loop that also exists in C."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from respect_tf._loops.twins import loop
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools

_Places = npt.NDArray[np.int32]

MOST_CLOSED = 4096
"""Items of which all that each needs is looked up, and flows are sought: 16 MB, of bool."""


class Network:
    """Nodes and arcs of which capacities are asked for again and again.

    Args:
        num_nodes: Number of nodes.
        tails: int64 [num_arcs], where each arc begins.
        heads: int64 [num_arcs], where it leads. An arc may be there once.

    Attributes:
        size: Nodes and arcs, those of the ways back too: what a flow takes time in proportion to.
        num_places: Number of arcs, ways back included.
        places: int64 [num_arcs], the place of each of the given arcs among them.
    """

    def __init__(self, num_nodes: int, tails: Ints, heads: Ints) -> None:
        keys = tails * num_nodes + heads
        every = np.unique(np.concatenate([keys, heads * num_nodes + tails]))
        self.places = np.searchsorted(every, keys)
        self.num_places = len(every)
        self.size = num_nodes + len(every)
        begins, ends = every // num_nodes, every % num_nodes
        counts = np.bincount(begins, minlength=num_nodes)
        self._row_ends = np.append(0, np.cumsum(counts)).astype(np.int32)
        self._heads = ends.astype(np.int32)
        self._back = np.searchsorted(every, ends * num_nodes + begins).astype(np.int32)

    def least_cut(self, capacities: _Places, start: int, end: int) -> tuple[int, Bools]:
        """The least capacity of a cut, and the smallest side of the start, bool [num_nodes].

        Capacities are int32 [num_places].
        """
        side = np.empty(len(self._row_ends) - 1, np.uint8)
        flow = np.empty(1, np.int64)
        arrays = self._row_ends, self._heads, self._back, capacities, side, flow
        loop(run_least_cut)(*arrays, start, end)
        before: Bools = side.view(bool)
        return int(flow[0]), before


def run_least_cut(
    row_ends: _Places,
    heads: _Places,
    back: _Places,
    capacities: _Places,
    side: npt.NDArray[np.uint8],
    flow: Ints,
    start: int,
    end: int,
) -> None:
    """Fill in `side` and `flow`. A loop for `_loops.loop`; the plain one asks scipy."""
    from scipy.sparse import csr_matrix  # loads in a fifth of a second, which most do not need
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    del back
    shape = len(side), len(side)
    found = maximum_flow(csr_matrix((capacities, heads, row_ends), shape=shape), start, end)
    is_open = capacities > found.flow.data
    ends = np.append(0, np.cumsum(is_open))[row_ends].astype(np.int32)
    rest = csr_matrix((np.ones(ends[-1], np.int8), heads[is_open], ends), shape=shape)
    side[:] = 0
    side[breadth_first_order(rest, start, return_predecessors=False)] = 1
    flow[0] = found.flow_value
