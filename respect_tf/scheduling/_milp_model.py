"""The mixed-integer program of a `Problem`, as sparse matrices."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from respect_tf._errors import SolverError
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools, Floats, Problem
from respect_tf.scheduling._stage_ranges import StageRanges

# The known schedule has to keep the cost limit in spite of rounding.
_LIMIT_SLACK = 1e-9
# HiGHS is asked for whole numbers to 1e-9; by its own default it would take these for whole.
_WHOLE = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class MilpModel:
    """Minimise the last entry of `rest` where `by_open @ y + by_rest @ rest >= right`.

    y[v, k] = 1 says that item `v` runs in stage `k` or before: it rises with `k` and falls along
    the edges, and `v` runs in stage `k` itself where x[v, k] = y[v, k] - y[v, k - 1] is 1. The
    variables are those y that the ranges leave open, 0 or 1 each.

    `rest`, 0 or more each, says how much each group of tensors enters each stage and leaves it,
    and, as its last entry, the cost. A tensor that `u` makes and `v` reads enters stage `k` at
    least x[v, k] - x[u, k] times and leaves it at least x[u, k] - x[v, k] times. Summed over the
    stages after (or up to) `k`, both say that it crosses boundary `k` at least y[u, k] - y[v, k]
    times: in fractions, too, nothing crosses for free.

    Attributes:
        by_open: scipy.sparse.csr_matrix [num_rows, num_open].
        by_rest: scipy.sparse.csr_matrix [num_rows, num_rest].
        right: [num_rows].
        is_open: bool [num_items, num_stages + 1], whether y[v, k - 1] is a variable.
        ranges: The stages that items can have.
    """

    by_open: Any
    by_rest: Any
    right: Floats
    is_open: Bools
    ranges: StageRanges

    def values(self, stages: Ints) -> Floats:
        """The open y of a schedule that keeps the ranges. [num_open]."""
        boundaries = np.arange(self.is_open.shape[1]) - 1
        done: Floats = (stages[:, None] <= boundaries)[self.is_open].astype(np.float64)
        return done

    def stages(self, values: Floats) -> Ints:
        """The stages of items from whole values of the open y. int64 [num_items].

        Raises:
            SolverError: The values are not whole.
        """
        if not np.all(np.abs(values - np.rint(values)) <= _WHOLE):
            raise SolverError("HiGHS returned a fraction where the program has 0 or 1.")
        done = np.zeros(self.is_open.shape, np.int64)
        done[self.is_open] = np.rint(values)
        stages: Ints = self.ranges.first + self.is_open.sum(axis=1) - done.sum(axis=1)
        return stages


def build_milp(problem: Problem, ranges: StageRanges, unit: float, cost_limit: float) -> MilpModel:
    """Build the program for a linear cost.

    Args:
        problem: The problem.
        ranges: The stages that items can have.
        unit: Costs are counted in multiples of this.
        cost_limit: Schedules that cost more are left out; in the problem's own unit, or infinite.
    """
    import scipy.sparse as sp

    num_items, num_stages = problem.num_items, problem.num_stages
    boundaries = np.arange(-1, num_stages)
    is_done = boundaries >= ranges.last[:, None]
    is_open = (boundaries >= ranges.first[:, None]) & ~is_done
    num_open = int(is_open.sum())
    place = np.cumsum(is_open).reshape(is_open.shape) - 1
    done_by = []  # for each boundary, y = matrix @ open + constant
    for k in range(num_stages + 1):
        (items,) = np.nonzero(is_open[:, k])
        entries = (np.ones(len(items)), (items, place[items, k]))
        matrix = sp.csr_matrix(entries, shape=(num_items, num_open))
        done_by.append(_Affine(matrix, is_done[:, k].astype(np.float64)))

    groups = _group_tensors(problem)
    transfers = _transfers(problem, groups, unit)
    num_cells = len(groups.sizes) * num_stages
    num_rest = num_cells * len(transfers) + 1
    rows = _Rows(num_rest)
    rooms, item_bytes = problem.rooms, np.zeros(num_items)
    if problem.restrictions is not None:
        item_bytes = problem.restrictions.item_bytes
    costs = []
    for stage in range(num_stages):
        here = done_by[stage + 1].minus(done_by[stage])
        rows.add(here)
        if stage + 1 < num_stages and len(problem.edges):
            done, (makers, readers) = done_by[stage + 1], problem.edges.T
            rows.add(done.select(makers).minus(done.select(readers)))
        rows.add(here.weigh(np.ones(num_items)), right=1.0)
        if rooms is not None and rooms[stage] < item_bytes.sum():
            # In units of the room, which HiGHS's absolute tolerances suit.
            room = max(float(rooms[stage]), 1.0)
            rows.add(here.weigh(-item_bytes / room), right=-float(rooms[stage]) / room)
        cost, cells_cost = here.weigh(problem.weights / unit), np.zeros(num_rest)
        for kind, transfer in enumerate(transfers):
            cells = kind * num_cells + stage * len(groups.sizes) + np.arange(len(groups.sizes))
            cells_cost[cells] = transfer.rates
            inside = here.select(transfer.inside)
            outside = here.select(np.maximum(transfer.outside, 0)).scale(transfer.outside >= 0)
            rows.add(outside.minus(inside), transfer.groups + cells[0])
        costs.append((cost, cells_cost))
    if problem.combine == "sum":
        costs = [(_total([cost for cost, _ in costs]), np.sum([cells for _, cells in costs], 0))]
    one = np.zeros(num_rest)
    one[-1] = 1.0
    for cost, cells_cost in costs:
        rows.add(cost.scale(-np.ones(1)), weights=one - cells_cost)
    nothing = costs[0][0].scale(np.zeros(1))
    rows.add(nothing, weights=one, right=problem.lower_bound() / unit * (1 - _LIMIT_SLACK))
    if math.isfinite(cost_limit):
        rows.add(nothing, weights=-one, right=-cost_limit / unit * (1 + _LIMIT_SLACK))
    return MilpModel(*rows.stacked(), is_open, ranges)


@dataclasses.dataclass(frozen=True, eq=False)
class _Affine:
    """matrix @ open y + constant; one row per entry of `constant`."""

    matrix: Any
    constant: Floats

    def minus(self, other: _Affine) -> _Affine:
        return _Affine(self.matrix - other.matrix, self.constant - other.constant)

    def select(self, index: Ints) -> _Affine:
        return _Affine(self.matrix[index], self.constant[index])

    def scale(self, factors: Floats | Bools) -> _Affine:
        factors = factors.astype(np.float64)
        return _Affine(self.matrix.multiply(factors[:, None]).tocsr(), self.constant * factors)

    def weigh(self, weights: Floats) -> _Affine:
        """The weighted sum of all rows, as one row."""
        import scipy.sparse as sp

        row = sp.csr_matrix(weights[None])
        return _Affine((row @ self.matrix).tocsr(), np.array([weights @ self.constant]))


def _total(parts: list[_Affine]) -> _Affine:
    return _Affine(sum(part.matrix for part in parts), np.sum([part.constant for part in parts], 0))


class _Rows:
    """Collects rows: an affine expression + something of `rest` >= right."""

    def __init__(self, num_rest: int) -> None:
        self._num_rest = num_rest
        self._blocks: list[tuple[Any, Any, Floats]] = []

    def add(
        self,
        expression: _Affine,
        columns: Ints | None = None,
        *,
        weights: Floats | None = None,
        right: float = 0.0,
    ) -> None:
        """Add rows: the entry `columns[i]` of `rest` helps in row `i`, or `weights` in all."""
        import scipy.sparse as sp

        count = len(expression.constant)
        if columns is not None:
            entries = (np.ones(count), (np.arange(count), columns))
            by_rest = sp.csr_matrix(entries, shape=(count, self._num_rest))
        elif weights is not None:
            by_rest = sp.csr_matrix(np.repeat(weights[None], count, axis=0))
        else:
            by_rest = sp.csr_matrix((count, self._num_rest))
        # Rows that hold for any y and rest are left out, for instance tensors that cannot enter.
        least = np.asarray(expression.matrix.minimum(0).sum(axis=1)).ravel() + expression.constant
        helps_only = np.asarray(by_rest.minimum(0).sum(axis=1)).ravel() >= 0
        kept = np.flatnonzero((least < right) | ~helps_only)
        self._blocks.append(
            (expression.matrix[kept], by_rest[kept], right - expression.constant[kept])
        )

    def stacked(self) -> tuple[Any, Any, Floats]:
        """All rows as `by_open`, `by_rest`, `right` of `MilpModel`."""
        import scipy.sparse as sp

        by_open, by_rest, right = zip(*self._blocks, strict=True)
        return (
            sp.vstack(by_open, format="csr"),
            sp.vstack(by_rest, format="csr"),
            np.concatenate(right),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Groups:
    """Tensors that come and go together: same maker, same readers.

    Attributes:
        sizes: Bytes, [num_groups].
        makers: int64 [num_pairs], the maker per pair of group and reader; -1 for model inputs.
        readers: int64 [num_pairs].
        index: int64 [num_pairs], the group.
        leaves: bool [num_pairs], whether a later reader makes the group leave its maker's stage.
    """

    sizes: Floats
    makers: Ints
    readers: Ints
    index: Ints
    leaves: Bools


def _group_tensors(problem: Problem) -> _Groups:
    sizes: dict[tuple[int, bool, tuple[int, ...]], float] = {}
    offsets = problem.reader_offsets.tolist()
    readers = problem.reader_items.tolist()
    for tensor, size in enumerate(problem.tensor_bytes.tolist()):
        key = (
            int(problem.tensor_items[tensor]),
            bool(problem.tensor_leaves[tensor]),
            tuple(readers[offsets[tensor] : offsets[tensor + 1]]),
        )
        if size > 0:
            sizes[key] = sizes.get(key, 0.0) + size
    counts = [len(group) for _, _, group in sizes]
    return _Groups(
        sizes=np.array(list(sizes.values()), np.float64),
        makers=np.repeat(np.array([maker for maker, _, _ in sizes], np.int64), counts),
        readers=np.array([item for _, _, group in sizes for item in group], np.int64),
        index=np.repeat(np.arange(len(sizes)), counts),
        leaves=np.repeat(np.array([leaves for _, leaves, _ in sizes], bool), counts),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Transfer:
    """Entering or leaving: a group does so where `inside` is in the stage and `outside` is not.

    Attributes:
        rates: Cost per group, [num_groups].
        groups: int64 [num_pairs].
        inside: int64 [num_pairs], the item in the stage.
        outside: int64 [num_pairs], the item elsewhere, -1 where that is the host.
    """

    rates: Floats
    groups: Ints
    inside: Ints
    outside: Ints


def _transfers(problem: Problem, groups: _Groups, unit: float) -> list[_Transfer]:
    """What costs something, of entering and leaving."""
    found = []
    if problem.linear.enter > 0 and len(groups.sizes):
        rates = problem.linear.enter * groups.sizes / unit
        found.append(_Transfer(rates, groups.index, groups.readers, groups.makers))
    if problem.linear.leave > 0 and groups.leaves.any():
        rates = problem.linear.leave * groups.sizes / unit
        kept = np.flatnonzero(groups.leaves)
        found.append(
            _Transfer(rates, groups.index[kept], groups.makers[kept], groups.readers[kept])
        )
    return found
