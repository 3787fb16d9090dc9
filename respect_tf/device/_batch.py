"""`DeviceCosts.stage` for many stages at once, and for several devices of one chip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from respect_tf._exact_sums import on_grid
from respect_tf.device._batch_cpu import cpu_stages
from respect_tf.device._chip import ChipCosts
from respect_tf.device._costs import DeviceCosts
from respect_tf.device._edge_tpu import MIB
from respect_tf.device._tiles import kept_sums, left_out

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Cells of arrays for many stages together, and those of a stage that needs none for each op.
_MAX_CELLS, _QUICK_CELLS = 1 << 21, 64


class Stages(Protocol):
    """Many stages at once; see `respect_tf.scheduling`. Arrays are [num_stages]."""

    entering_bytes: Floats
    leaving_weights: Floats  # requests that bring back what leaves

    def __len__(self) -> int: ...

    def select(self, which: Bools) -> Stages:
        """Some of the stages."""

    def op_sums(self, values: npt.NDArray[Any]) -> Floats:
        """Sum of a value per op, 0 or more, over the ops of each stage."""

    def op_maxima(self, values: npt.NDArray[Any]) -> Floats:
        """The largest of a value per op."""

    def spans(self, ops: Ints) -> tuple[Ints, Ints, Ints] | None:
        """Where stages are intervals of an order: places of ops, starts and ends of stages."""

    def contains(self, ops: Ints) -> Bools:
        """Whether each stage holds each of some ops, [num_stages, num_ops_asked]."""


def batch_stages(costs: Sequence[DeviceCosts], stages: Stages) -> tuple[Floats, Floats, Floats]:
    """What `DeviceCosts.stage` gives, up to rounding.

    Args:
        costs: The costs of the graph on each device; the chip is the same.
        stages: The stages.

    Returns:
        Time of each stage on each device in ms, [len(stages), len(costs)]; bytes that it moves,
        parameters and instructions included, and bytes of parameters that it streams, both
        [len(stages)].
    """
    num_cells = _QUICK_CELLS if is_quick(costs[0].chip, stages) else costs[0].graph.num_ops
    step = max(1, _MAX_CELLS // num_cells)
    parts = []
    for top in range(0, len(stages), step):
        which = np.zeros(len(stages), bool)
        which[top : top + step] = True
        parts.append(_part(costs, stages if which.all() else stages.select(which)))
    total, moved, streamed = (np.concatenate(column) for column in zip(*parts, strict=True))
    return total, moved, streamed


def is_quick(chip: ChipCosts, stages: Stages) -> bool:
    """Whether what stages stream is found without looking at each of their ops."""
    is_even = chip.is_even and chip.all_supported
    return is_even and stages.spans(np.zeros(0, np.int64)) is not None


def _part(costs: Sequence[DeviceCosts], stages: Stages) -> tuple[Floats, Floats, Floats]:
    chip = costs[0].chip
    total, moved = unstreamed(costs, stages, np.ones(len(stages)))
    room, fit = rooms_of(chip, stages, stages.op_sums(chip.asked_bytes))
    in_doubt = ~fit
    streamed = stages.op_sums(chip.parameters.streamed)
    moved += streamed
    if in_doubt.any():
        waiting, more = _streamed(costs, stages.select(in_doubt), room[in_doubt])
        total[in_doubt] += waiting
        streamed[in_doubt] += more
        moved[in_doubt] += more
    if chip.all_supported:
        return total, moved, streamed
    every = np.arange(chip.graph.num_ops)
    inside = stages.contains(every)
    some = np.flatnonzero(inside[:, ~chip.supported].any(axis=1))
    if len(some):
        total[some], moved[some], streamed[some] = cpu_stages(
            costs, inside[some], stages.entering_bytes[some]
        )
    return total, moved, streamed


def unstreamed(
    costs: Sequence[DeviceCosts], stages: Stages, num_parts: Floats
) -> tuple[Floats, Floats]:
    """What stages without ops on the CPU take and move if all parameters are cached.

    Args:
        costs: See `batch_stages`.
        stages: The stages.
        num_parts: Inferences that each is counted as, [len(stages)].

    Returns:
        ms, [len(stages), len(costs)], and bytes but for parameters, [len(stages)].
    """
    chip = costs[0].chip
    instructions = stages.op_sums(chip.instructions)
    links = [one.device.link_ms_per_mib / MIB for one in costs]
    # Amounts of each stage, and what one of each takes on each device.
    amounts = (
        (num_parts, [one.start_ms for one in costs]),
        (stages.op_sums(chip.chip_ms), [one.device.slower for one in costs]),
        (stages.op_sums(chip.parameters.streamed) + instructions, links),
        (stages.entering_bytes, [one.enter_ms_per_byte for one in costs]),
        (stages.leaving_weights, [one.leave_ms_per_request for one in costs]),
    )
    # Device by device: all at once take three times as long. No matrix product: its last bits
    # differ between machines.
    total = np.zeros((len(stages), len(costs)), order="F")
    product = np.empty(len(stages))
    for index in range(len(costs)):
        for amount, rates in amounts:
            np.multiply(amount, rates[index], out=product)
            total[:, index] += product
    returned = stages.leaving_weights * costs[0].device.request_bytes
    own = chip.base_instructions * num_parts
    return total, stages.entering_bytes + returned + instructions + own


def rooms_of(chip: ChipCosts, stages: Stages, held: Floats) -> tuple[Floats, Bools]:
    """Room for parameters in stages without ops on the CPU, and where all of them surely fit.

    They fit where a block more fits into each tile: the tile with most room is never fuller than
    the average.

    Args:
        chip: The graph on the chip.
        stages: The stages.
        held: Bytes of all blocks in each stage. [num_stages].

    Returns:
        Bytes, float64 [num_stages], or less where all parameters fit; and bool [num_stages].
    """
    device, sizes, cap = chip.device, chip.parameters.block_bytes, chip.activation_cap
    whole = chip.whole_room
    works_in_strips = bool(chip.strip_step.any())
    # First as if the largest tensor and the largest block were in each stage.
    most = device.activation_share * float(chip.largest_tensor.max(initial=0))
    taken = np.full(len(stages), most)
    if works_in_strips:
        taken = np.maximum(taken, device.strip_input_share * stages.entering_bytes)
    room = np.maximum(0.0, whole - np.minimum(taken, cap))
    fit = held + device.num_tiles * float(sizes.max(initial=0)) <= room
    if fit.all():
        return room, fit
    doubtful = np.flatnonzero(~fit)
    some = stages.select(~fit)
    taken = device.activation_share * some.op_maxima(chip.largest_tensor)
    if works_in_strips:
        in_strips = some.op_sums((chip.strip_step > 0).astype(np.int64)) > 0
        taken = np.where(in_strips, device.strip_input_share * some.entering_bytes, taken)
    room[doubtful] = np.maximum(0.0, whole - np.minimum(taken, cap))
    may_fit = held[doubtful] <= room[doubtful]
    doubtful = doubtful[may_fit]
    if len(doubtful):
        largest = some.select(may_fit).op_maxima(sizes)
        fit[doubtful] = held[doubtful] + device.num_tiles * largest <= room[doubtful]
    return room, fit


def _streamed(costs: Sequence[DeviceCosts], stages: Stages, room: Floats) -> tuple[Floats, Floats]:
    """Time and bytes of the parameters that are not cached. [len(stages), len(costs)], [...]."""
    chip = costs[0].chip
    parameters, num_tiles = chip.parameters, chip.device.num_tiles
    layers = chip.layers_in_turn
    # On a grid, sums do not depend on the order in which a machine adds up.
    amounts = np.stack(
        [
            *(on_grid("ms of streaming", one.stream_ms[layers]) for one in costs),
            parameters.movable[layers].astype(np.float64),
        ],
        axis=1,
    )
    spans = stages.spans(layers) if is_quick(chip, stages) else None
    if spans is not None:
        values = (*(one.stream_ms for one in costs), parameters.movable)
        every = np.stack([stages.op_sums(part) for part in values], axis=1)
        sizes = parameters.block_bytes[layers]
        every -= kept_sums(sizes, spans, room / num_tiles, amounts, num_tiles)
        return every[:, :-1], every[:, -1]
    streamed = left_out(
        parameters.blocks[layers],
        parameters.block_bytes[layers],
        stages.contains(layers),
        room / num_tiles,
        num_tiles,
    ).astype(np.float64)
    sums = streamed @ amounts
    return sums[:, :-1], sums[:, -1]
