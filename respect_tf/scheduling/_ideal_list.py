"""All order ideals of a problem, where they are few."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from respect_tf.scheduling._chain import IDEAL_WORK, Budget
from respect_tf.scheduling._problem import Bools, Problem

# benchmarks constants: half and twice the same.
_CHECK_EVERY = 1 << 10


def list_ideals(problem: Problem, most: int, budget: Budget) -> Bools | None:
    """All ideals, whatever the constraints say; `None`, soon, if there are more than `most`.

    Returns:
        The items of each, bool [num_ideals, num_items].
    """
    levels = [0] * problem.num_items
    for item, row in enumerate(problem.predecessors):
        levels[item] = max((levels[other] + 1 for other in row), default=0)
    widths = np.minimum(np.bincount(levels), 60).tolist()
    # All items of a level can be added in any combination, once those of the levels before are in.
    if 1 + sum((1 << width) - 1 for width in widths) > most:
        return None
    needs = [sum(1 << other for other in row) for row in problem.predecessors]
    successors: list[list[int]] = [[] for _ in needs]
    for before, after in problem.edges.tolist():
        successors[before].append(after)
    # Each ideal is found once: items are added in ascending order, and what was passed over stays
    # out. Those with few items come first: the next ones are known, and counted, soonest.
    found = [(0, tuple(item for item, row in enumerate(needs) if not row))]
    for number, (ideal, ready) in enumerate(found):  # it grows
        if len(found) + len(ready) > most:
            return None
        if number % _CHECK_EVERY == 0:
            budget.spend_pairs(min(_CHECK_EVERY, len(found)) * IDEAL_WORK)
        for index, item in enumerate(ready):
            larger = ideal | 1 << item
            added = [after for after in successors[item] if needs[after] & ~larger == 0]
            found.append((larger, (*ready[index + 1 :], *added)))
    return _bits([ideal for ideal, _ in found], problem.num_items)


def _bits(masks: list[int], num_bits: int) -> Bools:
    width = (num_bits + 7) // 8
    text = b"".join(mask.to_bytes(width, "little") for mask in masks)
    packed: npt.NDArray[np.uint8] = np.frombuffer(text, np.uint8).reshape(len(masks), width)
    return np.unpackbits(packed, axis=1, count=num_bits, bitorder="little").astype(bool)
