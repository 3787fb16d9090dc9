"""The mixed-integer program of a `Problem`, as sparse matrices, and the stages items can have."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

from respect_tf._errors import SolverError
from respect_tf.scheduling._ideals import closure_of
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._least_cut import MOST_CLOSED
from respect_tf.scheduling._problem import Bools, Floats, Problem

# The known schedule has to keep the cost limit in spite of rounding.
_LIMIT_SLACK = 1e-9
# HiGHS is asked for whole numbers to 1e-9; by its own default it would take these for whole.
_WHOLE = 1e-6


class StageRanges(NamedTuple):
    """The stages from `first` to `last` of each item, both included. int64 [num_items] each."""

    first: Ints
    last: Ints


def stage_ranges(problem: Problem, limit: float) -> StageRanges:
    """Ranges that hold every allowed schedule whose linear cost is at most `limit`, if finite.

    What an item needs runs in its stage or before, and no stage may be empty: that takes a number
    of items and, where each stage keeps the limit, a number of stages for their weight. The same
    holds for what needs the item.
    """
    num_items, num_stages = problem.num_items, problem.num_stages
    first, last = np.zeros(num_items, np.int64), np.full(num_items, num_stages - 1, np.int64)
    if problem.restrictions is not None:
        first, last = problem.restrictions.earliest, problem.restrictions.latest
    if num_items > MOST_CLOSED:
        return StageRanges(first, last)
    needs = closure_of(problem)
    before = needs.sum(axis=1)  # the item itself counts
    after = needs.sum(axis=0)
    first = np.maximum(first, num_stages - 1 - (num_items - before))
    last = np.minimum(last, num_items - after)
    if problem.combine == "max" and limit > 0:
        if not problem.integral:
            limit *= 1 + 1e-9
        weight_before = np.array([problem.weights[row].sum() for row in needs])
        weight_after = np.array([problem.weights[column].sum() for column in needs.T])
        first = np.maximum(first, _stages_for(weight_before, limit) - 1)
        last = np.minimum(last, num_stages - _stages_for(weight_after, limit))
    return StageRanges(first, last)


def _stages_for(weights: Floats, limit: float) -> Ints:
    """How many stages weights fill; the rounding of a quotient to nearest never adds one."""
    counts: Ints = np.maximum(np.ceil(weights / limit), 1).astype(np.int64)
    return counts


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
        """The stages of items from values of the open y that have to be whole. [num_items]."""
        if not np.all(np.abs(values - np.rint(values)) <= _WHOLE):
            raise SolverError("HiGHS returned a fraction where the program has 0 or 1.")
        done = np.zeros(self.is_open.shape, np.int64)
        done[self.is_open] = np.rint(values)
        stages: Ints = self.ranges.first + self.is_open.sum(axis=1) - done.sum(axis=1)
        return stages


def build_milp(problem: Problem, ranges: StageRanges, unit: float, cost_limit: float) -> MilpModel:
    """Build the program for a linear cost, counted in multiples of a unit.

    Schedules that cost more than `cost_limit`, in the problem's own unit, are left out.
    """
    import scipy.sparse as sp

    num_items, num_stages = problem.num_items, problem.num_stages
    boundaries = np.arange(-1, num_stages)
    is_done = boundaries >= ranges.last[:, None]
    is_open = (boundaries >= ranges.first[:, None]) & ~is_done
    transfers = _transfers(problem, unit)
    num_rest = sum(len(transfer.rates) for transfer in transfers) * num_stages + 1
    # Rows over all y, item by item: with something of `rest`, they are not less than a number.
    # `known` is what the y that are done add to them; for weighted sums, up to rounding.
    blocks: list[tuple[Any, Any, Floats, Floats]] = []

    def add(rows: Any, by_rest: Any = None, right: float = 0.0, known: Any = None) -> None:
        count = rows.shape[0]
        by_rest = sp.csr_matrix((count, num_rest)) if by_rest is None else sp.csr_matrix(by_rest)
        known = rows @ is_done.ravel().astype(np.float64) if known is None else np.array([known])
        blocks.append((rows, by_rest, np.full(count, right), known))

    def total(weights: Floats) -> tuple[Any, Any]:
        return sp.csr_matrix(weights[None]) @ here, weights @ done_here

    every = sp.identity(num_items * (num_stages + 1), format="csr")
    done_by = [every[k :: num_stages + 1] for k in range(num_stages + 1)]  # for each boundary
    rooms, costs = problem.rooms, []
    for stage in range(num_stages):
        here = done_by[stage + 1] - done_by[stage]
        done_here = is_done[:, stage + 1].astype(np.float64) - is_done[:, stage]
        add(here)
        if stage + 1 < num_stages and len(problem.edges):
            makers, readers = problem.edges.T
            add(done_by[stage + 1][makers] - done_by[stage + 1][readers])
        row, known = total(np.ones(num_items))
        add(row, right=1.0, known=known)
        if rooms is not None and problem.restrictions is not None:
            # In units of the room, which HiGHS's absolute tolerances suit.
            held, room = problem.restrictions.item_bytes, max(float(rooms[stage]), 1.0)
            if rooms[stage] < held.sum():
                row, known = total(-held / room)
                add(row, right=-float(rooms[stage]) / room, known=known)
        cells_cost, first = np.zeros(num_rest), 0
        for transfer in transfers:
            count, num_groups = len(transfer.groups), len(transfer.rates)
            cells_cost[first + stage * num_groups + np.arange(num_groups)] = transfer.rates
            outside = sp.diags((transfer.outside >= 0).astype(np.float64))
            outside = outside @ here[np.maximum(transfer.outside, 0)]
            cells = transfer.groups + first + stage * num_groups
            by_rest = sp.csr_matrix((np.ones(count), (np.arange(count), cells)), (count, num_rest))
            add((outside - here[transfer.inside]).tocsr(), by_rest)
            first += num_groups * num_stages
        costs.append((*total(problem.weights / unit), cells_cost))
    if problem.combine == "sum":
        costs = [tuple(sum(parts) for parts in zip(*costs, strict=True))]
    one = np.zeros(num_rest)
    one[-1] = 1.0
    for row, known, cells_cost in costs:
        add(-row, (one - cells_cost)[None], known=-known)
    nothing = 0.0 * costs[0][0]
    add(nothing, one[None], problem.lower_bound() / unit * (1 - _LIMIT_SLACK))
    if math.isfinite(cost_limit):
        add(nothing, -one[None], -cost_limit / unit * (1 + _LIMIT_SLACK))
    return MilpModel(*_open_rows(blocks, is_open), is_open, ranges)


def _open_rows(
    blocks: list[tuple[Any, Any, Floats, Floats]], is_open: Bools
) -> tuple[Any, Any, Floats]:
    """`by_open`, `by_rest` and `right` of rows over all y: what is known of y is put in.

    Rows that hold for any y and rest are left out, for instance tensors that cannot enter.
    """
    import scipy.sparse as sp

    rows, by_rest = (sp.vstack([block[part] for block in blocks], "csr") for part in range(2))
    right, known = (np.concatenate([block[part] for block in blocks]) for part in (2, 3))
    by_open = rows[:, np.flatnonzero(is_open)]
    least = np.asarray(by_open.minimum(0).sum(axis=1)).ravel() + known
    helps_only = np.asarray(by_rest.minimum(0).sum(axis=1)).ravel() >= 0
    kept = np.flatnonzero((least < right) | ~helps_only)
    return by_open[kept], by_rest[kept], (right - known)[kept]


class _Transfer(NamedTuple):
    """Entering or leaving: tensors do so where `inside` is in the stage and `outside` is not.

    Tensors with the same maker and the same readers come and go together, as a group.
    """

    rates: Floats  # cost per group, [num_groups]
    groups: Ints  # int64 [num_pairs], of a group and an item that reads it
    inside: Ints  # the item in the stage, likewise
    outside: Ints  # the item elsewhere, -1 where that is the host


def _transfers(problem: Problem, unit: float) -> list[_Transfer]:
    """What costs something, of entering and leaving."""
    known: dict[tuple[int, bool, tuple[int, ...]], float] = {}
    makers, leaves = problem.tensor_items.tolist(), problem.tensor_leaves.tolist()
    readers = np.split(problem.reader_items, problem.reader_offsets[1:-1])
    for maker, leaving, row, size in zip(
        makers, leaves, readers, problem.tensor_bytes.tolist(), strict=False
    ):
        if size > 0:
            key = maker, leaving, tuple(row.tolist())
            known[key] = known.get(key, 0.0) + size
    sizes, linear = np.array(list(known.values())), problem.linear
    pairs = [
        (group, maker, reader, leaving)
        for group, (maker, leaving, row) in enumerate(known)
        for reader in row
    ]
    every = np.array(pairs, np.int64).reshape(-1, 4).T
    found = []
    if linear.enter > 0 and len(sizes):
        groups, maker_of, reader_of, _ = every
        found.append(_Transfer(linear.enter * sizes / unit, groups, reader_of, maker_of))
    if linear.leave > 0 and every[3].any():
        groups, maker_of, reader_of, _ = every[:, every[3] > 0]
        found.append(_Transfer(linear.leave * sizes / unit, groups, maker_of, reader_of))
    return found
