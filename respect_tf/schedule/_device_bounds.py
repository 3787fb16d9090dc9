"""What it takes at least to stream the parameters that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.device import DeviceCosts
from respect_tf.device._edge_tpu import MIB
from respect_tf.schedule._device_batch import layers_in_turn
from respect_tf.schedule._stage_batch import StageBatch

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Prices of a byte of room at which streaming is bounded, as parts of a streamed byte.
PRICES = (1.0, 0.75, 0.5)

# Layers that are surely cached are left out where that may add this part to a bound.
_VAGUE = 0.02

# How often the layers that are surely cached are looked for, with smaller blocks each time.
_LOOKS = 2


def least_streaming(
    costs: DeviceCosts,
    stages: StageBatch,
    room: Floats,
    busy: Floats,
    *,
    closely: bool,
    in_bytes: bool,
) -> tuple[Floats, Floats]:
    """What streaming takes at least in stages without ops on the CPU.

    Args:
        costs: The costs of the graph.
        stages: The stages.
        room: Bytes for parameters in each.
        busy: Milliseconds of each without streaming.
        closely: Whether to look at more prices, and to leave out the layers that are surely
            cached, as the first ones that ask for room are.
        in_bytes: Whether bytes are asked for as well.

    Returns:
        Milliseconds, and bytes that are streamed, or 0. Both [len(stages)].
    """
    asked = costs.parameters.blocks * costs.parameters.block_bytes
    over = np.maximum(0.0, stages.op_sums(asked) - room)
    waiting, streamed = np.zeros((2, len(stages)))
    some = over > 0
    if not some.any():
        return waiting, streamed
    few, over, prices = stages.select(some), over[some], PRICES if closely else PRICES[:1]
    least = least_of(costs, over, few.op_sums, prices, in_bytes=in_bytes)
    if closely:
        most = costs.device.ms_per_streamed_mib / MIB * over
        vague = most - least[0] > _VAGUE * (busy[some] + most)
        if vague.any():
            sums = _sums_of_doubtful(costs, few.select(vague), room[some][vague])
            better, _ = least_of(costs, over[vague], sums, prices, in_bytes=False)
            least[0][vague] = np.maximum(least[0][vague], better)
    waiting[some], streamed[some] = least
    return waiting, streamed


def least_of(
    costs: DeviceCosts,
    over: Any,
    op_sums: Callable[[Floats], Any],
    prices: tuple[float, ...],
    *,
    in_bytes: bool,
) -> tuple[Any, Any]:
    """What it takes at least to stream layers until the rest fits; numbers or arrays.

    At any price of a byte of room, it is worth the price of all bytes that do not fit, minus what
    the prices of the single layers are above what it takes to stream them.

    Args:
        costs: The costs of the graph.
        over: Bytes that do not fit.
        op_sums: Sums of a value per op over the ops concerned that may be streamed.
        prices: Prices, as parts of a streamed byte.
        in_bytes: Whether bytes are asked for as well.

    Returns:
        Milliseconds, and bytes that are streamed, or 0.
    """
    parameters = costs.parameters
    asked = parameters.blocks * parameters.block_bytes  # of room, by each op
    kinds = [(costs.device.ms_per_streamed_mib / MIB, costs.stream_ms), (1.0, parameters.movable)]
    least: list[Any] = [0.0, 0.0]
    for index, (unit, loss) in enumerate(kinds[: 1 + in_bytes]):
        found: Any = 0.0
        for price in prices if index == 0 else prices[:1]:
            spare = op_sums(np.maximum(0.0, unit * price * asked - loss))
            found = np.maximum(found, unit * price * over - spare)
        least[index] = found
    return least[0], least[1]


def _sums_of_doubtful(
    costs: DeviceCosts, stages: StageBatch, room: Floats
) -> Callable[[Floats], Floats]:
    """Sums over the ops of each stage, but for the first layers that surely find room.

    The tile with most room is never fuller than the average, even if all layers so far were cached:
    a layer fits if all up to it, and a block of it more in each other tile, do.
    """
    parameters, num_tiles = costs.parameters, costs.device.num_tiles
    layers = layers_in_turn(costs)
    ranked = stages.ranked(layers)
    sizes = parameters.block_bytes.astype(np.float64)
    sizes[layers] = np.maximum.accumulate(sizes[layers][::-1])[::-1]  # this and all after it
    largest = sizes[ranked.first_ops]
    asked = ranked.sums(parameters.blocks * parameters.block_bytes)
    room = num_tiles * np.floor(room / num_tiles)
    surely = np.zeros(len(stages), np.int64)  # groups of layers
    for _ in range(_LOOKS):
        limit = room - (num_tiles - 1) * largest[np.minimum(surely, len(largest) - 1)]
        surely = _last_within(asked, limit, surely, len(largest))
    every = np.full(len(stages), len(largest))

    def sums(values: Floats) -> Floats:
        counted = ranked.sums(values)
        return counted(every) - counted(surely)

    return sums


def _last_within(sums: Callable[[Ints], Floats], limit: Floats, low: Ints, most: int) -> Ints:
    """The most groups, from `low` on, whose sum is within a limit. [len(limit)]."""
    high = np.full(len(limit), most)
    while (low < high).any():
        middle = (low + high + 1) // 2
        within = sums(middle) <= limit
        low = np.where(within, middle, low)
        high = np.where(within, high, np.maximum(middle - 1, low))
    return low
