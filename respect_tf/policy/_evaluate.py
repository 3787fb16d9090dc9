"""How good the network's orders are, beside others, each cut as well as it can be cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from respect_tf.policy._guide import guide
from respect_tf.policy._labels import Label, LabelTask
from respect_tf.policy._orders import structural_orders
from respect_tf.policy._reward import SlicedCost
from respect_tf.policy._rollout import sample_orders, successors_of
from respect_tf.policy._weights import Weights
from respect_tf.schedule._problem import build_problem

FILE, GREEDY, SAMPLES, RANDOM, STRUCTURAL = (
    "file",
    "policy-greedy",
    "policy samples",
    "random samples",
    "best structural",
)


@dataclasses.dataclass(frozen=True)
class OrderCosts:
    """Costs of the best cuts of several orders of one graph.

    Attributes:
        task: The graph, and what is asked about it.
        costs: By the name of the order: `"file"`, `"policy-greedy"`, the structural orders, and
            the cheapest of several: `"policy samples"`, `"random samples"`, `"best structural"`.
        reference: The label's cost; `None` without one.
    """

    task: LabelTask
    costs: dict[str, float]
    reference: float | None = None


def evaluate(
    tasks: Sequence[LabelTask | Label],
    weights: Weights | None = None,
    *,
    num_samples: int = 16,
    seed: int = 0,
) -> list[OrderCosts]:
    """Cut the network's orders and others.

    Args:
        tasks: Graphs, with labels or without.
        weights: The network; the shipped one if left out.
        num_samples: How many samples the cheapest is of.
        seed: Of the samples.

    Raises:
        PolicyFileError: The weights are missing or damaged.
    """
    return [_order_costs(task, weights, num_samples, seed) for task in tasks]


def _order_costs(
    given: LabelTask | Label, weights: Weights | None, num_samples: int, seed: int
) -> OrderCosts:
    task = given.task if isinstance(given, Label) else given
    graph = task.graph()
    problem = build_problem(graph, task.num_stages, task.objective, None)
    cost = SlicedCost(problem)
    guidance = guide(problem, weights)
    drawn = sample_orders(successors_of(graph), np.zeros(graph.num_ops), num_samples, seed)
    costs = {name: cost(order) for name, order in structural_orders(problem).items()}
    costs[STRUCTURAL] = min(costs.values())
    costs[GREEDY] = cost(guidance.greedy_order())
    costs[SAMPLES] = min(map(cost, guidance.sample_orders(num_samples, seed)))
    costs[RANDOM] = min(map(cost, drawn))
    return OrderCosts(task, costs, given.cost if isinstance(given, Label) else None)


def ratio_to_file(found: Sequence[OrderCosts], name: str) -> float:
    """Geometric mean of the cost of an order against that of the file's."""
    # A structural order that equals one before it is not listed twice; the file's comes first.
    ratios = [one.costs.get(name, one.costs[FILE]) / one.costs[FILE] for one in found]
    return float(np.exp(np.mean(np.log(ratios))))


def gaps(found: Sequence[OrderCosts], name: str) -> tuple[float, float]:
    """Mean and largest of cost / label's cost - 1, where there are labels."""
    values = [one.costs[name] / one.reference - 1 for one in found if one.reference]
    return float(np.mean(values)), float(np.max(values))
