"""How many stages each turn of Edge TPUs and host gets, by an estimate of what they take."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from respect_tf.device import MARGINS, DeviceCosts
from respect_tf.scheduling._host_phases import Phase
from respect_tf.scheduling._items import Ints

Floats = npt.NDArray[np.float64]

# What an Edge TPU could do moves to the host only where that pays by more than predictions are off.
_AS_GOOD = 1.0 + MARGINS["ms"]


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """Stages that follow each other, all on Edge TPUs or all on the host.

    Attributes:
        on_host: Whether they are on the host.
        ops: int64 [num_block_ops], their ops, ascending.
        num_stages: How many stages.
    """

    on_host: bool
    ops: Ints
    num_stages: int

    @property
    def key(self) -> tuple[bool, bytes, int]:
        """Equal for equal blocks."""
        return self.on_host, self.ops.tobytes(), self.num_stages


@dataclasses.dataclass(frozen=True, eq=False)
class Prices:
    """What ops take on one machine, for estimates. Milliseconds.

    Attributes:
        device_ms: float64 [num_ops], on an Edge TPU.
        host_ms: float64 [num_ops], on the host.
        asked_ms: float64 [num_ops], to stream the op's parameters.
        room_ms: To stream as many parameters as a chip has room for.
        start_ms: An inference that does nothing.
        floor_ms: What every stage's share is at least, whatever is in it.
    """

    device_ms: Floats
    host_ms: Floats
    asked_ms: Floats
    room_ms: float
    start_ms: float
    floor_ms: float

    @classmethod
    def of(cls, costs: DeviceCosts, num_stages: int) -> Prices:
        """The prices of a machine for pipelines of that many stages."""
        chip, link = costs.chip, costs.device.link_ms_per_mib / 2**20
        return cls(
            device_ms=np.where(chip.supported, costs.busy_ms, costs.cpu_ms),
            host_ms=costs.cpu_ms,
            asked_ms=link * chip.asked_bytes.astype(np.float64),
            room_ms=link * chip.whole_room,
            start_ms=costs.start_ms,
            floor_ms=costs.device.stage_ms * num_stages,
        )

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal prices."""
        arrays = self.device_ms, self.host_ms, self.asked_ms
        return *(one.tobytes() for one in arrays), self.room_ms, self.start_ms, self.floor_ms

    def in_bytes(self, parameter_bytes: npt.NDArray[Any]) -> Prices:
        """The same where an Edge TPU is asked for nothing but room for parameters."""
        size: Floats = parameter_bytes.astype(np.float64)
        none = np.zeros(len(size))
        return Prices(size, self.host_ms, none, math.inf, 0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class _Step:
    """Phases that follow each other in one block.

    Attributes:
        last: The last one.
        on_host: Whether they are on the host.
        num_items: Stages that it may have at most.
        costs: What it takes in 1, 2, ... stages, by the estimate. Milliseconds.
        moved: Work on the host that an Edge TPU could do.
    """

    last: int
    on_host: bool
    num_items: int
    costs: tuple[float, ...]
    moved: float


def _steps(
    phases: Sequence[Phase], prices: Prices, num_stages: int, how: Literal["max", "sum"]
) -> list[list[_Step]]:
    """The blocks that may begin with each phase. `how`: the slowest stage counts, or all do."""
    device, host, asked = (
        [math.fsum(values[phase.ops].tolist()) for phase in phases]
        for values in (prices.device_ms, prices.host_ms, prices.asked_ms)
    )
    counts = range(1, num_stages + 1)

    def shared(total: float, largest: float) -> tuple[float, ...]:
        if how == "sum":
            return (total,) * num_stages
        return tuple(max(largest, total / count, prices.floor_ms) for count in counts)

    found: list[list[_Step]] = []
    for first, phase in enumerate(phases):
        here: list[_Step] = []
        if not phase.on_host:
            largest = float(prices.device_ms[phase.ops].max())
            costs = []
            for count in counts:
                total = device[first] + max(0.0, asked[first] - count * prices.room_ms)
                if how == "sum":
                    costs.append(total + count * prices.start_ms)
                else:
                    own = prices.start_ms + max(largest, total / count)
                    costs.append(max(own, prices.floor_ms))
            here.append(_Step(first, False, phase.num_items, tuple(costs), 0.0))
        held, largest, some = 0, 0.0, False
        for last in range(first, len(phases)):
            held += phases[last].num_items
            largest = max(largest, float(prices.host_ms[phases[last].ops].max()))
            some |= phases[last].on_host
            # Ops that have to be on the host are in the same block as those before them.
            if some and not (last + 1 < len(phases) and phases[last + 1].on_host):
                run = range(first, last + 1)
                moved = math.fsum(host[p] for p in run if not phases[p].on_host)
                taken = shared(math.fsum(host[first : last + 1]), largest)
                here.append(_Step(last, True, held, taken, moved))
        found.append(here)
    return found


# Cost, work moved to the host, stages on the host, how early those are; smaller is better.
_Value = tuple[float, float, int, int]
# Number of phases done, stages used, whether the last block was on the host, whether any was not.
_State = tuple[int, int, bool, bool]
# For each block, its first phase, the block, and how many stages it has.
_Chain = tuple[tuple[int, _Step, int], ...]


def good_layouts(
    phases: Sequence[Phase],
    prices: Prices,
    num_stages: int,
    *,
    how: Literal["max", "sum"],
    knows_host: bool,
    allows: Callable[[Block, int], bool] | None,
) -> list[tuple[Block, ...]]:
    """Ways to give all stages to alternating phases, by an estimate; some may move to the host.

    Where the objective does not know work on the host, nothing moves there that need not.
    `allows` says whether constraints allow a block, and its first stage; None if there are none.

    Returns:
        Layouts, each blocks in their order, the best one first; none where no layout has a stage on
        an Edge TPU.
    """
    search = _Search(phases, _steps(phases, prices, num_stages, how), num_stages, allows)
    combine = max if how == "max" else sum
    found = []
    # More stages on the host than turns: where the host is the slowest, or nothing else is left.
    for most_on_host in (num_stages,) if how == "max" and knows_host else (1, num_stages):
        modest = search.run(_least_moved, combine, most_on_host=most_on_host)
        if modest is None:
            continue
        # No block of the fastest one costs more than all of that.
        most = modest[0][0]
        fastest = search.run(tuple, combine, most_on_host=most_on_host, limit=most) or modest
        if knows_host and modest[0][0] > fastest[0][0] * _AS_GOOD:
            if how == "max":
                limit = fastest[0][0] * _AS_GOOD
                fast = search.run(_least_moved, combine, most_on_host=most_on_host, limit=limit)
                found.append(fast or fastest)
            found.append(fastest)
        found.append(modest)
    return [layout for _, layout in found]


def _least_moved(value: _Value) -> tuple[float, ...]:
    return value[1], value[2], value[0], value[3]


class _Search:
    """Dynamic programming over the phases in their order."""

    def __init__(
        self,
        phases: Sequence[Phase],
        steps: list[list[_Step]],
        num_stages: int,
        allows: Callable[[Block, int], bool] | None,
    ) -> None:
        self._phases, self._steps = phases, steps
        self._num_stages, self._allows = num_stages, allows

    def run(
        self,
        order: Callable[[_Value], tuple[float, ...]],
        combine: Callable[..., float],
        *,
        most_on_host: int,
        limit: float = math.inf,
    ) -> tuple[_Value, tuple[Block, ...]] | None:
        """The layout whose value comes first, of those whose blocks are within the limit."""
        start: _State = (0, 0, False, False)
        best: dict[_State, tuple[_Value, tuple[float, ...], _Chain]] = {
            start: ((0.0, 0.0, 0, 0), (), ())
        }
        for done in range(len(self._phases)):
            for state in sorted(state for state in best if state[0] == done):
                (cost, moved, on_host, early), _, chain = best[state]
                _, used, after_host, any_on_device = state
                room = self._num_stages - used
                for step in self._steps[done]:
                    if step.on_host and after_host:
                        break  # they would be one block
                    most = min(room, step.num_items)
                    most = min(most, most_on_host) if step.on_host else most
                    for count in range(1, most + 1):
                        added = step.costs[count - 1]
                        if added > limit or not self._is_allowed(done, step, count, used):
                            continue
                        after = step.last + 1, used + count, step.on_host, True
                        if step.on_host:
                            after = (*after[:3], any_on_device)
                            value = cost, moved + step.moved, on_host + count, early + room
                        else:
                            value = cost, moved, on_host, early
                        value = (combine((cost, added)), *value[1:])
                        key, known = order(value), best.get(after)
                        if known is None or key < known[1]:
                            best[after] = value, key, (*chain, (done, step, count))
        ends = [
            best[state]
            for state in sorted(best)
            if state[0] == len(self._phases) and state[1] == self._num_stages and state[3]
        ]
        if not ends:
            return None
        value, _, chain = min(ends, key=lambda end: end[1])
        return value, tuple(self._block(first, step, count) for first, step, count in chain)

    def _is_allowed(self, first: int, step: _Step, count: int, used: int) -> bool:
        return self._allows is None or self._allows(self._block(first, step, count), used)

    def _block(self, first: int, step: _Step, count: int) -> Block:
        ops = np.sort(np.concatenate([one.ops for one in self._phases[first : step.last + 1]]))
        return Block(step.on_host, ops, count)
