"""How good the network's proposal is, beside its rivals; each order is cut as well as can be."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.graph import Ints, ready_orders
from respect_tf.policy import GraphView, Weights, propose
from respect_tf.scheduling import search
from respect_tf.training._labels import Example, Label, LabelTask, example_of

FILE, RULE, STRUCTURAL = "file", "rule", "structural"
NOISE, PROPOSAL, SEARCH = "noise", "proposal", "search"

Floats = npt.NDArray[np.float64]

# How far noise moves ops in the rule's order, as a part of the whole order. Of 0.03 to 0.5, the
# best one for 32 to 100 orders, on 144 random and 112 structured graphs.
# benchmarks constants: half +0.21 % cost; twice +0.09 % cost.
_NOISE = 0.3


@dataclasses.dataclass(frozen=True)
class OrderCosts:
    """Costs of the best cuts of several orders of one graph.

    They are by name. `"file"`: of the file's order. `"rule"`: of the structural order with the best
    quick cut. `"structural"`: of the best of all structural orders. `"noise"`: of the best of the
    rule's order and noisy copies of it. `"proposal"`: of the best of the network's orders, the
    rule's among them. `"search"`, if that was asked for.
    """

    task: LabelTask
    costs: dict[str, float]
    reference: float  # the least cost known: the label's, or else the least of `costs`


def evaluate(
    tasks: Sequence[LabelTask | Label],
    weights: Weights | None = None,
    *,
    num_noisy: int = 64,
    seed: int = 0,
    search_seconds: float | None = None,
) -> list[OrderCosts]:
    """Cut the network's orders and others.

    Args:
        tasks: Graphs, with labels or without.
        weights: The network; the shipped one if left out.
        num_noisy: How many noisy copies of the rule's order there are: 64 take about as long as
            the policy.
        seed: Of the noise.
        search_seconds: How long to search for each graph's schedule; no search if left out.

    Raises:
        PolicyFileError: The weights are missing or damaged.
    """
    found = []
    for given in tasks:
        example = example_of(given)
        graph, task, view = example.graph, example.task, example.view
        costs = {
            FILE: example.cuts.cost(graph.topological_order),
            RULE: example.rule_cost,
            STRUCTURAL: least_cost(example, view.features.orders),
            NOISE: least_cost(example, noisy_orders(view, num_noisy, seed)),
            PROPOSAL: least_cost(example, _proposed_by(example, weights)),
        }
        if search_seconds is not None:
            limits: Any = {"time_limit": search_seconds, "seed": seed}
            best = search(graph, task.num_stages, objective=task.objective, **limits)
            costs[SEARCH] = float(best.cost if best.cost is not None else costs[PROPOSAL])
        known = given.cost if isinstance(given, Label) else min(costs.values())
        found.append(OrderCosts(task, costs, known))
    return found


def proposal_costs(weights: Weights, examples: Sequence[Example]) -> Floats:
    """What the proposals cost, relative to the examples' references. float64 [num_examples]."""
    return np.array(
        [least_cost(one, _proposed_by(one, weights)) / one.reference for one in examples]
    )


def _proposed_by(example: Example, weights: Weights | None) -> npt.NDArray[np.int32]:
    cuts = example.cuts
    costs: Any = {"op_costs": cuts.op_costs, "transfer_cost": cuts.transfer_cost}
    return propose(example.graph, example.task.num_stages, weights=weights, **costs)


def noisy_orders(view: GraphView, count: int, seed: int) -> Ints:
    """The rival that needs no network: the rule's order with noise. int64 [count, num_ops]."""
    num_ops = len(view.rule)
    ranks = np.argsort(view.rule) / num_ops
    draws = np.random.default_rng(seed).standard_normal((count, num_ops))
    links = view.features.links
    return ready_orders(links.after, links.waiting, ranks + _NOISE * draws)


def least_cost(example: Example, orders: Iterable[npt.NDArray[Any]]) -> float:
    """The least cost of the orders' best cuts and the rule's, each with the best as the limit."""
    best = example.rule_cost
    for order in orders:
        best = min(best, example.cuts.cost(order, best))
    return best


def gaps(found: Sequence[OrderCosts], name: str) -> tuple[float, float]:
    """Mean and largest of cost / least cost known - 1."""
    values = [one.costs[name] / one.reference - 1 for one in found if one.reference]
    return float(np.mean(values)), float(np.max(values))


def evaluation_rows(found: Sequence[OrderCosts]) -> list[dict[str, str | int | float]]:
    """A row per family and one of all: mean gaps to the least cost known, by the names of costs.

    Before them `"family"` and `"graphs"`, and behind them the proposal's largest gap, `"proposal
    worst"`.
    """
    families = sorted({one.task.family for one in found})
    parts = [(family, [one for one in found if one.task.family == family]) for family in families]
    rows = []
    for name, part in [*parts, ("all", list(found))]:
        row: dict[str, str | int | float] = {"family": name, "graphs": len(part)}
        row |= {kind: gaps(part, kind)[0] for kind in part[0].costs}
        row["proposal worst"] = gaps(part, PROPOSAL)[1]
        rows.append(row)
    return rows
