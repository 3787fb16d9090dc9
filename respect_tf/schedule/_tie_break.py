"""Of chains of equal cost: fewest crossing bytes, then smallest stages, within a load limit."""

from __future__ import annotations

import dataclasses

import numpy as np

from respect_tf.schedule._items import Ints
from respect_tf.schedule._pairs import Nodes
from respect_tf.schedule._problem import Floats

# Rows, columns, crossing bytes and loads of the pairs that a stage may be.
StagePairs = tuple[Ints, Ints, Floats, Floats]

# Partial chains that are kept for one boundary; more of them only if loads force it.
_MAX_LABELS = 20_000


def best_path(nodes: Nodes, stages: list[StagePairs], limit: float) -> Ints | None:
    """The path with fewest crossing bytes, and of those the one with the smallest stages.

    Of partial chains up to a node, one with more crossing bytes, or later stages, is worth keeping
    only for a lower load. Where too many are, those with fewest crossing bytes are kept, and one of
    least load.

    Args:
        nodes: The nodes.
        stages: The pairs of each stage.
        limit: The most load of a chain.

    Returns:
        int64 [num_stages + 1]; `None` if no chain keeps the limit.
    """
    least = _to_end(nodes, stages)
    order = nodes.problem.stage_order
    dtype = np.dtype("u1" if nodes.problem.num_stages < 256 else ">u4")
    keys = np.zeros((1, len(order)), dtype)  # stages so far, big-endian: bytes compare like numbers
    labels = _Labels(np.zeros(1, np.int64), np.zeros(1), np.zeros(1), np.zeros(1, np.int64))
    history = [labels]
    for k, (rows, columns, crossing, load) in enumerate(stages):
        rank = np.empty(len(keys), np.int64)
        texts = [key.tobytes() for key in keys]
        rank[sorted(range(len(keys)), key=texts.__getitem__)] = np.arange(len(keys))
        by_row = np.argsort(rows, kind="stable")
        first = np.searchsorted(rows[by_row], labels.node)
        count = np.searchsorted(rows[by_row], labels.node, side="right") - first
        parent = np.repeat(np.arange(len(labels.node)), count)
        shift = np.arange(len(parent)) - np.repeat(np.cumsum(count) - count, count)
        pair = by_row[np.repeat(first, count) + shift]
        node = columns[pair]
        crossings = labels.crossing[parent] + crossing[pair]
        loads = labels.load[parent] + load[pair]
        good = loads + least[k + 1][node] <= limit
        parent, node, crossings, loads = parent[good], node[good], crossings[good], loads[good]
        if len(node) == 0:
            return None
        place = np.lexsort((rank[parent], crossings, node))
        place = place[_worth_keeping(node[place], loads[place])]
        labels = _Labels(node[place], crossings[place], loads[place], parent[place])
        history.append(labels)
        keys = keys[labels.parent]
        if k + 1 < len(stages):
            keys = (keys + ~nodes.members(labels.node)[:, order]).astype(dtype, copy=False)
    at = 0  # of the last node there may be several: the first is the best
    path = [len(nodes) - 1]
    for labels, before in zip(reversed(history[1:]), reversed(history[:-1]), strict=True):
        at = int(labels.parent[at])
        path.append(int(before.node[at]))
    return np.array(path[::-1])


def _worth_keeping(node: Ints, load: Floats) -> Ints:
    """Of sorted labels, those with less load than all before them at their node."""
    kept: list[Ints] = []
    left = np.arange(len(node))
    while len(left):
        is_first = np.append(True, node[left][1:] != node[left][:-1])
        first = left[is_first]
        if sum(len(part) for part in kept) + len(first) > _MAX_LABELS and kept:
            first = _lightest(node, load, left)
            kept.append(first)
            break
        kept.append(first)
        group = np.cumsum(is_first) - 1
        left = left[load[left] < load[first][group]]
    return np.sort(np.concatenate(kept))


def _lightest(node: Ints, load: Floats, left: Ints) -> Ints:
    order = left[np.lexsort((load[left], node[left]))]
    first: Ints = order[np.append(True, node[order][1:] != node[order][:-1])]
    return first


def _to_end(nodes: Nodes, stages: list[StagePairs]) -> list[Floats]:
    """The least load from each node to the end, after each number of stages."""
    left = [np.full(len(nodes), np.inf)]
    left[0][-1] = 0.0
    for stage in reversed(stages):
        best = np.full(len(nodes), np.inf)
        np.minimum.at(best, stage[0], stage[3] + left[-1][stage[1]])
        left.append(best)
    return left[::-1]


@dataclasses.dataclass(frozen=True, eq=False)
class _Labels:
    """Partial chains to one boundary, those of a node together, in the order of preference."""

    node: Ints
    crossing: Floats
    load: Floats
    parent: Ints
