"""Which parameters stay on chip: blocks of output channels in the memories of the tiles.

A layer is cached as a whole or streamed as a whole. That the chip has 16 tiles, each with a memory
of its own, and that a block of output channels stays in one tile, explains which layers the public
logs of dense and convolution stacks show as streamed (for example why a dense layer of 17 blocks
of 432 KiB, 7.2 MiB, is streamed where 16 of them, 6.8 MiB, are cached).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from respect_tf._loops.twins import loop

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def fit_blocks(layers: Iterable[tuple[int, int]], num_tiles: int, tile_bytes: float) -> list[bool]:
    """Which layers are cached when they ask for room one after the other.

    A layer's blocks go one by one to the tile that has most room left; a layer that does not fit
    leaves no block behind.

    Args:
        layers: (number of blocks, bytes of a block) of each.
        num_tiles: Number of tiles.
        tile_bytes: Room in each.
    """
    used: list[float] = [0.0] * num_tiles  # a heap
    left = num_tiles * tile_bytes
    cached = []
    for blocks, size in layers:
        # The tile with most room is never fuller than the average, so this much always fits.
        if (blocks + num_tiles) * size <= left:
            for _ in range(blocks):
                heapq.heapreplace(used, used[0] + size)
            left -= blocks * size
            cached.append(True)
            continue
        if size > tile_bytes or blocks * size > left:
            cached.append(blocks == 0)
            continue
        trial = used.copy()
        fits = True
        for _ in range(blocks):
            if trial[0] + size > tile_bytes:
                fits = False
                break
            heapq.heapreplace(trial, trial[0] + size)
        if fits:
            used = trial
            left -= blocks * size
        cached.append(fits)
    return cached


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
    result = np.zeros(inside.shape, bool)
    layers = (np.ascontiguousarray(part, np.int64) for part in (blocks, sizes))
    held, rooms = np.ascontiguousarray(inside), np.ascontiguousarray(tile_bytes, np.float64)
    loop(run_left_out)(*layers, held, rooms, result, num_tiles)
    return result


def run_left_out(
    blocks: Ints, sizes: Ints, inside: Bools, tile_bytes: Floats, result: Bools, num_tiles: int
) -> None:
    """Fill in `result`. A loop for `_loops.loop`; see `left_out`."""
    for stage, room in enumerate(tile_bytes.tolist()):
        layers = np.flatnonzero(inside[stage])
        asking = zip(blocks[layers].tolist(), sizes[layers].tolist(), strict=True)
        result[stage, layers] = np.logical_not(fit_blocks(asking, num_tiles, room))


def kept_sums(
    sizes: Ints, spans: tuple[Ints, Ints, Ints], tile_bytes: Floats, amounts: Floats, num_tiles: int
) -> Floats:
    """Sums over the layers that find room, of stages that are intervals of an order.

    Args:
        sizes: [num_layers], bytes that each takes of every tile, in the order of asking: the
            largest first.
        spans: Places of the layers in the order, [num_layers]; first place and end of each stage,
            [num_stages] each.
        tile_bytes: [num_stages], room in each tile.
        amounts: [num_layers, num_amounts], on a grid of exact sums.
        num_tiles: Number of tiles.

    Returns:
        [num_stages, num_amounts].
    """
    sums = np.zeros((len(tile_bytes), amounts.shape[1]))
    layers = (np.ascontiguousarray(part, np.int64) for part in (sizes, *spans))
    rooms, values = (np.ascontiguousarray(part, np.float64) for part in (tile_bytes, amounts))
    loop(run_kept_sums)(*layers, rooms, values, sums, num_tiles)
    return sums


def run_kept_sums(
    sizes: Ints,
    places: Ints,
    starts: Ints,
    stops: Ints,
    tile_bytes: Floats,
    amounts: Floats,
    sums: Floats,
    num_tiles: int,
) -> None:
    """Fill in `sums`. A loop for `_loops.loop`; see `kept_sums`."""
    for stage, room in enumerate(tile_bytes.tolist()):
        inside = (places >= starts[stage]) & (places < stops[stage])
        layers = np.flatnonzero(inside)
        asking = ((num_tiles, size) for size in sizes[layers].tolist())
        fits = np.array(fit_blocks(asking, num_tiles, room), bool)
        sums[stage] = amounts[layers[fits]].sum(axis=0)
