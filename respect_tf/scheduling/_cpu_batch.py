"""`DeviceCosts.stage` for many stages with ops that stay on the CPU, on several devices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from respect_tf.device import MIB, ChipCosts, DeviceCosts
from respect_tf.graph import OpGraph
from respect_tf.scheduling._tile_batch import left_out

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def cpu_stages(
    costs: Sequence[DeviceCosts], inside: Bools, entering_bytes: Floats
) -> tuple[Floats, Floats, Floats]:
    """What `DeviceCosts.stage` gives, up to rounding.

    Args:
        costs: The costs of the graph on each device; the chip is the same.
        inside: Which ops each stage holds, bool [num_stages, num_ops].
        entering_bytes: Bytes of the tensors that enter each stage, [num_stages].

    Returns:
        Time of each stage on each device in ms, [num_stages, len(costs)]; bytes that it moves, and
        bytes of parameters that it streams, both [num_stages].
    """
    chip, graph = costs[0].chip, costs[0].graph
    mapped = mapped_ops(chip, inside)
    on_cpu = inside & ~mapped
    sent, requests = _crossing(chip, mapped)
    streamed = _streamed(chip, mapped, entering_bytes)
    parameters, started = chip.parameters, mapped.any(axis=1)
    instructions = _sums(mapped, chip.instructions) + chip.base_instructions * started
    brought = _sums(mapped, parameters.streamed)
    chip_ms = _sums(mapped, chip.chip_ms)
    gmacs, maps = _sums(on_cpu, graph.macs / 1e9), _sums(on_cpu, chip.maps / MIB)
    total = np.empty((len(inside), len(costs)))
    for index, one in enumerate(costs):
        device, link = one.device, one.device.link_ms_per_mib / MIB
        total[:, index] = (
            device.fixed_ms * started
            + link * (instructions + brought)
            + device.slower * chip_ms
            + _sums(streamed, one.stream_ms)
            + one.enter_ms_per_byte * sent
            + one.leave_ms_per_request * requests
            + device.cpu_ms_per_gmac * gmacs
            + device.cpu_ms_per_mib * maps
        )
    brought = brought + _sums(streamed, parameters.movable)
    moved = sent + requests * chip.device.request_bytes + brought + instructions
    return total, moved, brought


def mapped_ops(chip: ChipCosts, inside: Bools) -> Bools:
    """Ops of each stage on the Edge TPU, by the rule of `unmapped_ops`. [num_stages, num_ops]."""
    graph = chip.graph
    held = np.ascontiguousarray(inside.T)
    # What has been seen on the way to each op and by it: 0 nothing, 1 a mapped op, 2 an op on the
    # CPU after a mapped one.
    seen = np.zeros(held.shape, np.int8)
    mapped = np.zeros(held.shape, bool)
    makers = _makers(graph)
    for op in graph.topological_order.tolist():
        before = seen[makers[op]].max(axis=0, initial=0)
        if chip.supported[op]:
            mapped[op] = held[op] & (before < 2)
            seen[op] = held[op] * (2 - mapped[op])
        else:
            seen[op] = (held[op] & (before > 0)) * np.int8(2)
    result: Bools = mapped.T
    return result


def _makers(graph: OpGraph) -> list[Ints]:
    """The ops that make what each op reads."""
    makers = []
    for op in range(graph.num_ops):
        found = graph.producer[graph.inputs_of(op)]
        makers.append(np.unique(found[found >= 0]).astype(np.int64))
    return makers


def _crossing(chip: ChipCosts, mapped: Bools) -> tuple[Floats, Floats]:
    """Bytes sent to the Edge TPU, and requests that bring results back. [num_stages] each."""
    graph = chip.graph
    ops, tensors = graph.reads
    by_tensor = np.argsort(tensors, kind="stable")
    read, starts = np.unique(tensors[by_tensor], return_index=True)
    moves = graph.producer >= 0
    moves[graph.model_inputs] = True
    here = np.ascontiguousarray(mapped.T)  # [num_ops, num_stages]
    made = np.where((graph.producer[read] >= 0)[:, None], here[graph.producer[read]], False)
    reads = here[ops[by_tensor]]
    enters = moves[read][:, None] & np.logical_or.reduceat(reads, starts, axis=0) & ~made
    leaves = made & ~np.logical_and.reduceat(reads, starts, axis=0)
    leaves |= made & graph.is_model_output[read][:, None]
    sent = _sums(enters.T, graph.tensor_bytes[read])
    requests = _sums(leaves.T, chip.requests[read])
    unread = np.setdiff1d(graph.model_outputs[graph.producer[graph.model_outputs] >= 0], read)
    requests += _sums(here[graph.producer[unread]].T, chip.requests[unread])
    return sent, requests


def _streamed(chip: ChipCosts, mapped: Bools, entering_bytes: Floats) -> Bools:
    """Ops whose parameters find no room. bool [num_stages, num_ops]."""
    from respect_tf.scheduling._device_batch import layers_in_turn

    device, parameters = chip.device, chip.parameters
    largest = np.where(mapped, chip.largest_tensor, 0).max(axis=1, initial=0)
    in_strips = (mapped & (chip.strip_step > 0)).any(axis=1)
    taken = np.where(
        in_strips, device.strip_input_share * entering_bytes, device.activation_share * largest
    )
    room = np.maximum(0.0, chip.whole_room - np.minimum(taken, chip.activation_cap))
    layers, num_tiles = layers_in_turn(chip), device.num_tiles
    streamed = np.zeros(mapped.shape, bool)
    if not len(layers):
        return streamed
    held = mapped[:, layers]
    most = (held * parameters.block_bytes[layers]).max(axis=1, initial=0)
    asked = _sums(held, chip.asked_bytes[layers])
    doubtful = np.flatnonzero(asked / num_tiles + most > room / num_tiles)
    if len(doubtful):
        streamed[np.ix_(doubtful, layers)] = left_out(
            parameters.blocks[layers],
            parameters.block_bytes[layers],
            held[doubtful],
            room[doubtful] / num_tiles,
            num_tiles,
        )
    return streamed


def _sums(which: Bools, values: npt.NDArray[np.generic]) -> Floats:
    """Sum of some of the values for each row: exact on a grid, whatever a machine's order is."""
    from respect_tf.scheduling._problem import on_grid

    result: Floats = which.astype(np.float64) @ on_grid("values per op", values, 1)
    return result
