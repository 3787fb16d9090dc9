"""Stages between order ideals: their costs, for all pairs, by matrix products."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from respect_tf.scheduling._chain import Budget
from respect_tf.scheduling._ideals import Ideals
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools, Floats, Problem
from respect_tf.scheduling._stage_batch import StageBatch, first_difference

# What is known of so many ideals is kept for all of them.
_FEW_IDEALS = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class _Stage:
    """What the costs of all stages between two boundaries are computed from.

    Bytes that enter and bytes that leave are each a number per row (the earlier ideal), a number
    per column (the later one), and a sum over features of amount * row's bit * column's bit. The
    leading 2 is for entering and leaving.

    Attributes:
        inside: uint64 [num_rows, num_words], bits of items in the earlier ideal.
        missing: uint64 [num_columns, num_words], bits of the same items not in the later one.
        row_bits: bool [num_rows, num_features].
        column_bits: bool [num_columns, num_features].
        amounts: float64 [3, num_features]: bytes that enter, that leave, and what leaves weighs.
        row_sums: float64 [3, num_rows].
        column_sums: float64 [3, num_columns].
        row_keys: float64 [num_rows], see `Boundaries.keys`.
        column_keys: float64 [num_columns].
    """

    inside: npt.NDArray[np.uint64]
    missing: npt.NDArray[np.uint64]
    row_bits: Bools
    column_bits: Bools
    amounts: Floats
    row_sums: Floats
    column_sums: Floats
    row_keys: Floats
    column_keys: Floats

    def product(self, parts: npt.ArrayLike, rows: Ints, columns: Ints) -> Floats:
        """Bytes that enter, that leave, and what leaves weighs, each times a factor, and added.

        One matrix product, the sums being two more features; all partial sums are exact.

        Args:
            parts: [num_products, 3], the factors.
            rows: Earlier ideals.
            columns: Later ideals.

        Returns:
            float64 [num_products, num_rows, num_columns].
        """
        parts = np.asarray(parts)
        row_bits = self.row_bits[rows]
        amounts = parts @ self.amounts  # [num_products, num_features]
        used = np.flatnonzero(
            amounts.any(axis=0) & row_bits.any(axis=0) & self.column_bits[columns].any(axis=0)
        )
        num_used = len(used)
        left = np.zeros((len(parts), len(rows), num_used + 1 + len(parts)))
        right = np.ones((len(columns), num_used + 1 + len(parts)))
        left[:, :, :num_used] = row_bits[:, used] * amounts[:, None, used]
        left[:, :, num_used] = parts @ self.row_sums[:, rows]
        for index in range(len(parts)):
            left[index, :, num_used + 1 + index] = 1.0
        right[:, :num_used] = self.column_bits[np.ix_(columns, used)]
        right[:, num_used + 1 :] = (parts @ self.column_sums[:, columns]).T
        result: Floats = left.reshape(-1, left.shape[2]) @ right.T
        return result.reshape(len(parts), len(rows), len(columns))


class IdealBoundaries:
    """Order ideals as candidates for boundaries."""

    # Few tensors wait in ideals of about the same weight, which makes products cheap.
    block_rows = 1 << 6

    def __init__(self, ideals: list[Ideals], budget: Budget) -> None:
        self._budget = budget
        self.problem: Problem = ideals[0].problem
        self.ideals = ideals
        self.sizes = [len(row) for row in ideals]
        self._stages: list[_Stage | None] = [None] * (len(ideals) - 1)

    def members(self, boundary: int, rows: Ints) -> Bools:
        """See `Boundaries`."""
        return self.ideals[boundary].members(np.arange(self.problem.num_items), rows)

    def crossing_floor(self, boundary: int) -> Floats:
        """See `Boundaries`."""
        return self.ideals[boundary].merged[2]

    def keys(self, stage: int) -> tuple[Floats, Floats]:
        """See `Boundaries`."""
        part = self._stage(stage)
        return part.row_keys, part.column_keys

    def stage_costs(
        self, stage: int, rows: Ints, columns: Ints, limit: float
    ) -> tuple[Floats, Floats]:
        """See `Boundaries`."""
        del limit
        op_costs = self.ideals[stage + 1].op_sums[columns]
        op_costs = op_costs - self.ideals[stage].op_sums[rows][:, None]
        linear = self.problem.linear
        if linear.enter == linear.leave:
            crossing = self._stage(stage).product([(1, 1, 0)], rows, columns)[0]
            cost = self.problem.cost(op_costs, crossing, 0.0)
        else:
            entering, leaving = self.bytes_moved(stage, rows, columns)
            crossing = entering + leaving
            cost = self.problem.cost(op_costs, entering, leaving)
        possible = self.is_stage(stage, rows, columns)
        if self.problem.rooms is not None:
            held = self.ideals[stage + 1].byte_sums[columns]
            held = held - self.ideals[stage].byte_sums[rows][:, None]
            possible &= held <= self.problem.rooms[stage]
        return np.where(possible, cost, np.inf), crossing

    def bytes_moved(self, stage: int, rows: Ints, columns: Ints) -> tuple[Floats, Floats]:
        """Bytes that enter and that leave stages. Both [num_rows, num_columns]."""
        entering, leaving = self._stage(stage).product([(1, 0, 0), (0, 1, 0)], rows, columns)
        return entering, leaving

    def is_stage(self, stage: int, rows: Ints, columns: Ints) -> Bools:
        """Whether later ideals hold earlier ones and more. bool [num_rows, num_columns]."""
        part = self._stage(stage)
        before, after = self.ideals[stage], self.ideals[stage + 1]
        grows = before.counts[rows][:, None] < after.counts[columns]
        for word in range(part.inside.shape[1]):
            lost = part.inside[rows, word][:, None] & part.missing[columns, word]
            grows &= lost == 0
        return grows

    def batch(self, stage: int, rows: Ints, columns: Ints, where: tuple[Ints, Ints]) -> StageBatch:
        """See `BatchBoundaries`."""
        every = self._stage(stage).product(np.eye(3).tolist(), rows, columns)
        pairs = np.stack([rows[where[0]], columns[where[1]]])
        moved = [part[where] for part in every]
        return IdealBatch(self.ideals[stage], self.ideals[stage + 1], pairs, *moved)

    def _stage(self, stage: int) -> _Stage:
        part = self._stages[stage]
        if part is None:
            ideals = self.ideals[stage : stage + 2]
            part = self._stages[stage] = _build_stage(ideals[0], ideals[1], self._budget)
        return part


class IdealBatch(StageBatch):
    """Stages between ideals; `pairs` [2, num_pairs] are rows of both lists."""

    def __init__(
        self,
        before: Ideals,
        after: Ideals,
        pairs: Ints,
        entering: Floats,
        leaving: Floats,
        weights: Floats | None = None,
    ) -> None:
        super().__init__(
            before.problem, entering, leaving, np.zeros(0) if weights is None else weights
        )
        self._before, self._after, self._pairs = before, after, pairs

    def select(self, which: Bools) -> IdealBatch:
        """See `StageBatch`."""
        return IdealBatch(
            self._before,
            self._after,
            self._pairs[:, which],
            self.entering_bytes[which],
            self.leaving_bytes[which],
            self.leaving_weights[which] if len(self.leaving_weights) else None,
        )

    def _sums(self, values: Floats) -> Floats:
        rows, columns = self._pairs
        result: Floats = self._after.sums(values)[columns] - self._before.sums(values)[rows]
        return result

    def _maxima(self, values: Floats) -> Floats:
        # The largest item between two ideals is where running counts, largest first, part.
        (before, rows), (after, columns) = (
            _few(ideals, which)
            for ideals, which in zip((self._before, self._after), self._pairs, strict=True)
        )
        levels, held_before = before.level_counts(values)
        _, held_after = after.level_counts(values)
        pairs = np.stack([rows, columns])
        result: Floats = levels[first_difference(held_before.T, held_after.T, pairs)]
        return result

    def _contains(self, items: Ints) -> Bools:
        rows, columns = self._pairs
        return self._after.members(items, columns) & ~self._before.members(items, rows)

    def _members(self, index: int) -> tuple[Bools, Bools]:
        everything = np.arange(self._before.problem.num_items)
        row, column = self._pairs[:, [index]]
        return (
            self._before.members(everything, row)[0],
            self._after.members(everything, column)[0],
        )


def _few(ideals: Ideals, rows: Ints) -> tuple[Ideals, Ints]:
    """The ideals of some rows, where they are few of many, and where the rows are then."""
    if len(ideals) <= _FEW_IDEALS:
        return ideals, rows
    which, rows = np.unique(rows, return_inverse=True)
    return ideals.select(which), rows


def stage_keys(before: Ideals, after: Ideals) -> tuple[Floats, Floats]:
    """See `Boundaries.keys`: what surely enters or leaves, whatever the other ideal is, counts."""
    problem, linear = before.problem, before.problem.linear
    readers, starts = problem.readers_of(before.tensors)
    enters = np.zeros(len(before.tensors), bool)
    if len(before.tensors):
        surely_here = before.never[readers] & after.always[readers]
        enters = np.logical_or.reduceat(surely_here, starts)
        enters |= np.logical_and.reduceat(after.always[readers], starts)
    leaves = (problem.tensor_leaves & before.never[problem.tensor_items])[after.tensors]
    entering = np.where(enters, problem.tensor_bytes[before.tensors], 0.0)
    leaving = np.where(leaves, problem.tensor_bytes[after.tensors], 0.0)
    rows = before.op_sums + linear.leave * before.output_sums
    columns = after.op_sums + linear.leave * after.output_sums
    return (
        rows - linear.enter * (before.waiting @ entering),
        columns + linear.leave * (after.waiting @ leaving),
    )


def _build_stage(before: Ideals, after: Ideals, budget: Budget) -> _Stage:
    problem, keys = before.problem, stage_keys(before, after)
    # Only items that the earlier ideal may hold and the later one may lack can get lost.
    items = np.flatnonzero(~before.never & ~after.always)
    tensors = before.tensors
    waiting = before.waiting  # [num_rows, num_tensors]
    sizes = problem.tensor_bytes[tensors]

    # A tensor that a later stage reads leaves unless it was made before, or is read up by now.
    leaves = problem.tensor_leaves[tensors]
    row_parts, column_parts = [waiting[:, leaves]], [after.unread(tensors[leaves])]
    leaving = [-sizes[leaves]]
    weights = [-problem.tensor_weights[tensors][leaves]]
    entering = [np.zeros(len(leaving[0]))]
    row_entering = np.zeros(len(before))

    # A waiting tensor enters unless the stage reads it nowhere: unless the later ideal holds as
    # many of its readers as the earlier one. Readers in both, or in neither, do not matter.
    readers, starts = problem.readers_of(tensors)
    tensor_of = np.repeat(np.arange(len(tensors)), np.diff(np.append(starts, len(readers))))
    differs = ~before.always[readers] & ~after.never[readers]
    surely = differs & before.never[readers] & after.always[readers]
    read = np.zeros(len(tensors), bool)
    read[tensor_of[surely]] = True
    num_open = np.bincount(tensor_of[differs], minlength=len(tensors))
    row_entering += waiting @ np.where(num_open > 0, sizes, 0.0)

    single = np.flatnonzero((num_open == 1) & ~read)
    reader = np.zeros(len(tensors), np.int64)
    reader[tensor_of[differs]] = readers[differs]
    row_parts.append(waiting[:, single] & ~before.members(reader[single]))
    column_parts.append(~after.members(reader[single]))
    # A waiting tensor whose only open reader was before the earlier boundary enters for no one.
    row_entering -= (waiting[:, single] & before.members(reader[single])) @ sizes[single]
    entering.append(-sizes[single])
    leaving.append(np.zeros(len(single)))
    weights.append(np.zeros(len(single)))

    for tensor in np.flatnonzero((num_open > 1) & ~read):
        budget.check_cells((len(before) + len(after)) * sum(part.shape[1] for part in row_parts))
        open_readers = readers[(tensor_of == tensor) & differs]
        row_counts = before.members(open_readers).sum(axis=1)
        column_counts = after.members(open_readers).sum(axis=1)
        size = len(open_readers) + 1
        in_rows = np.bincount(row_counts[waiting[:, tensor]], minlength=size)
        counts = np.flatnonzero((in_rows > 0) & (np.bincount(column_counts, minlength=size) > 0))
        row_parts.append((row_counts[:, None] == counts) & waiting[:, [tensor]])
        column_parts.append(column_counts[:, None] == counts)
        entering.append(np.full(len(counts), -sizes[tensor]))
        leaving.append(np.zeros(len(counts)))
        weights.append(np.zeros(len(counts)))

    row_bits = np.concatenate(row_parts, axis=1)
    column_bits = np.concatenate(column_parts, axis=1)
    used = np.flatnonzero(row_bits.any(axis=0) & column_bits.any(axis=0))
    carried = np.stack([problem.tensor_bytes, problem.tensor_weights])[:, after.tensors]
    carried = carried * problem.tensor_leaves[after.tensors]
    made = np.stack([after.output_sums, after.output_weight_sums]) + carried @ after.waiting.T
    amounts = np.stack([np.concatenate(part) for part in (entering, leaving, weights)])
    return _Stage(
        inside=_words(before.members(items)),
        missing=_words(~after.members(items)),
        row_bits=row_bits[:, used],
        column_bits=column_bits[:, used],
        amounts=amounts[:, used],
        row_sums=np.stack([row_entering, -before.output_sums, -before.output_weight_sums]),
        column_sums=np.concatenate([np.zeros((1, len(after))), made]),
        row_keys=keys[0],
        column_keys=keys[1],
    )


def _words(bits: Bools) -> npt.NDArray[np.uint64]:
    """Rows of bits as whole words. uint64 [num_rows, ceil(num_bits / 64)]."""
    width = max(1, (bits.shape[1] + 63) // 64)
    packed = np.zeros((len(bits), 8 * width), np.uint8)
    if bits.shape[1]:
        packed[:, : (bits.shape[1] + 7) // 8] = np.packbits(bits, axis=1)
    return packed.view(np.uint64)
