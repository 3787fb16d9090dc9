"""Chains of stages that share out devices, by dynamic programming.

A stage that takes c ms gives a result every c / r ms on r devices. A chain of stages has a certain
number of devices; it costs the largest of these, or the sum of what its stages put on the bus that
all devices share, or the host's time for all of them, whichever is longest. Boundaries are nodes,
and the devices used so far are one more coordinate.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from respect_tf._loops.twins import loop
from respect_tf.planning._loops import devices_within, near_stages, run_fitting, run_least_loads
from respect_tf.planning._table import Column
from respect_tf.scheduling.parts import Bools, Floats, Ints, PairChains

# Costs are equal up to this part of them, as `Schedule` has it.
TIE = 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class SharedChains:
    """Stages that a chain may have, and what they cost.

    Attributes:
        num_nodes: Number of nodes; chains lead from the first to the last.
        rows: The node that each stage begins with, ascending. int64 [num_pairs].
        columns: The one that it ends with.
        column: What they cost.
        num_devices: Number of devices that a chain uses at most.
        most_replicas: Number of devices that a stage has at most.
        uses_all: Whether a chain has to use all devices; else some may stay idle.
    """

    num_nodes: int
    rows: Ints
    columns: Ints
    column: Column
    num_devices: int
    most_replicas: int
    uses_all: bool = False

    def select(self, which: Ints | Bools) -> SharedChains:
        """Chains of some of the stages."""
        index = np.arange(len(self.rows))[which]
        return dataclasses.replace(
            self, rows=self.rows[index], columns=self.columns[index],
            column=self.column.select(index),
        )  # fmt: skip

    def devices_within(self, limit: float) -> Ints:
        """Devices that each stage needs to keep a limit, or more than there may be. [num_pairs]."""
        most = limit * (1 + TIE)
        return devices_within(self.column.costs, most, self.num_devices, self.most_replicas)

    def most_stages(self, limit: float) -> int:
        """Stages that the host can serve within a limit."""
        if self.column.stage_cost == 0:
            return self.num_devices
        return min(self.num_devices, int(limit * (1 + TIE) / self.column.stage_cost))

    def bottleneck(self) -> Floats:
        """The least cost of the dearest stage for its devices, for each number of devices.

        Returns:
            [num_devices + 1], of which the first is infinite.
        """
        order = _sorted_places(self.columns, self.num_nodes)
        rows, ends, starts = self.rows[order], *_groups(self.columns[order])
        costs = self.column.costs[order]
        best = np.full((self.num_devices + 1, self.num_nodes), np.inf)
        best[0, 0] = 0.0
        shares = [costs / (count + 1) for count in range(self.most_replicas)]
        for used in range(1, self.num_devices + 1):
            for count in range(1, min(used, self.most_replicas) + 1):
                through = np.maximum(best[used - count][rows], shares[count - 1])
                least = np.minimum.reduceat(through, starts) if len(starts) else through
                best[used, ends] = np.minimum(best[used, ends], least)
        return best[:, -1]

    def least_loads(self, limit: float, *, backward: bool = False) -> Floats:
        """The least load of a chain within a limit, up to each node.

        Args:
            limit: What a stage may cost for its devices.
            backward: Whether chains lead from each node to the last one instead.

        Returns:
            For each number of devices, at most or, if all are used, exactly.
            [num_nodes, num_devices + 1].
        """
        best = np.empty((self.num_nodes, self.num_devices + 1))
        loop(run_least_loads)(*self._possible(limit), best, self.uses_all, backward)
        return best

    def _possible(self, limit: float) -> tuple[Ints, Ints, Ints, Floats]:
        """Rows, columns, devices and loads of the stages that enough devices are there for."""
        counts = self.devices_within(limit)
        few = np.flatnonzero(counts <= self.num_devices)
        return self.rows[few], self.columns[few], counts[few], self.column.loads[few]

    def least_load(self, limit: float) -> float:
        """The least load of a chain whose stages, and the host, keep a limit; infinite if none."""
        if self.most_stages(limit) >= self.num_devices:
            return float(self.least_loads(limit)[-1, -1])
        reached = self.extended(limit).forward(self.column.loads, np.add)
        return min((float(part[-1]) for part in reached[1:]), default=math.inf)

    def within(self, limit: float) -> Bools:
        """Which stages some chain may have that keeps a limit. [num_pairs].

        The host is not looked at, nor whether all devices are used.
        """
        near = np.flatnonzero(self.near(limit))
        fewer = dataclasses.replace(self.select(near), uses_all=False)
        good: Bools = np.zeros(len(self.rows), bool)
        if len(near) == 0 or not fewer.column.loads.any():
            good[near] = True
            return good
        before, after = fewer.least_loads(limit), fewer.least_loads(limit, backward=True)
        fits = np.empty(len(near), np.uint8)
        pairs = fewer.rows, fewer.columns, fewer.devices_within(limit), fewer.column.loads
        loop(run_fitting)(*pairs, before, after, fits, limit * (1 + TIE))
        good[near] = fits.view(bool)
        return good

    def near(self, limit: float) -> Bools:
        """Which stages may be in a chain that keeps a limit, at a glance. [num_pairs]."""
        most = limit * (1 + TIE)
        return near_stages(
            self.rows,
            self.columns,
            self.column.costs,
            self.column.loads,
            num_nodes=self.num_nodes,
            limit=most,
            most_load=most,
            num_devices=self.num_devices,
            most_replicas=self.most_replicas,
        )

    def extended(self, limit: float) -> PairChains:
        """Chains within a limit, of nodes that also tell the devices used so far.

        Node `n` after `u` devices is `n * (num_devices + 1) + u`. Where devices may stay idle, they
        do so behind the last node, so that all chains end with all of them. There are as many
        stages as the host can serve.
        """
        counts, size = self.devices_within(limit), self.num_devices + 1
        parts = []
        for used in range(self.num_devices):
            which = np.flatnonzero(counts <= self.num_devices - used)
            ends = used + counts[which]
            if not self.uses_all:
                ends[self.columns[which] == self.num_nodes - 1] = self.num_devices
            rows = self.rows[which] * size + used
            columns = self.columns[which] * size + ends
            keep = (self.rows[which] > 0) | (used == 0)
            parts.append((which[keep], rows[keep], columns[keep]))
        which, rows, columns = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.argsort(rows, kind="stable")  # as `completions` wants them
        which, rows, columns = which[order], rows[order], columns[order]
        num_stages = self.most_stages(limit)
        chains = PairChains(self.num_nodes * size, rows, columns, [])
        chains.stages = [which] * num_stages
        chains.rows, chains.columns = [rows] * num_stages, [columns] * num_stages
        return chains

    def optimum(self, upper: float, least: float | None = None) -> float:
        """The least cost of a chain, or `upper` if none costs less.

        Args:
            upper: What some chain is known to cost; infinite if none is known.
            least: What `bottleneck` gives for so many devices, where it is known.
        """
        if least is None:
            least = float(self.bottleneck()[-1 if self.uses_all else 0 :].min())
        low = max(least, self.column.stage_cost)
        if low >= upper:
            return upper
        load = self.least_load(low)
        if load <= low * (1 + TIE):
            return min(max(low, load), upper)
        # With a higher limit stages need fewer devices, and chains put less on the bus.
        costs = self.column.costs
        shares = [costs / (count + 1) for count in range(self.most_replicas)]
        stages = self.column.stage_cost * np.arange(1, self.num_devices + 1)
        limits = np.unique(np.concatenate([*shares, stages]))
        limits = np.concatenate([[low], limits[(limits > low) & (limits < upper)], [upper]])
        first, last = 0, len(limits) - 1
        while last - first > 1:
            middle = (first + last) // 2
            if self.least_load(limits[middle]) <= limits[middle] * (1 + TIE):
                last = middle
            else:
                first = middle
        return min(float(limits[last]), max(float(limits[first]), self.least_load(limits[first])))


def _groups(sorted_values: Ints) -> tuple[Ints, Ints]:
    """Distinct values of a sorted array, and where each begins."""
    if len(sorted_values) == 0:
        return sorted_values, np.zeros(0, np.int64)
    starts = np.append(0, np.flatnonzero(np.diff(sorted_values)) + 1)
    return sorted_values[starts], starts


def _sorted_places(values: Ints, end: int) -> Ints:
    """`argsort` of whole numbers below an end, equal ones in order; in linear time if they are few.

    numpy sorts numbers of 16 bits by their digits.
    """
    small = values.astype(np.uint16) if end < 1 << 16 else values
    return np.argsort(small, kind="stable")
