"""Compiled: simulated annealing. Import this module only where it is needed."""

from __future__ import annotations

import numpy as np

from respect_tf._compiled import compiled
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Floats
from respect_tf.scheduling._search_random import next_random
from respect_tf.scheduling._search_shift import effect, gather, shift
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
    LEAVING,
    LIMIT,
    OP_COST,
    OP_COSTS,
    OUTPUT,
    STAGE,
    VALUE,
)


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
            random = next_random(random)
            item = movable[random * movable[size] >> 31]
            random = next_random(random)
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
                    random = next_random(random)
                    other = lists[w_items[item, column] + random % width]
                    if items[other, STAGE] != here:
                        break
                    item = other
                count = gather(w_items, lists, items, item, step, found)
            fits = count > 0
            for index in range(count):
                other = found[index]
                fits = fits and w_items[other, EARLIEST] <= there <= w_items[other, LATEST]
            if not fits:
                continue
            back = -1
            if kind >= 5:
                for _ in range(4):
                    random = next_random(random)
                    other = movable[random * movable[size] >> 31]
                    alone = items[other, BEHIND] == 0 if forward else items[other, AHEAD] == 0
                    if (
                        alone
                        and items[other, STAGE] == there
                        and w_items[other, EARLIEST] <= here <= w_items[other, LATEST]
                    ):
                        back = other
                        break
            if count == 1:  # look before moving: most moves are refused
                item = found[0]
                change = effect(w_items, lists, tensors, sizes, items, reading, item, there)
                cost = amounts[item, OP_COST] + leave * amounts[item, OUTPUT]
                cost_here = enter * change[0] + leave * change[1] - cost
                cost_there = enter * change[2] + leave * change[3] + cost
                if back >= 0:  # a guess where both share tensors
                    change = effect(w_items, lists, tensors, sizes, items, reading, back, here)
                    cost = amounts[back, OP_COST] + leave * amounts[back, OUTPUT]
                    cost_here += enter * change[2] + leave * change[3] + cost
                    cost_there += enter * change[0] + leave * change[1] - cost
                value_here = (
                    sums[here, OP_COSTS]
                    + enter * sums[here, ENTERING]
                    + leave * sums[here, LEAVING]
                    + cost_here
                ) / scale
                value_there = (
                    sums[there, OP_COSTS]
                    + enter * sums[there, ENTERING]
                    + leave * sums[there, LEAVING]
                    + cost_there
                ) / scale
                for _ in range(power):
                    value_here *= value_here
                    value_there *= value_there
                after = energy - sums[here, VALUE] - sums[there, VALUE] + value_here + value_there
                if after > allowed or (back < 0 and sums[here, COUNT] == 1):
                    continue
            for index in range(count):
                shift(
                    w_items, lists, tensors, sizes, amounts,
                    items, reading, sums, movable, found[index], there,
                )  # fmt: skip
            if back >= 0:
                # What went there may need it, or be needed by it.
                if (items[back, BEHIND] if forward else items[back, AHEAD]) == 0:
                    shift(
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
                    shift(
                        w_items, lists, tensors, sizes, amounts,
                        items, reading, sums, movable, back, there,
                    )  # fmt: skip
                for index in range(count):
                    shift(
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
