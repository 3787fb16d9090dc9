"""Compiled: sets of places as rows of 64-bit words. Import only where needed.

Sets are given by an array and a row: a slice of an array takes longer than most of what is done.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from respect_tf._compiled import compiled
from respect_tf.scheduling._ideal_arrays import Words

NOTHING, ONE = np.uint64(0), np.uint64(1)
_SHIFT = np.uint64(58)
# The place of the only bit of a word, by a sequence of de Bruijn.
_SEQUENCE = 0x03F79D71B4CB0A89
_FACTOR = np.uint64(_SEQUENCE)
_PLACES = np.zeros(64, np.int64)
for _place in range(64):
    _PLACES[(_SEQUENCE << _place & (1 << 64) - 1) >> 58] = _place


@compiled
def place_of(bit: np.uint64) -> int:
    """The place, 0 to 63, of a word's only bit."""
    return _PLACES[(bit * _FACTOR) >> _SHIFT]  # type: ignore[no-any-return]


@compiled
def has(sets: Words, row: int, place: int) -> bool:
    """Whether a set holds a place."""
    return (sets[row, place >> 6] >> np.uint64(place & 63)) & ONE != 0  # type: ignore[no-any-return]


@compiled
def put(sets: Words, row: int, place: int) -> None:
    """Put a place into a set."""
    sets[row, place >> 6] |= ONE << np.uint64(place & 63)


@compiled
def drop(sets: Words, row: int, place: int) -> None:
    """Take a place out of a set that holds it."""
    sets[row, place >> 6] ^= ONE << np.uint64(place & 63)


@compiled
def num_words(num_places: int) -> int:
    """Words of a set."""
    return max(1, (num_places + 63) >> 6)


@compiled
def is_within(sets: Words, row: int, others: Words, other: int) -> bool:
    """Whether a set is a subset of another one."""
    lacks = NOTHING
    for word in range(sets.shape[1]):
        lacks |= sets[row, word] & ~others[other, word]
    return lacks == 0  # type: ignore[no-any-return]


@compiled
def first_place(sets: Words, row: int) -> int:
    """The first place in a set, -1 if there is none."""
    for word in range(sets.shape[1]):
        bits = sets[row, word]
        if bits != 0:
            return (word << 6) + place_of(bits & (~bits + ONE))  # type: ignore[no-any-return]
    return -1


@compiled
def copy_row(
    rows: npt.NDArray[np.generic], row: int, target: npt.NDArray[np.generic], other: int
) -> None:
    """Copy a row of one array into another one's."""
    for column in range(rows.shape[1]):
        target[other, column] = rows[row, column]
