"""The structural orders of `respect_tf.graph`, for items, and what best cuts of orders cost."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.graph import ORDERS, OpGraph, structural_orders
from respect_tf.scheduling._compiled_search import cut_order
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._objective import Objective
from respect_tf.scheduling._problem import Floats, Problem, build_problem


def orders_by_name(problem: Problem) -> dict[str, Ints]:
    """All structural orders of the items, int64 [num_items] each.

    Of an item's outputs, those count that are read outside it.
    """
    made = problem.tensor_items >= 0
    num_bytes = np.bincount(
        problem.tensor_items[made], problem.tensor_bytes[made], problem.num_items
    ).astype(np.float64)
    found = structural_orders(problem.links, problem.weights, num_bytes, problem.num_stages)
    return dict(zip(ORDERS, found, strict=True))


def distinct_orders(problem: Problem) -> list[Ints]:
    """The same without those that equal one before them; the items' own is the first."""
    return list({order.tobytes(): order for order in orders_by_name(problem).values()}.values())


class OrderCuts:
    """What best cuts of a graph's orders cost, thousands a second, for objectives that are sums.

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
