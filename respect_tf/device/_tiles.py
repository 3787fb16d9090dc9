"""Which parameters stay on chip: blocks of output channels in the memories of the tiles.

A layer is cached as a whole or streamed as a whole. That the chip has 16 tiles, each with a memory
of its own, and that a block of output channels stays in one tile, explains which layers the public
logs of dense and convolution stacks show as streamed (for example why a dense layer of 17 blocks
of 432 KiB, 7.2 MiB, is streamed where 16 of them, 6.8 MiB, are cached).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable


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
