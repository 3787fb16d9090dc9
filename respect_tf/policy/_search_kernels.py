"""Compiled loops of the search. Import this module only where it is needed.

The arrays are those of `Wiring` and `Layout`. All sums in them are exact, so that the same seed
gives the same schedule everywhere.
"""

from __future__ import annotations

import numpy as np

from respect_tf.policy._search_state import (
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
    LIMIT,
    MADE,
    MAKER,
    OP_COST,
    OP_COSTS,
    OUTPUT,
    PLACE,
    READ,
    READERS,
    ROOM,
    ROWS_END,
    STAGE,
    VALUE,
)
from respect_tf.schedule._compiled import compiled
from respect_tf.schedule._items import Ints
from respect_tf.schedule._problem import Floats

_MODULUS = 2**31 - 1


# Long functions: each one that is split off is compiled once more, into every caller.
@compiled
def slice_order(  # noqa: PLR0915
    w_items: Ints,
    lists: Ints,
    tensors: Ints,
    sizes: Floats,
    amounts: Floats,
    rooms: Floats,
    order: Ints,
    enter: float,
    leave: float,
    is_sum: bool,
    limit: float,
    stages: Ints,
) -> tuple[float, float]:
    """The best cut of an order into intervals.

    Costs of the intervals from one start on are kept up to date while the stop moves on, as far as
    their weight keeps the limit.

    Args:
        w_items: This and what follows up to `rooms` are a `Wiring`.
        lists: See there.
        tensors: See there.
        sizes: See there.
        amounts: See there.
        rooms: See there.
        order: int64 [num_items], a topological order.
        enter: Cost per byte that enters.
        leave: Cost per byte that leaves.
        is_sum: Whether the costs of stages are added up.
        limit: Schedules that cost more are left out.
        stages: int64 [num_items], is filled with the schedule.

    Returns:
        Its cost and crossing bytes, the fewest of the cuts that were compared; infinite, and
        `stages` as they were, if none keeps the limit and the constraints.
    """
    num_items, num_stages = len(order), len(rooms)
    position = np.empty(num_items, np.int64)
    for place in range(num_items):
        position[order[place]] = place
    first, last = np.empty(num_stages + 1, np.int64), np.empty(num_stages + 1, np.int64)
    last_fit = np.zeros(num_stages + 1, np.int64)
    for k in range(num_stages + 1):
        first[k], last[k] = k, num_items - num_stages + k
    first[num_stages], last[0] = num_items, 0
    for item in range(num_items):
        k = w_items[item, LATEST] + 1
        first[k] = max(first[k], position[item] + 1)
        k = w_items[item, EARLIEST]
        if k > 0:
            last[k] = min(last[k], position[item])
    if not is_sum:  # what is before and after a boundary must fit into so many stages
        before = total = 0.0
        for item in range(num_items):
            total += amounts[item, OP_COST] + leave * amounts[item, OUTPUT]
        for place in range(num_items + 1):
            for k in range(1, num_stages):
                if before <= k * limit:
                    last_fit[k] = place
                if total - before > (num_stages - k) * limit:
                    first[k] = max(first[k], place + 1)
            if place < num_items:
                item = order[place]
                before += amounts[item, OP_COST] + leave * amounts[item, OUTPUT]
        for k in range(1, num_stages):
            last[k] = min(last[k], last_fit[k])
    for k in range(1, num_stages):
        first[k] = max(first[k], first[k - 1] + 1)
    for k in range(num_stages - 1, 0, -1):
        last[k] = min(last[k], last[k + 1] - 1)

    unread = np.empty(len(sizes), np.int64)
    seen = np.full(len(sizes), -1, np.int64)
    best = np.full((num_stages + 1, num_items + 1), np.inf)
    origin = np.zeros((num_stages + 1, num_items + 1), np.int64)
    crossings = np.zeros((num_stages + 1, num_items + 1))
    best[0, 0] = 0.0
    for start in range(num_items):
        low, high = num_stages, -1
        least = np.inf
        for k in range(num_stages):
            if best[k, start] < np.inf:
                low, high = min(low, k), max(high, k)
                least = min(least, best[k, start])
        if high < 0:
            continue
        allowed = limit - least if is_sum else limit
        weight = filled = op_costs = entering = leaving = 0.0
        for stop in range(start + 1, last[high + 1] + 1):
            item = order[stop - 1]
            op_costs += amounts[item, OP_COST]
            weight += amounts[item, OP_COST] + leave * amounts[item, OUTPUT]
            filled += amounts[item, ROOM]
            if weight > allowed:
                break
            leaving += amounts[item, OUTPUT]
            for row in range(w_items[item, READ], w_items[item, MADE]):
                tensor = lists[row]
                maker = tensors[tensor, MAKER]
                if maker < 0 or position[maker] < start:
                    if seen[tensor] != start:
                        seen[tensor] = start
                        entering += sizes[tensor]
                else:
                    unread[tensor] -= 1
                    if unread[tensor] == 0 and tensors[tensor, LEAVES]:
                        leaving -= sizes[tensor]
            for row in range(w_items[item, MADE], w_items[item, ROWS_END]):
                tensor = lists[row]
                unread[tensor] = tensors[tensor, READERS]
                if tensors[tensor, LEAVES]:
                    leaving += sizes[tensor]
            cost = op_costs + enter * entering + leave * leaving
            if cost > allowed:
                continue
            for k in range(low, high + 1):
                if first[k + 1] <= stop <= last[k + 1] and filled <= rooms[k]:
                    total = best[k, start] + cost if is_sum else max(best[k, start], cost)
                    crossing = crossings[k, start] + entering + leaving
                    if total <= limit and (
                        total < best[k + 1, stop]
                        or (total == best[k + 1, stop] and crossing < crossings[k + 1, stop])
                    ):
                        best[k + 1, stop] = total
                        crossings[k + 1, stop] = crossing
                        origin[k + 1, stop] = start
    total = best[num_stages, num_items]
    if total == np.inf:
        return np.inf, np.inf
    stop = num_items
    for k in range(num_stages, 0, -1):
        start = origin[k, stop]
        for place in range(start, stop):
            stages[order[place]] = k - 1
        stop = start
    return total, crossings[num_stages, num_items]


@compiled
def _next(random: int) -> int:
    """The next of Lehmer's random numbers, which are 1 to 2**31 - 2."""
    random *= 48271
    random = (random & _MODULUS) + (random >> 31)
    return random if random < _MODULUS else random - _MODULUS


@compiled
def _effect(
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
def _mark(w_items: Ints, items: Ints, movable: Ints, num_stages: int, item: int) -> None:
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
def _shift(
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
    enter_here, leave_here, enter_there, leave_there = _effect(
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
            _mark(w_items, items, movable, num_stages, other)
        elif items[other, STAGE] == there:
            items[other, column] += 1
            items[item, own] += 1
            _mark(w_items, items, movable, num_stages, other)
    _mark(w_items, items, movable, num_stages, item)


@compiled
def _gather(w_items: Ints, lists: Ints, items: Ints, item: int, step: int, found: Ints) -> int:
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


@compiled
def anneal(  # noqa: PLR0915
    w_items: Ints,
    lists: Ints,
    tensors: Ints,
    sizes: Floats,
    amounts: Floats,
    items: Ints,
    reading: Ints,
    sums: Floats,
    movable: Ints,
    enter: float,
    leave: float,
    scale: float,
    is_sum: bool,
    bound: float,
    num_steps: int,
    moves_per_step: int,
    hot: float,
    cold: float,
    first_power: int,
    last_power: int,
    draws: Floats,
    random: int,
    best: Ints,
) -> tuple[float, float, int]:
    """Simulated annealing over schedules.

    A move takes an item to another stage, an item one stage on or back together with what has to go
    along, or an item there and another one back. The energy is the sum over stages of
    (cost / scale) ** 2 ** power, which comes close to the dearest stage.

    Args:
        w_items: This and what follows up to `amounts` are of a `Wiring`.
        lists: See there.
        tensors: See there.
        sizes: See there.
        amounts: See there.
        items: This and what follows up to `movable` are a `Layout`, which is changed.
        reading: See there.
        sums: See there.
        movable: See there.
        enter: Cost per byte that enters.
        leave: Cost per byte that leaves.
        scale: The unit of costs in the energy.
        is_sum: Whether the costs of stages are added up; the powers should be 0 then.
        bound: What costs no more is not improved.
        num_steps: Number of temperatures.
        moves_per_step: Moves at each of them.
        hot: First temperature, as a part of the energy.
        cold: Last one. They fall linearly.
        first_power: The power at first; it rises with the steps.
        last_power: The power at last.
        draws: Exponentially distributed numbers, a power of two of them.
        random: State of the random numbers.
        best: int64 [num_items], is filled with the best schedule.

    Returns:
        Its cost, its crossing bytes, and the state of the random numbers.
    """
    num_stages, size = len(sums), len(movable) - 1
    found = np.empty(16, np.int64)
    best_cost = best_crossing = np.inf
    for step_number in range(num_steps):
        part = step_number / max(1, num_steps - 1)
        power = first_power + int(part * (last_power + 1 - first_power) * 0.999)
        temperature = (hot + (cold - hot) * part) * 2.0**power
        energy = cost = crossing = 0.0
        for k in range(num_stages):
            value = sums[k, OP_COSTS] + enter * sums[k, ENTERING] + leave * sums[k, LEAVING]
            cost = cost + value if is_sum else max(cost, value)
            crossing += sums[k, ENTERING] + sums[k, LEAVING]
            value /= scale
            for _ in range(power):
                value *= value
            sums[k, VALUE] = value
            energy += value
        if step_number == 0:
            best_cost, best_crossing = cost, crossing
            best[:] = items[:, STAGE]
        if movable[size] == 0 or best_cost <= bound:
            break
        for _ in range(moves_per_step):
            random = _next(random)
            item = movable[random * movable[size] >> 31]
            random = _next(random)
            kind = random >> 6 & 7
            allowed = energy * (1.0 + temperature * draws[random >> 10 & (len(draws) - 1)])
            here = items[item, STAGE]
            forward = items[item, AHEAD] == 0 and here < w_items[item, LATEST]
            backward = items[item, BEHIND] == 0 and here > w_items[item, EARLIEST]
            if forward and backward:
                forward = random >> 9 & 1 == 0
            step = 1 if forward else -1
            there = here + step
            count = 1
            found[0] = item
            if kind == 7:  # begin further inside
                column = BEFORE if forward else AFTER
                for _ in range(1 + (random >> 22) % 3):
                    width = w_items[item, column + 1] - w_items[item, column]
                    if width == 0:
                        break
                    random = _next(random)
                    other = lists[w_items[item, column] + random % width]
                    if items[other, STAGE] != here:
                        break
                    item = other
                count = _gather(w_items, lists, items, item, step, found)
            fits = count > 0
            for index in range(count):
                other = found[index]
                fits = fits and w_items[other, EARLIEST] <= there <= w_items[other, LATEST]
            if not fits:
                continue
            back = -1
            if kind >= 5:
                for _ in range(4):
                    random = _next(random)
                    other = movable[random * movable[size] >> 31]
                    alone = items[other, BEHIND] == 0 if forward else items[other, AHEAD] == 0
                    if (
                        alone
                        and items[other, STAGE] == there
                        and w_items[other, EARLIEST] <= here <= w_items[other, LATEST]
                    ):
                        back = other
                        break
            if count == 1 and back < 0:  # look before moving: most moves are refused
                item = found[0]
                effect = _effect(w_items, lists, tensors, sizes, items, reading, item, there)
                output = leave * amounts[item, OUTPUT]
                cost = amounts[item, OP_COST] + output
                value_here = (
                    sums[here, OP_COSTS]
                    + enter * sums[here, ENTERING]
                    + leave * sums[here, LEAVING]
                    - cost
                    + enter * effect[0]
                    + leave * effect[1]
                ) / scale
                value_there = (
                    sums[there, OP_COSTS]
                    + enter * sums[there, ENTERING]
                    + leave * sums[there, LEAVING]
                    + cost
                    + enter * effect[2]
                    + leave * effect[3]
                ) / scale
                for _ in range(power):
                    value_here *= value_here
                    value_there *= value_there
                after = energy - sums[here, VALUE] - sums[there, VALUE] + value_here + value_there
                if after > allowed or sums[here, COUNT] == 1:
                    continue
            for index in range(count):
                _shift(
                    w_items, lists, tensors, sizes, amounts,
                    items, reading, sums, movable, found[index], there,
                )  # fmt: skip
            if back >= 0:
                # What went there may need it, or be needed by it.
                if (items[back, BEHIND] if forward else items[back, AHEAD]) == 0:
                    _shift(
                        w_items, lists, tensors, sizes, amounts,
                        items, reading, sums, movable, back, here,
                    )  # fmt: skip
                else:
                    back = -1
            fits = sums[here, COUNT] > 0 and sums[there, COUNT] > 0
            fits = fits and sums[here, FILLED] <= sums[here, LIMIT]
            fits = fits and sums[there, FILLED] <= sums[there, LIMIT]
            after = energy - sums[here, VALUE] - sums[there, VALUE]
            value_here = (
                sums[here, OP_COSTS] + enter * sums[here, ENTERING] + leave * sums[here, LEAVING]
            ) / scale
            value_there = (
                sums[there, OP_COSTS] + enter * sums[there, ENTERING] + leave * sums[there, LEAVING]
            ) / scale
            for _ in range(power):
                value_here *= value_here
                value_there *= value_there
            after += value_here + value_there
            if not (fits and after <= allowed):
                if back >= 0:
                    _shift(
                        w_items, lists, tensors, sizes, amounts,
                        items, reading, sums, movable, back, there,
                    )  # fmt: skip
                for index in range(count):
                    _shift(
                        w_items, lists, tensors, sizes, amounts,
                        items, reading, sums, movable, found[count - 1 - index], here,
                    )  # fmt: skip
                continue
            sums[here, VALUE], sums[there, VALUE] = value_here, value_there
            energy = after
            cost = crossing = 0.0
            for k in range(num_stages):
                value = sums[k, OP_COSTS] + enter * sums[k, ENTERING] + leave * sums[k, LEAVING]
                cost = cost + value if is_sum else max(cost, value)
                crossing += sums[k, ENTERING] + sums[k, LEAVING]
            if cost < best_cost or (cost == best_cost and crossing < best_crossing):
                best_cost, best_crossing = cost, crossing
                best[:] = items[:, STAGE]
                if best_cost <= bound:
                    break
    return best_cost, best_crossing, random
