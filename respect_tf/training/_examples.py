"""Graphs to train on and to measure by: what the network sees, and what its orders cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.graph import Ints, OpGraph, graph_features, merged_graph_tensor
from respect_tf.policy import GraphView, ranks_of, view_of
from respect_tf.scheduling import OrderCuts
from respect_tf.training._labels import Label, LabelTask

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """A task with all that training asks of it.

    Attributes:
        task: The task.
        graph: Its graph.
        view: The graph's features, its edges and the rule's order.
        cuts: What cuts orders of the ops.
        rule_cost: What the best cut of the rule's order costs.
        reference: What costs are divided by: the label's cost, or the rule's.
        stages: The label, int32 [num_ops]; `None` without one.
    """

    task: LabelTask
    graph: OpGraph
    view: GraphView
    cuts: OrderCuts
    rule_cost: float
    reference: float
    stages: npt.NDArray[np.int32] | None

    def cost(self, order: Ints, limit: float = np.inf) -> float:
        """What an order's best cut costs, relative to the reference; infinite above the limit."""
        return self.cuts.cost(order, limit * self.reference) / self.reference

    @property
    def rule_ratio(self) -> float:
        """What the rule's order costs, relative to the reference."""
        return self.rule_cost / self.reference


def example_of(given: LabelTask | Label) -> Example:
    """Make the graph of a task or a label, and what belongs to it."""
    label = given if isinstance(given, Label) else None
    task = given.task if isinstance(given, Label) else given
    graph = task.graph()
    cuts = OrderCuts(graph, task.num_stages, task.objective)
    features = graph_features(
        graph, task.num_stages, op_costs=cuts.op_costs, transfer_cost=cuts.transfer_cost
    )
    view = view_of(features, task.num_stages)
    rule_cost = cuts.cost(view.rule)
    reference = rule_cost if label is None else label.cost
    stages = None if label is None else label.stages
    return Example(task, graph, view, cuts, rule_cost, reference or 1.0, stages)


def network_inputs(examples: Sequence[Example]) -> tuple[Any, npt.NDArray[np.float32]]:
    """What `build_network` takes of several graphs: one scalar `GraphTensor`, and `ranks_of`."""
    tensor = merged_graph_tensor(
        [example.view.features for example in examples],
        [example.task.num_stages for example in examples],
    )
    ranks = np.concatenate([ranks_of(example.view.rule) for example in examples])
    return tensor, ranks.astype(np.float32)
