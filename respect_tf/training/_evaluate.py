"""How good the network's orders are, beside others, each cut as well as it can be cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from respect_tf.policy._weights import Weights
from respect_tf.scheduling._guide import guide
from respect_tf.scheduling._orders import ORDER_NAMES, structural_orders
from respect_tf.scheduling._problem import build_problem
from respect_tf.scheduling._rollout import sample_orders, successors_of
from respect_tf.scheduling._search import search
from respect_tf.training._labels import Label, LabelTask
from respect_tf.training._reward import SlicedCost

FILE, GREEDY, SAMPLES, RANDOM, STRUCTURAL, SEARCH = (
    "file",
    "policy-greedy",
    "policy samples",
    "random samples",
    "best structural",
    "search",
)


@dataclasses.dataclass(frozen=True)
class OrderCosts:
    """Costs of the best cuts of several orders of one graph.

    Attributes:
        task: The graph, and what is asked about it.
        costs: By the name of the order: `"file"`, `"policy-greedy"`, the structural orders, and
            the cheapest of several: `"policy samples"`, `"random samples"`, `"best structural"`;
            and `"search"`, if that was asked for.
        reference: The least cost known: the label's, or else the least of `costs`.
    """

    task: LabelTask
    costs: dict[str, float]
    reference: float


def evaluate(
    tasks: Sequence[LabelTask | Label],
    weights: Weights | None = None,
    *,
    num_samples: int = 16,
    seed: int = 0,
    search_seconds: float | None = None,
) -> list[OrderCosts]:
    """Cut the network's orders and others.

    Args:
        tasks: Graphs, with labels or without.
        weights: The network; the shipped one if left out.
        num_samples: How many samples the cheapest is of.
        seed: Of the samples.
        search_seconds: How long to search for each graph's schedule; no search if left out.

    Raises:
        PolicyFileError: The weights are missing or damaged.
    """
    return [_order_costs(task, weights, num_samples, seed, search_seconds) for task in tasks]


def _order_costs(
    given: LabelTask | Label,
    weights: Weights | None,
    num_samples: int,
    seed: int,
    search_seconds: float | None,
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
    if search_seconds is not None:
        found = search(
            graph, task.num_stages, objective=task.objective, time_limit=search_seconds, seed=seed
        )
        costs[SEARCH] = float(found.cost if found.cost is not None else costs[STRUCTURAL])
    known = given.cost if isinstance(given, Label) else min(costs.values())
    return OrderCosts(task, costs, known)


def ratio_to_file(found: Sequence[OrderCosts], name: str) -> float:
    """Geometric mean of the cost of an order against that of the file's."""
    # A structural order that equals one before it is not listed twice; the file's comes first.
    ratios = [one.costs.get(name, one.costs[FILE]) / (one.costs[FILE] or 1) for one in found]
    return float(np.exp(np.mean(np.log(ratios))))


def gaps(found: Sequence[OrderCosts], name: str) -> tuple[float, float]:
    """Mean and largest of cost / least cost known - 1."""
    values = [one.costs[name] / one.reference - 1 for one in found if one.reference]
    return float(np.mean(values)), float(np.max(values))


def best_single_order(found: Sequence[OrderCosts]) -> str:
    """The structural order that is best in the geometric mean."""
    return min(ORDER_NAMES, key=lambda name: ratio_to_file(found, name))


def evaluation_rows(found: Sequence[OrderCosts]) -> list[dict[str, str | int | float]]:
    """A row per family and one of all, with geometric means against the file's order.

    Columns: `"family"`, `"graphs"`, `"policy-greedy"`, `"best single"` (the structural order that
    is best for the row's graphs) and its name `"order"`, `"best structural"`, `"policy samples"`,
    `"random samples"`, `"search"` if there was one; then the mean and the largest gap to the least
    cost known, `"greedy gap"`, `"greedy worst"`, `"file gap"`, `"file worst"`.
    """
    families = sorted({one.task.family for one in found})
    parts = [(family, [one for one in found if one.task.family == family]) for family in families]
    rows = []
    for name, part in [*parts, ("all", list(found))]:
        single = best_single_order(part)
        row: dict[str, str | int | float] = {"family": name, "graphs": len(part)}
        row[GREEDY] = ratio_to_file(part, GREEDY)
        row["best single"], row["order"] = ratio_to_file(part, single), single
        for kind in (STRUCTURAL, SAMPLES, RANDOM, SEARCH):
            if all(kind in one.costs for one in part):
                row[kind] = ratio_to_file(part, kind)
        row["greedy gap"], row["greedy worst"] = gaps(part, GREEDY)
        row["file gap"], row["file worst"] = gaps(part, FILE)
        rows.append(row)
    return rows
