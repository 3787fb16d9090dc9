"""Stages between order ideals: their costs, for all pairs, by matrix products."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from respect_tf.schedule._ideals import Ideals
from respect_tf.schedule._items import Ints
from respect_tf.schedule._problem import Bools, Floats, Problem


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
        amounts: float64 [2, num_features].
        row_sums: float64 [2, num_rows].
        column_sums: float64 [2, num_columns].
    """

    inside: npt.NDArray[np.uint64]
    missing: npt.NDArray[np.uint64]
    row_bits: Bools
    column_bits: Bools
    amounts: Floats
    row_sums: Floats
    column_sums: Floats

    def product(self, parts: tuple[int, int], rows: Ints, columns: Ints) -> Floats:
        """Bytes that enter times `parts[0]` plus bytes that leave times `parts[1]`.

        One matrix product, the sums being two more features; all partial sums are exact.
        float64 [num_rows, num_columns].
        """
        row_bits = self.row_bits[rows]
        used = np.flatnonzero(row_bits.any(axis=0) & self.column_bits[columns].any(axis=0))
        left = np.ones((len(rows), len(used) + 2))
        right = np.ones((len(columns), len(used) + 2))
        left[:, :-2] = row_bits[:, used] * (parts @ self.amounts)[used]
        left[:, -2] = parts @ self.row_sums[:, rows]
        right[:, :-2] = self.column_bits[np.ix_(columns, used)]
        right[:, -1] = parts @ self.column_sums[:, columns]
        result: Floats = left @ right.T
        return result


class IdealBoundaries:
    """Order ideals as candidates for boundaries."""

    def __init__(self, ideals: list[Ideals]) -> None:
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

    def stage_costs(
        self, stage: int, rows: Ints, columns: Ints, limit: float
    ) -> tuple[Floats, Floats]:
        """See `Boundaries`."""
        del limit
        part = self._stages[stage]
        if part is None:
            part = self._stages[stage] = _build_stage(self.ideals[stage], self.ideals[stage + 1])
        before, after = self.ideals[stage], self.ideals[stage + 1]
        op_costs = after.op_sums[columns] - before.op_sums[rows][:, None]
        linear = self.problem.linear
        if linear.enter == linear.leave:
            crossing = part.product((1, 1), rows, columns)
            cost = self.problem.cost(op_costs, crossing, 0.0)
        else:
            entering = part.product((1, 0), rows, columns)
            leaving = part.product((0, 1), rows, columns)
            crossing = entering + leaving
            cost = self.problem.cost(op_costs, entering, leaving)
        return np.where(self._is_stage(part, stage, rows, columns), cost, np.inf), crossing

    def _is_stage(self, part: _Stage, stage: int, rows: Ints, columns: Ints) -> Bools:
        """Whether the later ideal holds the earlier one and more."""
        before, after = self.ideals[stage], self.ideals[stage + 1]
        grows = before.counts[rows][:, None] < after.counts[columns]
        for word in range(part.inside.shape[1]):
            lost = part.inside[rows, word][:, None] & part.missing[columns, word]
            grows &= lost == 0
        return grows


def _build_stage(before: Ideals, after: Ideals) -> _Stage:
    problem = before.problem
    # Only items that the earlier ideal may hold and the later one may lack can get lost.
    items = np.flatnonzero(~before.never & ~after.always)
    tensors = before.tensors
    waiting = before.waiting  # [num_rows, num_tensors]
    sizes = problem.tensor_bytes[tensors]

    # A tensor that a later stage reads leaves unless it was made before, or is read up by now.
    leaves = problem.tensor_leaves[tensors]
    row_parts, column_parts = [waiting[:, leaves]], [after.unread(tensors[leaves])]
    leaving = [-sizes[leaves]]
    entering = [np.zeros(len(leaving[0]))]
    row_entering = np.zeros(len(before))

    # A waiting tensor enters unless the stage reads it nowhere: unless the later ideal holds the
    # same readers as the earlier one. Readers in both, or in neither, do not matter.
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

    for tensor in np.flatnonzero((num_open > 1) & ~read):
        open_readers = readers[(tensor_of == tensor) & differs]
        row_codes, column_codes = _same_rows(
            before.members(open_readers), after.members(open_readers)
        )
        codes = np.intersect1d(row_codes[waiting[:, tensor]], column_codes)
        row_parts.append((row_codes[:, None] == codes) & waiting[:, [tensor]])
        column_parts.append(column_codes[:, None] == codes)
        entering.append(np.full(len(codes), -sizes[tensor]))
        leaving.append(np.zeros(len(codes)))

    row_bits = np.concatenate(row_parts, axis=1)
    column_bits = np.concatenate(column_parts, axis=1)
    used = np.flatnonzero(row_bits.any(axis=0) & column_bits.any(axis=0))
    carried = problem.tensor_bytes[after.tensors] * problem.tensor_leaves[after.tensors]
    return _Stage(
        inside=_words(before.members(items)),
        missing=_words(~after.members(items)),
        row_bits=row_bits[:, used],
        column_bits=column_bits[:, used],
        amounts=np.stack([np.concatenate(entering), np.concatenate(leaving)])[:, used],
        row_sums=np.stack([row_entering, -before.output_sums]),
        column_sums=np.stack([np.zeros(len(after)), after.output_sums + after.waiting @ carried]),
    )


def _same_rows(first: Bools, second: Bools) -> tuple[Ints, Ints]:
    """Numbers for rows of bits, equal where the rows are equal."""
    words = _words(np.concatenate([first, second]))
    codes = np.unique(words, axis=0, return_inverse=True)[1].ravel()
    return codes[: len(first)], codes[len(first) :]


def _words(bits: Bools) -> npt.NDArray[np.uint64]:
    """Rows of bits as whole words. uint64 [num_rows, ceil(num_bits / 64)]."""
    width = max(1, (bits.shape[1] + 63) // 64)
    packed = np.zeros((len(bits), 8 * width), np.uint8)
    if bits.shape[1]:
        packed[:, : (bits.shape[1] + 7) // 8] = np.packbits(bits, axis=1)
    return packed.view(np.uint64)
