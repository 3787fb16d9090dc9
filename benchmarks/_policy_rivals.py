"""What the policy proposes in one pass, and its rivals in the same time, on held-out graphs."""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks._policy_suite import Instance, best_known
from respect_tf.graph import ORDERS, graph_features, links_of, quick_cuts, structural_orders
from respect_tf.policy import GraphView, propose, refined_orders, view_of
from respect_tf.scheduling._chain import Chain
from respect_tf.scheduling._compiled_search import cut_order
from respect_tf.scheduling._problem import build_problem
from respect_tf.scheduling._search_rounds import Rounds
from respect_tf.training import noisy_orders

Row = dict[str, Any]

FILE, RULE, STRUCTURAL, NOISE, REFINED, PROPOSAL = (
    *("file order", "rule", "structural", "noise", "no network", "policy"),
)
SAME_TIME = "rule, same time"
# Moves per op after the best cut of each.
_MOVES = 10
_REPEATS = 3
_TIMED_OPS = 500
_BATCH = 16  # noisy orders that are made at a time
_MOST_NOISY = 400
_MOST_REFINED = 4000
_SAME = 1e-4  # %
_WORK = 100_000  # intervals, to begin with, of the refinement that has no network

PROPOSAL_NOTES = f"""
Gaps to the best schedule known (a search of 300 moves per op, or what else was found), mean and in
brackets the worst, in %; the last lines are the mean gap as a part of the rule's. "file order": its
best cut. "rule": the structural order with the best quick cut.
"structural": the best of all {len(ORDERS)} structural orders, each cut as well as it can be cut.
"noise": the best of the rule's order and as many random-priority copies of it, normally distributed
by three tenths of the order, as fit into the policy's own time on that graph, after the structural
orders, their quick cuts and the rule's best cut; "noisy orders" says how many that were in the
median. "no network": the policy's own refinement after the structural orders, as many orders as fit
into the same time. "policy": the first order that `propose` returns. "+ {_MOVES}" are {_MOVES}
moves per op (the search's first round) after that; "rule, same time" has as many moves after the
rule's cut as fit into the time of the policy and its {_MOVES} moves. Columns with a minus are mean
differences of gaps with their 95 % intervals, over pairs of one graph, and on how many graphs the
first and the second one costs less. Times are processor times of graphs of 500 ops, or of all
random ones, the least of {_REPEATS}: other work went on beside.
"""


@dataclasses.dataclass(frozen=True)
class Rivals:
    """What was found on one graph.

    Attributes:
        gaps: % above the best schedule known, by the name of the rival, and of it and some moves.
        seconds: What the policy takes: features, network and cuts.
        propose_seconds: Of these, `propose` alone.
        num_noisy: Noisy orders in the same time.
        num_ops: Number of ops.
    """

    gaps: dict[str, float]
    seconds: float
    propose_seconds: float
    num_noisy: int
    num_ops: int


def rivals(instance: Instance) -> Rivals:
    """Run them all on one graph."""
    graph, num_stages = instance.graph(), instance.num_stages
    problem = build_problem(graph, num_stages, instance.objective)
    costs = {
        "op_costs": np.asarray(problem.linear.op_costs, np.float64),
        "transfer_cost": float(problem.linear.enter + problem.linear.leave),
    }

    def cut(orders: Sequence[Any], best: Chain | None = None, limit: float = math.inf) -> Chain:
        for order in orders:
            items = problem.item_of[order]
            chain = cut_order(problem, items, limit if best is None else best.cost)
            if chain is not None and (best is None or chain.cost < best.cost):
                best = chain
        return cut(orders) if best is None else best

    def rule_only() -> GraphView:
        """What the rule needs: edges, structural orders and their quick cuts."""
        links = links_of(graph.edges, graph.num_ops)
        num_bytes = graph.activation_bytes.astype(np.float64)
        structural_orders(links, costs["op_costs"], num_bytes, num_stages)
        return view_of(seen.features, num_stages)

    def moved(chain: Chain, num_moves: int) -> Chain:
        search = Rounds(problem, seed=0)
        search.add(chain)
        search.run_round(num_moves)
        return search.best

    def refined(work: int) -> Any:
        return refined_orders(seen.features, seen.rule[None], num_stages, _MOST_REFINED, work)

    seen = view_of(graph_features(graph, num_stages, **costs), num_stages)
    # What a quick cut costs is a limit that spares the first cut most of its work, for everybody.
    quick = (1 + 1e-9) * float(
        quick_cuts(
            seen.rule[None],
            seen.features.links.after,
            seen.features.costs,
            seen.features.transfers,
            min(num_stages, graph.num_ops),
        )[0, 1]
    )
    propose_seconds, orders = _timed(lambda: propose(graph, num_stages, max_orders=1, **costs))
    cut_seconds, policy = _timed(lambda: cut(orders, limit=quick))
    seconds = propose_seconds + cut_seconds
    # All rivals begin with the rule's order and its best cut.
    rule_seconds, rule = _timed(lambda: cut([seen.rule], limit=quick))
    left = seconds - rule_seconds - _timed(rule_only)[0]
    noise, num_noisy = _in_time(seen, rule, cut, left)
    work = _WORK
    for _ in range(2):
        refined_seconds, (tried, tried_costs) = _timed(functools.partial(refined, work))
        work = max(1, int(work * left / refined_seconds))
    found = {
        FILE: cut([graph.topological_order]),
        RULE: rule,
        STRUCTURAL: cut(seen.features.orders),
        NOISE: noise,
        REFINED: cut([tried[np.argmin(tried_costs)]], rule),
        PROPOSAL: policy,
    }
    num_moves = _MOVES * graph.num_ops
    for name in (RULE, NOISE, REFINED, PROPOSAL):
        moved_seconds, found[f"{name} + {_MOVES}"] = _timed(
            functools.partial(moved, found[name], num_moves)
        )
    more = int(num_moves * left / moved_seconds)
    found[SAME_TIME] = moved(rule, num_moves + more)
    best = min(best_known(instance), *(chain.cost for chain in found.values()))
    gaps = {name: 100 * (chain.cost / best - 1) if best else 0.0 for name, chain in found.items()}
    return Rivals(gaps, seconds, propose_seconds, num_noisy, graph.num_ops)


def _timed(run: Callable[[], Any]) -> tuple[float, Any]:
    least, found = math.inf, None
    for _ in range(_REPEATS):
        begin = time.process_time()
        found = run()
        least = min(least, time.process_time() - begin)
    return least, found


def _in_time(view: GraphView, best: Chain, cut: Any, seconds: float) -> tuple[Chain, int]:
    """The best of the rule's cut and those of as many noisy orders as fit into some time."""
    begin, count = time.process_time(), 0
    while time.process_time() - begin < seconds and count < _MOST_NOISY:
        for order in noisy_orders(view, _BATCH, count):
            if time.process_time() - begin >= seconds:
                break
            best = cut([order], best)
            count += 1
    return best, count


def rival_rows(kind: str, found: Sequence[Rivals]) -> Iterator[Row]:
    """One row of gaps for a kind of graphs, and one of parts of the rule's gap."""
    names = list(found[0].gaps)
    means = {name: statistics.mean(one.gaps[name] for one in found) for name in names}
    worst = {name: max(one.gaps[name] for one in found) for name in names}
    large = [one for one in found if one.num_ops == _TIMED_OPS] or list(found)
    differences = {
        f"{one} - {other}": _difference(found, one, other)
        for one, other in (
            (PROPOSAL, NOISE),
            (PROPOSAL, REFINED),
            (f"{PROPOSAL} + {_MOVES}", SAME_TIME),
            (f"{PROPOSAL} + {_MOVES}", f"{REFINED} + {_MOVES}"),
        )
    }
    yield {
        "graphs": kind,
        "number": len(found),
        **{name: f"{means[name]:.2f} ({worst[name]:.0f})" for name in names},
        **differences,
        "noisy orders": statistics.median(one.num_noisy for one in found),
        "propose ms": f"{1000 * statistics.median(one.propose_seconds for one in large):.1f}",
        "with cuts ms": f"{1000 * statistics.median(one.seconds for one in large):.1f}",
    }
    yield {
        "graphs": "part of the rule's",
        "number": "",
        **{name: f"{100 * means[name] / means[RULE]:.0f} %" for name in names},
        **dict.fromkeys((*differences, "noisy orders", "propose ms", "with cuts ms"), ""),
    }


def _difference(found: Sequence[Rivals], one: str, other: str) -> str:
    """The mean difference of two rivals' gaps, its 95 % interval, and who is better how often."""
    values = [each.gaps[one] - each.gaps[other] for each in found]
    error = 1.96 * statistics.stdev(values) / math.sqrt(len(values))
    better, worse = (sum(sign * value < -_SAME for value in values) for sign in (1, -1))
    return f"{statistics.mean(values):+.2f} ± {error:.2f} ({better} : {worse})"
