"""`fit_blocks` of the device model for many stages at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from respect_tf.device._chip import ChipCosts
from respect_tf.device._tiles import fit_blocks

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Up to so many stages are faster one by one.
_FEW_STAGES = 24


def left_out(blocks: Ints, sizes: Ints, inside: Bools, tile_bytes: Floats, num_tiles: int) -> Bools:
    """Which layers find no room when they ask for it one after the other.

    Args:
        blocks: [num_layers], number of blocks, 1 or more, in the order of asking.
        sizes: [num_layers], bytes of a block.
        inside: [num_stages, num_layers], the layers that each stage has.
        tile_bytes: [num_stages], room in each tile.
        num_tiles: Number of tiles.

    Returns:
        bool [num_stages, num_layers], as `fit_blocks` has them.
    """
    if inside.size == 0:
        return np.zeros(inside.shape, bool)
    if len(inside) <= _FEW_STAGES:
        return _one_by_one(blocks, sizes, inside, tile_bytes, num_tiles)
    # Layers of equal blocks are placed together: as many as there is room for, the first ones.
    differ = (np.diff(sizes) != 0) | (np.diff(blocks) != 0)
    starts = np.append(0, np.flatnonzero(differ) + 1)
    blocks, sizes = blocks[starts], sizes[starts].astype(np.float64)
    count = np.add.reduceat(inside, starts, axis=1, dtype=np.int64)  # [num_stages, num_kinds]
    asked = count * (blocks * sizes)
    left = np.cumsum(asked[:, ::-1], axis=1)[:, ::-1]  # by this kind and all after it
    largest = np.maximum.accumulate(sizes[::-1])[::-1]  # block of this kind and all after it
    fitting = count.copy()
    # Stages go on side by side, each with its own next kind.
    stages, kinds = np.nonzero(count)
    nth = np.arange(len(stages)) - np.searchsorted(stages, stages)
    order = np.argsort(nth, kind="stable")
    tile_bytes = np.floor(tile_bytes)
    used = np.zeros((num_tiles, len(inside)))  # whole numbers
    free = num_tiles * tile_bytes  # of the tiles together
    for step in np.split(order, np.cumsum(np.bincount(nth))[:-1]):
        stage, kind = stages[step], kinds[step]
        # The tile with most room is never fuller than the average: this much always fits.
        surely = free[stage] - num_tiles * largest[kind]
        goes_on = left[stage, kind] > surely
        if not goes_on.all():
            stage, kind, surely = stage[goes_on], kind[goes_on], surely[goes_on]
        if not len(stage):
            continue
        size, number = sizes[kind], count[stage, kind]
        before = used[:, stage]
        doubtful = np.flatnonzero(asked[stage, kind] > surely)
        if len(doubtful):
            room = np.maximum(0.0, tile_bytes[stage[doubtful]] - before[:, doubtful])
            slots = np.floor(room / size[doubtful]).sum(axis=0).astype(np.int64)
            number[doubtful] = np.minimum(number[doubtful], slots // blocks[kind[doubtful]])
            fitting[stage, kind] = number
        placed = number * blocks[kind]
        used[:, stage] = fill_tiles(before, placed, size.astype(np.float64))
        free[stage] -= placed * size
    # Of layers of a kind, those after the first that fit are left out.
    kind_of = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, inside.shape[1])))
    result = np.zeros(inside.shape, bool)
    some = np.flatnonzero((fitting < count).any(axis=1))
    rank = np.cumsum(inside[some], axis=1)
    before_kind = np.cumsum(count[some], axis=1) - count[some]
    result[some] = inside[some] & (rank > (before_kind + fitting[some])[:, kind_of])
    return result


def _one_by_one(
    blocks: Ints, sizes: Ints, inside: Bools, tile_bytes: Floats, num_tiles: int
) -> Bools:
    result = np.zeros(inside.shape, bool)
    for stage, room in enumerate(tile_bytes.tolist()):
        layers = np.flatnonzero(inside[stage])
        asking = zip(blocks[layers].tolist(), sizes[layers].tolist(), strict=True)
        result[stage, layers] = np.logical_not(fit_blocks(asking, num_tiles, room))
    return result


def fill_tiles(used: Floats, count: Ints, size: Floats) -> Floats:
    """Put blocks one by one into the tile that has most room.

    As water would fill the tiles, but for whole blocks: a tile takes a block while its bottom is no
    higher than a block below the water's level, and the rest go to the lowest bottoms.

    Args:
        used: [num_tiles, num_stages], bytes in each tile, whole numbers.
        count: int64 [num_stages], number of blocks.
        size: [num_stages], bytes of a block.

    Returns:
        Bytes in each tile afterwards, in any order of the tiles.
    """
    num_tiles = len(used)
    volume = count * size
    level = np.floor((used.sum(axis=0) + volume) / num_tiles)
    dry = np.flatnonzero(used.max(axis=0) > level)
    if len(dry):
        # The level if the lowest 1, 2, ... tiles took all: it is least for those that do.
        levels = np.cumsum(np.sort(used[:, dry], axis=0), axis=0) + volume[dry]
        levels /= np.arange(1, num_tiles + 1)[:, None]
        level[dry] = np.floor(levels.min(axis=0))
    added = np.floor(np.maximum(0.0, level - used) / size)
    rest = count - added.sum(axis=0)
    full: Floats = used + added * size
    full.sort(axis=0)
    full += (np.arange(num_tiles)[:, None] < rest) * size
    return full


def layers_in_turn(chip: ChipCosts) -> Ints:
    """Ops with parameters in the order in which they ask for room. [num_layers]."""
    order = np.argsort(chip.largest_first)
    layers: Ints = order[chip.parameters.blocks[order] > 0]
    return layers
