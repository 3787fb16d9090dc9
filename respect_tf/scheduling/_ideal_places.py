"""Compiled: which items are before a boundary in any case, or never. Import only where needed."""

from __future__ import annotations

import numpy as np

from respect_tf._compiled import compiled
from respect_tf.scheduling._ideal_arrays import (
    AFTER,
    ALWAYS,
    BEFORE,
    NEVER,
    NUM_AFTER,
    NUM_BEFORE,
    Candidates,
    Wires,
)
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools, Floats
from respect_tf.scheduling._word_sets import ONE, has, num_words, place_of, put


@compiled
def cost_of(op_costs: float, entering: float, leaving: float, rates: Floats) -> float:
    """`Problem.cost`, to the last bit."""
    if rates[0] == rates[1]:
        return op_costs + rates[0] * (entering + leaving)  # type: ignore[no-any-return]
    return op_costs + rates[0] * entering + rates[1] * leaving  # type: ignore[no-any-return]


@compiled
def needed_sums(starts: Ints, before: Ints, weights: Floats) -> Floats:
    """Weights and numbers of what is before and after each item; see `Wires.sums`."""
    num_items = len(weights)
    needs = np.zeros((num_items, num_words(num_items)), np.uint64)
    sums = np.zeros((num_items, 4))
    for item in range(num_items):
        put(needs, item, item)
        for row in range(starts[item], starts[item + 1]):
            for word in range(needs.shape[1]):
                needs[item, word] |= needs[before[row], word]
        for word in range(needs.shape[1]):
            bits = needs[item, word]
            while bits:
                bit = bits & (~bits + ONE)
                bits ^= bit
                other = (word << 6) + place_of(bit)
                sums[item, BEFORE] += weights[other]
                sums[item, NUM_BEFORE] += 1
                sums[other, AFTER] += weights[item]
                sums[other, NUM_AFTER] += 1
    return sums


@compiled
def spread_ranges(wires: Wires, earliest: Ints, latest: Ints) -> None:
    """Narrow ranges of stages to what edges leave of them, in place; those of `wires` count too."""
    for item in range(len(earliest)):
        earliest[item] = max(earliest[item], wires.earliest[item])
        for row in range(wires.before_starts[item], wires.before_starts[item + 1]):
            earliest[item] = max(earliest[item], earliest[wires.before[row]])
    for item in range(len(latest) - 1, -1, -1):
        latest[item] = min(latest[item], wires.latest[item])
        for row in range(wires.after_starts[item], wires.after_starts[item + 1]):
            latest[item] = min(latest[item], latest[wires.after[row]])


@compiled
def in_all(ideals: Candidates) -> Bools:
    """Which items are in all of some ideals. bool [num_items]."""
    held = np.zeros(len(ideals.places), np.bool_)
    for item in range(len(held)):
        place = ideals.places[item]
        held[item] = place != NEVER
        if place >= 0:
            for index in range(len(ideals.sets)):
                if not has(ideals.sets, index, place):
                    held[item] = False
                    break
    return held


@compiled
def added_up(values: Floats) -> float:
    """The sum of some values."""
    total = 0.0
    for value in values:
        total += value
    return total


@compiled
def find_places(
    wires: Wires, k: int, num_stages: int, held: Bools, low: float, high: float
) -> tuple[Ints, int]:
    """Which items are before a boundary in any schedule whose weight there is in range, or in none.

    Args:
        wires: The problem.
        k: Stages before the boundary.
        num_stages: Number of stages.
        held: bool [num_items], items that are before it in any case.
        low: The least weight before the boundary.
        high: The most.

    Returns:
        `Candidates.places`, and the number of items that are neither; -1 if there is no such
        schedule.
    """
    num_items, total, num_free = len(wires.weights), added_up(wires.weights), 0
    least, most = k, num_items - (num_stages - k)
    places = np.empty(num_items, np.int64)
    for item in range(num_items):
        places[item] = ALWAYS if k == num_stages else NEVER
    if k in (0, num_stages):
        return places, num_free
    for item in range(num_items):
        sums = wires.sums[item]
        always = (
            held[item]
            or total - sums[AFTER] < low
            or num_items - sums[NUM_AFTER] < least
            or wires.latest[item] < k
        )
        never = sums[BEFORE] > high or sums[NUM_BEFORE] > most or wires.earliest[item] >= k
        if always and never:
            return places, -1
        if always:
            places[item] = ALWAYS
        elif not never:
            places[item] = num_free
            num_free += 1
    return places, num_free
