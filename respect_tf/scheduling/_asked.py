"""Objectives that have to be asked for stage after stage, made ones that can bound their costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.device import EdgeTpu, Hosts
from respect_tf.graph import OpGraph
from respect_tf.scheduling._bounded import Bools, BoundedObjective, Floats
from respect_tf.scheduling._objective import LinearCost, Number, Objective
from respect_tf.scheduling._schedule import Schedule
from respect_tf.scheduling._stage_batch import StageBatch
from respect_tf.scheduling._stage_costs import stage_costs

# Linear bounds are loosened by this part against rounding.
_LOOSER = 1 - 1e-12


class AskedObjective(BoundedObjective):
    """An objective whose linear form bounds the costs that it gives.

    Args:
        own: The objective.
        linear: Its linear form for the graph at hand.
    """

    def __init__(self, own: Objective, linear: LinearCost) -> None:
        self._own, self._linear = own, linear

    @property
    def combine(self) -> Literal["max", "sum"]:
        """See `Objective`."""
        return self._own.combine

    @property
    def name(self) -> str:
        """See `Objective`."""
        return self._own.name

    @property
    def device(self) -> EdgeTpu | Hosts | None:
        """See `Objective`."""
        return self._own.device

    @property
    def is_batched(self) -> bool:
        """Whether it has a way of its own to cost many stages at once."""
        return type(self._own).batch_costs is not Objective.batch_costs

    def batch_bounds(
        self, stages: StageBatch, *, closely: bool, num_parts: npt.NDArray[Any] | int = 1
    ) -> tuple[Floats, Floats, Floats, Bools]:
        """See `BoundedObjective`: stages cost no less together than merged into one.

        Where many stages are costed at once, their values are no dearer than bounds.
        """
        if closely and self.is_batched and np.all(np.asarray(num_parts) == 1):
            return *self.batch_values(stages), np.ones(len(stages), bool)
        linear, nothing = self._linear, np.zeros(len(stages))
        costs = stages.op_sums(linear.op_costs) + linear.enter * stages.entering_bytes
        costs += linear.leave * stages.leaving_bytes
        return _LOOSER * costs, nothing, nothing.copy(), np.zeros(len(stages), bool)

    def batch_values(self, stages: StageBatch) -> tuple[Floats, Floats, Floats]:
        """See `BoundedObjective`.

        Raises:
            ArgumentError: The objective gives another number of costs, or one that is negative or
                not finite.
        """
        costs = np.asarray(self._own.batch_costs(stages, np.inf), np.float64)
        if costs.shape != (len(stages),) or not (np.isfinite(costs) & (costs >= 0)).all():
            raise ArgumentError(
                f"The objective {self.name} must give {len(stages)} stages as many costs, finite "
                f"and 0 or more. Received: the shape {list(costs.shape)}, least "
                f"{costs.min(initial=np.inf)}, largest {costs.max(initial=-np.inf)}."
            )
        return costs, np.zeros(len(stages)), np.zeros(len(stages))

    def least_cost(self, graph: OpGraph) -> float:
        """See `BoundedObjective`: nothing is known but the linear form."""
        del graph
        return 0.0

    def schedule_cost(self, graph: OpGraph, schedule: Schedule) -> Number:
        """See `BoundedObjective`."""
        return self._own.total_cost(stage_costs(graph, schedule, self._own))

    def stage_value(
        self, graph: OpGraph, ops: Sequence[int], entering: Sequence[int], leaving: Sequence[int]
    ) -> tuple[Number, Number]:
        """See `BoundedObjective`."""
        return self._own.stage_cost(graph, ops, entering, leaving), 0.0

    def linear_cost(self, graph: OpGraph) -> LinearCost:
        """See `Objective`."""
        del graph
        return dataclasses.replace(self._linear, exact=False)
