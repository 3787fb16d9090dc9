"""Which stages are on the host: the best cuts of orders in which Edge TPUs and host take turns.

A stage with an op that has to be on the host takes the host's time for all of it, any other one
what it takes on an Edge TPU, or on the host where that is less.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np

from respect_tf.device import HOST_CORES, DeviceCosts, batch_stages, devices_of, resolve_device
from respect_tf.scheduling._chain import Budget
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._device_objectives import DeviceObjective, stage_device
from respect_tf.scheduling._host_phases import HostSplit, Phase
from respect_tf.scheduling._intervals import IntervalNodes
from respect_tf.scheduling._objective import Objective
from respect_tf.scheduling._pair_chains import PairChains
from respect_tf.scheduling._problem import Bools, Floats, build_problem
from respect_tf.scheduling._schedule import Schedule
from respect_tf.scheduling._stage_batch import Nodes, StageBatch

# Of longer orders, so many boundaries are looked at beside those between turns.
# benchmarks constants: half 0.66 times the time; twice the same.
_MAX_NODES = 400

_PER_MS = 10**9  # sums of whole picoseconds are exact


def host_layouts(
    split: HostSplit, num_stages: int, objective: Objective, constraints: Constraints | None
) -> list[tuple[Schedule, bool]]:
    """Cuts of the turns, without costs: on each device the fastest, and that which moves least.

    That is work on the host that an Edge TPU could do; where the objective does not know the host,
    nothing moves there that need not. The second value is whether a cut is one that moves least.

    Raises:
        ScheduleError: Constraints contradict each other.
    """
    found: dict[tuple[bytes, tuple[int, ...]], tuple[Schedule, bool]] = {}
    for phases in split.layerings:
        turns = _Turns(split, phases, num_stages, objective, constraints)
        for device, is_modest in itertools.product(range(turns.num_devices), (True, False)):
            made = turns.best(device, is_modest) if is_modest or turns.knows_host else None
            if made is not None:
                found.setdefault((made.stages.tobytes(), made.cpu_stages), (made, is_modest))
    return list(found.values())


class _Turns:
    """The cuts of one order; stages are pairs of its positions, on the host or not."""

    def __init__(
        self,
        split: HostSplit,
        phases: Sequence[Phase],
        num_stages: int,
        objective: Objective,
        constraints: Constraints | None,
    ) -> None:
        self.knows_host = isinstance(objective, DeviceObjective)
        devices = devices_of(resolve_device("usb3"))[:1]  # whose work on the host is to be least
        if isinstance(objective, DeviceObjective):
            # Of those where stages take as long, one will do.
            devices = tuple({stage_device(one): one for one in objective.devices}.values())
            objective = objective.of_one(devices[0])
        self._objective = objective.for_stages(num_stages)
        self.num_devices, self._is_sum = len(devices), objective.combine == "sum"
        limits = dataclasses.replace(constraints, stage_bytes=None) if constraints else None
        self._problem = build_problem(split.loose, num_stages, objective, limits)
        self._nodes = self._positions(split, phases)
        size = len(self._nodes)
        pairs = self._nodes.pairs(np.triu(np.ones((size, size), bool), 1), Budget())
        batch = self._nodes.batch(pairs)
        costs = [DeviceCosts.of(split.loose, device, num_stages) for device in devices]
        self._least = [one.device.stage_ms * num_stages * self.knows_host for one in costs]
        forced = batch.op_sums(split.on_host.astype(np.float64)) > 0
        host = np.stack([batch.op_sums(one.cpu_ms) for one in costs]) * self.knows_host
        chip = self._on_chip(costs, batch, ~forced)
        # Where the slowest stage counts, any stage may be on the host that is faster there.
        is_faster = (host < chip).any(axis=0) if self.knows_host and not self._is_sum else forced
        on_host, on_chip = np.flatnonzero(forced | is_faster), np.flatnonzero(~forced)
        which = np.concatenate([on_host, on_chip])
        is_host = np.arange(len(which)) < len(on_host)
        rows, columns = pairs.rows[which], pairs.columns[which]
        if not split.is_all:
            # Nodes also tell whether some stage before them is on an Edge TPU: one has to be.
            which, is_host, rows, columns = (
                np.tile(one, 2) for one in (which, is_host, rows, columns)
            )
            is_later = np.arange(len(which)) >= len(which) // 2
            rows, columns = rows + size * is_later, columns + size * (is_later | ~is_host)
            order = np.argsort(rows, kind="stable")
            which, is_host, rows, columns = (one[order] for one in (which, is_host, rows, columns))
        self._is_host, self._columns = is_host, columns % size
        moved = batch.op_sums(np.where(split.on_host, 0.0, np.ceil(_PER_MS * costs[0].cpu_ms)))
        self._weights = np.where(is_host, moved[which] * num_stages + 1.0, 0.0)
        self._costs = np.where(is_host, host[:, which], chip[:, which])
        stages = []
        rooms = constraints.rooms(num_stages) if constraints else None
        held = batch.op_sums(split.graph.parameter_bytes.astype(np.float64))[which]
        for stage in range(num_stages):
            good = self._nodes.possible(stage)[rows % size]
            good &= self._nodes.possible(stage + 1)[columns % size]
            if rooms is not None:
                good &= is_host | (held <= rooms[stage])
            stages.append(np.flatnonzero(good))
        num_nodes = size if split.is_all else 2 * size
        self._chains = PairChains(num_nodes, rows, columns, stages)

    def _on_chip(self, costs: Sequence[DeviceCosts], batch: StageBatch, which: Bools) -> Floats:
        """What some stages cost on Edge TPUs; infinite for the others. [num_devices, num_pairs]."""
        found = np.full((len(costs), len(batch)), math.inf)
        some = batch.select(which)
        if which.any() and self.knows_host:
            found[:, which] = batch_stages(costs, some)[0].T
        elif which.any():
            found[:, which] = self._objective.batch_bounds(some, closely=False)[0]
        return found

    def _positions(self, split: HostSplit, phases: Sequence[Phase]) -> Nodes:
        items = [np.unique(split.item_of[phase.ops]) for phase in phases]
        nodes = IntervalNodes(self._problem, np.concatenate(items))
        most = max(_MAX_NODES, 2 * self._problem.num_stages)
        if len(nodes) <= most:
            return nodes
        borders = np.cumsum([len(some) for some in items])
        spread = np.linspace(0, len(nodes) - 1, most).astype(np.int64)
        return nodes.select(np.union1d(spread, borders))

    @functools.cached_property
    def _least_moved(self) -> PairChains:
        """The chains that move the least to the host."""
        least = self._chains.least(self._weights, np.add)
        sums = self._chains.completions(self._weights, np.add)
        return self._chains.only([np.isfinite(one) & (one <= least) for one in sums])

    def best(self, device: int, is_modest: bool) -> Schedule | None:
        """The best cut on a device, if `is_modest` of those that move the least to the host."""
        chains, costs = self._least_moved if is_modest else self._chains, self._costs[device]
        if self._is_sum:
            path = chains.lightest_path(costs)
        else:
            shares = np.where(self._is_host, costs, 0.0) / HOST_CORES
            limit = max(chains.optimum(costs, shares, math.inf), self._least[device]) * (1 + 1e-9)
            chains = chains.within(costs, limit)
            path = chains.lightest_path(self._weights)
            if path is not None and shares[path].sum() > limit:
                path = chains.lightest_path(shares)
        if path is None:
            return None
        inner = self._nodes.members(self._columns[path[:-1]])
        stages = self._problem.stages_of_ops((~inner).sum(axis=0).astype(np.int64))
        on_host = np.flatnonzero(self._is_host[path]).tolist()
        return Schedule(stages, len(path), cpu_stages=on_host)
