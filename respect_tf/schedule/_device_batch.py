"""`DeviceCosts.stage` for many stages at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.device import DeviceCosts
from respect_tf.device._edge_tpu import MIB
from respect_tf.schedule._stage_batch import StageBatch

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Largest = Callable[[npt.NDArray[Any]], Floats]

_MAX_CELLS = 1 << 21


def batch_stages(costs: DeviceCosts, stages: StageBatch) -> tuple[Floats, Floats]:
    """What `DeviceCosts.stage` gives, up to rounding.

    Args:
        costs: The costs of the graph.
        stages: The stages.

    Returns:
        Time of each stage in ms, and bytes that it moves, parameters included. Both [len(stages)].
    """
    num_ops = costs.graph.num_ops
    step = max(1, _MAX_CELLS // num_ops)
    parts = []
    for top in range(0, len(stages), step):
        which = np.zeros(len(stages), bool)
        which[top : top + step] = True
        parts.append(_part(costs, stages if which.all() else stages.select(which)))
    total, moved = (np.concatenate(column) for column in zip(*parts, strict=True))
    return total, moved


def _part(costs: DeviceCosts, stages: StageBatch) -> tuple[Floats, Floats]:
    device, parameters = costs.device, costs.parameters
    slowdown = device.slowdown(costs.num_stages) / MIB
    transfer = stages.entering_bytes * (device.ms_per_input_mib * slowdown)
    transfer += stages.leaving_bytes * (device.ms_per_output_mib * slowdown)
    room = room_left(costs, stages.op_maxima, stages.entering_bytes)
    held = stages.op_sums(parameters.blocks * parameters.block_bytes)
    in_doubt = ~surely_fit(costs, held, stages.op_maxima, room)
    stream, streamed = np.zeros((2, len(stages)))
    if in_doubt.any():
        stream[in_doubt], streamed[in_doubt] = _streamed(
            costs, stages.select(in_doubt), room[in_doubt]
        )
    total = device.fixed_ms + stages.op_sums(costs.compute_ms) + stream + transfer
    moved = stages.entering_bytes + stages.leaving_bytes + streamed
    moved += stages.op_sums(parameters.streamed)
    if costs.supported.all():
        return total, moved
    # Which ops a CPU op drags with it depends on paths: such stages are looked at one by one.
    on_cpu = stages.contains(np.flatnonzero(~costs.supported)).any(axis=1)
    for index in np.flatnonzero(on_cpu).tolist():
        ops, entering, leaving = stages.parts(index)
        stage = costs.stage(ops, entering, leaving)
        total[index] = stage.total_ms
        moved[index] = (
            stages.entering_bytes[index] + stages.leaving_bytes[index] + stage.streamed_bytes
        )
    return total, moved


def room_left(costs: DeviceCosts, largest: Largest, entering_bytes: Floats) -> Floats:
    """Room for parameters in stages without ops on the CPU. [num_stages].

    Args:
        costs: The costs of the graph.
        largest: Gives the largest of a value per op, 0 or more, in each stage.
        entering_bytes: [num_stages].
    """
    device = costs.device
    taken = device.activation_share * largest(costs.largest_tensor)
    if costs.strip_step.any():
        in_strips = largest(costs.strip_step) > 0
        taken = np.where(in_strips, device.strip_input_share * entering_bytes, taken)
    room: Floats = np.maximum(0.0, device.num_tiles * device.tile_bytes - taken)
    return room


def surely_fit(costs: DeviceCosts, held: Floats, largest: Largest, room: Floats) -> Bools:
    """Whether all parameters are cached: the tile with most room is never above the average.

    Args:
        costs: The costs of the graph.
        held: Bytes of all blocks in each stage. [num_stages].
        largest: See `room_left`.
        room: Bytes for parameters in each stage. [num_stages].
    """
    fit: Bools = held + costs.device.num_tiles * largest(costs.parameters.block_bytes) <= room
    return fit


def _streamed(costs: DeviceCosts, stages: StageBatch, room: Floats) -> tuple[Floats, Floats]:
    """Time and bytes of the parameters that are not cached. Both [num_stages].

    Layers ask for room in the order of `DeviceCosts.largest_first`. A layer of n blocks fits if n
    more blocks of its size fit into the tiles one by one, so alike layers are placed together.
    """
    parameters, num_tiles = costs.parameters, costs.device.num_tiles
    waiting, streamed = np.zeros((2, len(stages)))
    limit = np.floor(room / num_tiles)[:, None]
    used = np.zeros((len(stages), num_tiles))  # whole numbers: quotients round down as they should
    alike = _alike(costs)
    inside = stages.contains(np.concatenate(alike)).T  # [num_layers, num_stages]
    for layers, asking in zip(
        alike, np.split(inside, np.cumsum([len(layers) for layers in alike[:-1]])), strict=True
    ):
        blocks, size = int(parameters.blocks[layers[0]]), int(parameters.block_bytes[layers[0]])
        count = asking.sum(axis=0)
        some = np.flatnonzero(count)
        if not len(some):
            continue
        count, before = count[some], used[some]
        slots = np.floor(np.maximum(0.0, limit[some] - before) / size).sum(axis=1)
        fitting = np.minimum(count, (slots / blocks).astype(np.int64))
        short = np.flatnonzero(fitting < count)
        if len(short):
            left_out = some[short]
            late = asking[:, left_out] & (np.cumsum(asking[:, left_out], axis=0) > fitting[short])
            waiting[left_out] += costs.stream_ms[layers] @ late
            streamed[left_out] += parameters.stored[layers].astype(np.float64) @ late
        placed = np.flatnonzero(fitting)
        used[some[placed]] = _fill(before[placed], fitting[placed] * blocks, size)
    return waiting, streamed


def _alike(costs: DeviceCosts) -> list[Ints]:
    """Ops with parameters, those with equal blocks together, in the order they ask for room."""
    parameters = costs.parameters
    order = np.argsort(costs.largest_first)
    order = order[parameters.blocks[order] > 0]
    kinds = np.stack([parameters.block_bytes[order], parameters.blocks[order]])
    starts = np.flatnonzero((np.diff(kinds, axis=1) != 0).any(axis=0)) + 1
    return np.split(order, starts) if len(order) else []


def _fill(used: Floats, count: Ints, size: int) -> Floats:
    """Put blocks one by one into the tile that has most room.

    As water would fill the tiles, but for whole blocks: a tile takes a block while its bottom is no
    higher than a block below the water's level, and the rest go to the lowest bottoms.

    Args:
        used: [num_rows, num_tiles], bytes in each tile.
        count: int64 [num_rows], number of blocks.
        size: Bytes of a block.

    Returns:
        Bytes in each tile afterwards, in any order of the tiles.
    """
    num_tiles = used.shape[1]
    used = np.sort(used, axis=1)
    # The level if the lowest 1, 2, ... tiles take all, and the first that the next tile is above.
    sums = np.cumsum(used, axis=1) + (count * size)[:, None]
    levels = np.floor(sums / np.arange(1, num_tiles + 1))
    above = np.ones(used.shape, bool)
    above[:, :-1] = levels[:, :-1] <= used[:, 1:]
    level = np.take_along_axis(levels, above.argmax(axis=1)[:, None], axis=1)
    blocks = np.floor(np.maximum(0.0, level - used) / size)
    full: Floats = np.sort(used + blocks * size, axis=1)
    rest = count - blocks.sum(axis=1)
    full += (np.arange(num_tiles) < rest[:, None]) * size
    return full
