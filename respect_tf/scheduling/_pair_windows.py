"""Where the boundaries of a chain of stages may be, and which pairs of nodes its stages."""

from __future__ import annotations

import itertools
import math

import numpy as np

from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._linear_bound import LOOSER
from respect_tf.scheduling._pair_values import split_costs
from respect_tf.scheduling._pairs import Nodes
from respect_tf.scheduling._problem import Bools
from respect_tf.scheduling._stage_batch import Pairs


def find_windows(nodes: Nodes, upper: float) -> Bools:
    """Which nodes can be which boundary. [num_stages + 1, num_nodes].

    What is before a boundary after k stages costs at most k times what a stage may, and what is
    after it as often as there are stages left. Without this, 36 proofs of six models take 1.4 to
    1.8 times as long.
    """
    num_stages, objective = nodes.problem.num_stages, nodes.problem.objective
    windows = np.zeros((num_stages + 1, len(nodes)), bool)
    windows[0, 0] = windows[-1, -1] = True
    for k in range(1, num_stages):
        windows[k, 1:-1] = nodes.possible(k)[1:-1]
    if num_stages == 1 or upper == math.inf:
        return windows
    counts = np.arange(1, num_stages)
    ends = []
    for pairs, parts in zip(nodes.ends(), (counts, num_stages - counts), strict=True):
        every = np.tile(np.arange(len(pairs)), len(parts))
        batch, num_parts = nodes.batch(pairs.select(every)), np.repeat(parts, len(pairs))
        bounds = objective.batch_bounds(batch, closely=False, num_parts=num_parts)
        costs, loads = split_costs(objective, *bounds[:2])
        ends.append((costs / num_parts, loads))
    (cost_before, load_before), (cost_after, load_after) = ends
    limit = upper * (2 - LOOSER)
    near = (np.maximum(cost_before, cost_after) <= limit) & (load_before + load_after <= limit)
    windows[1:-1, 1:-1] &= near.reshape(num_stages - 1, -1)
    return windows


def stage_windows(windows: Bools) -> Bools:
    """Nodes that windows allow to begin and end a stage. [num_nodes, num_nodes]."""
    num_nodes = windows.shape[1]
    allowed = np.zeros((num_nodes, num_nodes), bool)
    for starts, ends in itertools.pairwise(windows):
        rows, columns = _span(starts), _span(ends)
        allowed[rows, columns] |= starts[rows, None] & ends[columns]
    return allowed


def pairs_of_stages(nodes: Nodes, pairs: Pairs, windows: Bools) -> list[Ints]:
    """The pairs that each stage may be. int64 [num_stage_pairs] each."""
    problem = nodes.problem
    num_stages = problem.num_stages
    held = nodes.held_bytes() if problem.rooms is not None else None
    stages = []
    reached = windows[0]
    for stage in range(num_stages):
        good = reached[pairs.rows] & windows[stage + 1][pairs.columns]
        if held is not None and problem.rooms is not None:
            good &= held[pairs.columns] - held[pairs.rows] <= problem.rooms[stage]
        stages.append(np.flatnonzero(good))
        reached = np.zeros(len(nodes), bool)
        reached[pairs.columns[stages[-1]]] = True
    for stage in reversed(range(num_stages)):
        stages[stage] = stages[stage][reached[pairs.columns[stages[stage]]]]
        reached = np.zeros(len(nodes), bool)
        reached[pairs.rows[stages[stage]]] = True
    return stages


def _span(mask: Bools) -> slice:
    """From the first to the last place of a mask that is set."""
    return slice(int(mask.argmax()), len(mask) - int(mask[::-1].argmax()))
