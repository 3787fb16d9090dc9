"""`DeviceCosts.stage` for many stages with ops that stay on the CPU, on several devices."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from respect_tf._exact_sums import on_grid
from respect_tf._loops.twins import loop
from respect_tf.device._chip import ChipCosts
from respect_tf.device._costs import DeviceCosts
from respect_tf.device._edge_tpu import MIB
from respect_tf.device._tiles import left_out
from respect_tf.graph import Rows, rows_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class _Tables(NamedTuple):
    """What is asked for again and again about a graph on a chip.

    Attributes:
        makers: The ops that make what each op reads.
        order: A topological order of the ops.
        on_device: [num_ops, 3], instructions, bytes streamed in any case and ms of each op there.
        on_cpu: [num_ops, 2], 10**9 MACs and MiB of activations of each op.
    """

    makers: Rows
    order: Ints
    on_device: Floats
    on_cpu: Floats


def _tables(chip: ChipCosts) -> _Tables:
    known = _KNOWN.get(chip)
    if known is None:
        graph = chip.graph
        ops, tensors = graph.reads
        made = graph.producer[tensors] >= 0
        readers, makers = ops[made].astype(np.int64), graph.producer[tensors[made]].astype(np.int64)
        known = _KNOWN[chip] = _Tables(
            rows_of(readers, makers, graph.num_ops),
            graph.topological_order.astype(np.int64),
            _columns(chip.instructions, chip.parameters.streamed, chip.chip_ms),
            _columns(graph.macs / 1e9, chip.maps / MIB),
        )
    return known


_KNOWN: weakref.WeakKeyDictionary[ChipCosts, _Tables] = weakref.WeakKeyDictionary()


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
    chip, tables = costs[0].chip, _tables(costs[0].chip)
    mapped = mapped_ops(chip, inside)
    on_cpu = inside & ~mapped
    sent, requests = _crossing(chip, mapped)
    streamed = _streamed(chip, mapped, entering_bytes)
    parameters, started = chip.parameters, mapped.any(axis=1)
    instructions, brought, chip_ms = (mapped.astype(np.float64) @ tables.on_device).T
    gmacs, maps = (on_cpu.astype(np.float64) @ tables.on_cpu).T
    instructions = instructions + chip.base_instructions * started
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
    tables, mapped = _tables(chip), np.empty(inside.shape, bool)
    held = np.ascontiguousarray(inside)
    loop(run_mapped_ops)(*tables.makers, tables.order, chip.supported, held, mapped)
    return mapped


def run_mapped_ops(
    offsets: Ints, makers: Ints, order: Ints, supported: Bools, inside: Bools, mapped: Bools
) -> None:
    """Fill in `mapped`. A loop for `_loops.loop`.

    Args:
        offsets: This and the next one are `Rows`.
        makers: The ops that make what each op reads.
        order: int64 [num_ops], a topological order.
        supported: [num_ops], whether each op is supported by itself.
        inside: [num_stages, num_ops], the ops of each stage.
        mapped: [num_stages, num_ops], those on the Edge TPU.
    """
    # What has been seen on the way to each op and by it: 0 nothing, 1 a mapped op, 2 an op on the
    # CPU after a mapped one.
    seen = np.zeros(inside.T.shape, np.int8)
    for op in order.tolist():
        held = inside[:, op]
        before = seen[makers[offsets[op] : offsets[op + 1]]].max(axis=0, initial=0)
        mapped[:, op] = held & (before < 2) & supported[op]
        seen[op] = held * np.where(mapped[:, op], 1, 2 * (supported[op] | (before > 0)))


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
    device, parameters = chip.device, chip.parameters
    largest = np.where(mapped, chip.largest_tensor, 0).max(axis=1, initial=0)
    in_strips = (mapped & (chip.strip_step > 0)).any(axis=1)
    taken = np.where(
        in_strips, device.strip_input_share * entering_bytes, device.activation_share * largest
    )
    room = np.maximum(0.0, chip.whole_room - np.minimum(taken, chip.activation_cap))
    layers, num_tiles = chip.layers_in_turn, device.num_tiles
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
    result: Floats = which.astype(np.float64) @ on_grid("values per op", values)
    return result


def _columns(*values: npt.NDArray[np.generic]) -> Floats:
    return np.stack([on_grid("values per op", each) for each in values], axis=1)
