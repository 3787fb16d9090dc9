"""How many stages each turn of Edge TPUs and host gets, by an estimate of what they take."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
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

    def in_bytes(self, parameter_bytes: npt.NDArray[Any]) -> Prices:
        """The same where an Edge TPU is asked for nothing but room for parameters."""
        size: Floats = parameter_bytes.astype(np.float64)
        none = np.zeros(len(size))
        return Prices(size, self.host_ms, none, math.inf, 0.0, 0.0)


class _Estimate:
    """What blocks of a row of phases take. `how` says what counts: the slowest stage, or all."""

    def __init__(self, phases: Sequence[Phase], prices: Prices, how: Literal["max", "sum"]) -> None:
        self._prices, self._how = prices, how
        sums = [
            [math.fsum(values[phase.ops].tolist()) for phase in phases]
            for values in (prices.device_ms, prices.host_ms, prices.asked_ms)
        ]
        self._device, self._host, self._asked = sums
        self._largest = [float(prices.device_ms[phase.ops].max()) for phase in phases]
        self._largest_on_host = [float(prices.host_ms[phase.ops].max()) for phase in phases]

    def device(self, phase: int, num_stages: int) -> float:
        """A phase on Edge TPUs."""
        prices = self._prices
        streamed = max(0.0, self._asked[phase] - num_stages * prices.room_ms)
        total = self._device[phase] + streamed
        if self._how == "sum":
            return total + num_stages * prices.start_ms
        return self._floor(prices.start_ms + max(self._largest[phase], total / num_stages))

    def host(self, first: int, last: int, num_stages: int) -> float:
        """Phases on the host."""
        total = math.fsum(self._host[first : last + 1])
        if self._how == "sum":
            return total
        largest = max(self._largest_on_host[first : last + 1])
        return self._floor(max(largest, total / num_stages))

    def moved(self, phases: Sequence[Phase], first: int, last: int) -> float:
        """Work on the host that an Edge TPU could do."""
        return math.fsum(self._host[p] for p in range(first, last + 1) if not phases[p].on_host)

    def _floor(self, ms: float) -> float:
        return max(ms, self._prices.floor_ms)


# Cost, work moved to the host, stages on the host, how early those are; smaller is better.
_Value = tuple[float, float, int, int]
# Number of phases done, stages used, whether the last block was on the host, whether any was not.
_State = tuple[int, int, bool, bool]


def good_layouts(
    phases: Sequence[Phase],
    prices: Prices,
    num_stages: int,
    *,
    how: Literal["max", "sum"],
    knows_host: bool,
    allows: Callable[[Block, int], bool],
) -> list[tuple[Block, ...]]:
    """Ways to give stages to phases, by an estimate; some phases may move to the host.

    Args:
        phases: Alternating phases.
        prices: What ops take.
        num_stages: How many stages there are, all of which get an op.
        how: Whether the slowest stage counts, or all together.
        knows_host: Whether the objective counts work on the host. Where it does not, nothing moves
            there that need not.
        allows: Whether constraints allow a block, and its first stage.

    Returns:
        Layouts, each blocks in their order, the best one first; none where no layout has a stage on
        an Edge TPU.
    """
    search = _Search(phases, _Estimate(phases, prices, how), num_stages, allows)
    combine = max if how == "max" else sum
    found = []
    # More stages on the host than turns: where the host is the slowest, or nothing else is left.
    for most_on_host in (num_stages,) if how == "max" and knows_host else (1, num_stages):
        modest = search.run(_least_moved, combine, most_on_host=most_on_host)
        if modest is None:
            continue
        fastest = search.run(tuple, combine, most_on_host=most_on_host) or modest
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
        estimate: _Estimate,
        num_stages: int,
        allows: Callable[[Block, int], bool],
    ) -> None:
        self._phases, self._estimate = phases, estimate
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
        best: dict[_State, tuple[_Value, tuple[Block, ...]]] = {start: ((0.0, 0.0, 0, 0), ())}
        for done in range(len(self._phases)):
            here = sorted(state for state in best if state[0] == done)
            for state in here:
                value, blocks = best[state]
                for last, block, added in self._steps(state, most_on_host):
                    if added[0] > limit:
                        continue
                    after: _State = (
                        last + 1,
                        state[1] + block.num_stages,
                        block.on_host,
                        state[3] or not block.on_host,
                    )
                    made = (
                        combine((value[0], added[0])),
                        value[1] + added[1],
                        value[2] + added[2],
                        value[3] + added[3],
                    )
                    if after not in best or order(made) < order(best[after][0]):
                        best[after] = made, (*blocks, block)
        ends = [
            best[state]
            for state in sorted(best)
            if state[0] == len(self._phases) and state[1] == self._num_stages and state[3]
        ]
        return min(ends, key=lambda end: order(end[0]), default=None)

    def _steps(self, state: _State, most_on_host: int) -> Iterator[tuple[int, Block, _Value]]:
        """The blocks that may come next: the last phase of each, the block, what it adds."""
        done, used, after_host, _ = state
        room = self._num_stages - used
        phases, estimate = self._phases, self._estimate
        phase = phases[done]
        if not phase.on_host:
            for count in range(1, min(room, phase.num_items) + 1):
                block = Block(False, phase.ops, count)
                if self._allows(block, used):
                    yield done, block, (estimate.device(done, count), 0.0, 0, 0)
        if after_host:
            return
        held = 0
        for last in range(done, len(phases)):
            held += phases[last].num_items
            if not any(one.on_host for one in phases[done : last + 1]):
                continue
            if last + 1 < len(phases) and phases[last + 1].on_host:
                continue  # it would have to be in this block
            ops = np.sort(np.concatenate([one.ops for one in phases[done : last + 1]]))
            moved = estimate.moved(phases, done, last)
            for count in range(1, min(room, held, most_on_host) + 1):
                block = Block(True, ops, count)
                if self._allows(block, used):
                    cost = estimate.host(done, last, count)
                    yield last, block, (cost, moved, count, room)
