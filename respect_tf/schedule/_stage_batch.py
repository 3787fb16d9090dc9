"""`StageBatch`: many stages at once, for objectives whose costs are no sums."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from respect_tf.schedule._items import Ints

if TYPE_CHECKING:
    from respect_tf.graph import OpGraph
    from respect_tf.schedule._problem import Problem

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# So many partial sums are kept of an order of ops.
_MAX_GROUPS = 64


class StageBatch(abc.ABC):
    """Stages whose costs are asked for together.

    Attributes:
        graph: The graph that is scheduled.
        num_stages: Number of stages of the schedule; a batch has any number of candidates.
        entering_bytes: float64 [len(batch)], bytes of the distinct tensors that enter each stage.
        leaving_bytes: float64 [len(batch)], bytes of those that leave it.
    """

    def __init__(self, problem: Problem, entering_bytes: Floats, leaving_bytes: Floats) -> None:
        self._problem = problem
        self.graph: OpGraph = problem.graph
        self.num_stages = problem.num_stages
        self.entering_bytes = entering_bytes
        self.leaving_bytes = leaving_bytes

    def __len__(self) -> int:
        return len(self.entering_bytes)

    def op_sums(self, values: npt.NDArray[Any]) -> Floats:
        """Sum of a value per op, 0 or more, over the ops of each stage.

        Args:
            values: [num_ops]. Fractions are rounded to some 2**-50 of their sum, so that sums do
                not depend on the order.

        Returns:
            float64 [len(batch)].
        """
        return self._sums(item_sums(self._problem, values))

    def op_maxima(self, values: npt.NDArray[Any]) -> Floats:
        """Largest of a value per op over the ops of each stage.

        Args:
            values: [num_ops].

        Returns:
            float64 [len(batch)].
        """
        largest = np.full(self._problem.num_items, -np.inf)
        np.maximum.at(largest, self._problem.item_of, values.astype(np.float64))
        return self._maxima(largest)

    def contains(self, ops: Ints) -> Bools:
        """Whether each stage holds each of some ops.

        Args:
            ops: int [num_ops_asked].

        Returns:
            bool [len(batch), num_ops_asked].
        """
        return self._contains(self._problem.item_of[ops])

    def ranked(self, ops: Ints) -> Ranked:
        """Some ops in an order, for sums over the first of them that each stage holds.

        Args:
            ops: int [num_ranks], distinct.
        """
        return Ranked(self._problem, ops, *self._ends(self._problem.item_of[ops]))

    def parts(self, index: int) -> tuple[list[int], list[int], list[int]]:
        """Ops, entering and leaving tensors of one stage, as `Objective.stage_cost` takes them."""
        before, after = self._members(index)
        return stage_parts(self._problem, before, after)

    @abc.abstractmethod
    def select(self, which: Bools) -> StageBatch:
        """Some of the stages. `which` is a mask, bool [len(batch)]."""

    @abc.abstractmethod
    def _sums(self, values: Floats) -> Floats:
        """Sums of a value per item. [len(batch)]."""

    @abc.abstractmethod
    def _maxima(self, values: Floats) -> Floats:
        """Maxima of a value per item. [len(batch)]."""

    @abc.abstractmethod
    def _contains(self, items: Ints) -> Bools:
        """Which of some items are in each stage. [len(batch), len(items)]."""

    @abc.abstractmethod
    def _ends(self, items: Ints) -> tuple[Bools, Bools, Ints, Ints]:
        """Which of some items are before some boundaries that the stages begin and end with.

        Returns:
            bool [num_starts, len(items)] and [num_stops, len(items)], and which of the rows belong
            to each stage, int64 [len(batch)] twice.
        """

    @abc.abstractmethod
    def _members(self, index: int) -> tuple[Bools, Bools]:
        """Items before a stage, and up to its end. bool [num_items] each."""


def item_sums(problem: Problem, values: npt.NDArray[Any]) -> Floats:
    """Sums of a value per op over the ops of each item, exact as in `StageBatch.op_sums`."""
    from respect_tf.schedule._problem import on_grid

    numbers = on_grid("values per op", values, 1)
    return np.bincount(problem.item_of, numbers, problem.num_items).astype(np.float64)


class Ranked:
    """See `StageBatch.ranked`."""

    def __init__(
        self, problem: Problem, ops: Ints, starts: Bools, stops: Bools, rows: Ints, columns: Ints
    ) -> None:
        self._ops = ops
        self._groups = np.arange(len(ops))[:: -(-len(ops) // _MAX_GROUPS)]
        # Of a number of groups, the ops in them: [num_groups + 1, num_ranks].
        ends = np.append(self._groups, len(ops))
        self._within = (np.arange(len(ops)) < ends[:, None]).astype(np.float64)
        self._starts, self._rows = _used_rows(starts, rows)
        self._stops, self._columns = _used_rows(stops, columns)

    @property
    def num_groups(self) -> int:
        """Ops are summed up in at most so many groups of neighbours."""
        return len(self._groups)

    @property
    def first_ops(self) -> Ints:
        """The first op of each group."""
        first: Ints = self._ops[self._groups]
        return first

    def sums(self, values: npt.NDArray[Any]) -> Callable[[Ints], Floats]:
        """Sums of a value per op over the ops of a number of groups that each stage holds.

        Args:
            values: [num_ops], 0 or more; fractions are rounded as in `StageBatch.op_sums`.

        Returns:
            Takes the number of groups for each stage, [len(batch)], and gives the sums.
        """
        from respect_tf.schedule._problem import on_grid

        numbers = on_grid("values per op", values, 1)[self._ops]
        starts, stops = (self._table(inside, numbers) for inside in (self._starts, self._stops))
        return lambda count: stops[count, self._columns] - starts[count, self._rows]

    def _table(self, inside: Floats, numbers: Floats) -> Floats:
        """Sums of numbers on a grid, exact in any order. [num_groups + 1, num_boundaries]."""
        table: Floats = (self._within * numbers) @ inside
        return table


def _used_rows(table: Bools, rows: Ints) -> tuple[Floats, Ints]:
    """The rows of a table that are used, as columns, and where they are now."""
    used = np.zeros(len(table), bool)
    used[rows] = True
    return table[used].T.astype(np.float64), (np.cumsum(used) - 1)[rows]


def stage_parts(
    problem: Problem, before: Bools, after: Bools
) -> tuple[list[int], list[int], list[int]]:
    """Ops and tensors of the stage between two ideals, from the definitions.

    Args:
        problem: The problem.
        before: bool [num_items], an ideal.
        after: bool [num_items], a larger ideal.

    Returns:
        Ops, tensors that enter and tensors that leave, each ascending.
    """
    graph = problem.graph
    done, here = before[problem.item_of], (after & ~before)[problem.item_of]  # [num_ops]
    read_ops, read_tensors = graph.reads
    producer = graph.producer[read_tensors]
    is_input = np.zeros(graph.num_tensors, bool)
    is_input[graph.model_inputs] = True
    made_before = np.where(producer >= 0, done[producer], is_input[read_tensors])
    made_here = (producer >= 0) & here[producer]
    later = ~(done | here)
    leaving = read_tensors[made_here & later[read_ops]]
    outputs = graph.model_outputs[graph.producer[graph.model_outputs] >= 0]
    outputs = outputs[here[graph.producer[outputs]]]
    return (
        np.flatnonzero(here).tolist(),
        np.unique(read_tensors[made_before & here[read_ops]]).tolist(),
        np.union1d(leaving, outputs).tolist(),
    )


def first_difference(first: Ints, second: Ints, pairs: Ints) -> Ints:
    """Where two rows of running counts begin to differ; the second never counts less.

    Args:
        first: int64 [num_first, length], ascending rows.
        second: int64 [num_second, length]; minus a row of `first` it ascends as well.
        pairs: int64 [2, num_pairs], rows of `first` and of `second` that differ at the end.

    Returns:
        int64 [num_pairs].
    """
    low = np.zeros(pairs.shape[1], np.int64)
    high = np.full(pairs.shape[1], first.shape[1] - 1)
    for _ in range((first.shape[1] - 1).bit_length()):
        middle = (low + high) >> 1
        differ = first[pairs[0], middle] != second[pairs[1], middle]
        high = np.where(differ, middle, high)
        low = np.where(differ, low, np.minimum(middle + 1, high))
    return low
