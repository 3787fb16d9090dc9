"""Order ideals whose weight lies in a window: the candidates for one boundary."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import numpy.typing as npt

from respect_tf.schedule._chain import IDEAL_WORK, Budget, BudgetExceededError
from respect_tf.schedule._items import Ints
from respect_tf.schedule._problem import Bools, Floats, Problem

_CHECK_EVERY = 1 << 14

# So many bits of ideals are looked at together.
_FEW_CELLS = 1 << 21

# Properties of `Ideals` with a row per ideal.
_PER_IDEAL = {"counts", "op_sums", "output_sums", "byte_sums", "waiting"}


@dataclasses.dataclass(frozen=True, eq=False)
class Ideals:
    """Sets of items that hold, with an item, all that it needs. They differ in few items only.

    Attributes:
        problem: The problem.
        always: bool [num_items], items in every one of the ideals.
        never: bool [num_items], items in none of them.
        free: int64 [num_free], the other items, ascending.
        packed: uint8 [num_ideals, ceil(num_free / 8)], which free items each ideal holds, lowest
            bit first.
    """

    problem: Problem
    always: Bools
    never: Bools
    free: Ints
    packed: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.packed)

    def select(self, rows: npt.NDArray[np.generic]) -> Ideals:
        """Some of the ideals. `rows` are indices or a mask."""
        fewer = dataclasses.replace(self, packed=self.packed[rows])
        # What is known of the ideals by now is known of these.
        for name in _PER_IDEAL & self.__dict__.keys():
            fewer.__dict__[name] = self.__dict__[name][rows]
        if "_known_sums" in self.__dict__:
            known = self._known_sums.items()
            fewer.__dict__["_known_sums"] = {key: sums[rows] for key, sums in known}
        if "_prefixes" in self.__dict__:
            fewer.__dict__["_prefixes"] = self._prefixes_of(rows)
        if "tensors" in self.__dict__:
            fewer.__dict__["tensors"] = self.tensors
        if "merged" in self.__dict__:
            before, after, crossing = self.merged
            fewer.__dict__["merged"] = before[rows], after[rows], crossing[rows]
        return fewer

    def members(self, items: Ints, rows: Ints | slice = slice(None)) -> Bools:
        """Whether the ideals hold the items. bool [num_ideals, num_items_asked]."""
        # Item by item in memory, which is much faster to fill and to combine.
        packed = np.ascontiguousarray(self.packed[rows].T)
        result = np.empty((len(items), packed.shape[1]), bool)
        result[:] = self.always[items][:, None]
        is_free = np.flatnonzero(~(self.always[items] | self.never[items]))
        bit = np.searchsorted(self.free, items[is_free])
        result[is_free] = (packed[bit >> 3] >> (bit & 7).astype(np.uint8)[:, None]) & 1
        return result.T

    def sums(self, values: Floats) -> Floats:
        """Sum of a value per item over each ideal. [num_ideals]."""
        key = values.tobytes()
        if key not in self._known_sums:
            self._known_sums[key] = self._sums(values)
        return self._known_sums[key]

    @functools.cached_property
    def _known_sums(self) -> dict[bytes, Floats]:
        return {}  # what bounds ask for again and again

    def _sums(self, values: Floats) -> Floats:
        weights = values[self.free]
        result = np.full(len(self), float(values[self.always].sum()))
        if not weights.any():
            return result
        if len(self) * len(values) <= _FEW_CELLS:
            first, rows, items = self._prefixes
            result = np.append(0.0, np.cumsum(values))[first]
            result += np.bincount(rows, values[items], len(self))
            return result
        step = max(1, (1 << 22) // max(1, len(self.free)))
        for top in range(0, len(self), step):
            bits = np.unpackbits(
                self.packed[top : top + step], axis=1, count=len(self.free), bitorder="little"
            )
            result[top : top + step] += bits @ weights
        return result

    @functools.cached_property
    def _prefixes(self) -> tuple[Ints, Ints, Ints]:
        """Ideals as a number of first items, and what else they hold, which is little for most.

        Returns:
            int64 [num_ideals], how many of the first items are all there; and rows and items of
            the others, int64 [num_others] each, by rows.
        """
        places = np.arange(self.problem.num_items)
        members = self.members(places).T  # [num_items, num_ideals]
        lacking = ~members * np.arange(len(places), 0, -1, dtype=np.int32)[:, None]
        first = len(places) - lacking.max(axis=0, initial=0)
        others = members & (places.astype(np.int32)[:, None] > first)
        return first.astype(np.int64), *np.nonzero(others.T)

    def _prefixes_of(self, which: npt.NDArray[np.generic]) -> tuple[Ints, Ints, Ints]:
        """`_prefixes` of some of the ideals, which may come repeatedly."""
        first, rows, items = self._prefixes
        chosen = np.arange(len(self))[which]
        starts = np.searchsorted(rows, np.arange(len(self) + 1))
        counts = np.diff(starts)[chosen]
        shift = np.repeat(starts[chosen] - (np.cumsum(counts) - counts), counts)
        return (
            first[chosen],
            np.repeat(np.arange(len(chosen)), counts),
            items[shift + np.arange(len(shift))],
        )

    def level_counts(self, values: Floats) -> tuple[Floats, Ints]:
        """How many items each ideal holds of the largest values.

        Args:
            values: [num_items].

        Returns:
            The distinct values, falling, and the number of items of each or a larger one: int64
            [num_levels, num_ideals].
        """
        key = values.tobytes()
        if key not in self._known_counts:
            levels, level_of = np.unique(-values, return_inverse=True)
            first, rows, items = self._prefixes
            counts = np.zeros((len(levels), len(values) + 1), np.int64)
            counts[level_of, np.arange(1, len(values) + 1)] = 1
            counts = np.cumsum(counts, axis=1)[:, first]
            others = np.bincount(level_of[items] * len(self) + rows, minlength=counts.size)
            counts += others.reshape(counts.shape)
            self._known_counts[key] = -levels, np.cumsum(counts, axis=0)
        return self._known_counts[key]

    @functools.cached_property
    def _known_counts(self) -> dict[bytes, tuple[Floats, Ints]]:
        return {}

    @functools.cached_property
    def counts(self) -> Floats:
        """Number of items in each ideal. [num_ideals]."""
        return self.sums(np.ones(self.problem.num_items))

    @functools.cached_property
    def op_sums(self) -> Floats:
        """Op costs of each ideal. [num_ideals]."""
        return self.sums(self.problem.op_costs)

    @functools.cached_property
    def output_sums(self) -> Floats:
        """Bytes of the model's outputs that each ideal makes. [num_ideals]."""
        return self.sums(self.problem.output_bytes)

    @functools.cached_property
    def byte_sums(self) -> Floats:
        """Parameter bytes of each ideal, where stages have limited room. [num_ideals]."""
        restrictions = self.problem.restrictions
        return np.zeros(len(self)) if restrictions is None else self.sums(restrictions.item_bytes)

    @functools.cached_property
    def tensors(self) -> Ints:
        """Tensors that may be made, or given, before a boundary here and read after it."""
        problem = self.problem
        maker = problem.tensor_items
        made = (maker < 0) | ~self.never[maker]
        unread = ~np.logical_and.reduceat(
            np.append(self.always[problem.reader_items], True), problem.reader_offsets
        )[:-1]
        return np.flatnonzero(made & unread)

    @functools.cached_property
    def waiting(self) -> Bools:
        """Which of `tensors` are made and have a reader outside. bool [num_ideals, len]."""
        maker = self.problem.tensor_items[self.tensors]
        waiting = self.unread(self.tensors).T
        inner = np.flatnonzero(maker >= 0)
        waiting[inner] &= self.members(maker[inner]).T
        return waiting.T

    def unread(self, tensors: Ints) -> Bools:
        """Which tensors have a reader outside. bool [num_ideals, len(tensors)]."""
        readers, starts = self.problem.readers_of(tensors)
        tensor_of = np.repeat(np.arange(len(tensors)), np.diff(np.append(starts, len(readers))))
        surely = np.zeros(len(tensors), bool)
        surely[tensor_of[self.never[readers]]] = True
        result = np.repeat(surely[:, None], len(self), axis=1)
        # One by one, the readers that tell ideals apart.
        left = np.flatnonzero(~(surely[tensor_of] | self.always[readers]))
        while len(left):
            _, first = np.unique(tensor_of[left], return_index=True)
            result[tensor_of[left[first]]] |= ~self.members(readers[left[first]]).T
            left = np.delete(left, first)
        return result.T

    @functools.cached_property
    def merged(self) -> tuple[Floats, Floats, Floats]:
        """What all before and all after each ideal would cost as one stage.

        Returns:
            Cost before, cost after, and crossing bytes of both together. Each [num_ideals].
        """
        problem = self.problem
        sizes = problem.tensor_bytes
        waiting = sizes[self.tensors]
        kept = waiting * problem.tensor_leaves[self.tensors]
        moved = self.waiting @ np.stack([waiting, kept], axis=1)
        entering_after, leaving_before = moved.T.astype(np.float64)
        is_input = problem.tensor_items < 0
        inputs = np.flatnonzero(is_input)
        readers, starts = problem.readers_of(inputs)
        entering_before = np.zeros(len(self))
        if len(inputs):
            entering_before += (
                np.logical_or.reduceat(self.members(readers), starts, axis=1) @ sizes[inputs]
            )
        leaving_before += self.output_sums
        leaving_after = problem.output_bytes.sum() - self.output_sums
        ops_after = problem.op_costs.sum() - self.op_sums
        return (
            problem.cost(self.op_sums, entering_before, leaving_before),
            problem.cost(ops_after, entering_after, leaving_after),
            entering_before + leaving_before + entering_after + leaving_after,
        )

    def within(self, k: int, limit: float) -> Bools:
        """Which ideals a schedule within a cost limit can have after k stages. [num_ideals]."""
        problem = self.problem
        before, after, _ = self.merged
        limit += problem.slack
        if problem.combine == "max":
            near = (before <= k * limit) & (after <= (problem.num_stages - k) * limit)
        else:
            near = before + after <= limit
        if problem.rooms is not None and problem.restrictions is not None:
            least, most = problem.restrictions.boundary_bytes(k)
            near &= (self.byte_sums >= least) & (self.byte_sums <= most)
        result: Bools = near
        return result


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
    return np.ndarray((len(masks), width), np.uint8, data)


def _unpacked(masks: list[int], num_bits: int) -> Floats:
    """Bits of each mask as numbers. float64 [num_masks, num_bits]."""
    bits = np.unpackbits(_packed(masks, num_bits), axis=1, count=num_bits, bitorder="little")
    return bits.astype(np.float64)
