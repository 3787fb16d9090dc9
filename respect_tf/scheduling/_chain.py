"""Dynamic programming over boundaries: the best chain of ideals, ties broken exactly.

A schedule of K stages is a chain of K + 1 boundaries, from nothing to everything; a boundary is
the set of items before it (an order ideal), and a stage is the difference of two of them. Each
boundary has a list of candidates. Solvers differ in the candidates only.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools, Floats, Problem
from respect_tf.scheduling._stage_batch import StageBatch

# Pairs of candidates per block: keeps temporary matrices at 1 MB each, which stays in the cache.
_BLOCK_PAIRS = 1 << 17
_MAX_KEY_BYTES = 1 << 28


# Work is counted in pairs of candidates; listing an ideal takes as long as looking at some hundred.
IDEAL_WORK = 250
# Seconds that a byte of a boundary's candidates takes, about.
_CELL_SECONDS = 5e-9


class BudgetExceededError(Exception):
    """A solver may not go on. Never leaves this folder."""


@dataclasses.dataclass
class Budget:
    """What a solver may use.

    Attributes:
        deadline: On `time.perf_counter()`'s clock in seconds, infinite for none.
        work: Pairs of candidates that may be looked at in all, or as much other work.
        cells: Bytes that the candidates of one boundary may take, about.
        spent: Work done so far, in the unit of `work`.
    """

    deadline: float = math.inf
    work: float = math.inf
    cells: float = math.inf
    spent: float = 0.0

    def check_cells(self, count: int) -> None:
        """Raise `BudgetExceededError` if that many are too many, or take too long."""
        late = time.perf_counter() + _CELL_SECONDS * count > self.deadline
        if count > self.cells or late:
            raise BudgetExceededError

    def check_time(self) -> None:
        """Raise `BudgetExceededError` after the deadline."""
        if time.perf_counter() > self.deadline:
            raise BudgetExceededError

    def spend_ideals(self, count: int) -> None:
        """Raise `BudgetExceededError` if that many are too many."""
        self.spend_pairs(IDEAL_WORK * count)

    def spend_pairs(self, count: int) -> None:
        """Raise `BudgetExceededError` if that many are too many."""
        self.spent += count
        if self.spent > self.work:
            raise BudgetExceededError
        self.check_time()


class Boundaries(Protocol):
    """Candidates for each boundary, and what the stages between them cost."""

    problem: Problem
    sizes: list[int]
    """[num_stages + 1], number of candidates; 1 for the first (nothing) and last (everything)."""
    block_rows: int
    """Candidates of the earlier boundary to look at in one go."""

    def stage_costs(
        self, stage: int, rows: Ints, columns: Ints, limit: float
    ) -> tuple[Floats, Floats]:
        """Stages from candidates of boundary `stage` to candidates of boundary `stage + 1`.

        Returns:
            Cost, infinite where that is no stage and possibly where it is above the limit, and
            crossing bytes. Both float64 [num_rows, num_columns].
        """

    def keys(self, stage: int) -> tuple[Floats, Floats]:
        """Numbers of candidates whose differences no stage cost is below.

        Returns:
            Row keys [num_rows] of boundary `stage` and column keys [num_columns] of the next one:
            a stage costs at least its column's key minus its row's.
        """

    def members(self, boundary: int, rows: Ints) -> Bools:
        """Items before the boundary. bool [num_rows, num_items]."""

    def crossing_floor(self, boundary: int) -> Floats:
        """Crossing bytes that any schedule with this candidate has at least. [num_candidates]."""


class BatchBoundaries(Boundaries, Protocol):
    """Boundaries that can hand out stages for objectives that are no sum."""

    def batch(self, stage: int, rows: Ints, columns: Ints, where: tuple[Ints, Ints]) -> StageBatch:
        """Some of the stages between candidates.

        Args:
            stage: The stage.
            rows: Candidates of boundary `stage`.
            columns: Candidates of boundary `stage + 1`.
            where: Which stages: indices into `rows` and into `columns`.
        """


@dataclasses.dataclass(frozen=True, eq=False)
class Chain:
    """A schedule of items.

    Attributes:
        stages: int64 [num_items].
        cost: Its cost.
        crossing: Its crossing bytes.
    """

    stages: Ints
    cost: float
    crossing: float


def reach(boundaries: Boundaries, limit: float, budget: Budget) -> Reached | None:
    """Find the least cost of a chain up to each candidate.

    Args:
        boundaries: The candidates.
        limit: Chains that cost more are left out.
        budget: What may be used.

    Returns:
        What was found, or `None` if every chain costs more than the limit.

    Raises:
        BudgetExceededError: The budget did not last.
    """
    combine = np.maximum if boundaries.problem.combine == "max" else np.add
    costs = [np.zeros(1)]
    for stage in range(boundaries.problem.num_stages):
        best = np.full(boundaries.sizes[stage + 1], np.inf)
        rows, columns = np.flatnonzero(np.isfinite(costs[stage])), np.arange(len(best))
        for block in stage_blocks(boundaries, stage, (rows, columns), costs[stage], limit, budget):
            reached = combine(costs[stage][block.rows][:, None], block.costs).min(axis=0)
            best[block.columns] = np.minimum(best[block.columns], reached)
        best[best > limit] = np.inf
        if not np.isfinite(best).any():
            return None
        costs.append(best)
    return Reached(boundaries, costs)


@dataclasses.dataclass(frozen=True, eq=False)
class Reached:
    """Chains of least cost.

    Attributes:
        boundaries: The candidates.
        costs: The least cost of a chain up to each candidate, infinite where it is above a limit.
            One array [num_candidates] per boundary.
    """

    boundaries: Boundaries
    costs: list[Floats]

    @property
    def total(self) -> float:
        """The least cost of a whole chain."""
        return float(self.costs[-1][0])

    def cheapest_chain(self, budget: Budget) -> Chain:
        """Some chain of least cost."""
        problem = self.boundaries.problem
        stages = np.zeros(problem.num_items, np.int64)
        place = np.zeros(1, np.int64)
        crossing = 0.0
        for stage in reversed(range(problem.num_stages)):
            rows = np.flatnonzero(self.costs[stage] <= self.total)
            for block in self._blocks(stage, (rows, place), budget):
                hits = np.flatnonzero(self._allowed(stage, block)[:, 0])
                if len(hits):
                    crossing += float(block.crossings[hits[0], 0])
                    place = block.rows[hits[:1]]
                    break
            if stage > 0:
                stages += ~self.boundaries.members(stage, place)[0]
        return Chain(stages=stages, cost=self.total, crossing=crossing)

    def best_chain(self, budget: Budget, crossing_limit: float = np.inf) -> Chain:
        """The chain of least cost, then fewest crossing bytes, then smallest stages in op order.

        Args:
            budget: What may be used.
            crossing_limit: Crossing bytes of a known chain of least cost, if there is one.
        """
        alive = [
            np.flatnonzero(
                (cost <= self.total) & (self.boundaries.crossing_floor(k) <= crossing_limit)
            )
            for k, cost in enumerate(self.costs)
        ]
        crossings = self._least_crossings(alive, budget)
        alive = self._on_best_chains(crossings, alive, budget)
        stages = self._smallest_stages(crossings, alive, budget)
        return Chain(stages=stages, cost=self.total, crossing=float(crossings[-1][0]))

    def _blocks(self, stage: int, places: tuple[Ints, Ints], budget: Budget) -> Iterator[Block]:
        return stage_blocks(self.boundaries, stage, places, self.costs[stage], self.total, budget)

    def _allowed(self, stage: int, block: Block) -> Bools:
        """Which stages can be part of a chain of least cost. bool [num_rows, num_columns]."""
        if self.boundaries.problem.combine == "max":
            return block.costs <= self.total
        before, after = self.costs[stage][block.rows], self.costs[stage + 1][block.columns]
        allowed: Bools = before[:, None] + block.costs == after
        return allowed

    def _least_crossings(self, alive: list[Ints], budget: Budget) -> list[Floats]:
        """The fewest crossing bytes up to each candidate, over chains of least cost."""
        crossings = [np.zeros(1)]
        for stage in range(len(alive) - 1):
            best = np.full(self.boundaries.sizes[stage + 1], np.inf)
            rows = alive[stage][np.isfinite(crossings[stage][alive[stage]])]
            for block in self._blocks(stage, (rows, alive[stage + 1]), budget):
                reached = crossings[stage][block.rows][:, None] + block.crossings
                reached[~self._allowed(stage, block)] = np.inf
                best[block.columns] = np.minimum(best[block.columns], reached.min(axis=0))
            crossings.append(best)
        return crossings

    def _tight(
        self, crossings: list[Floats], stage: int, places: tuple[Ints, Ints], budget: Budget
    ) -> Iterator[tuple[Block, Bools]]:
        """Blocks, and which of their stages are on a best chain up to their later boundary."""
        for block in self._blocks(stage, places, budget):
            reached = crossings[stage][block.rows][:, None] + block.crossings
            least = reached == crossings[stage + 1][block.columns]
            yield block, least & self._allowed(stage, block)

    def _on_best_chains(
        self, crossings: list[Floats], alive: list[Ints], budget: Budget
    ) -> list[Ints]:
        """The candidates that lie on a best chain from the first boundary to the last."""
        kept = [np.zeros(1, np.int64)]
        for stage in reversed(range(len(alive) - 1)):
            used = np.zeros(self.boundaries.sizes[stage], bool)
            rows = alive[stage][np.isfinite(crossings[stage][alive[stage]])]
            for block, tight in self._tight(crossings, stage, (rows, kept[0]), budget):
                used[block.rows[tight.any(axis=1)]] = True
            kept.insert(0, np.flatnonzero(used))
        return kept

    def _smallest_stages(self, crossings: list[Floats], alive: list[Ints], budget: Budget) -> Ints:
        """The lexicographically smallest stages of all best chains. int64 [num_items].

        Of two chains that meet in an ideal, the smaller before it stays the smaller whatever
        follows, as both agree on the items outside: keeping the smallest chain up to each
        candidate is enough.
        """
        problem = self.boundaries.problem
        if max(map(len, alive)) * problem.num_items > _MAX_KEY_BYTES:
            return self._last_stages(crossings, alive, budget)
        order = problem.stage_order
        # Big-endian, so that bytes compare like the numbers.
        dtype = np.dtype("u1" if problem.num_stages < 256 else ">u4")
        keys = np.zeros((1, problem.num_items), dtype)  # [num_candidates, num_items]
        for stage in range(problem.num_stages):
            rows, columns = alive[stage], alive[stage + 1]
            if len(rows) > 1:
                texts = [key.tobytes() for key in keys]
                by_rank = np.array(sorted(range(len(rows)), key=texts.__getitem__))
                rank = np.empty(self.boundaries.sizes[stage], np.int64)
                rank[rows[by_rank]] = np.arange(len(rows))
                best = np.full(self.boundaries.sizes[stage + 1], len(rows))
                for block, tight in self._tight(crossings, stage, (rows, columns), budget):
                    ranks = np.where(tight, rank[block.rows][:, None], len(rows)).min(axis=0)
                    best[block.columns] = np.minimum(best[block.columns], ranks)
                keys = keys[by_rank[best[columns]]]
            else:
                keys = np.repeat(keys, len(columns), axis=0)
            if stage + 1 < problem.num_stages:
                later = ~self.boundaries.members(stage + 1, columns)[:, order]
                keys = (keys + later).astype(dtype, copy=False)
        stages = np.empty(problem.num_items, np.int64)
        stages[order] = keys[0]
        return stages

    def _last_stages(self, crossings: list[Floats], alive: list[Ints], budget: Budget) -> Ints:
        """Stages of the best chain whose candidates come last, where there are too many to compare.

        For intervals of the file's own order, that is the lexicographically smallest one.
        """
        stages = np.zeros(self.boundaries.problem.num_items, np.int64)
        place = np.zeros(1, np.int64)
        for stage in range(len(alive) - 2):
            following = np.array([-1])
            for block, tight in self._tight(crossings, stage, (place, alive[stage + 1]), budget):
                if tight.any():
                    following = np.maximum(following, block.columns[tight[0]].max())
            place = following
            stages += ~self.boundaries.members(stage + 1, place)[0]
        return stages


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """Stages between some candidates of one boundary and some of the next.

    Attributes:
        rows: int64 [num_rows], candidates of the earlier boundary.
        columns: int64 [num_columns], of the later one.
        costs: [num_rows, num_columns].
        crossings: Crossing bytes, [num_rows, num_columns].
    """

    rows: Ints
    columns: Ints
    costs: Floats
    crossings: Floats


def stage_blocks(
    boundaries: Boundaries,
    stage: int,
    places: tuple[Ints, Ints],
    before: Floats,
    limit: float,
    budget: Budget,
) -> Iterator[Block]:
    """Stage costs between candidates, in blocks; those whose keys are above the limit are left out.

    Args:
        boundaries: The candidates.
        stage: The stage.
        places: Candidates of the earlier boundary and of the later one.
        before: The least cost of a chain up to each candidate of the earlier boundary.
        limit: What a chain may cost.
        budget: What may be used.
    """
    problem = boundaries.problem
    row_keys, column_keys = boundaries.keys(stage)
    # How high a column's key may be, for each row.
    highest = row_keys[places[0]] + limit + problem.slack
    if problem.combine == "sum":
        highest = highest - before[places[0]]
    order = np.argsort(-highest, kind="stable")
    rows, highest = places[0][order], highest[order]
    columns = places[1][np.argsort(column_keys[places[1]], kind="stable")]
    lowest = column_keys[columns]
    height = boundaries.block_rows
    width = _BLOCK_PAIRS // height
    for top in range(0, len(rows), height):
        row = np.sort(rows[top : top + height])
        near = columns[: np.searchsorted(lowest, highest[top], side="right")]
        for left in range(0, len(near), width):
            column = np.sort(near[left : left + width])
            budget.spend_pairs(len(row) * len(column))
            costs, crossings = boundaries.stage_costs(stage, row, column, limit)
            yield Block(row, column, costs, crossings)
