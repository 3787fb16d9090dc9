"""Compiled: which items may move in a neighbourhood that is searched completely.

Import this module only where it is needed.
"""

from __future__ import annotations

import numpy as np

from respect_tf._compiled import compiled
from respect_tf.scheduling._ideal_arrays import Wires
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools
from respect_tf.scheduling._search_random import next_random

_TRIES = 4  # draws for each item that may move at a boundary


@compiled
def choose_band(
    wires: Wires,
    stages: Ints,
    is_open: Bools,
    depth: int,
    most: int,
    random: int,
) -> tuple[Ints, Ints, int]:
    """Let some of the items next to some boundaries cross them.

    Args:
        wires: The problem.
        stages: int64 [num_items], a valid schedule.
        is_open: bool [num_stages + 1], boundaries that items may cross.
        depth: Items may be so many edges away from the boundary, less one.
        most: Items that may cross one boundary.
        random: State of the random numbers.

    Returns:
        First and last stage of each item, int64 [num_items] each, and the state of the random
        numbers.
    """
    num_items = len(stages)
    # Edges to the item's own first and last items of its stage.
    up, down = np.zeros(num_items, np.int64), np.zeros(num_items, np.int64)
    for item in range(num_items):
        for row in range(wires.before_starts[item], wires.before_starts[item + 1]):
            other = wires.before[row]
            if stages[other] == stages[item]:
                up[item] = max(up[item], up[other] + 1)
    for item in range(num_items - 1, -1, -1):
        for row in range(wires.after_starts[item], wires.after_starts[item + 1]):
            other = wires.after[row]
            if stages[other] == stages[item]:
                down[item] = max(down[item], down[other] + 1)
    earliest, latest = stages.copy(), stages.copy()
    near = np.empty(2 * num_items, np.int64)
    pending = np.empty(num_items, np.int64)
    for boundary in range(1, len(is_open) - 1):
        if not is_open[boundary]:
            continue
        num_near = 0
        for item in range(num_items):
            if (stages[item] == boundary and up[item] < depth) or (
                stages[item] == boundary - 1 and down[item] < depth
            ):
                near[num_near] = item
                num_near += 1
        left = most
        for _ in range(_TRIES * min(most, num_near)):
            random = next_random(random)
            item = near[random % num_near]
            # The item, and what has to come along.
            forward = stages[item] == boundary - 1
            starts = wires.after_starts if forward else wires.before_starts
            others = wires.after if forward else wires.before
            count, place = 0, 0
            if (latest[item] if forward else earliest[item]) == stages[item]:
                pending[0], count = item, 1
            while place < count <= left:
                for row in range(starts[pending[place]], starts[pending[place] + 1]):
                    other = others[row]
                    if stages[other] != stages[item]:
                        continue
                    if (latest[other] if forward else earliest[other]) != stages[item]:
                        continue
                    is_new = True
                    for index in range(count):
                        is_new &= pending[index] != other
                    if is_new and count < num_items:
                        pending[count] = other
                        count += 1
                place += 1
            if count > left:
                continue
            left -= count
            for index in range(count):
                if forward:
                    latest[pending[index]] = boundary
                else:
                    earliest[pending[index]] = boundary - 1
    return earliest, latest, random
