"""The structural orders of `respect_tf.graph`, for items."""

from __future__ import annotations

import numpy as np

from respect_tf.graph import ORDERS, structural_orders
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Problem

ORDER_NAMES = ORDERS
"""What `orders_by_name` makes."""


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
