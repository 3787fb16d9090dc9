"""`DeviceCosts.stage` for many stages at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from respect_tf.device import DeviceCosts
from respect_tf.device._edge_tpu import MIB
from respect_tf.device._parameters import MOST_ACTIVATION_BYTES
from respect_tf.schedule._stage_batch import StageBatch
from respect_tf.schedule._tile_batch import left_out

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

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
    held = stages.op_sums(parameters.blocks * parameters.block_bytes)
    room, fit = rooms_of(costs, stages, held)
    in_doubt = ~fit
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


def rooms_of(costs: DeviceCosts, stages: StageBatch, held: Floats) -> tuple[Floats, Bools]:
    """Room for parameters in stages without ops on the CPU, and where all of them surely fit.

    They fit where a block more fits into each tile: the tile with most room is never fuller than
    the average.

    Args:
        costs: The costs of the graph.
        stages: The stages.
        held: Bytes of all blocks in each stage. [num_stages].

    Returns:
        Bytes, float64 [num_stages], or less where all parameters fit; and bool [num_stages].
    """
    device, sizes = costs.device, costs.parameters.block_bytes
    whole = device.num_tiles * device.tile_bytes
    # First as if the largest tensor and the largest block were in each stage.
    most = device.activation_share * float(costs.largest_tensor.max(initial=0))
    most = min(most, MOST_ACTIVATION_BYTES)
    taken = np.full(len(stages), most)
    if costs.strip_step.any():
        taken = np.maximum(taken, device.strip_input_share * stages.entering_bytes)
    room = np.maximum(0.0, whole - taken)
    fit = held + device.num_tiles * float(sizes.max(initial=0)) <= room
    if fit.all():
        return room, fit
    doubtful = np.flatnonzero(~fit)
    some = stages.select(~fit)
    taken = device.activation_share * some.op_maxima(costs.largest_tensor)
    taken = np.minimum(taken, MOST_ACTIVATION_BYTES)
    if costs.strip_step.any():
        in_strips = some.op_sums((costs.strip_step > 0).astype(np.int64)) > 0
        taken = np.where(in_strips, device.strip_input_share * some.entering_bytes, taken)
    room[doubtful] = np.maximum(0.0, whole - taken)
    may_fit = held[doubtful] <= room[doubtful]
    doubtful = doubtful[may_fit]
    if len(doubtful):
        largest = some.select(may_fit).op_maxima(sizes)
        fit[doubtful] = held[doubtful] + device.num_tiles * largest <= room[doubtful]
    return room, fit


def _streamed(costs: DeviceCosts, stages: StageBatch, room: Floats) -> tuple[Floats, Floats]:
    """Time and bytes of the parameters that are not cached. Both [num_stages]."""
    parameters, num_tiles = costs.parameters, costs.device.num_tiles
    layers = layers_in_turn(costs)
    streamed = left_out(
        parameters.blocks[layers],
        parameters.block_bytes[layers],
        stages.contains(layers),
        room / num_tiles,
        num_tiles,
    )
    return streamed @ costs.stream_ms[layers], streamed @ parameters.movable[layers].astype(float)


def layers_in_turn(costs: DeviceCosts) -> Ints:
    """Ops with parameters in the order in which they ask for room. [num_layers]."""
    order = np.argsort(costs.largest_first)
    layers: Ints = order[costs.parameters.blocks[order] > 0]
    return layers
