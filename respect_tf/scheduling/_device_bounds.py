"""What stages cost at least: sums over ops and tensors, and what streaming takes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.device import MIB, ChipCosts, DeviceCosts
from respect_tf.scheduling._linear_bound import LinearBound, RoomBound
from respect_tf.scheduling._stage_batch import StageBatch

Floats = npt.NDArray[np.float64]

# Prices of a byte of room, as parts of what it takes to stream one. With the first alone, the bound
# of random layers is 3.1 % lower for 2,000 ops in 4 stages, and 0.7 % for 10,000 in 8.
# benchmarks constants: half and twice the same; a tenth 1.29 times the time; ten times the same.
_PRICES = (1.0, 0.75, 0.5)


def least_waiting(costs: DeviceCosts, over: Any, op_sums: Callable[[Floats], Any]) -> Any:
    """Milliseconds that it takes at least to stream layers until the rest fits.

    The bytes that do not fit, `over`, a number or an array, have to be streamed, and layers whole:
    it is worth what those bytes take, minus what the room that layers ask for is worth above what
    it takes to stream them. `op_sums` sums up a value per op over the ops concerned.
    """
    unit = costs.device.link_ms_per_mib / MIB
    least: Any = 0.0
    for part in _PRICES:
        price = part * unit
        spare = op_sums(np.maximum(0.0, price * costs.chip.asked_bytes - costs.stream_ms))
        least = np.maximum(least, price * over - spare)
    return least


def least_streamed(chip: ChipCosts, over: Any, op_sums: Callable[[Floats], Any]) -> Any:
    """Bytes that are streamed at least: see `least_waiting`."""
    spare = op_sums(np.maximum(0.0, chip.asked_bytes - chip.parameters.movable.astype(np.float64)))
    return np.maximum(0.0, over - spare)


def least_busy(costs: DeviceCosts) -> Floats:
    """Milliseconds of each op at least, whatever stage it is in. [num_ops]."""
    chip = costs.chip
    cheapest = np.where(chip.surely_mapped, costs.busy_ms, np.minimum(costs.busy_ms, costs.cpu_ms))
    return np.where(chip.supported, cheapest, costs.cpu_ms)


def stage_bounds(costs: DeviceCosts, scale: float) -> list[LinearBound]:
    """Sums, scaled, that the cost of no schedule with a stage is below.

    The second, where there is one, has the parameters that an empty chip has no room for: each op's
    is charged as if it were streamed, and a chip full of them is given back.
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
    """What stages take at least, scaled, of a graph whose layers take as much of each tile."""
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

    A stage of supported ops has to start; one of other ops takes no load from the rest, and some
    stage of every schedule starts.
    """
    graph, chip = costs.graph, costs.chip
    surely, ops = chip.surely_mapped, graph.reads[0]
    made = graph.producer >= 0
    start = scale * costs.start_ms if chip.supported.any() else 0.0
    work = scale * least_busy(costs)
    returned = scale * costs.leave_ms_per_request * surely_returned(chip)
    np.add.at(work, graph.producer[made], returned[made])
    rest = np.where(made & surely[graph.producer], leave - returned, 0.0)
    return [
        LinearBound(values, once, enter, rest, surely[ops])
        for values, once in ((work, 0.0), (np.where(chip.supported, work, 0.0), start))
    ]


def beside_cpu_ops(costs: Sequence[DeviceCosts], stages: StageBatch) -> tuple[Floats, Floats]:
    """What stages with ops on the CPU take and move at least, whatever these drag with them.

    In ms on each device, of the same chip, [len(stages), len(costs)], and in bytes, [len(stages)].
    """
    graph, chip = costs[0].graph, costs[0].chip
    surely, num_ops = chip.surely_mapped, costs[0].graph.num_ops
    ops, tensors = graph.reads
    made = np.flatnonzero(graph.producer >= 0)
    crosses = graph.producer[tensors] >= 0
    crosses |= np.isin(tensors, graph.model_inputs)
    crosses &= ~surely[ops]
    # Of what enters and leaves a stage, all counts but for what other ops read and make.
    read = np.bincount(ops[crosses], graph.tensor_bytes[tensors[crosses]], num_ops)
    weight = np.where(surely[graph.producer[made]], 0, chip.requests[made])
    written = np.bincount(graph.producer[made], weight, num_ops)
    sent = np.maximum(0.0, stages.entering_bytes - stages.op_sums(read))
    returned = np.maximum(
        stages.op_sums(surely_returned_by(chip)),
        stages.leaving_weights - stages.op_sums(written),
    )
    starts = stages.op_sums(chip.supported.astype(np.int64)) > 0  # the first of them is mapped
    total = np.empty((len(stages), len(costs)))
    for index, one in enumerate(costs):
        total[:, index] = (
            stages.op_sums(least_busy(one))
            + one.start_ms * starts
            + one.enter_ms_per_byte * sent
            + one.leave_ms_per_request * returned
        )
    own = np.where(surely, chip.instructions + chip.parameters.streamed, 0.0)
    moved = stages.op_sums(own) + chip.base_instructions * starts
    return total, moved + sent + chip.device.request_bytes * returned


def surely_returned(chip: ChipCosts) -> Floats:
    """Requests that a stage's tensors cost at least, whatever ops on the CPU drag with them.

    What an op makes that is surely on the Edge TPU, and one reads that may be, comes back as it is
    or as what the latter makes of it. Of a largest flow from such tensors through such ops, to ops
    that are never on the Edge TPU and to results of the model, all crosses that the tensors of a
    stage send: float64 [num_tensors], counted where the tensor is made.
    """
    if chip.all_supported:
        return np.zeros(chip.graph.num_tensors)
    known = _RETURNED.get(chip)
    if known is None:
        known = _RETURNED[chip] = _largest_flow(chip)
    return known


def surely_returned_by(chip: ChipCosts) -> Floats:
    """The same by the ops that make them. float64 [num_ops]."""
    made, graph = chip.graph.producer >= 0, chip.graph
    sums = np.bincount(graph.producer[made], surely_returned(chip)[made], graph.num_ops)
    return sums.astype(np.float64)


_RETURNED: weakref.WeakKeyDictionary[ChipCosts, Floats] = weakref.WeakKeyDictionary()


def _largest_flow(chip: ChipCosts) -> Floats:
    from scipy.sparse import csr_matrix  # loads in a fifth of a second, which most do not need
    from scipy.sparse.csgraph import maximum_flow

    graph, surely = chip.graph, chip.surely_mapped
    num_ops, num_tensors = graph.num_ops, graph.num_tensors
    ops, tensors = (part.astype(np.int64) for part in graph.reads)
    reads = (graph.producer[tensors] >= 0) & ~surely[ops]
    ops, tensors = ops[reads], tensors[reads]
    made = np.flatnonzero(graph.producer >= 0)
    made = made[np.isin(made, tensors) | ~surely[graph.producer[made]]]
    makers = graph.producer[made].astype(np.int64)
    results = made[graph.is_model_output[made]]
    first = made[surely[makers] & ~graph.is_model_output[made]]
    later = ~surely[makers] & chip.supported[makers]
    never = np.flatnonzero(~chip.supported)
    # Nodes: ops, tensors as they are made, tensors as they are read, both ends.
    into, out = num_ops, num_ops + num_tensors
    start, end = out + num_tensors, out + num_tensors + 1
    endless = int(chip.requests.sum()) + 1
    arcs = (
        (np.full(len(first), start), into + first, chip.requests[first]),
        (makers[later], into + made[later], endless),
        (into + made, out + made, chip.requests[made]),
        (out + tensors, ops, endless),
        (out + results, np.full(len(results), end), endless),
        (never, np.full(len(never), end), endless),
    )
    tails, heads = (np.concatenate([arc[side] for arc in arcs]) for side in (0, 1))
    most = np.concatenate([np.broadcast_to(arc[2], len(arc[0])) for arc in arcs])
    network = csr_matrix((most.astype(np.int32), (tails, heads)), shape=(end + 1, end + 1))
    flow = maximum_flow(network, start, end).flow
    sent = np.zeros(num_tensors)
    sent[first] = flow[start].toarray()[0, into + first]
    return sent


def bus_bound(costs: DeviceCosts, rate: float) -> LinearBound:
    """What all stages together put on the bus at least, at a rate per byte."""
    graph, chip = costs.graph, costs.chip
    ops, _ = graph.reads
    enter = rate * graph.tensor_bytes.astype(np.float64)
    leave = rate * chip.device.request_bytes * chip.requests.astype(np.float64)
    start, surely = rate * chip.base_instructions, chip.surely_mapped
    if not chip.all_supported:
        by_device = (graph.producer >= 0) & surely[graph.producer]
        returned = rate * chip.device.request_bytes * surely_returned(chip)
        leave = np.where(by_device, leave - returned, 0.0)
        start = 0.0
    work = rate * surely_moved(chip)
    return LinearBound(work, start, enter, leave, surely[ops], is_shared=True)


def surely_moved(chip: ChipCosts) -> Floats:
    """Bytes of each op that cross the bus, whatever stage it is in. [num_ops]."""
    moved: Floats = np.where(chip.surely_mapped, chip.instructions + chip.parameters.streamed, 0.0)
    sums: Floats = moved + chip.device.request_bytes * surely_returned_by(chip)
    return sums
