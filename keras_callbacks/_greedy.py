"""What the network that is trained would do: its likeliest orders, each cut as well as can be."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf import ArgumentError, OpGraph
from respect_tf.policy import Weights
from respect_tf.scheduling._guide import guide
from respect_tf.scheduling._problem import Problem, build_problem
from respect_tf.scheduling._rollout import greedy_order, successors_of
from respect_tf.training import Label, LabelTask
from respect_tf.training._network import named_weights
from respect_tf.training._reward import SlicedCost

Arrays = dict[str, npt.NDArray[np.float32]]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_NEEDED = {"encode_op/kernel", "encode_graph/kernel", "head_outer/kernel"}
_OTHER_MODEL = (
    "Expected the network of respect_tf.training, which its trainer or build_network makes. "
    "Received: a {} ({})."
)


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """A graph to look at again and again.

    Attributes:
        task: The graph, and what is asked about it.
        label: The best schedule known; None for a task without one.
        op_graph: The graph itself.
        problem: What is to be solved.
        cost: The cost of an order's best cut.
        reference: The cost that costs are divided by: the label's, or that of the file's order.
    """

    task: LabelTask
    label: Label | None
    op_graph: OpGraph
    problem: Problem
    cost: SlicedCost
    reference: float


def examples_of(given: Sequence[Label | LabelTask], *, labelled: bool, name: str) -> list[Example]:
    """Build the graphs of labels or tasks.

    Raises:
        ArgumentError: There is none, or one is of another type.
    """
    expected = "labels (respect_tf.training.load_labels)"
    if not labelled:
        expected += " or tasks (respect_tf.training.label_task)"
    allowed = (Label,) if labelled else (Label, LabelTask)
    wrong = [type(one).__name__ for one in given if not isinstance(one, allowed)]
    if wrong or not len(given):
        received = wrong[0] if wrong else "none"
        raise ArgumentError(f"{name} needs one or more {expected}. Received: {received}.")
    return [_example(one) for one in given]


def _example(given: Label | LabelTask) -> Example:
    label = given if isinstance(given, Label) else None
    task = given.task if isinstance(given, Label) else given
    graph = task.graph()
    problem = build_problem(graph, task.num_stages, task.objective, None)
    cost = SlicedCost(problem)
    reference = cost(np.arange(graph.num_ops)) if label is None else label.cost
    return Example(task, label, graph, problem, cost, reference)


def weights_of(network: Any) -> Arrays:
    """A copy of the weights of a network of `respect_tf.training`.

    Raises:
        ArgumentError: It is another model.
    """
    try:
        weights: Arrays = named_weights(network)
    except (ValueError, AttributeError) as error:
        raise ArgumentError(_OTHER_MODEL.format(type(network).__name__, error)) from error
    if not weights.keys() >= _NEEDED:
        missing = sorted(_NEEDED - weights.keys())
        raise ArgumentError(_OTHER_MODEL.format(type(network).__name__, f"it lacks {missing}"))
    return weights


def greedy_order_of(weights: Arrays, example: Example) -> Ints:
    """The likeliest order of a graph's ops. int64 [num_ops]."""
    priorities = guide(example.problem, Weights(weights, {})).priorities
    return greedy_order(successors_of(example.op_graph), priorities)


def greedy_costs(weights: Arrays, examples: Sequence[Example]) -> Floats:
    """Costs of the likeliest orders, against the label's cost or that of the file's order.

    Returns:
        float64 [num_examples].
    """
    return np.array(
        [
            example.cost(greedy_order_of(weights, example)) / example.reference
            for example in examples
        ]
    )
