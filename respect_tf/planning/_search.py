"""The best way to share out devices: boundaries and replicas together, on one host or several."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from respect_tf.device import EdgeTpu, Hosts, devices_of
from respect_tf.graph import OpGraph
from respect_tf.planning._chains import TIE
from respect_tf.planning._part import PlanPart
from respect_tf.planning._table import HostTimes
from respect_tf.scheduling import Schedule
from respect_tf.scheduling.parts import (
    LOOSER,
    MAX_WORK,
    Budget,
    BudgetExceededError,
    Floats,
    IntervalNodes,
    Ints,
    Nodes,
    build_problem,
    distinct_orders,
    find_nodes,
)

# A first look at so many nodes bounds what plans cost from above: 2,000 stages, some hundredths of
# a second.
# benchmarks constants: half, twice, a tenth and ten times the same.
_FEW = 64

# Stages times hosts that a table may hold: 64 MB.
# benchmarks constants: half and twice the same; a tenth +0.12 % cost, -1 proofs; ten times the
#   same.
_MAX_CELLS = 1 << 23


@dataclasses.dataclass(frozen=True, eq=False)
class Cut:
    """A way to use devices.

    Attributes:
        stages: Stage of each op, int32 [num_ops].
        replicas: Number of devices of each stage.
        cost: What it costs: ms, or of several hosts the worst ratio to their optima.
        lower_bound: No way to use as many devices costs less.
        optima: Of several hosts, the least interval on each with as many devices, in ms.
    """

    stages: npt.NDArray[np.int32]
    replicas: tuple[int, ...]
    cost: float
    lower_bound: float
    optima: tuple[float, ...] | None


class PlanSearch:
    """A graph on one host or several, and the best ways to use some devices.

    Of several hosts, that is what has the least worst ratio of the interval on a host to the least
    one that as many devices can have there.

    Args:
        graph: The graph.
        device: The host or hosts.
        num_devices: Number of devices at most.
        deadline: On `time.perf_counter()`'s clock in seconds. Without one, the search gives up
            after a fixed amount of work.
        known: Finds schedules that lead the way where there are too many sets of ops to look at
            all of them.
    """

    def __init__(
        self,
        graph: OpGraph,
        device: EdgeTpu | Hosts,
        num_devices: int,
        deadline: float = math.inf,
        known: Callable[[], Sequence[Schedule]] = tuple,
    ) -> None:
        self.graph, self.num_devices = graph, num_devices
        self.devices = devices_of(device)
        self._times = HostTimes(device)
        self.problem = build_problem(graph, 1, self._times)
        self._budget = Budget(deadline, MAX_WORK)
        nodes = self._all_nodes()
        self.is_complete = nodes is not None
        """Whether all boundaries are looked at."""
        chosen = list(self._some_nodes(known())) if nodes is None else [nodes]
        self._whole = [PlanPart(one, self._times, self._budget) for one in chosen]
        self._first: list[PlanPart] = []
        for one in chosen:
            if len(one) > 2 * _FEW:
                few = PlanPart(one.few(_FEW), self._times, self._budget)
                few.table.ask(np.arange(len(few.table)))
                self._first.append(few)
        self._has_contention = any(one.contention for one in self.devices)
        self._best: dict[int, Cut] = {}
        self._optima: Floats | None = None
        self.doubt = 1.0

    def _all_nodes(self) -> Nodes | None:
        try:
            nodes = find_nodes(self.problem, self._budget)
        except BudgetExceededError:
            return None
        if nodes is None or len(nodes) ** 2 * len(self.devices) > 2 * _MAX_CELLS:
            return None
        return nodes

    def _some_nodes(self, known: Sequence[Schedule]) -> Iterator[Nodes]:
        orders = [*distinct_orders(self.problem), *map(self._order_of, known)]
        most = max(_FEW, math.isqrt(2 * _MAX_CELLS // (len(self.devices) * len(orders))))
        for order in orders:
            nodes: Nodes = IntervalNodes(self.problem, order)
            yield nodes if len(nodes) <= most else nodes.few(most)

    def _order_of(self, schedule: Schedule) -> Ints:
        """An order of items that a schedule cuts. int64 [num_items]."""
        stages = np.zeros(self.problem.num_items, np.int64)
        stages[self.problem.item_of] = schedule.stages
        order: Ints = np.argsort(stages, kind="stable")
        return order

    @property
    def optima(self) -> Floats:
        """The least interval on each host, in ms, by number of devices.

        float64 [num_devices + 1, num_hosts], of which the first row is infinite.
        """
        if self._optima is None:
            self._optima = self._find_optima()
        return self._optima

    def _find_optima(self) -> Floats:
        num_hosts = len(self.devices)
        best = np.full((self.num_devices + 1, num_hosts), np.inf)
        slowness = np.array([_slowness(one, self.num_devices) for one in self.devices])
        # A host that is nowhere slower than another has no longer optimum: it comes first, and
        # what is found there may settle the other one.
        for host in np.argsort(slowness.sum(axis=1), kind="stable").tolist():
            scales = np.zeros(num_hosts)
            scales[host] = 1.0
            faster = (slowness <= slowness[host]).all(axis=1)
            faster[host] = False
            for count in range(1, self.num_devices + 1):
                known = best[count, faster]
                floor = float(known[np.isfinite(known)].max(initial=0.0)) * self.doubt
                value, low = self._least(scales, count, count, float(best[count - 1, host]), floor)
                best[count, host] = value
                if num_hosts > 1:
                    self.doubt = min(self.doubt, low / value if value > 0 else 1.0)
        return best

    def _least(
        self,
        scales: Floats,
        num_devices: int,
        most_replicas: int,
        upper: float,
        floor: float = 0.0,
    ) -> tuple[float, float]:
        """The least cost where so many devices work, and a bound of it.

        Args:
            scales: See `StageTable.column`.
            num_devices: Number of devices.
            most_replicas: Number of devices of one stage at most.
            upper: What is known to be possible.
            floor: What no plan costs less than.
        """
        low = upper
        for part in self._first:
            upper = min(upper, part.optimum(scales, num_devices, most_replicas, upper))
        for part in self._whole:
            found, bound = part.improve(scales, num_devices, most_replicas, upper, floor)
            upper, low = min(upper, found), min(low, bound)
        if not self.is_complete:
            low = self._work(scales, num_devices)
        return upper, min(low, upper)

    def _work(self, scales: Floats, num_devices: int) -> float:
        """What no plan costs less than: all stages' work together, shared out evenly."""
        table = self._whole[0].table
        pairs, last = table.pairs, len(table.nodes) - 1
        whole = np.flatnonzero((pairs.rows == 0) & (pairs.columns == last))
        parts = np.arange(1, num_devices + 1)
        batch = table.nodes.batch(pairs.select(np.repeat(whole, num_devices)))
        total = self._times.batch_bounds(batch, closely=True, num_parts=parts)[0]
        return float((total.min(axis=0) * scales).max()) * LOOSER / num_devices

    def best(self, num_devices: int, most_replicas: int | None = None) -> Cut:
        """The best way to use up to so many devices.

        Args:
            num_devices: Number of devices.
            most_replicas: Number of devices of one stage at most.
        """
        most = num_devices if most_replicas is None else most_replicas
        found = self._best.get(num_devices)
        if found is not None and max(found.replicas) <= most and not self._has_contention:
            return found  # of fewer ways, the best of all is the best
        best = self._search(num_devices, most)
        if most == num_devices:
            self._best[num_devices] = best
        return best

    def _search(self, num_devices: int, most: int) -> Cut:
        scales, optima = np.ones(1), None
        if len(self.devices) > 1:
            optima = tuple(self.optima[num_devices].tolist())
            scales = 1.0 / np.maximum(self.optima[num_devices], math.ulp(0.0))
        # Contention differs by the devices at work; without it, as many as allowed are the best.
        every = range(1, num_devices + 1)
        counts = every if self._has_contention else sorted({1, num_devices})
        best: Cut | None = None
        lower = math.inf
        for count in counts:
            upper = math.inf if best is None else best.cost
            value, low = self._least(scales, count, min(most, count), upper)
            lower = min(lower, low)
            if best is None or value < best.cost * (1 - TIE):
                best = self._cut(scales, count, min(most, count), value)
        if best is None:
            raise BudgetExceededError
        bound = min(lower * self.doubt, best.cost)
        return dataclasses.replace(best, lower_bound=bound, optima=optima)

    def _cut(self, scales: Floats, num_devices: int, most_replicas: int, value: float) -> Cut:
        """The plan of a cost that some plan is known to have; ties broken as `best_chain` says."""
        found = [
            chain
            for part in (*self._whole, *self._first)
            if (chain := part.best_chain(scales, num_devices, most_replicas, value)) is not None
        ]
        if not found:
            raise BudgetExceededError
        best = min(found, key=lambda chain: chain.order)
        stages = (~best.members).sum(axis=0)
        return Cut(self.problem.stages_of_ops(stages), best.replicas, value, value, None)


def _slowness(device: EdgeTpu, most_devices: int) -> list[float]:
    """Constants of which more never takes less time."""
    slowdowns = [device.slowdown(count) for count in range(1, most_devices + 1)]
    return [
        device.fixed_ms,
        *(device.link_ms_per_mib * slowdown for slowdown in slowdowns),
        *(device.output_ms_per_mib * slowdown for slowdown in slowdowns),
        device.bus_ms_per_mib,
        device.stage_ms,
        device.slower,
        device.cpu_ms_per_gmac,
        device.cpu_ms_per_mib,
    ]
