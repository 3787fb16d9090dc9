"""`IdealSource`: lists order ideals whose weight lies in a window."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from respect_tf.scheduling._chain import IDEAL_WORK, Budget, BudgetExceededError
from respect_tf.scheduling._ideals import Ideals
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools, Floats, Problem

_CHECK_EVERY = 1 << 14


class IdealSource:
    """Lists the ideals of a problem, by weight."""

    def __init__(self, problem: Problem, budget: Budget) -> None:
        self.problem = problem
        num_items = problem.num_items
        budget.check_cells(num_items * num_items // problem.num_stages)
        needs = [0] * num_items  # each item and all before it, as bits
        for item, before in enumerate(problem.predecessors):
            bits = 1 << item
            for other in before:
                bits |= needs[other]
            needs[item] = bits
        values = np.stack([problem.weights, np.ones(num_items)], axis=1)
        self._before = np.empty((num_items, 2))  # weight and number of items needed, itself too
        self._after = np.zeros((num_items, 2))  # of the items that need it, itself too
        step = max(1, (1 << 16) // num_items)
        for top in range(0, num_items, step):
            needed = _unpacked(needs[top : top + step], num_items)  # [step, num_items]
            self._before[top : top + step] = needed @ values
            self._after += needed.T @ values[top : top + step]
            budget.check_time()

    def boundary(self, k: int, limit: float, budget: Budget) -> Ideals | None:
        """The ideals that a schedule within a cost limit can have after k stages.

        Weights bound costs from below: the items before the boundary weigh at most what k stages
        may cost, and those after it what the rest may.

        Raises:
            BudgetExceededError: There are too many, or it takes too long.
        """
        problem = self.problem
        total, num_stages = float(problem.weights.sum()), problem.num_stages
        low, high = -np.inf, np.inf
        if problem.combine == "max":
            low = total - (num_stages - k) * limit - problem.slack
            high = k * limit + problem.slack
        least, most = k, problem.num_items - (num_stages - k)
        always = (total - self._after[:, 0] < low) | (problem.num_items - self._after[:, 1] < least)
        never = (self._before[:, 0] > high) | (self._before[:, 1] > most)
        if problem.restrictions is not None:
            surely = problem.restrictions.boundary_items(k)
            always, never = always | surely[0], never | surely[1]
        ideals = self._list(always, never, (low, high), (least, most), budget)
        if ideals is None:
            return None
        budget.check_cells(len(ideals) * (len(ideals.free) + 4 * len(ideals.tensors)))
        near = ideals.within(k, limit)
        return ideals.select(near) if near.any() else None

    def boundaries(self, limit: float, budget: Budget) -> list[Ideals] | None:
        """Candidates for all boundaries of chains within a cost limit, `None` if one has none."""
        ideals = [self.everything(False)]
        for k in range(1, self.problem.num_stages):
            boundary = self.boundary(k, limit, budget)
            if boundary is None:
                return None
            ideals.append(boundary)
        return [*ideals, self.everything(True)]

    def everything(self, include: bool) -> Ideals:
        """The ideal of all items, or of none."""
        mask = np.full(self.problem.num_items, include)
        return Ideals(self.problem, mask, ~mask, np.zeros(0, np.int64), np.zeros((1, 0), np.uint8))

    def all_ideals(self, most: int, budget: Budget) -> Ideals | None:
        """All ideals, that of no items first and that of all items last, unless there are more."""
        nothing = np.zeros(self.problem.num_items, bool)
        every = (0, self.problem.num_items)
        try:
            few = Budget(budget.deadline, most * IDEAL_WORK)
            ideals = self._list(nothing, nothing, (-np.inf, np.inf), every, few)
        except BudgetExceededError:
            return None
        return None if ideals is None else ideals.select(np.argsort(ideals.counts, kind="stable"))

    def _list(
        self,
        always: Bools,
        never: Bools,
        weights: tuple[float, float],
        counts: tuple[int, int],
        budget: Budget,
    ) -> Ideals | None:
        """Ideals with some items and without others, of a weight and a number of items."""
        if (always & never).any():
            return None
        free = np.flatnonzero(~(always | never))
        weight, count = float(self.problem.weights[always].sum()), int(always.sum())
        masks = _list_ideals(
            weights=self.problem.weights[free].tolist(),
            predecessors=self._local_predecessors(free),
            low=weights[0] - weight,
            high=weights[1] - weight,
            least=counts[0] - count,
            most=counts[1] - count,
            budget=budget,
        )
        if not masks:
            return None
        return Ideals(self.problem, always, never, free, _packed(masks, len(free)))

    def _local_predecessors(self, free: Ints) -> list[list[int]]:
        local = {item: index for index, item in enumerate(free.tolist())}
        rows = self.problem.predecessors
        return [[local[other] for other in rows[item] if other in local] for item in local]


def _list_ideals(
    *,
    weights: list[float],
    predecessors: list[list[int]],
    low: float,
    high: float,
    least: int,
    most: int,
    budget: Budget,
) -> list[int]:
    """Ideals as bit masks, each found once: items are added in ascending order only.

    An item that could have been added and was passed over stays out for good, and so does all that
    needs it. What can still be added therefore bounds the weight from above, and branches that
    cannot get heavy enough end early.
    """
    num_items = len(weights)
    successors: list[list[int]] = [[] for _ in range(num_items)]
    needs = [0] * num_items
    for item, before in enumerate(predecessors):
        for other in before:
            successors[other].append(item)
            needs[item] |= 1 << other
    # Passing over an item loses the tree below it: each item hangs below the last one it needs.
    lost = list(weights)
    for item in reversed(range(num_items)):
        if predecessors[item]:
            lost[max(predecessors[item])] += lost[item]
    found: list[int] = []
    unreported = 0
    roots = tuple(item for item in range(num_items) if not predecessors[item])
    # Mask, items that can be added next, weight, weight that can be reached, number of items.
    stack = [(0, roots, 0.0, float(sum(weights)), 0)]
    while stack:
        mask, ready, weight, reach, count = stack.pop()
        unreported += 1
        if unreported == _CHECK_EVERY:
            budget.spend_ideals(unreported)
            budget.check_cells(len(found) * num_items)
            unreported = 0
        if weight >= low and least <= count <= most and weight <= high:
            found.append(mask)
        if count == most:
            continue
        for index, item in enumerate(ready):
            if reach < low:
                break
            heavier = weight + weights[item]
            if heavier <= high:
                larger = mask | 1 << item
                after = ready[index + 1 :]
                enabled = [
                    other for other in successors[item] if needs[other] & larger == needs[other]
                ]
                if enabled:
                    after = tuple(sorted((*after, *enabled)))
                stack.append((larger, after, heavier, reach, count + 1))
            reach -= lost[item]
    budget.spend_ideals(unreported)
    return found


def _packed(masks: list[int], num_bits: int) -> npt.NDArray[np.uint8]:
    """Bits of each mask, lowest first. uint8 [num_masks, ceil(num_bits / 8)]."""
    width = (num_bits + 7) // 8
    data = bytearray().join([mask.to_bytes(width, "little") for mask in masks])
    bits: npt.NDArray[np.uint8] = np.ndarray((len(masks), width), np.uint8, data)
    return bits


def _unpacked(masks: list[int], num_bits: int) -> Floats:
    """Bits of each mask as numbers. float64 [num_masks, num_bits]."""
    bits = np.unpackbits(_packed(masks, num_bits), axis=1, count=num_bits, bitorder="little")
    return bits.astype(np.float64)
