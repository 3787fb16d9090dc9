"""Compiled: chains of order ideals, one boundary after the other. Import only where needed."""

from __future__ import annotations

import numpy as np

from respect_tf._compiled import compiled
from respect_tf.scheduling._ideal_arrays import (
    ALWAYS,
    COUNT,
    HELD,
    LEAVING,
    NEVER,
    OP_COSTS,
    OUTPUTS,
    WAITING,
    WEIGHT,
    Candidates,
    Stage,
    Wires,
    Words,
)
from respect_tf.scheduling._ideal_places import cost_of
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools, Floats
from respect_tf.scheduling._word_sets import ONE, has, is_within, num_words, place_of, put


@compiled
def join(wires: Wires, rows: Candidates, columns: Candidates) -> Stage:
    """Prepare the stages between candidates of a boundary and those of the next one."""
    # Items that both boundaries are undecided about.
    num_items = len(wires.weights)
    both = np.empty(num_items, np.int64)
    num_both = 0
    for item in range(num_items):
        if rows.places[item] >= 0 and columns.places[item] >= 0:
            both[num_both] = item
            num_both += 1
    row_places, column_places = np.empty(num_both, np.int64), np.empty(num_both, np.int64)
    for number in range(num_both):
        row_places[number] = rows.places[both[number]]
        column_places[number] = columns.places[both[number]]
    place_in = np.empty(len(wires.sizes), np.int64)
    for tensor in range(len(place_in)):
        place_in[tensor] = -1
    for number in range(len(columns.tensors)):
        place_in[columns.tensors[number]] = number
    # Tensors that may wait at both, by their numbers in either list.
    most = len(rows.tensors)
    row_numbers, column_numbers = np.empty(most, np.int64), np.empty(most, np.int64)
    tensors = np.empty(most, np.int64)
    count = 0
    for number in range(len(rows.tensors)):
        tensor = rows.tensors[number]
        if place_in[tensor] >= 0:
            row_numbers[count], column_numbers[count] = number, place_in[tensor]
            tensors[count] = tensor
            count += 1
    row_numbers, column_numbers = row_numbers[:count], column_numbers[:count]
    tensors = tensors[:count]
    sizes, leaves = np.empty(count), np.empty(count, np.bool_)
    is_read = np.zeros(count, np.bool_)
    for number in range(count):
        tensor = tensors[number]
        sizes[number], leaves[number] = wires.sizes[tensor], wires.leaves[tensor]
        for row in range(wires.reader_starts[tensor], wires.reader_starts[tensor + 1]):
            item = wires.readers[row]
            is_read[number] |= rows.places[item] == NEVER and columns.places[item] == ALWAYS
    return Stage(
        _chosen(rows.sets, row_places),
        _chosen(columns.sets, column_places),
        _chosen(rows.waiting, row_numbers),
        _chosen(columns.waiting, column_numbers),
        _reads(wires, rows, tensors),
        _reads(wires, columns, tensors),
        sizes,
        leaves,
        is_read,
    )


@compiled
def _chosen(sets: Words, places: Ints) -> Words:
    """The same sets over some of the places."""
    result = np.zeros((len(sets), num_words(len(places))), np.uint64)
    for index in range(len(sets)):
        for place in range(len(places)):
            if has(sets, index, places[place]):
                put(result, index, place)
    return result


@compiled
def _reads(wires: Wires, ideals: Candidates, tensors: Ints) -> Ints:
    """How many readers of each tensor each ideal holds."""
    result = np.zeros((len(ideals.sets), len(tensors)), np.int64)
    for number in range(len(tensors)):
        tensor = tensors[number]
        for row in range(wires.reader_starts[tensor], wires.reader_starts[tensor + 1]):
            place = ideals.places[wires.readers[row]]
            if place == NEVER:
                continue
            for index in range(len(result)):
                if place == ALWAYS or has(ideals.sets, index, place):
                    result[index, number] += 1
    return result


@compiled
def bytes_moved(
    stage: Stage, before: Floats, after: Floats, row: int, column: int
) -> tuple[float, float]:
    """Bytes that enter and that leave the stage between two ideals.

    What waits before the stage enters it, unless it still waits after the stage, which reads it
    nowhere. What waits after it was made in it, unless it waited before.

    Args:
        stage: What `join` made of the boundaries.
        before: Numbers of the candidates of the earlier one.
        after: Numbers of the candidates of the later one.
        row: Which of the former.
        column: Which of the latter.
    """
    entering = before[row, WAITING]
    leaving = after[column, LEAVING] + after[column, OUTPUTS] - before[row, OUTPUTS]
    for word in range(stage.row_waiting.shape[1]):
        bits = stage.row_waiting[row, word] & stage.column_waiting[column, word]
        while bits:
            bit = bits & (~bits + ONE)
            bits ^= bit
            number = (word << 6) + place_of(bit)
            if stage.leaves[number]:
                leaving -= stage.sizes[number]
            if (
                not stage.is_read[number]
                and stage.row_reads[row, number] == stage.column_reads[column, number]
            ):
                entering -= stage.sizes[number]
    return entering, leaving


@compiled
def advance(
    wires: Wires,
    rows: Candidates,
    columns: Candidates,
    stage: Stage,
    best: Floats,
    is_sum: bool,
    by_crossing: bool,
    limit: float,
    room: float,
    max_pairs: int,
) -> tuple[int, Floats, Ints]:
    """The best chain within a cost limit up to each candidate of the later boundary.

    Args:
        wires: The problem.
        rows: Candidates of the earlier boundary.
        columns: Candidates of the later one.
        stage: What `join` made of them.
        best: float64 [num_rows], cost or crossing bytes of the best chain up to each candidate,
            infinite where there is none.
        is_sum: Whether the costs of stages are added up; else the largest counts.
        by_crossing: Whether the best has fewest crossing bytes; else it costs least. Not for sums.
        limit: What a chain may cost.
        room: The most bytes of the stage.
        max_pairs: Pairs of candidates after which to give up.

    Returns:
        How many pairs were looked at, more than `max_pairs` if it gave up; cost or crossing bytes
        [num_columns]; and the row that each one comes from.
    """
    num_columns = len(columns.sets)
    reached, origin = np.empty(num_columns), np.zeros(num_columns, np.int64)
    before, after = rows.numbers, columns.numbers
    # What each pair needs lies side by side.
    weights, counts, helds = np.empty((3, num_columns))
    for column in range(num_columns):
        reached[column], weights[column] = np.inf, after[column, WEIGHT]
        counts[column], helds[column] = after[column, COUNT], after[column, HELD]
    num_pairs, first, last = 0, num_columns, num_columns
    for row in range(len(best) - 1, -1, -1):  # from the heaviest on, which leave least for a stage
        so_far, weight, count = best[row], before[row, WEIGHT], before[row, COUNT]
        if so_far == np.inf:
            continue
        while first > 0 and weights[first - 1] >= weight:
            first -= 1
        while last > 0 and weights[last - 1] > weight + limit:
            last -= 1
        num_pairs += 1 + last - first
        if num_pairs > max_pairs:
            break
        for column in range(first, last):
            # What is before the stage, or its weight, is too much already.
            if (
                reached[column] <= so_far
                or (not by_crossing and reached[column] <= weights[column] - weight)
                or counts[column] <= count
                or helds[column] - before[row, HELD] > room
                or not is_within(stage.inside, row, stage.outside, column)
            ):
                continue
            entering, leaving = bytes_moved(stage, before, after, row, column)
            op_costs = after[column, OP_COSTS] - before[row, OP_COSTS]
            cost = cost_of(op_costs, entering, leaving, wires.rates)
            if cost > limit:
                continue
            if by_crossing:
                total = so_far + entering + leaving
            elif is_sum:
                total = so_far + cost
            else:
                total = max(so_far, cost)
            if total < reached[column] and (by_crossing or total <= limit):
                reached[column], origin[column] = total, row
    return num_pairs, reached, origin


@compiled
def largest(sets: Words, max_pairs: int) -> tuple[int, Bools]:
    """Which of some sets are no subsets of others, but for sets of the same weight.

    Args:
        sets: uint64 [num_sets, words], by weight.
        max_pairs: Pairs of sets after which to give up: the sets left are kept.

    Returns:
        How many pairs were looked at; and bool [num_sets].
    """
    kept = np.empty(len(sets), np.int64)
    is_kept = np.ones(len(sets), np.bool_)
    num_kept = num_pairs = 0
    for row in range(len(sets) - 1, -1, -1):
        for index in range(num_kept):
            num_pairs += 1
            if is_within(sets, row, sets, kept[index]):
                is_kept[row] = False
                break
        if is_kept[row]:
            kept[num_kept] = row
            num_kept += 1
        if num_pairs > max_pairs:
            break
    return num_pairs, is_kept


@compiled
def best_pairs(
    wires: Wires,
    rows: Candidates,
    columns: Candidates,
    stage: Stage,
    crossings: Floats,
    reached: Floats,
    wanted: Ints,
    limit: float,
    room: float,
) -> tuple[Ints, Ints]:
    """The stages by which chains of fewest crossing bytes get to some candidates.

    Args:
        wires: The problem.
        rows: Candidates of the earlier boundary.
        columns: Candidates of the later one.
        stage: What `join` made of them.
        crossings: float64 [num_rows], the fewest crossing bytes up to each candidate.
        reached: float64 [num_columns], the same of the later boundary.
        wanted: int64, candidates of the later boundary.
        limit: What a stage may cost.
        room: The most bytes of the stage.

    Returns:
        Rows and columns of the pairs, int64 [num_pairs] each.
    """
    found_rows, found_columns = [0 for _ in range(0)], [0 for _ in range(0)]
    before, after = rows.numbers, columns.numbers
    for column in wanted:
        for row in range(len(crossings)):
            if (
                crossings[row] > reached[column]
                or after[column, COUNT] <= before[row, COUNT]
                or after[column, HELD] - before[row, HELD] > room
                or not is_within(stage.inside, row, stage.outside, column)
            ):
                continue
            entering, leaving = bytes_moved(stage, before, after, row, column)
            op_costs = after[column, OP_COSTS] - before[row, OP_COSTS]
            cost = cost_of(op_costs, entering, leaving, wires.rates)
            if cost <= limit and crossings[row] + entering + leaving == reached[column]:
                found_rows.append(row)
                found_columns.append(column)
    return np.array(found_rows), np.array(found_columns)
