"""The optimum of each of several devices, which a cut for all of them is judged by."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.device import EdgeTpu
from respect_tf.graph import OpGraph
from respect_tf.scheduling._answers import Answer, answer_of, recount
from respect_tf.scheduling._chain import Budget, BudgetExceededError, Chain
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._cut_bounds import improve_by_cuts
from respect_tf.scheduling._device_objectives import DeviceObjective, stage_device
from respect_tf.scheduling._least_cut import MOST_CLOSED
from respect_tf.scheduling._linear_bound import LOOSER
from respect_tf.scheduling._objective import Objective
from respect_tf.scheduling._order_search import search_order
from respect_tf.scheduling._pair_search import search_pairs
from respect_tf.scheduling._pairs import find_nodes
from respect_tf.scheduling._problem import Problem, build_problem
from respect_tf.scheduling._proof import QUICK_WORK, first_schedule, prove_quickly
from respect_tf.scheduling._room_bounds import raised_bound
from respect_tf.scheduling._schedule import Schedule
from respect_tf.scheduling._slicing import slice_below
from respect_tf.scheduling._stage_batch import Nodes

# Work of minimum cuts, as `Budget` counts it, for all devices together and for one of them at most:
# NASNetMobile in 4 stages takes 330 million for the 8 USB 3 hosts that differ in it, 82 for one.
# benchmarks constants: _CUT_WORK half the same; twice 1.10 times the time. _MOST_CUT_WORK half -1
#   proofs, +23.50 % gap; twice the same.
_CUT_WORK, _MOST_CUT_WORK = 800_000_000, 160_000_000

# Graphs of more items are cut along their order: with minimum cuts, lanes of 2,000 ops take 13.9 s
# in place of 2.6 and end 0.7 % lower, random layers 15.2 in place of 2.2 and end 1.0 % higher; of
# 4,000, lanes take 34.5 in place of 5.2 and end 0.2 % lower. Those of 1,000 end 7 % lower so.
# Where costs are added up, nothing else bounds them as well.
# benchmarks constants: half the same; twice -0.07 % cost, -0.07 % gap, 1.41 times the time.
_MAX_ITEMS = 1500

# A bound that is as near as this to what a proof came to that failed is not worth another one: it
# leaves work for others. Without, a YOLOv8 in 4 stages for all USB 3 hosts ends 45 % above its
# bound in place of 21 %.
# benchmarks constants: half, twice, a tenth and ten times the same.
_GOOD = 0.98

# Of an optimum, so much is as good as all of it: sums are rounded in different orders.
_PROVED = 1 - 1e-9

# The part of a time limit that the devices' optima may take together.
# benchmarks constants: with a time limit, half -2.69 % cost, +295.88 % gap; twice +5.47 % cost
#   (worst +5.5), +24.50 % gap.
_SHARE = 0.5


@dataclasses.dataclass(frozen=True)
class Prepared:
    """An objective that is ready for solvers, with the optimum of each device if it has several.

    `least` is what these optima are at least, in ms; None where nothing had to be found.
    """

    objective: Objective
    least: tuple[float, ...] | None = None

    @property
    def is_proved(self) -> bool:
        """Whether the objective's optima are the true ones."""
        own = self.objective.optima if isinstance(self.objective, DeviceObjective) else None
        return self.least is None or self.least == own

    def reported(self, answer: Answer, problem: Problem) -> Answer:
        """An answer as schedules report it: by the worst of several devices.

        The bound is relative to the true optima. One relative to the best cuts known is one, too,
        but where an optimum may be lower, the answer's schedule may cost more: it is as much lower.
        """
        low, objective, chain = answer.lower_bound, problem.objective, answer.chain
        if isinstance(objective, DeviceObjective) and objective.optima is not None:
            found = Schedule(problem.stages_of_ops(chain.stages), problem.num_stages)
            times = objective.times(problem.graph, found)
            cost = float((times / np.maximum(objective.optima, math.ulp(0.0))).max())
            if objective.is_mean:
                chain = dataclasses.replace(chain, cost=cost)
            if self.least is not None:
                with np.errstate(over="ignore"):  # nothing may be known of some devices in time
                    true = float((times / np.maximum(self.least, math.ulp(0.0))).max())
                low = max(float(low), 1.0) * (cost / true)
        return dataclasses.replace(answer, chain=chain, lower_bound=min(low, chain.cost))


def prepare(
    objective: Objective,
    graph: OpGraph,
    num_stages: int,
    constraints: Constraints | None = None,
    deadline: float = math.inf,
) -> Prepared:
    """Find the optimum of each device, where the objective is about several.

    Those that little work proves are proved; of the others the best schedule known counts. Raises
    as `build_problem`, and ScheduleError where no schedule keeps the constraints, or none is found.
    """
    if not isinstance(objective, DeviceObjective) or not objective.needs_optima:
        return Prepared(objective)
    now = time.perf_counter()
    limit = now + _SHARE * (deadline - now)
    objective = objective.for_stages(num_stages)
    objective.tensor_weights(graph)  # what each device costs is found once
    problems = [
        build_problem(graph, num_stages, objective.of_one(device), constraints)
        for device in objective.devices
    ]
    search = _Search(objective, problems, limit)
    optima, least = search.run()
    return Prepared(objective.with_optima(optima), tuple(least))


def is_large(problem: Problem) -> bool:
    """Whether a problem has too many items for minimum cuts."""
    return problem.num_items > (_MAX_ITEMS if problem.combine == "max" else MOST_CLOSED)


def with_better_optima(problem: Problem, chain: Chain, prepared: Prepared) -> tuple[Problem, Chain]:
    """A problem and a schedule where that is better on a device than what counts as its optimum.

    Bounds stay bounds: the cost of every schedule rises.
    """
    objective = problem.objective
    if prepared.is_proved or not isinstance(objective, DeviceObjective):
        return problem, chain
    schedule = Schedule(problem.stages_of_ops(chain.stages), problem.num_stages)
    times, optima = objective.times(problem.graph, schedule), np.array(objective.optima)
    better = times < _PROVED * optima
    if not better.any():
        return problem, chain
    changed = objective.with_optima(np.where(better, times, optima).tolist())
    problem = dataclasses.replace(problem, objective=changed)
    return problem, recount(problem, chain.stages)


class _Search:
    """A search for the optimum of each device; what is good on one begins that on the next."""

    def __init__(
        self, objective: DeviceObjective, problems: list[Problem], deadline: float
    ) -> None:
        self._objective = objective
        self._problems = problems
        self._deadline = deadline
        self._best = np.full(len(problems), np.inf)  # ms of the best schedule on each device
        self._good: dict[int, npt.NDArray[np.int64]] = {}  # that one, stages of items
        self._cut_work = float(_CUT_WORK)
        self._is_hard = False  # whether some device stayed without a proof

    def run(self) -> tuple[list[float], list[float]]:
        """The optimum of each device, or the best that is known, and what it is at least."""
        nodes: Nodes | None = None
        with contextlib.suppress(BudgetExceededError):
            if self._problems[0].restrictions is None:
                nodes = find_nodes(self._problems[0], Budget(self._deadline, QUICK_WORK))
        slowness = np.array([_slowness(one, self._objective) for one in self._objective.devices])
        lower = np.zeros(len(self._problems))
        looked_at = np.zeros(len(self._problems), bool)
        # A device that is nowhere slower than another has no dearer optimum: it comes first, and
        # what is proved there may settle the other one.
        kinds = [stage_device(device) for device in self._objective.devices]
        order = np.argsort(slowness.sum(axis=1), kind="stable").tolist()
        for place, index in enumerate(order):
            times = _times_as_long(slowness[index], slowness)
            faster = times >= 1
            times[times != 1] *= LOOSER
            lower[index] = (lower * times).max()
            # Where the faster one that says most stayed without a proof, this one would, too.
            known = np.flatnonzero(looked_at & faster & (lower < _PROVED * self._best))
            like = known[np.argmax(lower[known])] if len(known) else index
            part = lower[like] / self._best[like] if len(known) else math.inf
            is_late = time.perf_counter() > self._deadline and np.isfinite(self._best[index])
            if lower[index] < min(_PROVED, _GOOD * part) * self._best[index] and not is_late:
                looked_at[index] = True
                num_left = len({kinds[other] for other in order[place:]})
                lower[index] = max(lower[index], self._look(index, nodes, num_left))
        lower = np.where(lower < _PROVED * self._best, lower, self._best)
        return self._best.tolist(), lower.tolist()

    def _look(self, index: int, nodes: Nodes | None, num_left: int) -> float:
        """Look for a good schedule of one device. Returns a bound of its optimum."""
        problem, order = self._problems[index], np.arange(self._problems[index].num_items)
        budget = Budget(self._deadline, QUICK_WORK)
        upper = float(self._best[index]) * (1 + 1e-9)
        found = None
        with contextlib.suppress(BudgetExceededError):
            if problem.has_one_order:
                found = search_order(problem, order, budget, upper, settle=False)
            elif nodes is not None:
                found = search_pairs(nodes.of(problem), budget, upper, settle=False)
        if found is not None and found.chain is not None:
            self._add(problem, found.chain.stages)
            return found.lower_bound
        is_first = not np.isfinite(self._best[index])
        if is_first or is_large(problem):
            chain = slice_below(problem, order, deadline=self._deadline)
            if chain is None and is_first:  # constraints may leave an order without a cut
                some = prove_quickly(problem, self._deadline)
                chain = (some or first_schedule(problem, self._deadline)).chain
            if chain is not None:
                self._add(problem, chain.stages)
        known = answer_of(problem, self._good[index])
        if is_large(problem):
            return max(known.lower_bound, raised_bound(problem, known.chain.cost, self._deadline))
        # Some has to be left for the others: as much, where none of them is proved with less.
        left = self._cut_work / (num_left if self._is_hard else 2)
        budget = Budget(self._deadline, min(_MOST_CUT_WORK, left))
        answer = improve_by_cuts(problem, known, budget, is_hard=self._is_hard)
        self._is_hard |= answer.lower_bound < _PROVED * answer.chain.cost
        self._cut_work -= min(budget.spent, left)
        self._add(problem, answer.chain.stages)
        return answer.lower_bound

    def _add(self, problem: Problem, stages: npt.NDArray[np.int64]) -> None:
        schedule = Schedule(problem.stages_of_ops(stages), problem.num_stages)
        times = self._objective.times(problem.graph, schedule)
        for index in np.flatnonzero(times < self._best).tolist():
            self._best[index], self._good[index] = times[index], stages


def _times_as_long(slowness: npt.NDArray[np.float64], of_others: npt.NDArray[np.float64]) -> Any:
    """How many times as long as on others all takes at least, by `_slowness`. [num_others]."""
    endless = np.full_like(of_others, np.inf)
    return np.divide(slowness, of_others, endless, where=of_others > 0).min(axis=1)


def _slowness(device: EdgeTpu, objective: DeviceObjective) -> list[float]:
    """Constants of which more never takes less time, and twice of all twice as much."""
    slowdown = device.slowdown(objective.num_stages)
    return [
        device.fixed_ms,
        device.link_ms_per_mib,
        device.link_ms_per_mib * slowdown,
        device.output_ms_per_mib * slowdown,
        device.bus_ms_per_mib,
        device.stage_ms,
        device.slower,
        device.cpu_ms_per_gmac,
        device.cpu_ms_per_mib,
    ]
