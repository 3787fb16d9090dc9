"""Graphs to train on and to measure by: what the network sees, and what its orders cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.graph import Ints, graph_features, merged_graph_tensor
from respect_tf.policy import GraphView, view_of
from respect_tf.scheduling import OrderCuts
from respect_tf.training._labels import Label, LabelTask

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """A task with all that training asks of it.

    Attributes:
        task: The task.
        view: The graph's features, its edges and the rule's order.
        cuts: What cuts orders of the ops.
        rule_cost: What the best cut of the rule's order costs.
        reference: What costs are divided by: the label's cost, or the rule's.
        stages: The label, int32 [num_ops]; `None` without one.
    """

    task: LabelTask
    view: GraphView
    cuts: OrderCuts
    rule_cost: float
    reference: float
    stages: npt.NDArray[np.int32] | None

    def cost(self, order: Ints, limit: float = np.inf) -> float:
        """What an order's best cut costs, relative to the reference; infinite above the limit."""
        return self.cuts.cost(order, limit * self.reference) / self.reference


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
    return Example(task, view, cuts, rule_cost, reference or 1.0, stages)


def merged_tensor(examples: Sequence[Example]) -> Any:
    """One scalar `GraphTensor` of several graphs, as `build_network` takes it."""
    return merged_graph_tensor(
        [example.view.features for example in examples],
        [example.task.num_stages for example in examples],
    )


def rule_ranks(example: Example) -> npt.NDArray[np.float32]:
    """The ops' places in the rule's order, 0 to 1. float32 [num_ops, 1]."""
    rule = example.view.rule
    ranks = np.empty((len(rule), 1), np.float32)
    ranks[rule, 0] = (np.arange(len(rule)) + 0.5) / len(rule)
    return ranks
