"""What every stage between two boundaries takes on each host: the table that plans search in."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from respect_tf.device import MIB, EdgeTpu, Hosts
from respect_tf.scheduling import Throughput
from respect_tf.scheduling.parts import LOOSER, Budget, Floats, Ints, Nodes, stage_device

# The work that a value takes, as `Budget` counts it.
# benchmarks constants: half and twice the same; a tenth the same; ten times +15.91 % cost (worst
#   +111.3), -1 proofs, 1.13 times the time.
_VALUE_WORK = 2000


class HostTimes(Throughput):
    """Milliseconds of stages on each host, side by side, where so many devices work at once.

    No objective of its own: solvers ask it for matrices, [num_stages, num_hosts], in the place of
    costs, and for bytes on the bus in the place of loads.
    """

    def __init__(self, device: EdgeTpu | Hosts, num_at_work: int = 1) -> None:
        super().__init__(device)
        self._at_work = num_at_work

    def for_stages(self, num_stages: int) -> HostTimes:
        """The same: what is asked about are single stages."""
        del num_stages
        return self

    @property
    def _num_at_work(self) -> int:
        return self._at_work

    @property
    def _judges(self) -> Sequence[int]:
        return range(len(self.devices))

    @property
    def _scales(self) -> Floats:
        return np.ones(len(self.devices))

    def _finish(self, total: Floats, moved: Floats) -> tuple[Floats, Floats]:
        return total, moved


@dataclasses.dataclass(frozen=True, eq=False)
class Column:
    """What stages cost in one question: on one host, or of several the worst.

    Attributes:
        costs: What each takes on one device, at least. [num_pairs].
        loads: What each puts on the bus, at least. [num_pairs].
        stage_cost: What each takes of the host's time.
        load_rate: What a MiB on the bus costs.
    """

    costs: Floats
    loads: Floats
    stage_cost: float
    load_rate: float = 0.0

    def select(self, which: Ints) -> Column:
        """Some of the stages."""
        return Column(self.costs[which], self.loads[which], self.stage_cost, self.load_rate)


class StageTable:
    """Stages between nodes, with bounds of what they take or, where asked for, the values.

    Attributes:
        nodes: The nodes.
        pairs: The stages.
        streamed: Bytes of parameters that each streams, at least. [num_pairs].
        known: Whether bounds are the values. [num_pairs].
        has_contention: Whether times depend on how many devices work.
    """

    def __init__(self, nodes: Nodes, times: HostTimes, budget: Budget) -> None:
        self.nodes = nodes
        self.devices = times.devices
        self._row_of, distinct = _distinct(self.devices)
        several = Hosts("hosts of different times", distinct)
        times = HostTimes(several if len(several) > 1 else several.first)
        pairs = nodes.pairs(np.triu(np.ones((len(nodes), len(nodes)), bool), 1), budget)
        # Side by side in memory, where each question passes over them.
        rows, columns = np.ascontiguousarray(pairs.rows), np.ascontiguousarray(pairs.columns)
        self.pairs = dataclasses.replace(pairs, rows=rows, columns=columns)
        self._budget = budget
        # Times are linear in what transfers take: two points say it all.
        self._objectives = [times]
        self.has_contention = any(one.contention for one in self.devices)
        if self.has_contention:
            twice = tuple(_twice(one) for one in distinct)
            self._objectives.append(HostTimes(Hosts("twice as slow transfers", twice), 2))
        num_pairs = len(self.pairs)
        self.known = np.zeros(num_pairs, bool)
        self._closely = np.zeros(num_pairs, bool)
        self.streamed = np.zeros(num_pairs)
        self._moved = np.zeros(num_pairs)  # MiB
        self._totals = [np.zeros((len(distinct), num_pairs)) for _ in self._objectives]
        self._glanced: tuple[int, bytes, Column] | None = None
        self._bound(np.arange(num_pairs), closely=False)

    def __len__(self) -> int:
        return len(self.pairs)

    def look_closely(self, which: Ints) -> None:
        """Better bounds for some stages."""
        which = which[~(self.known | self._closely)[which]]
        if len(which):
            self._bound(which, closely=True)
            self._closely[which] = True

    def ask(self, which: Ints) -> None:
        """Put values in the place of bounds.

        Raises:
            BudgetExceededError: It takes too long.
        """
        which = which[~self.known[which]]
        if len(which) == 0:
            return
        self._budget.spend_pairs(_VALUE_WORK * len(which))
        batch = self.nodes.batch(self.pairs.select(which))
        for objective, totals in zip(self._objectives, self._totals, strict=True):
            total, moved, self.streamed[which] = objective.batch_values(batch)
            self._moved[which] = moved / MIB
            totals[:, which] = total.T
        self.known[which] = True

    def times(self, host: int, which: Ints | slice, num_devices: int) -> Floats:
        """Milliseconds on a host where so many devices work. [num_asked]."""
        row = self._row_of[host]
        base: Floats = self._totals[0][row][which]
        slowdown = self.devices[host].slowdown(num_devices) - 1.0
        if slowdown:
            base = base + slowdown * (self._totals[1][row][which] - base)
        return base

    def moved_mib(self, which: Ints | slice) -> Floats:
        """MiB that cross the bus. [num_asked]."""
        mib: Floats = self._moved[which]
        return mib

    def column(self, which: Ints | slice, num_devices: int, scales: Floats) -> Column:
        """What some stages cost where so many devices work: the worst over hosts.

        Args:
            which: The stages.
            num_devices: Number of devices that work.
            scales: What a millisecond costs on each host, 0 on those that do not matter.
        """
        costs = np.zeros(0)
        dearest: dict[int, int] = {}  # of hosts of the same times
        for host in np.flatnonzero(scales).tolist():
            other = dearest.setdefault(self._row_of[host], host)
            if scales[host] > scales[other]:
                dearest[self._row_of[host]] = host
        for host in dearest.values():
            part = self.times(host, which, num_devices)
            part = part if scales[host] == 1.0 else part * scales[host]
            costs = np.maximum(costs, part) if len(costs) else part
        if num_devices == 1:
            return Column(costs, np.zeros(len(costs)), 0.0)
        rate = max(one.bus_ms_per_mib * scale for one, scale in self._scaled(scales))
        stage = max(one.stage_ms * scale for one, scale in self._scaled(scales))
        loads = rate * self.moved_mib(which) if rate else np.zeros(len(costs))
        return Column(costs, loads, stage, rate)

    def glance(self, num_devices: int, scales: Floats) -> Column:
        """`column` of all stages, with bounds that may be older and lower ones."""
        if self._glanced is None or self._glanced[:2] != (num_devices, scales.tobytes()):
            column = self.column(slice(None), num_devices, scales)
            self._glanced = num_devices, scales.tobytes(), column
        return self._glanced[2]

    def _scaled(self, scales: Floats) -> list[tuple[EdgeTpu, float]]:
        return list(zip(self.devices, scales.tolist(), strict=True))

    def _bound(self, which: Ints, *, closely: bool) -> None:
        batch = self.nodes.batch(self.pairs.select(which))
        for objective, totals in zip(self._objectives, self._totals, strict=True):
            total, moved, streamed, exact = objective.batch_bounds(batch, closely=closely)
            totals[:, which] = np.maximum(totals[:, which], total.T * LOOSER)
            totals[:, which[exact]] = total[exact].T
        self._moved[which] = np.maximum(self._moved[which], moved / MIB * LOOSER)
        self._moved[which[exact]] = moved[exact] / MIB
        self.streamed[which] = np.maximum(self.streamed[which], streamed)
        self.known[which[exact]] = True


def _distinct(devices: tuple[EdgeTpu, ...]) -> tuple[list[int], tuple[EdgeTpu, ...]]:
    """Which of the devices that differ in the times of stages each one is like, and those."""
    found: dict[EdgeTpu, int] = {}
    firsts, rows = [], []
    for device in devices:
        alike = stage_device(device)
        if alike not in found:
            firsts.append(device)
        rows.append(found.setdefault(alike, len(found)))
    return rows, tuple(firsts)


def _twice(device: EdgeTpu) -> EdgeTpu:
    """The same device, whose transfers take twice as long beside another one's, if ever slower."""
    return dataclasses.replace(device, contention=((2, 1.0),) if device.contention else ())
