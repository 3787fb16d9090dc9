"""`OrderCuts`: what the best cuts of a graph's orders cost, thousands of them a second."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.graph import Ints, OpGraph
from respect_tf.scheduling._compiled_search import cut_order
from respect_tf.scheduling._objective import Objective
from respect_tf.scheduling._problem import Floats, build_problem


class OrderCuts:
    """The costs of orders' best cuts, in compiled code, for objectives that are sums.

    Args:
        graph: The graph.
        num_stages: Number of stages.
        objective: What a stage costs: parameter bytes and bytes that cross, in parts.

    Attributes:
        op_costs: float64 [num_ops], what each op adds to the cost of its stage.
        transfer_cost: Cost of a byte that crosses a boundary, in both stages together.

    Raises:
        ArgumentError: The objective is no sum, or a number is out of range.
        ScheduleError: There are more stages than ops.
    """

    def __init__(self, graph: OpGraph, num_stages: int, objective: Objective) -> None:
        problem = build_problem(graph, num_stages, objective)
        if not problem.linear.exact:
            raise ArgumentError(
                f"OrderCuts is for objectives that are sums. Received: {objective.name}."
            )
        self._problem = problem
        linear = problem.linear
        self.op_costs: Floats = np.asarray(linear.op_costs, np.float64)
        self.transfer_cost = float(linear.enter + linear.leave)

    def cost(self, order: npt.NDArray[Any], limit: float = math.inf) -> float:
        """The cost of an order's best cut; infinite where it is above the limit.

        Args:
            order: int [num_ops], a topological order of the ops; it is not checked.
            limit: What costs more is not looked for.
        """
        items: Ints = self._problem.item_of[order]
        chain = cut_order(self._problem, items, limit)
        return math.inf if chain is None else chain.cost
