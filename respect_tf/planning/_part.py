"""Some nodes and all stages between them: the best chains that share out devices."""

from __future__ import annotations

import math

import numpy as np

from respect_tf.planning._chains import TIE, SharedChains
from respect_tf.planning._table import Column, HostTimes, StageTable
from respect_tf.planning._ties import FoundChain, best_chain
from respect_tf.scheduling.parts import Budget, BudgetExceededError, Floats, Ints, Nodes


class PlanPart:
    """Some nodes, and the stages between them."""

    def __init__(self, nodes: Nodes, times: HostTimes, budget: Budget) -> None:
        self.table = StageTable(nodes, times, budget)
        self._nodes = nodes

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
        which = self._near(scales, num_devices, most_replicas, upper * (1 - TIE))
        known = which[self.table.known[which]]
        if len(known) < len(which):  # a better cost rules out more
            chains = self._chains(known, scales, num_devices, most_replicas)
            chains = chains.select(chains.within(upper * (1 - TIE)))
            better = chains.optimum(upper)
            if better <= floor * (1 + TIE):
                return better, better
            if better < upper:
                upper = better
                which = self._near(scales, num_devices, most_replicas, upper * (1 - TIE))
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
        which = self._near(scales, num_devices, most_replicas, value * (1 + TIE))
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

    def _near(self, scales: Floats, num_devices: int, most_replicas: int, limit: float) -> Ints:
        """Stages that chains within a limit may have, at a glance."""
        if not math.isfinite(limit) or limit <= 0:
            return np.arange(len(self.table))
        column = self.table.glance(num_devices, scales)
        chains = self._chains_of(slice(None), column, num_devices, most_replicas)
        return np.flatnonzero(chains.near(limit))

    def _chains(
        self, which: Ints | slice, scales: Floats, num_devices: int, most_replicas: int
    ) -> SharedChains:
        column = self.table.column(which, num_devices, scales)
        return self._chains_of(which, column, num_devices, most_replicas)

    def _chains_of(
        self, which: Ints | slice, column: Column, num_devices: int, most_replicas: int
    ) -> SharedChains:
        pairs = self.table.pairs
        rows, columns = pairs.rows[which], pairs.columns[which]
        # Where more devices differ from fewer, stages without replicas use all there are.
        uses_all = most_replicas == 1 and self.table.has_contention
        return SharedChains(
            len(self._nodes), rows, columns, column, num_devices, most_replicas, uses_all
        )
