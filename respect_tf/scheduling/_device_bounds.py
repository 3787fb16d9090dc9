"""What it takes at least to stream the parameters that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.device import ChipCosts, DeviceCosts
from respect_tf.device._edge_tpu import MIB

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
