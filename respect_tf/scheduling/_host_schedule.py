"""Schedules with stages on the host: preparation around the solvers, which see Edge TPUs alone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ScheduleError
from respect_tf.device import DeviceCosts, EdgeTpu, devices_of, predict, resolve_device
from respect_tf.graph import OpGraph
from respect_tf.scheduling._check import check_schedule
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._device_objectives import DeviceObjective
from respect_tf.scheduling._host_bounds import chip_bound, host_bound
from respect_tf.scheduling._host_cuts import BlockCutter, Cut, Solve
from respect_tf.scheduling._host_layout import Block, Prices, good_layouts
from respect_tf.scheduling._host_phases import HostSplit, blocked_ops
from respect_tf.scheduling._objective import Objective, stage_costs
from respect_tf.scheduling._schedule import Schedule, status_of

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class _Candidate:
    blocks: tuple[Block, ...]
    schedule: Schedule  # without a cost
    costs: Floats  # [num_devices] ms, or [1] what the objective says
    least: Floats  # the same of the best cut of these blocks on each device by itself
    stage_costs: Floats  # [num_stages], ms of the first device, or what the objective says


def host_split(
    graph: OpGraph, num_stages: int, constraints: Constraints | None
) -> HostSplit | None:
    """What has to run on the host; None where nothing has to, or no stage can be spared for it.

    Raises:
        ArgumentError: Constraints name what is not there.
        ScheduleError: The user wants ops on the host for which there are too few stages.
    """
    wanted = () if constraints is None else constraints.on_cpu
    host_ops = sorted({*blocked_ops(graph), *wanted})
    if not host_ops:
        return None
    groups: list[list[int]] = []
    if constraints is not None:
        constraints.check(graph, num_stages)
        groups = [ops for ops, _ in constraints.shared(graph)]
    split = HostSplit.of(graph, host_ops, groups)
    if num_stages >= split.least_stages:
        return split
    if wanted:
        raise split.too_few(num_stages)
    return None


def schedule_with_host(
    split: HostSplit,
    num_stages: int,
    objective: Objective,
    *,
    constraints: Constraints | None,
    solve: Solve,
    scheduler: str,
) -> Schedule:
    """A checked schedule whose CPU stages hold all ops that have to run on the host.

    The ops come in turns of Edge TPU and host; how many stages each turn gets, and what else moves
    to the host because that pays or because there are too few stages, is estimated first and then
    improved by what is predicted. Each turn on Edge TPUs is cut by the scheduler that was asked
    for. Stages on the host count among `num_stages`; the bound, where there is one, is one for all
    schedules.

    Raises:
        ScheduleError: There are too few stages for one on an Edge TPU, or more than ops, or no
            schedule keeps the constraints, or none was found.
    """
    maker = _Maker(split, num_stages, objective, constraints, solve)
    found = maker.candidates()
    found = maker.improve(found)
    optima = np.min([one.least for one in found], axis=0)
    best = min(found, key=lambda one: _worst(one.costs, optima))
    final = objective
    if isinstance(objective, DeviceObjective) and objective.needs_optima:
        final = objective.with_optima(optima.tolist())
    cost = final.schedule_cost(split.graph, best.schedule)
    bound = _bound(split, best.schedule, final, num_stages)
    bound = None if bound is None else min(bound, cost)
    made = Schedule(
        best.schedule.stages,
        num_stages,
        cost=cost,
        lower_bound=bound,
        status=status_of(cost, bound),
        objective=final.name,
        device=final.device,
        optima=final.optima if isinstance(final, DeviceObjective) else None,
        cpu_stages=best.schedule.cpu_stages,
        scheduler=scheduler,
    )
    check_schedule(split.graph, made, final, constraints)
    return made


def _bound(
    split: HostSplit, found: Schedule, objective: Objective, num_stages: int
) -> int | float | None:
    if isinstance(objective, DeviceObjective):
        return host_bound(split.graph, objective, num_stages, split.on_host, split.item_of)
    if bool((np.isin(found.stages, found.cpu_stages) != split.on_host).any()):
        return None  # more is on the host than has to be
    turns = min(sum(phase.on_host for phase in phases) for phases in split.layerings)
    return chip_bound(split.graph, objective, num_stages - turns, split.on_host, split.item_of)


def _worst(costs: Floats, optima: Floats) -> float:
    """The largest ratio of costs and the best known, as `Schedule.cost` has it."""
    if len(costs) == 1:
        return float(costs[0])
    return float((costs / np.maximum(optima, math.ulp(0.0))).max())


class _Maker:
    def __init__(
        self,
        split: HostSplit,
        num_stages: int,
        objective: Objective,
        constraints: Constraints | None,
        solve: Solve,
    ) -> None:
        self._split, self._graph, self._num_stages = split, split.graph, num_stages
        self._objective, self._constraints = objective, constraints
        self._devices: tuple[EdgeTpu, ...] = devices_of(resolve_device("usb3"))[:1]
        if isinstance(objective, DeviceObjective):
            self._devices = objective.devices
        self._prices = [
            Prices.of(DeviceCosts.of(self._graph, device, num_stages), num_stages)
            for device in self._devices
        ]
        if not isinstance(objective, DeviceObjective):
            self._prices = [self._prices[0].in_bytes(self._graph.parameter_bytes)]
        self._cutter = BlockCutter(split, constraints, solve, self._prices[0].host_ms)

    def candidates(self) -> list[_Candidate]:
        """The best layout for each machine and each way to take turns, cut and priced."""
        found: list[_Candidate] = []
        error: ScheduleError | None = None
        known: set[tuple[object, ...]] = set()
        for layouts in self._layouts():
            for blocks in layouts:
                key = tuple(block.key for block in blocks)
                if key in known:
                    break
                try:
                    found.append(self._candidate(blocks))
                    known.add(key)
                    break
                except ScheduleError as failed:
                    error = error or failed
        if not found:
            raise error or self._split.too_few(self._num_stages)
        return found

    def _layouts(self) -> Iterator[list[tuple[Block, ...]]]:
        """For each machine and each way to take turns, layouts, the best one first."""
        if self._num_stages > int(self._split.item_of.max()) + 1:
            raise self._split.too_few(self._num_stages)
        if self._split.is_all:
            ops = np.arange(self._graph.num_ops, dtype=np.int64)
            yield [(Block(True, ops, self._num_stages),)]
            return
        for prices in {one.key: one for one in self._prices}.values():
            for phases in self._split.layerings:
                yield good_layouts(
                    phases,
                    prices,
                    self._num_stages,
                    how=self._objective.combine,
                    knows_host=isinstance(self._objective, DeviceObjective),
                    allows=self._allows if self._constraints else None,
                )

    def _allows(self, block: Block, first: int) -> bool:
        """Whether constraints allow a block to begin at a stage; more may speak against it."""
        given = self._constraints
        if given is None:
            return True
        last = first + block.num_stages
        if given.pinned:
            held = set(block.ops.tolist())
            if any((first <= to < last) != (op in held) for op, to in given.pinned.items()):
                return False
        rooms = given.rooms(self._num_stages)
        if rooms is None or block.on_host:
            return True
        return float(self._graph.parameter_bytes[block.ops].sum()) <= sum(rooms[first:last])

    def improve(self, found: list[_Candidate]) -> list[_Candidate]:
        """Move stages to the block that is slowest, as long as that helps."""
        optima = np.min([one.least for one in found], axis=0)
        best = min(found, key=lambda one: _worst(one.costs, optima))
        for _ in range(self._num_stages):
            better = best
            for blocks in self._moved(best):
                try:
                    made = self._candidate(blocks)
                except ScheduleError:
                    continue
                found.append(made)
                if _worst(made.costs, optima) < _worst(better.costs, optima) * (1 - 1e-9):
                    better = made
            if better is best:
                break
            best = better
        return found

    def _moved(self, candidate: _Candidate) -> list[tuple[Block, ...]]:
        """The same layout with a stage more for the slowest block, and one less for another."""
        blocks = candidate.blocks
        if self._objective.combine != "max" or len(blocks) < 2:
            return []
        ends = np.cumsum([block.num_stages for block in blocks])
        slowest = int(np.searchsorted(ends, int(np.argmax(candidate.stage_costs)), side="right"))
        items = len(np.unique(self._split.item_of[blocks[slowest].ops]))
        if blocks[slowest].num_stages >= items:
            return []
        moved = []
        for other, block in enumerate(blocks):
            if other != slowest and block.num_stages > 1:
                counts = [one.num_stages for one in blocks]
                counts[other] -= 1
                counts[slowest] += 1
                moved.append(
                    tuple(
                        dataclasses.replace(one, num_stages=count)
                        for one, count in zip(blocks, counts, strict=True)
                    )
                )
        return moved

    def _candidate(self, blocks: Sequence[Block]) -> _Candidate:
        stages = np.zeros(self._graph.num_ops, np.int64)
        cpu_stages: list[int] = []
        cuts: list[Cut] = []
        first = 0
        for block in blocks:
            made = self._cutter.cut(block, first)
            cuts.append(made)
            stages[block.ops] = first + made.stages
            if block.on_host:
                cpu_stages += range(first, first + block.num_stages)
            first += block.num_stages
        schedule = Schedule(stages, self._num_stages, cpu_stages=cpu_stages)
        check_schedule(self._graph, schedule, constraints=self._constraints)
        objective = self._objective
        if not isinstance(objective, DeviceObjective):
            parts = stage_costs(self._graph, schedule, objective)
            cost = float(objective.total_cost(parts))
            costs = np.array([cost])
            return _Candidate(tuple(blocks), schedule, costs, costs, np.array(parts, float))
        costs = objective.times(self._graph, schedule)
        first_one = predict(self._graph, schedule, self._devices[0])
        parts = [stage.total_ms for stage in first_one.stages]
        least = np.minimum(costs, self._least(blocks, cuts, costs))
        return _Candidate(tuple(blocks), schedule, costs, least, np.array(parts))

    def _least(self, blocks: Sequence[Block], cuts: Sequence[Cut], costs: Floats) -> Floats:
        """What the best cut of these blocks on each of several devices takes at least. In ms."""
        found = []
        for index, (device, prices) in enumerate(zip(self._devices, self._prices, strict=True)):
            parts = []
            for block, made in zip(blocks, cuts, strict=True):
                if block.on_host:
                    ms = np.bincount(made.stages, prices.host_ms[block.ops], block.num_stages)
                    parts += ms.tolist()
                elif made.optima is None:  # one device, whose costs are known
                    return costs
                else:
                    parts.append(float(made.optima[index]) - self._dispatch(device, block))
            dispatch = device.stage_ms * self._num_stages if self._num_stages > 1 else 0.0
            is_sum = self._objective.combine == "sum"
            found.append(math.fsum([*parts, dispatch]) if is_sum else max(*parts, dispatch))
        return np.array(found)

    def _dispatch(self, device: EdgeTpu, block: Block) -> float:
        """What of a sum over a block's stages is the host's, which counts once for all blocks."""
        is_part = self._objective.combine == "sum" and block.num_stages > 1
        return device.stage_ms * block.num_stages if is_part else 0.0
