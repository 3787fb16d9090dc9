"""Ties among plans of least cost: fewest devices, then fewest segments, then as `Schedule` says."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np

from respect_tf.planning._chains import TIE, SharedChains
from respect_tf.planning._table import StageTable
from respect_tf.scheduling.parts import (
    Bools,
    Budget,
    BudgetExceededError,
    Ints,
    PairChains,
    PairValues,
    best_pairs,
)


@dataclasses.dataclass(frozen=True, eq=False)
class FoundChain:
    """A chain of stages and their devices.

    Attributes:
        members: Items before each inner boundary. bool [num_stages - 1, num_items].
        replicas: Number of devices of each stage.
        order: What decides between chains: the least is the best.
    """

    members: Bools
    replicas: tuple[int, ...]
    order: tuple[float, ...]


def best_chain(
    table: StageTable, which: Ints, chains: SharedChains, cost: float
) -> FoundChain | None:
    """The best of the chains that cost so much, `None` if there is none.

    Args:
        table: The table.
        which: Stages that a chain may have, whose values are known. int64 [num_near].
        chains: The chains that they make.
        cost: The cost.
    """
    limit = cost * (1 + TIE)
    near = chains.within(cost)
    which, chains = which[near], chains.select(near)
    if len(which) == 0:
        return None
    used = _fewest_devices(chains, cost, limit)
    fewer = dataclasses.replace(chains, num_devices=used)
    counts = fewer.devices_within(cost)
    values = _KnownValues(table, which, chains, counts)
    extended = fewer.extended(cost)
    reached = extended.forward(values.loads, np.add)[1:]
    good = [number for number, part in enumerate(reached, 1) if part[-1] <= limit]
    if not good:
        return None
    num_stages = good[0]
    path = _path(extended, values, num_stages, limit)
    pairs = table.pairs.select(which[path])
    replicas = counts[path]
    if table.has_contention:  # what it costs holds for all devices at work
        for _ in range(chains.num_devices - int(replicas.sum())):
            replicas[np.argmax(chains.column.costs[path] / replicas)] += 1
    streamed = float(table.streamed[which[path]].sum())
    crossing = float((pairs.entering + pairs.leaving).sum())
    members = table.nodes.members(pairs.columns[:-1])
    return FoundChain(members, tuple(replicas.tolist()), (used, num_stages, streamed, crossing))


def _fewest_devices(chains: SharedChains, cost: float, limit: float) -> int:
    for used in range(1, chains.num_devices):
        fewer = dataclasses.replace(chains, num_devices=used)
        if not chains.uses_all and fewer.least_load(cost) <= limit:
            return used
    return chains.num_devices


def _path(chains: PairChains, values: PairValues, num_stages: int, limit: float) -> Ints:
    some = PairChains(chains.num_nodes, np.zeros(0, np.int64), np.zeros(0, np.int64), [])
    some.stages = chains.stages[:num_stages]
    some.rows, some.columns = chains.rows[:num_stages], chains.columns[:num_stages]
    some = some.only([part <= limit for part in some.completions(values.loads, np.add)])
    lightest = some.lightest_path(values.loads)
    with contextlib.suppress(BudgetExceededError):
        return best_pairs(some, values, limit, 1, Budget())
    if lightest is None:
        raise BudgetExceededError
    return lightest


class _KnownValues(PairValues):
    """What stages cost for their devices, all of it known."""

    def __init__(self, table: StageTable, which: Ints, chains: SharedChains, counts: Ints) -> None:
        self.pairs = table.pairs.select(which)
        self.costs = chains.column.costs / counts
        self.loads = chains.column.loads
        self.streamed = table.streamed[which]
        self.known = np.ones(len(which), bool)

    def ask(self, which: Ints) -> None:
        """Nothing: all is known."""
