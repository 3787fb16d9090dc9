"""Objectives that are no sum: their true stage costs, asked for where the bound allows a stage."""

from __future__ import annotations

import numpy as np

from respect_tf.schedule._chain import Boundaries
from respect_tf.schedule._items import Ints
from respect_tf.schedule._problem import Bools, Floats, Problem


def with_true_costs(boundaries: Boundaries) -> Boundaries:
    """The same candidates with the objective's own stage costs."""
    return boundaries if boundaries.problem.linear.exact else _TrueCosts(boundaries)


class _TrueCosts:
    """Asks the objective for the cost of each stage whose linear bound keeps the limit."""

    def __init__(self, bounds: Boundaries) -> None:
        self.problem = bounds.problem
        self.sizes = bounds.sizes
        self._bounds = bounds
        self._known: dict[tuple[int, int, int], float] = {}

    def members(self, boundary: int, rows: Ints) -> Bools:
        """See `Boundaries`."""
        return self._bounds.members(boundary, rows)

    def crossing_floor(self, boundary: int) -> Floats:
        """See `Boundaries`."""
        return self._bounds.crossing_floor(boundary)

    def stage_costs(
        self, stage: int, rows: Ints, columns: Ints, limit: float
    ) -> tuple[Floats, Floats]:
        """See `Boundaries`."""
        cost, crossing = self._bounds.stage_costs(stage, rows, columns, limit)
        near = cost <= limit + self.problem.slack
        cost[~near] = np.inf
        for row, column in np.argwhere(near).tolist():
            key = (stage, int(rows[row]), int(columns[column]))
            if key not in self._known:
                before = self._bounds.members(stage, rows[[row]])[0]
                after = self._bounds.members(stage + 1, columns[[column]])[0]
                self._known[key] = true_stage_cost(self.problem, before, after)
            cost[row, column] = self._known[key]
        return cost, crossing


def true_stage_cost(problem: Problem, before: Bools, after: Bools) -> float:
    """What the objective says that the items of `after` but not of `before` cost as a stage.

    Args:
        problem: The problem.
        before: bool [num_items], an ideal.
        after: bool [num_items], a larger ideal.
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
    return float(
        problem.objective.stage_cost(
            graph,
            np.flatnonzero(here).tolist(),
            np.unique(read_tensors[made_before & here[read_ops]]).tolist(),
            np.union1d(leaving, outputs).tolist(),
        )
    )
