"""`StageBatch`: many stages at once, for objectives whose costs are no sums."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from respect_tf._exact_sums import on_grid
from respect_tf.graph import OpGraph
from respect_tf.scheduling._items import Ints

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# Items that are looked at together for the largest of a stage: most stages hold one of the first.
# benchmarks constants: half and twice the same.
_LARGEST = 32


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


class Boundaries(Protocol):
    """What of `Nodes` matters here: sets of items that can come before a boundary."""

    @property
    def problem(self) -> ItemsOfGraph: ...

    def op_sums(self, values: npt.NDArray[Any]) -> Floats:
        """Sum of a value per op over each node. [num_nodes]."""

    def holds(self, items: Ints) -> Bools:
        """Which of some items are in each node. [num_nodes, len(items)]."""

    def members(self, nodes: Ints) -> Bools:
        """Items of nodes. bool [len(nodes), num_items]."""

    def spans(self, items: Ints) -> tuple[Ints, Ints] | None:
        """Where nodes are positions of an order: places of items in it, and each node's position.

        int64 [len(items)] and [num_nodes]; `None` where they are not.
        """


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

    def select(self, which: Ints | Bools) -> Pairs:
        """Some of the pairs. `which` are indices or a mask."""
        return Pairs(
            self.rows[which],
            self.columns[which],
            self.entering[which],
            self.leaving[which],
            self.weights[which],
        )


class StageBatch:
    """Stages whose costs are asked for together.

    Attributes:
        graph: The graph that is scheduled.
        num_stages: Number of stages of the schedule; a batch has any number of candidates.
        entering_bytes: float64 [len(batch)], bytes of the distinct tensors that enter each stage.
        leaving_bytes: float64 [len(batch)], bytes of those that leave it.
        leaving_weights: float64 [len(batch)], what those weigh as `Problem.tensor_weights` has it.
    """

    def __init__(self, nodes: Boundaries, pairs: Pairs) -> None:
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
        """Sum of a value per op, 0 or more, over the ops of each stage.

        Args:
            values: [num_ops]. Fractions are rounded to some 2**-50 of their sum, so that sums do
                not depend on the order.

        Returns:
            float64 [len(batch)].
        """
        sums = self._nodes.op_sums(values)
        stages: Floats = sums[self._pairs.columns] - sums[self._pairs.rows]
        return stages

    def op_maxima(self, values: npt.NDArray[Any]) -> Floats:
        """Largest of a value per op over the ops of each stage.

        Args:
            values: [num_ops].

        Returns:
            float64 [len(batch)].
        """
        largest = np.full(self._problem.num_items, -np.inf)
        np.maximum.at(largest, self._problem.item_of, values.astype(np.float64))
        items, found = np.argsort(-largest, kind="stable"), np.zeros(len(self))
        left, pairs = np.arange(len(self)), self._pairs
        for first in range(0, len(items), _LARGEST):
            some = items[first : first + _LARGEST]
            held = self._nodes.holds(some)
            inside = held[pairs.columns[left]] & ~held[pairs.rows[left]]
            is_first = inside.any(axis=1)
            found[left[is_first]] = largest[some[inside[is_first].argmax(axis=1)]]
            left = left[~is_first]
            if len(left) == 0:
                break
        return found

    def contains(self, ops: Ints) -> Bools:
        """Whether each stage holds each of some ops.

        Args:
            ops: int [num_ops_asked].

        Returns:
            bool [len(batch), num_ops_asked].
        """
        held = self._nodes.holds(self._problem.item_of[ops])
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


def item_sums(problem: ItemsOfGraph, values: npt.NDArray[Any]) -> Floats:
    """Sums of a value per op over the ops of each item, exact as in `StageBatch.op_sums`."""
    numbers = on_grid("values per op", values)
    return np.bincount(problem.item_of, numbers, problem.num_items).astype(np.float64)


def stage_parts(
    problem: ItemsOfGraph, before: Bools, after: Bools
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
