"""All boundaries of a small problem, some of a larger one, and those near a known schedule's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from respect_tf.scheduling._chain import Budget, BudgetExceededError, Chain
from respect_tf.scheduling._ideals import IdealNodes, closure_of
from respect_tf.scheduling._intervals import IntervalNodes
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._pair_search import MAX_NODES, search_pairs
from respect_tf.scheduling._problem import Bools, Problem
from respect_tf.scheduling._stage_batch import Nodes

# Items times ideals around all boundaries together: all stages between two of them are looked at,
# which takes a second for twice as many of 712 items. Without any, NASNetMobile in 4 stages on a
# Raspberry Pi 3 costs 1.8 % more.
# benchmarks constants: half, twice, a tenth and ten times the same.
_NEAR_CELLS = 600_000


def find_nodes(problem: Problem, budget: Budget) -> Nodes | None:
    """The order ideals of a problem, `None` if they are too many.

    Raises:
        BudgetExceededError: It takes too long.
    """
    most = 2 * MAX_NODES  # a known cost leaves about half of them
    if problem.num_items >= most:  # even a chain of items has one ideal more than items
        return None
    if problem.has_one_order:
        return IntervalNodes(problem, np.arange(problem.num_items))
    # Pins and room differ from boundary to boundary: the ideals are listed without them.
    rows = list_ideals(problem, most, budget)
    return None if rows is None else IdealNodes.of_rows(problem, rows)


def some_nodes(problem: Problem, budget: Budget, most: int = 128) -> Nodes:
    """The order ideals of a problem, or some that make a chain where they are more than `most`."""
    nodes = find_nodes(problem, budget)
    if nodes is None:
        nodes = IntervalNodes(problem, np.arange(problem.num_items))
    return nodes if len(nodes) <= most else nodes.few(most)


def list_ideals(problem: Problem, most: int, budget: Budget) -> Bools | None:
    """All ideals, bool [num_ideals, num_items], whatever the constraints say.

    `None`, soon, if there are more than `most`.
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
    for ideal, ready in found:  # it grows
        if len(found) + len(ready) > most:
            return None
        budget.check_time()
        for index, item in enumerate(ready):
            larger = ideal | 1 << item
            added = [after for after in successors[item] if needs[after] & ~larger == 0]
            found.append((larger, (*ready[index + 1 :], *added)))
    width = (problem.num_items + 7) // 8
    text = b"".join(ideal.to_bytes(width, "little") for ideal, _ in found)
    packed: npt.NDArray[np.uint8] = np.frombuffer(text, np.uint8).reshape(len(found), width)
    return np.unpackbits(packed, axis=1, count=problem.num_items, bitorder="little").astype(bool)


def neighbours(problem: Problem, stages: Ints, limit: float, budget: Budget) -> Chain | None:
    """The best schedule whose boundaries differ by few items from those of a known one.

    Every boundary may gain an item, lose an item, or both, together with what has to go along; all
    boundaries at the same time. `None` if none keeps the limit, or the budget did not last.
    """
    needs = closure_of(problem)
    num_stages = problem.num_stages
    cells = min(MAX_NODES // 2, _NEAR_CELLS // problem.num_items)
    most = cells // (3 * max(1, num_stages - 1))
    rows = [np.zeros((1, problem.num_items), bool), np.ones((1, problem.num_items), bool)]
    rows += [_around(problem, needs, stages < k, most) for k in range(1, num_stages)]
    try:
        every = np.unique(np.concatenate(rows), axis=0)
        budget.check_cells(every.size)
        nodes = IdealNodes.of_rows(problem, every)
        return search_pairs(nodes, budget, limit, settle=False).chain
    except BudgetExceededError:
        return None


def _around(problem: Problem, needs: Bools, ideal: Bools, most: int) -> Bools:
    """Ideals that differ from one by few items. [num_found, num_items]."""
    outside, inside = np.flatnonzero(~ideal), np.flatnonzero(ideal)
    gained = needs[outside] & ~ideal  # [num_outside, num_items], what has to come along
    lost = needs[:, inside].T & ideal
    # Those that take fewest others along, and as many of either kind.
    gained = gained[np.argsort(gained.sum(axis=1), kind="stable")[:most]]
    lost = lost[np.argsort(lost.sum(axis=1), kind="stable")[:most]]
    few = int(np.sqrt(most))
    exchanged = ((ideal | gained[:few, None]) & ~lost[None, :few]).reshape(-1, len(ideal))
    before, after = problem.edges.T
    exchanged = exchanged[~(exchanged[:, after] & ~exchanged[:, before]).any(axis=1)]
    return np.concatenate([ideal[None], ideal | gained, ideal & ~lost, exchanged])
