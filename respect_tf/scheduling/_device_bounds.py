"""What stages cost at least: sums over ops and tensors, and what streaming takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.device import MIB, ChipCosts, DeviceCosts
from respect_tf.scheduling._linear_bound import LinearBound, RoomBound

Floats = npt.NDArray[np.float64]

# Prices of a byte of room at which streaming is bounded, as parts of a streamed byte.
PRICES = (1.0, 0.75, 0.5)


def least_waiting(
    costs: DeviceCosts, over: Any, op_sums: Callable[[Floats], Any], prices: tuple[float, ...]
) -> Any:
    """Milliseconds that it takes at least to stream layers until the rest fits.

    At any price of a byte of room, it is worth the price of all bytes that do not fit, minus what
    the prices of the single layers are above what it takes to stream them.

    Args:
        costs: The costs of the graph on a device.
        over: Bytes that do not fit; a number or an array.
        op_sums: Sums of a value per op over the ops concerned that may be streamed.
        prices: Prices, as parts of a streamed byte.
    """
    unit = costs.device.link_ms_per_mib / MIB
    return _least(costs.chip, over, op_sums, unit, costs.stream_ms, prices)


def least_streamed(chip: ChipCosts, over: Any, op_sums: Callable[[Floats], Any]) -> Any:
    """Bytes that are streamed at least: see `least_waiting`."""
    movable = chip.parameters.movable.astype(np.float64)
    return _least(chip, over, op_sums, 1.0, movable, PRICES[:1])


def _least(
    chip: ChipCosts,
    over: Any,
    op_sums: Callable[[Floats], Any],
    unit: float,
    loss: Floats,
    prices: tuple[float, ...],
) -> Any:
    found: Any = 0.0
    for price in prices:
        spare = op_sums(np.maximum(0.0, unit * price * chip.asked_bytes - loss))
        found = np.maximum(found, unit * price * over - spare)
    return found


def least_busy(costs: DeviceCosts) -> Floats:
    """Milliseconds of each op at least, whatever stage it is in. [num_ops]."""
    chip = costs.chip
    cheapest = np.where(chip.surely_mapped, costs.busy_ms, np.minimum(costs.busy_ms, costs.cpu_ms))
    return np.where(chip.supported, cheapest, costs.cpu_ms)


def stage_bounds(costs: DeviceCosts, scale: float) -> list[LinearBound]:
    """Sums that the cost of no schedule with a stage is below.

    The second, where there is one, has the parameters that an empty chip has no room for: each op's
    is charged as if it were streamed, and a chip full of them is given back.

    Args:
        costs: The costs of the graph on a device.
        scale: What a millisecond counts.
    """
    graph, chip = costs.graph, costs.chip
    enter = scale * costs.enter_ms_per_byte * graph.tensor_bytes.astype(np.float64)
    leave = scale * costs.leave_ms_per_request * chip.requests.astype(np.float64)
    if not chip.all_supported:
        return _with_cpu_ops(costs, scale, enter, leave)
    every, start = np.ones(len(graph.reads[0]), bool), scale * costs.start_ms
    found = [LinearBound(scale * costs.busy_ms, start, enter, leave, every)]
    unit = costs.device.link_ms_per_mib / MIB
    if float(chip.asked_bytes.sum()) > chip.whole_room:
        busy = scale * (costs.busy_ms + np.minimum(costs.stream_ms, unit * chip.asked_bytes))
        rest = start - scale * unit * chip.whole_room
        found.append(LinearBound(busy, rest, enter, leave, every))
    return found


def room_bound(costs: DeviceCosts, scale: float) -> RoomBound:
    """What stages take at least, of a graph whose layers take as much of each tile.

    Args:
        costs: The costs of the graph on a device.
        scale: What a millisecond counts.
    """
    chip, layers = costs.chip, costs.chip.layers_in_turn
    return RoomBound(
        scale * (costs.busy_ms + costs.stream_ms),
        scale * costs.leave_ms_per_request * chip.requests.astype(np.float64),
        scale * costs.start_ms,
        layers,
        chip.parameters.block_bytes[layers].astype(np.float64),
        scale * costs.stream_ms[layers],
        scale * costs.device.link_ms_per_mib / MIB * chip.device.num_tiles,
        chip.device.tile_bytes,
    )


def _with_cpu_ops(
    costs: DeviceCosts, scale: float, enter: Floats, leave: Floats
) -> list[LinearBound]:
    """The same where ops stay on the CPU: only what is surely on the Edge TPU surely crosses.

    In the first stage an op is on the CPU if it ever is. A stage of supported ops has to start; one
    of other ops takes no load from the rest, and some stage of every schedule starts.
    """
    graph, chip = costs.graph, costs.chip
    surely, busy = chip.surely_mapped, scale * least_busy(costs)
    ops, tensors = graph.reads
    start = scale * costs.start_ms if chip.supported.any() else 0.0
    found = []
    for is_first, on_cpu in ((False, ~chip.supported), (True, ~surely)):
        work = np.where(on_cpu, scale * costs.cpu_ms, busy)
        # Such tensors cross in the stage that makes them or out of it.
        crosses = np.zeros(graph.num_tensors, bool)
        crosses[tensors[on_cpu[ops]]] = True
        by_device = (graph.producer >= 0) & surely[graph.producer]
        crosses &= by_device
        np.add.at(work, graph.producer[crosses], leave[crosses])
        rest = np.where(by_device & ~crosses, leave, 0.0)
        supported = np.where(chip.supported, work, 0.0)
        for values, once in ((work, 0.0), (supported, start)):
            found.append(LinearBound(values, once, enter, rest, surely[ops], is_first=is_first))
    return found


def bus_bound(costs: DeviceCosts, rate: float) -> LinearBound:
    """What all stages together put on the bus at least, at a rate per byte."""
    graph, chip = costs.graph, costs.chip
    ops, _ = graph.reads
    if not chip.all_supported:
        nothing = np.zeros(graph.num_tensors)
        return LinearBound(
            np.zeros(graph.num_ops), 0.0, nothing, nothing, chip.surely_mapped[ops], is_shared=True
        )
    return LinearBound(
        rate * (chip.instructions + chip.parameters.streamed),
        rate * chip.base_instructions,
        rate * graph.tensor_bytes.astype(np.float64),
        rate * chip.device.request_bytes * chip.requests.astype(np.float64),
        np.ones(len(ops), bool),
        is_shared=True,
    )
