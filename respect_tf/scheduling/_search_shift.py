"""Compiled: moving items across stage borders, with all sums kept up to date.

Import this module only where it is needed. The arrays are those of `Wiring` and `Layout`. All sums
in them are exact, so that the same seed gives the same schedule everywhere.
"""

from __future__ import annotations

from respect_tf._compiled import compiled
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Floats
from respect_tf.scheduling._search_state import (
    AFTER,
    AHEAD,
    BEFORE,
    BEHIND,
    COUNT,
    EARLIEST,
    ENTERING,
    FILLED,
    LATEST,
    LEAVES,
    LEAVING,
    MADE,
    MAKER,
    OP_COST,
    OP_COSTS,
    OUTPUT,
    PLACE,
    READ,
    ROOM,
    ROWS_END,
    STAGE,
)


@compiled
def effect(
    w_items: Ints,
    lists: Ints,
    tensors: Ints,
    sizes: Floats,
    items: Ints,
    reading: Ints,
    item: int,
    there: int,
) -> tuple[float, float, float, float]:
    """How bytes change if an item moves to another stage, the model's outputs apart.

    No other stages' bytes change than those of its own and of the one it moves to: what it reads
    and what reads it is not between them.

    Returns:
        Bytes that enter its own stage and that leave it, then those of the other stage.
    """
    last = reading.shape[1] - 1
    here = items[item, STAGE]
    enter_here = leave_here = enter_there = leave_there = 0.0
    for row in range(w_items[item, READ], w_items[item, MADE]):
        tensor = lists[row]
        size, maker = sizes[tensor], tensors[tensor, MAKER]
        made_in = items[maker, STAGE] if maker >= 0 else -1
        if made_in < here and reading[tensor, here] == 1:
            enter_here -= size
        if made_in < there and reading[tensor, there] == 0:
            enter_there += size
        if tensors[tensor, LEAVES]:
            if made_in == here and reading[tensor, last] == 0:
                leave_here += size
            elif made_in == there and reading[tensor, last] == 1:
                leave_there -= size
    for row in range(w_items[item, MADE], w_items[item, ROWS_END]):
        tensor = lists[row]
        size, later = sizes[tensor], reading[tensor, last]
        if tensors[tensor, LEAVES] and later > 0:
            leave_here -= size
        if there > here:
            if reading[tensor, there] > 0:
                enter_there -= size
            later -= reading[tensor, there]
        else:
            if reading[tensor, here] > 0:
                enter_here += size
            later += reading[tensor, here]
        if tensors[tensor, LEAVES] and later > 0:
            leave_there += size
    return enter_here, leave_here, enter_there, leave_there


@compiled
def mark(w_items: Ints, items: Ints, movable: Ints, num_stages: int, item: int) -> None:
    """Renew an item's place in the list of those that can move on their own."""
    stage, place, size = items[item, STAGE], items[item, PLACE], len(movable) - 1
    can_move = (items[item, AHEAD] == 0 and stage < w_items[item, LATEST]) or (
        items[item, BEHIND] == 0 and stage > w_items[item, EARLIEST]
    )
    if can_move and place < 0:
        items[item, PLACE] = movable[size]
        movable[movable[size]] = item
        movable[size] += 1
    elif not can_move and place >= 0:
        movable[size] -= 1
        other = movable[movable[size]]
        movable[place] = other
        items[other, PLACE] = place
        items[item, PLACE] = -1


@compiled
def shift(
    w_items: Ints,
    lists: Ints,
    tensors: Ints,
    sizes: Floats,
    amounts: Floats,
    items: Ints,
    reading: Ints,
    sums: Floats,
    movable: Ints,
    item: int,
    there: int,
) -> None:
    """Move an item to another stage. Its edges must allow it."""
    num_stages = len(sums)
    here = items[item, STAGE]
    enter_here, leave_here, enter_there, leave_there = effect(
        w_items, lists, tensors, sizes, items, reading, item, there
    )
    sums[here, OP_COSTS] -= amounts[item, OP_COST]
    sums[there, OP_COSTS] += amounts[item, OP_COST]
    sums[here, ENTERING] += enter_here
    sums[there, ENTERING] += enter_there
    sums[here, LEAVING] += leave_here - amounts[item, OUTPUT]
    sums[there, LEAVING] += leave_there + amounts[item, OUTPUT]
    sums[here, FILLED] -= amounts[item, ROOM]
    sums[there, FILLED] += amounts[item, ROOM]
    sums[here, COUNT] -= 1
    sums[there, COUNT] += 1
    for row in range(w_items[item, READ], w_items[item, MADE]):
        tensor = lists[row]
        maker = tensors[tensor, MAKER]
        made_in = items[maker, STAGE] if maker >= 0 else -1
        reading[tensor, here] -= 1
        reading[tensor, there] += 1
        if made_in == here:
            reading[tensor, num_stages] += 1
        elif made_in == there:
            reading[tensor, num_stages] -= 1
    for row in range(w_items[item, MADE], w_items[item, ROWS_END]):
        tensor = lists[row]
        if there > here:
            reading[tensor, num_stages] -= reading[tensor, there]
        else:
            reading[tensor, num_stages] += reading[tensor, here]
    items[item, STAGE] = there
    items[item, BEHIND] = items[item, AHEAD] = 0
    for row in range(w_items[item, BEFORE], w_items[item, READ]):
        other = lists[row]
        is_before = row < w_items[item, AFTER]
        column, own = (AHEAD, BEHIND) if is_before else (BEHIND, AHEAD)
        if items[other, STAGE] == here:
            items[other, column] -= 1
            mark(w_items, items, movable, num_stages, other)
        elif items[other, STAGE] == there:
            items[other, column] += 1
            items[item, own] += 1
            mark(w_items, items, movable, num_stages, other)
    mark(w_items, items, movable, num_stages, item)


@compiled
def gather(w_items: Ints, lists: Ints, items: Ints, item: int, step: int, found: Ints) -> int:
    """An item and what has to move with it, in an order in which they can move one by one.

    Returns:
        Their number; 0 if they are more than fit into `found`.
    """
    stage, column = items[item, STAGE], AFTER if step > 0 else BEFORE
    found[0] = item
    count, done = 1, 0
    while done < count:
        here = found[done]
        done += 1
        for row in range(w_items[here, column], w_items[here, column + 1]):
            other = lists[row]
            if items[other, STAGE] != stage:
                continue
            known = False
            for index in range(count):
                known = known or found[index] == other
            if not known:
                if count == len(found):
                    return 0
                found[count] = other
                count += 1
    # Items are numbered topologically: the last first on the way forward, the first first back.
    for index in range(1, count):
        moved = found[index]
        place = index
        while place > 0 and (found[place - 1] - moved) * step < 0:
            found[place] = found[place - 1]
            place -= 1
        found[place] = moved
    return count
