"""Graphs to train on, and batches of them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.graph._features import FIRST_RANK, GraphFeatures, graph_features
from respect_tf.scheduling._problem import build_problem
from respect_tf.scheduling._rollout import Successors, successors_of
from respect_tf.training._labels import Label, LabelTask
from respect_tf.training._reward import SlicedCost


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingGraph:
    """A task with all that training asks of it.

    Attributes:
        task: The task.
        features: What the network sees.
        successors: The edges.
        cost: The cost of an order's best cut.
        reference: The cost that costs are divided by: the label's, or that of the file's order.
        stages: The label, int32 [num_ops]; `None` without one.
    """

    task: LabelTask
    features: GraphFeatures
    successors: Successors
    cost: SlicedCost
    reference: float
    stages: npt.NDArray[np.int32] | None

    @functools.cached_property
    def order_costs(self) -> npt.NDArray[np.float64]:
        """Costs of the structural orders' best cuts. float64 [num_orders]."""
        ranks = self.features.ops[:, FIRST_RANK:]
        return np.array([self.cost(order) for order in np.argsort(ranks, axis=0).T.copy()])


def training_graph(task: LabelTask, label: Label | None = None) -> TrainingGraph:
    """Make the graph of a task, and what belongs to it."""
    graph, objective = task.graph(), task.objective
    problem = build_problem(graph, task.num_stages, objective, None)
    linear = problem.linear
    cost = SlicedCost(problem)
    return TrainingGraph(
        task,
        graph_features(
            graph,
            task.num_stages,
            op_costs=linear.op_costs,
            transfer_cost=linear.enter + linear.leave,
        ),
        successors_of(graph),
        cost,
        cost(np.arange(graph.num_ops)) if label is None else label.cost,
        None if label is None else label.stages,
    )


def merged_tensor(graphs: Sequence[TrainingGraph]) -> Any:
    """One scalar `GraphTensor` of several graphs, as `build_network` takes it."""
    from respect_tf.graph._graph_tensor import merged_graph_tensor

    return merged_graph_tensor(
        [graph.features for graph in graphs], [graph.task.num_stages for graph in graphs]
    )
