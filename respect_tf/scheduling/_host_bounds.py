"""What no schedule costs less than that has stages on the host."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from respect_tf.device import HOST_CORES, DeviceCosts
from respect_tf.graph import OpGraph
from respect_tf.scheduling._device_bounds import least_busy
from respect_tf.scheduling._device_objectives import DeviceObjective
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._linear_bound import LOOSER
from respect_tf.scheduling._objective import Objective, exact_sum

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_HALVINGS = 50


def host_bound(
    graph: OpGraph,
    objective: DeviceObjective,
    num_stages: int,
    on_host: Bools | None = None,
    item_of: Ints | None = None,
) -> float:
    """What no schedule is below that may have stages on the host.

    Every op takes its time, in a segment for an Edge TPU or on the host. The stages of each kind
    share the time of their ops, as many on the host at a time as it has cores; which ops are on the
    host is chosen as if they could be parted, but for those that have to be there (bool [num_ops])
    and those of one item (int64 [num_ops]).
    """
    forced = np.zeros(graph.num_ops, bool) if on_host is None else on_host
    items = np.arange(graph.num_ops) if item_of is None else item_of
    found = []
    for device in objective.devices:
        costs = DeviceCosts.of(graph, device, num_stages)
        host = np.bincount(items, costs.cpu_ms).astype(np.float64)
        chip = np.bincount(items, least_busy(costs)).astype(np.float64)
        chip[np.bincount(items, forced) > 0] = math.inf
        dispatch = device.stage_ms * num_stages if num_stages > 1 else 0.0
        if objective.combine == "max":
            least = float(np.minimum(chip, host).max())
            found.append(max(_shared_out(chip, host, num_stages), least, dispatch))
        else:
            found.append(math.fsum(np.minimum(chip, host).tolist()) + dispatch)
    optima = np.ones(1) if objective.optima is None else np.array(objective.optima)
    return LOOSER * float((np.array(found) / np.maximum(optima, math.ulp(0.0))).max())


def _shared_out(chip: Floats, host: Floats, num_stages: int) -> float:
    """The least time of stages of both kinds that can do all the work, in ms.

    What items take on an Edge TPU is infinite where they have to be on the host.
    """
    forced = np.isinf(chip)
    base = float(host[forced].sum())
    chip, host = chip[~forced], host[~forced]
    # What is cheapest on the host for what it takes from Edge TPUs moves there first.
    order = np.argsort(host / np.maximum(chip, math.ulp(0.0)), kind="stable")
    moved = np.append(0.0, np.cumsum(host[order]))
    saved = np.append(0.0, np.cumsum(chip[order]))

    def fits(limit: float) -> bool:
        for on_host in range(1 if forced.any() else 0, num_stages + 1):
            room = limit * min(on_host, HOST_CORES) - base
            if room < 0:
                continue
            last = int(np.searchsorted(moved, room, side="right")) - 1  # what moves as a whole
            spared = float(saved[last])
            if last + 1 < len(moved):
                part = (room - moved[last]) / (moved[last + 1] - moved[last])
                spared += part * float(saved[last + 1] - saved[last])
            left = float(saved[-1]) - spared
            if left <= limit * (num_stages - on_host):
                return True
        return False

    low = 0.0
    high = base + float(np.minimum(chip, host).sum())
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if fits(middle):
            high = middle
        else:
            low = middle
    return low


def chip_bound(
    graph: OpGraph, objective: Objective, num_chips: int, on_host: Bools, item_of: Ints
) -> int | float:
    """The same for an objective that knows the chip alone, where nothing else is on the host.

    There are at most `num_chips` stages on Edge TPUs.
    """
    costs = np.asarray(objective.for_stages(num_chips).linear_cost(graph).op_costs)
    is_whole = bool(np.issubdtype(costs.dtype, np.integer))
    if on_host.all():
        return 0
    total = exact_sum(costs[~on_host].tolist())
    if objective.combine != "max":
        return total if is_whole else LOOSER * total
    items = [exact_sum(costs[(item_of == one) & ~on_host].tolist()) for one in np.unique(item_of)]
    if is_whole:
        return max(-(-int(total) // max(1, num_chips)), *items)
    return LOOSER * max(total / max(1, num_chips), *items)
