"""Compiled: the order ideals that are candidates for one boundary. Import only where needed.

Sets (`_word_sets`) are over those items only that not all candidates agree about.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from respect_tf._compiled import compiled
from respect_tf.scheduling._ideal_arrays import (
    ALWAYS,
    COUNT,
    HELD,
    LEAVING,
    NEVER,
    NUM_NUMBERS,
    OP_COSTS,
    OUTPUTS,
    WAITING,
    WEIGHT,
    Candidates,
    Wires,
    Words,
)
from respect_tf.scheduling._ideal_places import added_up, cost_of, find_places, in_all
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools, Floats
from respect_tf.scheduling._word_sets import (
    NOTHING,
    ONE,
    copy_row,
    drop,
    first_place,
    has,
    is_within,
    num_words,
    place_of,
    put,
)

# Work of an ideal, beside what depends on the length of the sets.
_STEP = 8


class _Reading(NamedTuple):
    """Tensors as the candidates of a boundary see them; rows are those of `Candidates.tensors`."""

    made_by: Ints  # the place of the item that makes it, `ALWAYS` if it is there in any case
    unread: Bools  # whether it has a reader in no candidate
    may_enter: Bools  # whether it is an input of the model that is read in some of them only
    readers: Words  # its other readers


@compiled
def _read(wires: Wires, places: Ints, num_free: int) -> tuple[Ints, _Reading, float]:
    """Tensors that may wait, how they are read, and bytes of inputs that enter in any case."""
    num_tensors = len(wires.sizes)
    tensors = np.empty(num_tensors, np.int64)
    made_by = np.empty(num_tensors, np.int64)
    unread, may_enter = np.zeros(num_tensors, np.bool_), np.zeros(num_tensors, np.bool_)
    readers = np.zeros((num_tensors, num_words(num_free)), np.uint64)
    count, entering = 0, 0.0
    for tensor in range(num_tensors):
        maker = wires.makers[tensor]
        is_read = is_left = False
        for row in range(wires.reader_starts[tensor], wires.reader_starts[tensor + 1]):
            place = places[wires.readers[row]]
            is_read |= place == ALWAYS
            is_left |= place != ALWAYS
            unread[count] |= place == NEVER
            if place >= 0:
                put(readers, count, place)
        if maker < 0 and is_read:
            entering += wires.sizes[tensor]
        if is_left and (maker < 0 or places[maker] != NEVER):
            tensors[count] = tensor
            made_by[count] = places[maker] if maker >= 0 else ALWAYS
            may_enter[count] = maker < 0 and not is_read
            count += 1
        else:
            unread[count] = False
            for word in range(readers.shape[1]):
                readers[count, word] = NOTHING
    reading = _Reading(made_by[:count], unread[:count], may_enter[:count], readers[:count])
    return tensors[:count], reading, entering


@compiled
def _describe(
    wires: Wires,
    tensors: Ints,
    reading: _Reading,
    sets: Words,
    row: int,
    entering: float,
    numbers: Floats,
    waiting: Words,
) -> float:
    """Fill in what waits after an ideal, and bytes that move at least, in the same row of each.

    Returns:
        Bytes of the model's inputs that are read in it.
    """
    for word in range(waiting.shape[1]):
        waiting[row, word] = NOTHING
    waits, leaves = 0.0, 0.0
    for number in range(len(tensors)):
        tensor = tensors[number]
        size = wires.sizes[tensor]
        if reading.may_enter[number]:
            for word in range(sets.shape[1]):
                if reading.readers[number, word] & sets[row, word]:
                    entering += size
                    break
        made_by = reading.made_by[number]
        if made_by >= 0 and not has(sets, row, made_by):
            continue
        if reading.unread[number] or not is_within(reading.readers, number, sets, row):
            put(waiting, row, number)
            waits += size
            if wires.leaves[tensor]:
                leaves += size
    numbers[row, WAITING], numbers[row, LEAVING] = waits, leaves
    return entering


@compiled
def list_candidates(  # noqa: PLR0915
    wires: Wires,
    rows: Candidates,
    k: int,
    num_stages: int,
    is_sum: bool,
    only_largest: bool,
    limit: float,
    held_from: float,
    held_to: float,
    max_work: int,
) -> tuple[int, Candidates]:
    """The ideals that a schedule within a cost limit can have before a boundary.

    An ideal is found once: items are added in ascending order, and an item that could have been
    added and was passed over stays out for good, and so does all that needs it. What can still be
    added bounds the weight from above, and branches that cannot get heavy enough end early.

    Args:
        wires: The problem.
        rows: Candidates of the boundary before, by weight; none for the first boundary.
        k: Stages before the boundary.
        num_stages: Number of stages.
        is_sum: Whether the costs of stages are added up; else the largest counts.
        only_largest: Leave out ideals that may have one item more, where only weights count.
        limit: What a schedule may cost, and a little more against rounding.
        held_from: The least bytes that must be before the boundary.
        held_to: The most bytes that fit before it.
        max_work: Work after which to give up, in some 30 ns.

    Returns:
        The work done, more than `max_work` if it gave up; and the candidates.
    """
    is_end = k in (0, num_stages)
    low, high = -np.inf, np.inf
    if not (is_end or is_sum):
        low = max(added_up(wires.weights) - (num_stages - k) * limit, rows.numbers[0, WEIGHT])
        high = min(k * limit, rows.numbers[-1, WEIGHT] + limit)
    places, num_free = find_places(wires, k, num_stages, in_all(rows), low, high)
    width = num_words(num_free)
    if num_free < 0:
        nothing = np.zeros((0, 1), np.uint64)
        empty = np.zeros(0, np.int64)
        return 0, Candidates(places, empty, nothing, nothing, np.zeros((0, NUM_NUMBERS)))
    tensors, reading, entering_base = _read(wires, places, num_free)
    totals = added_up(wires.op_costs), added_up(wires.outputs)
    least, most = k, len(places) - (num_stages - k)
    items, base, needs, lost, roots = _tree(wires, places, num_free)

    capacity, num_found, work = 64, 0, 0
    step, look = _STEP + 2 * width, _STEP + len(tensors) * (1 + width) // 2
    sets = np.empty((capacity, width), np.uint64)
    waiting = np.empty((capacity, num_words(len(tensors))), np.uint64)
    numbers = np.empty((capacity, NUM_NUMBERS))
    # The path to the ideal at hand: sets, what can be added next or at all, sums, weight in reach.
    path, ready, addable = np.zeros((3, num_free + 1, width), np.uint64)
    sums, reaches = np.zeros((num_free + 1, NUM_NUMBERS)), np.zeros(num_free + 1)
    copy_row(roots, 0, ready, 0)
    copy_row(roots, 0, addable, 0)
    copy_row(base, 0, sums, 0)
    reaches[0] = base[0, WEIGHT]
    for item in items:
        reaches[0] += wires.weights[item]
    depth, is_new = 0, True
    while depth >= 0:
        weight, count = sums[depth, WEIGHT], sums[depth, COUNT]
        if is_new:
            work += step
            if work > max_work:
                break
            is_wanted = weight >= low and least <= count <= most
            if is_wanted and only_largest and count < most:
                room = rows.numbers[0, WEIGHT] + limit - weight
                is_wanted = not _has_light(addable, depth, items, wires.weights, room)
            if is_wanted:
                work += look
                if num_found == capacity:
                    capacity *= 2
                    sets, waiting = _longer(sets, capacity), _longer(waiting, capacity)
                    numbers = _longer(numbers, capacity)
                copy_row(sums, depth, numbers, num_found)
                copy_row(path, depth, sets, num_found)
                entering = _describe(
                    wires, tensors, reading, sets, num_found, entering_base, numbers, waiting
                )
                before, after = _merged(numbers, num_found, entering, totals, wires.rates)
                if is_sum:
                    is_near = before + after <= limit
                else:
                    is_near = before <= k * limit and after <= (num_stages - k) * limit
                if is_end or (is_near and held_from <= numbers[num_found, HELD] <= held_to):
                    num_found += 1
        is_new = False
        place = first_place(ready, depth)
        if place < 0 or count == most or reaches[depth] < low:
            depth -= 1
            continue
        drop(ready, depth, place)
        item, reach = items[place], reaches[depth]
        reaches[depth] -= lost[place]
        if weight + wires.weights[item] > high:
            continue
        above = depth + 1
        copy_row(path, depth, path, above)
        copy_row(ready, depth, ready, above)
        copy_row(addable, depth, addable, above)
        copy_row(sums, depth, sums, above)
        reaches[above] = reach
        put(path, above, place)
        drop(addable, above, place)
        _add(wires, item, sums, above)
        for row in range(wires.after_starts[item], wires.after_starts[item + 1]):
            other = places[wires.after[row]]
            if other >= 0 and is_within(needs, other, path, above):
                put(ready, above, other)
                put(addable, above, other)
        depth, is_new = above, True
    return work, Candidates(
        places, tensors, sets[:num_found], waiting[:num_found], numbers[:num_found]
    )


@compiled
def _has_light(sets: Words, row: int, items: Ints, weights: Floats, most: float) -> bool:
    """Whether the item of one of the places in a set weighs no more than that."""
    for word in range(sets.shape[1]):
        bits = sets[row, word]
        while bits:
            bit = bits & (~bits + ONE)
            bits ^= bit
            if weights[items[(word << 6) + place_of(bit)]] <= most:
                return True
    return False


@compiled
def _merged(
    numbers: Floats, row: int, entering: float, totals: tuple[float, float], rates: Floats
) -> tuple[float, float]:
    """What all before an ideal's boundary and all after it would cost as one stage each."""
    op_costs, outputs = numbers[row, OP_COSTS], numbers[row, OUTPUTS]
    before = cost_of(op_costs, entering, numbers[row, LEAVING] + outputs, rates)
    op_costs, outputs = totals[0] - op_costs, totals[1] - outputs
    return before, cost_of(op_costs, numbers[row, WAITING], outputs, rates)


@compiled
def _tree(wires: Wires, places: Ints, num_free: int) -> tuple[Ints, Floats, Words, Floats, Words]:
    """How ideals are listed.

    Returns:
        The item of each place; the numbers of an ideal without any of them; the items that each one
        needs; the weight that is lost for good where it is passed over, each item being lost with
        the last one that it needs; and the items that need none.
    """
    items, base = np.empty(num_free, np.int64), np.zeros((1, NUM_NUMBERS))
    for item in range(len(places)):
        if places[item] >= 0:
            items[places[item]] = item
        elif places[item] == ALWAYS:
            _add(wires, item, base, 0)
    needs, lost = np.zeros((num_free, num_words(num_free)), np.uint64), np.empty(num_free)
    for place in range(num_free):
        lost[place] = wires.weights[items[place]]
    roots = np.zeros((1, num_words(num_free)), np.uint64)
    for place in range(num_free - 1, -1, -1):
        item, last = items[place], -1
        for row in range(wires.before_starts[item], wires.before_starts[item + 1]):
            other = places[wires.before[row]]
            if other >= 0:
                put(needs, place, other)
                last = max(last, other)
        if last >= 0:
            lost[last] += lost[place]
        else:
            put(roots, 0, place)
    return items, base, needs, lost, roots


@compiled
def _add(wires: Wires, item: int, sums: Floats, row: int) -> None:
    sums[row, WEIGHT] += wires.weights[item]
    sums[row, COUNT] += 1
    sums[row, OP_COSTS] += wires.op_costs[item]
    sums[row, OUTPUTS] += wires.outputs[item]
    sums[row, HELD] += wires.held[item]


@compiled
def _longer(rows: npt.NDArray[np.generic], capacity: int) -> npt.NDArray[np.generic]:
    result = np.empty((capacity, rows.shape[1]), rows.dtype)
    for row in range(len(rows)):
        for column in range(rows.shape[1]):
            result[row, column] = rows[row, column]
    return result
