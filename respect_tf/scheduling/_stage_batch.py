"""`StageBatch`: many stages at once, for objectives whose costs are no sums."""

from __future__ import annotations

import abc
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from respect_tf._exact_sums import on_grid
from respect_tf.graph import OpGraph
from respect_tf.scheduling._items import Ints

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class ItemsOfGraph(Protocol):
    """What of a `Problem` matters here."""

    @property
    def graph(self) -> OpGraph: ...

    @property
    def num_stages(self) -> int: ...

    @property
    def num_items(self) -> int: ...

    @property
    def item_of(self) -> Ints: ...


class StageBatch(abc.ABC):
    """Stages whose costs are asked for together.

    Attributes:
        graph: The graph that is scheduled.
        num_stages: Number of stages of the schedule; a batch has any number of candidates.
        entering_bytes: float64 [len(batch)], bytes of the distinct tensors that enter each stage.
        leaving_bytes: float64 [len(batch)], bytes of those that leave it.
        leaving_weights: float64 [len(batch)], what those weigh as `Problem.tensor_weights` has it;
            empty where nobody asks.
    """

    def __init__(
        self,
        problem: ItemsOfGraph,
        entering_bytes: Floats,
        leaving_bytes: Floats,
        leaving_weights: Floats,
    ) -> None:
        self._problem = problem
        self.graph: OpGraph = problem.graph
        self.num_stages = problem.num_stages
        self.entering_bytes = entering_bytes
        self.leaving_bytes = leaving_bytes
        self.leaving_weights = leaving_weights

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
    def _members(self, index: int) -> tuple[Bools, Bools]:
        """Items before a stage, and up to its end. bool [num_items] each."""


def item_sums(problem: ItemsOfGraph, values: npt.NDArray[Any]) -> Floats:
    """Sums of a value per op over the ops of each item, exact as in `StageBatch.op_sums`."""
    numbers = on_grid("values per op", values)
    return np.bincount(problem.item_of, numbers, problem.num_items).astype(np.float64)


def stage_parts(
    problem: ItemsOfGraph, before: Bools, after: Bools
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
