"""Loops over stages of chains that share out devices, which also exist in C."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt

from respect_tf._loops.twins import loop
from respect_tf.scheduling.parts import Bools, Floats, Ints

_Flags = npt.NDArray[np.uint8]


def near_stages(
    rows: Ints,
    columns: Ints,
    costs: Floats,
    loads: Floats,
    *,
    num_nodes: int,
    limit: float,
    most_load: float,
    num_devices: int,
    most_replicas: int,
) -> Bools:
    """Which stages leave enough devices, and enough of the bus, for what is before and after them.

    Devices and loads are looked at one without the other, so that a stage may be near although no
    chain has it.

    Args:
        rows: The node that each stage begins with, ascending. int64 [num_pairs].
        columns: The one that it ends with, a later one. int64 [num_pairs].
        costs: What it takes on one device. float64 [num_pairs].
        loads: What it puts on the bus. float64 [num_pairs].
        num_nodes: Number of nodes; chains lead from the first to the last.
        limit: What a stage may cost for each of its devices.
        most_load: What a chain may put on the bus.
        num_devices: Number of devices of a chain.
        most_replicas: Number of devices of a stage at most.

    Returns:
        bool [num_pairs].
    """
    fewest, least = np.empty((2, num_nodes), np.int64), np.empty((2, num_nodes))
    near = np.empty(len(rows), np.uint8)
    arrays = (np.ascontiguousarray(part) for part in (rows, columns, costs, loads))
    loop(run_near)(*arrays, fewest, least, near, limit, most_load, num_devices, most_replicas)
    good: Bools = near.view(bool)
    return good


def run_near(
    rows: Ints,
    columns: Ints,
    costs: Floats,
    loads: Floats,
    fewest: Ints,
    least: Floats,
    near: _Flags,
    limit: float,
    most_load: float,
    num_devices: int,
    most_replicas: int,
) -> None:
    """Fill in which stages are near; `fewest` and `least` are before and after each node."""
    fewest[:], least[:], near[:] = num_devices + 1, math.inf, 0
    fewest[0, 0] = fewest[1, -1] = 0
    least[0, 0] = least[1, -1] = 0.0
    counts = devices_within(costs, limit, num_devices, most_replicas)
    for node, own in _by_node(rows):
        used = fewest[0, node]
        if used >= num_devices:
            continue
        count, load = used + counts[own], least[0, node] + loads[own]
        good = (count <= num_devices) & (load <= most_load)
        ends = columns[own][good]
        fewest[0, ends] = np.minimum(fewest[0, ends], count[good])
        least[0, ends] = np.minimum(least[0, ends], load[good])
    for node, own in reversed(_by_node(rows)):
        used = fewest[0, node]
        if used >= num_devices:
            continue
        ends = columns[own]
        count, load = counts[own] + fewest[1, ends], loads[own] + least[1, ends]
        good = (count + used <= num_devices) & (least[0, node] + load <= most_load)
        near[own] = good
        if good.any():
            fewest[1, node] = min(fewest[1, node], count[good].min())
            least[1, node] = min(least[1, node], load[good].min())


def run_least_loads(
    rows: Ints,
    columns: Ints,
    counts: Ints,
    loads: Floats,
    best: Floats,
    uses_all: bool,
    backward: bool,
) -> None:
    """Fill in the least load up to each node, or from it to the last one, by devices.

    Args:
        rows: The node that each stage begins with, ascending. int64 [num_pairs].
        columns: The one that it ends with, a later one. int64 [num_pairs].
        counts: Devices of it, `num_devices` at most. int64 [num_pairs].
        loads: Its load. float64 [num_pairs].
        best: [num_nodes, num_devices + 1].
        uses_all: Whether these are so many devices exactly, or at most.
        backward: Whether chains lead from each node to the last one.
    """
    size = best.shape[1]
    best[:] = math.inf
    best[-1 if backward else 0, : 1 if uses_all else size] = 0.0
    nodes = _by_node(rows)
    for node, own in reversed(nodes) if backward else nodes:
        for count in np.unique(counts[own]).tolist():
            some = np.flatnonzero(counts[own] == count) + own.start
            left, ends = size - count, columns[some]
            if backward:
                through = (best[ends, :left] + loads[some, None]).min(axis=0)
                best[node, count:] = np.minimum(best[node, count:], through)
            else:
                through = best[node, :left] + loads[some, None]
                best[ends, count:] = np.minimum(best[ends, count:], through)


def run_fitting(
    rows: Ints,
    columns: Ints,
    counts: Ints,
    loads: Floats,
    before: Floats,
    after: Floats,
    fits: _Flags,
    most_load: float,
) -> None:
    """Fill in which stages some chain has, by `run_least_loads` of at most so many devices."""
    most = before.shape[1] - 1
    fits[:] = 0
    for used in range(most):
        left = most - counts - used
        sums = before[rows, used] + loads + after[columns, np.maximum(left, 0)]
        fits |= (left >= 0) & (sums <= most_load)


def devices_within(costs: Floats, limit: float, num_devices: int, most_replicas: int) -> Ints:
    """Devices that each stage needs to keep a limit, or more than there are. [num_pairs]."""
    if limit <= 0:
        return np.where(costs <= 0, 1, num_devices + 1)
    needed = np.ceil(np.minimum(costs / limit, num_devices + 1))
    counts: Ints = np.maximum(needed, 1).astype(np.int64)
    counts[counts > most_replicas] = num_devices + 1
    return counts


def _by_node(rows: Ints) -> list[tuple[int, slice]]:
    """Nodes that stages begin with, and where these are; rows are ascending."""
    bounds = [*np.flatnonzero(np.diff(rows, prepend=-1)).tolist(), len(rows)]
    return [(int(rows[start]), slice(start, end)) for start, end in itertools.pairwise(bounds)]
