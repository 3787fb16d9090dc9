"""Some nodes and all stages between them: the best chains that share out devices."""

from __future__ import annotations

import math

import numpy as np

from respect_tf.planning._chains import TIE, SharedChains
from respect_tf.planning._table import LOOSER, HostTimes, StageTable
from respect_tf.planning._ties import FoundChain, best_chain
from respect_tf.scheduling.parts import Budget, BudgetExceededError, Floats, Ints, Nodes


class PlanPart:
    """Some nodes, and the stages between them."""

    def __init__(self, nodes: Nodes, times: HostTimes, budget: Budget, most_stages: int) -> None:
        self.table = StageTable(nodes, times, budget)
        self._nodes = nodes
        (self._before, self._moved_before), (self._after, self._moved_after) = _ends(
            nodes, times, most_stages
        )

    def optimum(self, scales: Floats, num_devices: int, most_replicas: int, upper: float) -> float:
        """The least cost of stages that are all known, or `upper`."""
        chains = self._chains(slice(None), scales, num_devices, most_replicas)
        return chains.optimum(upper)

    def improve(
        self,
        scales: Floats,
        num_devices: int,
        most_replicas: int,
        upper: float,
        floor: float = 0.0,
    ) -> tuple[float, float]:
        """The least cost, or `upper`, and a bound of it that is as high if it is proved."""
        if upper <= floor * (1 + TIE):
            return upper, upper
        which = self._near(scales, num_devices, upper * (1 - TIE))
        known = which[self.table.known[which]]
        if len(known) < len(which):  # a better cost rules out more
            chains = self._chains(known, scales, num_devices, most_replicas)
            chains = chains.select(chains.within(upper * (1 - TIE)))
            better = chains.optimum(upper)
            if better <= floor * (1 + TIE):
                return better, better
            if better < upper:
                upper = better
                which = self._near(scales, num_devices, upper * (1 - TIE))
        limit = upper * (1 - TIE)
        try:
            which = self._settled(which, scales, num_devices, most_replicas, limit)
        except BudgetExceededError:
            chains = self._chains(which, scales, num_devices, most_replicas)
            return upper, min(upper, chains.optimum(upper))
        if len(which) == 0:
            return upper, upper
        chains = self._chains(which, scales, num_devices, most_replicas)
        value = chains.optimum(upper)
        return value, value

    def best_chain(
        self, scales: Floats, num_devices: int, most_replicas: int, value: float
    ) -> FoundChain | None:
        """The best of the chains of a cost, `None` if there is none here."""
        which = self._near(scales, num_devices, value * (1 + TIE))
        try:
            which = self._settled(which, scales, num_devices, most_replicas, value)
        except BudgetExceededError:
            which = which[self.table.known[which]]
        chains = self._chains(which, scales, num_devices, most_replicas)
        return best_chain(self.table, which, chains, value)

    def _settled(
        self, which: Ints, scales: Floats, num_devices: int, most_replicas: int, limit: float
    ) -> Ints:
        """Of some stages, those that chains within a limit have, all of them known."""
        for learn in (self.table.look_closely, self.table.ask, None):
            chains = self._chains(which, scales, num_devices, most_replicas)
            which = which[chains.within(limit)]
            if learn is None or len(which) == 0:
                break
            learn(which)
        return which

    def _near(self, scales: Floats, num_devices: int, limit: float) -> Ints:
        """Stages that leave enough devices for what is before and after them, by sums of ops."""
        pairs = self.table.pairs
        if not math.isfinite(limit) or limit <= 0:
            return np.arange(len(pairs))
        counts = np.arange(1, num_devices + 1)
        before, after = (
            (least[:num_devices] > counts[:, None] * limit * (1 + TIE)).sum(axis=0)
            for least in (_worst(self._before, scales), _worst(self._after, scales))
        )
        before[1:] += 1
        after[:-1] += 1
        left = num_devices - before[pairs.rows] - after[pairs.columns]
        near = np.flatnonzero(left >= 1)
        column = self.table.column(near, num_devices, scales)
        good = column.costs <= left[near] * limit * (1 + TIE)
        if column.load_rate:
            moved = self._moved_before[pairs.rows[near]] + self._moved_after[pairs.columns[near]]
            good &= column.loads + column.load_rate * moved <= limit * (1 + TIE)
        few: Ints = near[good]
        return few

    def _chains(
        self, which: Ints | slice, scales: Floats, num_devices: int, most_replicas: int
    ) -> SharedChains:
        pairs, column = self.table.pairs, self.table.column(which, num_devices, scales)
        rows, columns = pairs.rows[which], pairs.columns[which]
        # Where more devices differ from fewer, stages without replicas use all there are.
        uses_all = most_replicas == 1 and self.table.has_contention
        return SharedChains(
            len(self._nodes), rows, columns, column, num_devices, most_replicas, uses_all
        )


def _ends(nodes: Nodes, times: HostTimes, most_stages: int) -> list[tuple[Floats, Floats]]:
    """What is before each node, and what is after it, in up to so many stages, takes at least.

    Returns:
        For both, ms of all stages together, [num_hosts, most_stages, num_nodes], and MiB that they
        move, [num_nodes].
    """
    num_hosts, size = len(times.devices), len(nodes)
    if size == 2:  # nothing is between nothing and everything
        return [(np.zeros((num_hosts, most_stages, 2)), np.zeros(2))] * 2
    found = []
    for pairs in nodes.ends():
        every = np.tile(np.arange(len(pairs)), most_stages)
        parts = np.repeat(np.arange(1, most_stages + 1), len(pairs))
        batch = nodes.batch(pairs.select(every))
        total, moved, *_ = times.batch_bounds(batch, closely=False, num_parts=parts)
        least, mib = np.zeros((num_hosts, most_stages, size)), np.zeros(size)
        least[:, :, 1:-1] = LOOSER * total.T.reshape(num_hosts, most_stages, -1)
        mib[1:-1] = LOOSER * moved.reshape(most_stages, -1).min(axis=0) / 2.0**20
        found.append((np.minimum.accumulate(least, axis=1), mib))
    return found


def _worst(times: Floats, scales: Floats) -> Floats:
    """The dearest over hosts. [most_stages, num_nodes]."""
    worst: Floats = np.zeros(times.shape[1:])
    for host in np.flatnonzero(scales).tolist():
        worst = np.maximum(worst, times[host] * scales[host])
    return worst
