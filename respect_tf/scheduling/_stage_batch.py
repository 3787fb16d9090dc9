"""`StageBatch`: many stages at once, for objectives whose costs are no sums."""

from __future__ import annotations

import abc
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from respect_tf._exact_sums import on_grid
from respect_tf.scheduling._chain import Budget
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._linear_bound import Bools, Floats

if TYPE_CHECKING:
    from respect_tf.scheduling._problem import Problem

# Items that are looked at together for the largest of a stage, a byte for each stage: most hold one
# of the first. All at once, 152 schedules take as long, and gigabytes where a batch has all pairs.
_LARGEST = 32
_ALL = slice(None)


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Stages from node `rows` to node `columns`, with what moves. [num_pairs] each.

    Attributes:
        rows: The node that each begins with.
        columns: The one that it ends with.
        entering: Bytes that enter.
        leaving: Bytes that leave.
        weights: What leaves weighs, as `Problem.tensor_weights` has it.
    """

    rows: Ints
    columns: Ints
    entering: Floats
    leaving: Floats
    weights: Floats

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, which: Ints | Bools | slice) -> Pairs:
        """Some of the pairs."""
        parts: list[Any] = [self.rows, self.columns, self.entering, self.leaving, self.weights]
        return Pairs(*(part[which] for part in parts))


class Nodes(abc.ABC):
    """Sets of items that can come before a boundary: node 0 is nothing, the last is everything."""

    problem: Problem

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def pairs(self, allowed: Bools, budget: Budget) -> Pairs:
        """All stages between two nodes of those that are allowed, [num_nodes, num_nodes]."""

    @abc.abstractmethod
    def ends(self) -> tuple[Pairs, Pairs]:
        """Stages from nothing to each inner node, and from each to everything.

        Bytes that enter or leave may be fewer than they are.
        """

    @abc.abstractmethod
    def sums(self, values: Floats) -> Floats:
        """Sum of a value per item over each node. [num_nodes]."""

    @abc.abstractmethod
    def members(self, nodes: Ints | slice = _ALL, items: Ints | slice = _ALL) -> Bools:
        """Which of some items some nodes hold. bool [num_nodes, num_items]."""

    @abc.abstractmethod
    def possible(self, boundary: int) -> Bools:
        """Which nodes can be a boundary. [num_nodes]."""

    @abc.abstractmethod
    def few(self, count: int) -> Nodes:
        """Some of the nodes, about as many as asked for, that make a chain."""

    @abc.abstractmethod
    def select(self, which: Ints) -> Nodes:
        """Some of the nodes; `which` are ascending and hold the first and the last."""

    @abc.abstractmethod
    def of(self, problem: Problem) -> Nodes:
        """The same nodes for another objective."""

    def spans(self, items: Ints) -> tuple[Ints, Ints] | None:
        """Where nodes are positions of an order: places of items in it, and each node's position.

        int64 [len(items)] and [num_nodes]; `None` where they are not.
        """
        del items
        return None

    def op_sums(self, values: npt.NDArray[Any]) -> Floats:
        """Sum of a value per op over each node, as `StageBatch.op_sums` has it. [num_nodes]."""
        return self.sums(item_sums(self.problem, values))

    def batch(self, pairs: Pairs) -> StageBatch:
        """Some stages for objectives."""
        return StageBatch(self, pairs)


class StageBatch:
    """Stages whose costs are asked for together.

    Attributes:
        graph: The graph that is scheduled.
        num_stages: Number of stages of the schedule; a batch has any number of candidates.
        entering_bytes: float64 [len(batch)], bytes of the distinct tensors that enter each stage.
        leaving_bytes: float64 [len(batch)], bytes of those that leave it.
        leaving_weights: float64 [len(batch)], what those weigh as `Problem.tensor_weights` has it.
    """

    def __init__(self, nodes: Nodes, pairs: Pairs) -> None:
        self._nodes, self._pairs, self._problem = nodes, pairs, nodes.problem
        self.graph, self.num_stages = nodes.problem.graph, nodes.problem.num_stages
        self.entering_bytes, self.leaving_bytes = pairs.entering, pairs.leaving
        self.leaving_weights = pairs.weights

    def __len__(self) -> int:
        return len(self._pairs)

    def select(self, which: Bools) -> StageBatch:
        """Some of the stages. `which` is a mask, bool [len(batch)]."""
        return StageBatch(self._nodes, self._pairs.select(which))

    def op_sums(self, values: npt.NDArray[Any]) -> Floats:
        """Sum of a value per op, 0 or more, over the ops of each stage. float64 [len(batch)].

        Fractions are rounded to some 2**-50 of their sum: the order does not matter.
        """
        sums = self._nodes.op_sums(values)
        stages: Floats = sums[self._pairs.columns] - sums[self._pairs.rows]
        return stages

    def op_maxima(self, values: npt.NDArray[Any]) -> Floats:
        """Largest of a value per op over the ops of each stage. float64 [len(batch)]."""
        largest = np.full(self._problem.num_items, -np.inf)
        np.maximum.at(largest, self._problem.item_of, values.astype(np.float64))
        items, found = np.argsort(-largest, kind="stable"), np.zeros(len(self))
        left, pairs = np.arange(len(self)), self._pairs
        for first in range(0, len(items), _LARGEST):
            some = items[first : first + _LARGEST]
            held = self._nodes.members(items=some)
            inside = held[pairs.columns[left]] & ~held[pairs.rows[left]]
            is_first = inside.any(axis=1)
            found[left[is_first]] = largest[some[inside[is_first].argmax(axis=1)]]
            left = left[~is_first]
            if len(left) == 0:
                break
        return found

    def contains(self, ops: Ints) -> Bools:
        """Whether each stage holds each of some ops. bool [len(batch), num_ops_asked]."""
        held = self._nodes.members(items=self._problem.item_of[ops])
        inside: Bools = held[self._pairs.columns] & ~held[self._pairs.rows]
        return inside

    def spans(self, ops: Ints) -> tuple[Ints, Ints, Ints] | None:
        """Where stages are intervals of an order: places of ops in it, and their starts and ends.

        int64 [num_ops_asked], [len(batch)] and [len(batch)]; `None` where they are not.
        """
        found = self._nodes.spans(self._problem.item_of[ops])
        if found is None:
            return None
        places, positions = found
        return places, positions[self._pairs.rows], positions[self._pairs.columns]

    def parts(self, index: int) -> tuple[list[int], list[int], list[int]]:
        """Ops, entering and leaving tensors of one stage, as `Objective.stage_cost` takes them."""
        ends = np.array([self._pairs.rows[index], self._pairs.columns[index]])
        return stage_parts(self._problem, *self._nodes.members(ends))


def item_sums(problem: Problem, values: npt.NDArray[Any]) -> Floats:
    """Sums of a value per op over the ops of each item, exact as in `StageBatch.op_sums`."""
    numbers = on_grid("values per op", values)
    return np.bincount(problem.item_of, numbers, problem.num_items).astype(np.float64)


def stage_parts(
    problem: Problem, before: Bools, after: Bools
) -> tuple[list[int], list[int], list[int]]:
    """Ops of the stage between two ideals, bool [num_items], and tensors that enter and leave it.

    From the definitions; each ascending.
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
