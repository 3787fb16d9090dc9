"""The schedulers of the policy beside exact ones, on held-out graphs and the ten models.

Run one section by name: `python -m benchmarks.policy random` (`models`, `structured`, `milp`,
`network`, `orders`). What HiGHS finds is kept in `.cache/milp`, so that new weights are measured in
minutes; `python -m benchmarks._policy_suite 0 2` and `1 2` fill it, side by side.
"""

from __future__ import annotations

import functools
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from respect_tf.scheduling._guide import guide

from benchmarks._models import TEN_MODELS, int8_model
from benchmarks._policy_suite import (
    LAYER_BYTES,
    MILP_SECONDS,
    RANDOM_BYTES,
    RANDOM_SIZES,
    STRUCTURED_FAMILIES,
    STRUCTURED_SIZES,
    Instance,
    best_known,
    least_seconds,
    random_instances,
    solve_milp,
    structured_instances,
    timed_random_instances,
)
from benchmarks._tables import (
    README,
    RESULTS,
    environment,
    markdown,
    update_readme,
    write_results,
)
from respect_tf import OpGraph, schedule
from respect_tf.scheduling import Schedule, check_schedule
from respect_tf.scheduling._orders import ORDER_NAMES, priority_order, structural_order
from respect_tf.scheduling._problem import Problem, build_problem
from respect_tf.scheduling._schedulers import advise
from respect_tf.scheduling._search import search_problem, warm_up
from respect_tf.scheduling._search_rounds import Rounds

Row = dict[str, Any]

# Beyond this part of them, two costs count as different: HiGHS is no more precise.
_SAME = 1e-6
_LARGE = 200  # ops
_POLICY_SECONDS = 1.0
_NUM_SAMPLES = 16
# Random graphs of each size that "policy+milp" is tried on.
_NUM_COMBINED = {50: 24, 100: 12}
# Seconds in which a search is compared with and without the network.
_SHORT = (0.05, 0.2)
# Or moves per op.
_BUDGET = 300


def main() -> None:
    """Run the sections that the command line names, or all."""
    chosen = [name for name in sys.argv[1:] if name in SECTIONS] or list(SECTIONS)
    warm_up()
    for name in chosen:
        title, make_rows, notes = SECTIONS[name]
        write_results(f"policy_{name}", title, list(make_rows()), notes)
    results = {name: RESULTS / f"policy_{name}.json" for name in SECTIONS}
    if all(path.exists() for path in results.values()) and "<!-- policy -->" in README.read_text():
        found = {name: json.loads(path.read_text()) for name, path in results.items()}
        update_readme("policy", _summary(found))


def _summary(found: dict[str, list[Row]]) -> str:
    """What the README says: the tables without their details."""
    names = ("random", "structured", "milp", "network")
    tables = [
        f"{SECTIONS[name][0]} ([policy_{name}.md](benchmarks/results/policy_{name}.md)):\n\n"
        + markdown([row for row in found[name] if row.get("family", "all") == "all"])
        for name in names
    ]
    models = found["models"]
    equal = sum(row["optimal"] for row in models)
    graphs = sum(row["schedules"] for row in models)
    slowest = max(row["slowest s"] for row in models)
    return (
        f'On the ten models, "policy" finds the proved optimum in {equal} of {graphs} cases, in at '
        f"most {slowest:.2g} s ([policy_models.md](benchmarks/results/policy_models.md)).\n\n"
        + "\n\n".join(tables)
        + f"\n\n{environment()}"
    )


def models_rows() -> Iterator[Row]:
    """The ten models, 4, 5 and 6 stages."""
    for name in TEN_MODELS:
        graph = OpGraph.from_tflite(int8_model(name))
        for objective in ("memory", "throughput"):
            optimal, seconds, gaps = 0, [], []
            for num_stages in (4, 5, 6):
                exact = schedule(graph, num_stages, "exact", objective=objective)
                found, taken = least_seconds(
                    functools.partial(schedule, graph, num_stages, "policy", objective=objective), 3
                )
                greedy = schedule(graph, num_stages, "policy-greedy", objective=objective)
                optimal += exact.status == "optimal" and found.cost == exact.cost
                seconds.append(taken)
                gaps.append(_percent(greedy.cost, exact.cost))
            yield {
                "model": name,
                "objective": objective,
                "schedules": len(gaps),
                "optimal": optimal,
                "slowest s": max(seconds),
                "policy-greedy, mean %": statistics.mean(gaps),
                "policy-greedy, worst %": max(gaps),
            }


def random_rows() -> Iterator[Row]:
    """Random DAGs, one row per size and kind of bytes, and one per size for both kinds."""
    for num_ops in RANDOM_SIZES:
        both: list[Row] = []
        for kind in (RANDOM_BYTES, LAYER_BYTES):
            timed = set(timed_random_instances(kind, num_ops))
            rows = [_random_result(one, one in timed) for one in random_instances(kind, num_ops)]
            both += rows
            yield {"bytes": kind, "ops": num_ops, **_random_summary(rows)}
        yield {"bytes": "both", "ops": num_ops, **_random_summary(both)}


def _random_result(instance: Instance, is_timed: bool) -> Row:
    costs = {"file": _solve(instance, "slicing").cost}
    costs["policy-greedy"] = _solve(instance, "policy-greedy").cost
    found, taken = _timed(instance, "policy")
    costs["policy"] = found.cost
    exact = solve_milp(instance) if is_timed else None
    best = min(best_known(instance), *costs.values(), exact.cost if exact else math.inf)
    return {
        "gaps": {name: _percent(cost, best) for name, cost in costs.items()},
        "proved": found.status == "optimal",
        "seconds": taken,
        "milp": exact.seconds if exact else None,
    }


def _random_summary(rows: Sequence[Row]) -> Row:
    timed = [row for row in rows if row["milp"] is not None]
    milp = statistics.median(row["milp"] for row in timed)
    seconds = statistics.median(row["seconds"] for row in rows)
    return {
        "graphs": len(rows),
        **{
            f"{name}, mean / worst %": _mean_worst([row["gaps"][name] for row in rows])
            for name in ("file", "policy-greedy", "policy")
        },
        "proved": sum(row["proved"] for row in rows),
        "policy ms": 1000 * seconds,
        "MILP s": milp,
        "MILP / policy": milp / seconds,
        "largest": max(row["milp"] / row["seconds"] for row in timed),
    }


def structured_rows() -> Iterator[Row]:
    """Structured families, one row per family and one for all, for small and large graphs."""
    for sizes in ([n for n in STRUCTURED_SIZES if n < _LARGE], STRUCTURED_SIZES[1:]):
        results: dict[str, list[Row]] = {family: [] for family in STRUCTURED_FAMILIES}
        for num_ops in sizes:
            for instance in structured_instances(num_ops):
                results[instance.family].append(_compare(instance))
        every = [result for rows in results.values() for result in rows]
        for family, rows in (*results.items(), ("all", every)):
            ops = f"{min(sizes)}-{max(sizes)}" if len(sizes) > 1 else f"{sizes[0]}"
            yield {"family": family, "ops": ops, **_structured_summary(rows)}


def _compare(instance: Instance) -> Row:
    problem = build_problem(instance.graph(), instance.num_stages, instance.objective)
    found, taken = least_seconds(
        lambda: _solve(instance, "policy", time_limit=_POLICY_SECONDS), repeats=1
    )
    quick, quick_seconds = _timed(instance, "policy")
    milp = solve_milp(instance)
    orders = {name: _cut(problem, structural_order(problem, name)) for name in ORDER_NAMES}
    return {
        "orders": orders,
        "greedy": _solve(instance, "policy-greedy").cost,
        "policy": found.cost,
        "quick": quick.cost,
        "quick s": quick_seconds,
        "s": taken,
        "milp": milp,
        "proved": found.status == "optimal",
    }


def _structured_summary(rows: Sequence[Row]) -> Row:
    changes = [row["policy"] / row["milp"].cost - 1 for row in rows]
    quick = [row["quick"] / row["milp"].cost - 1 for row in rows]
    orders = {name: _geometric([row["orders"][name] for row in rows]) for name in ORDER_NAMES}
    greedy = _geometric([row["greedy"] for row in rows])
    known = _geometric([min(row["policy"], row["quick"], row["milp"].cost) for row in rows])
    best = min(orders, key=orders.__getitem__)
    ties = [row["milp"].is_proved for row, x in zip(rows, changes, strict=True) if abs(x) <= _SAME]
    return {
        "graphs": len(rows),
        "better": sum(x < -_SAME for x in changes),
        "same, MILP proved": sum(ties),
        "same": len(ties) - sum(ties),
        "worse": sum(x > _SAME for x in changes),
        "proved, policy": sum(row["proved"] for row in rows),
        "worst %": 100 * max(0.0, *changes),
        "mean %": 100 * statistics.mean(changes),
        "no limit: worst %": 100 * max(0.0, *quick),
        "no limit: s": statistics.median(row["quick s"] for row in rows),
        "MILP s": statistics.median(row["milp"].seconds for row in rows),
        "largest MILP / policy": max(row["milp"].seconds / row["quick s"] for row in rows),
        "policy-greedy against file %": 100 * (greedy / orders["file"] - 1),
        "best order": f"{best} {100 * (orders[best] / orders['file'] - 1):+.1f} %",
        "best known against file %": 100 * (known / orders["file"] - 1),
    }


def milp_rows() -> Iterator[Row]:
    """`"policy+milp"` beside the plain integer program."""
    for kind in (RANDOM_BYTES, LAYER_BYTES):
        for num_ops, count in _NUM_COMBINED.items():
            ratios, gaps, seconds = [], [], []
            for instance in timed_random_instances(kind, num_ops)[:count]:
                plain = solve_milp(instance)
                found, taken = least_seconds(lambda i=instance: _solve(i, "policy+milp"), 1)
                ratios.append(plain.seconds / taken)
                gaps.append(found.cost / plain.cost - 1)
                seconds.append(taken)
            yield {
                "bytes": kind,
                "ops": num_ops,
                "graphs": len(gaps),
                "as good": sum(gap <= _SAME for gap in gaps),
                "better": sum(gap < -_SAME for gap in gaps),
                "worst %": 100 * max(0.0, *gaps),
                "median s": statistics.median(seconds),
                "times as fast, median": statistics.median(ratios),
                "largest": max(ratios),
            }


def network_rows() -> Iterator[Row]:
    """The same search in the same time, with and without the network."""
    results: dict[str, list[Row]] = {}
    for num_ops in STRUCTURED_SIZES:
        for instance in structured_instances(num_ops):
            problem = build_problem(instance.graph(), instance.num_stages, instance.objective)
            costs = {
                (limit, is_guided): _searched(problem, limit, is_guided)
                for limit in (*_SHORT, None)
                for is_guided in (True, False)
            }
            results.setdefault(instance.family, []).append(costs)
    every = [costs for rows in results.values() for costs in rows]
    for family, rows in (*results.items(), ("all", every)):
        row: Row = {"family": family, "graphs": len(rows)}
        for limit in (*_SHORT, None):
            what = "same moves" if limit is None else f"{limit:g} s"
            changes = [costs[limit, True] / costs[limit, False] - 1 for costs in rows]
            row[f"{what}: mean %"] = 100 * (_geometric([1 + x for x in changes]) - 1)
            row[f"{what}: better, worse"] = (
                f"{sum(x < -_SAME for x in changes)}, {sum(x > _SAME for x in changes)}"
            )
        gains = [costs[_SHORT[0], True] / costs[_SHORT[1], False] - 1 for costs in rows]
        row[f"with it {_SHORT[0]:g} s against without {_SHORT[1]:g} s: mean %"] = 100 * (
            _geometric([1 + x for x in gains]) - 1
        )
        yield row


def _searched(problem: Problem, seconds: float | None, is_guided: bool) -> float:
    deadline = math.inf if seconds is None else time.perf_counter() + seconds
    advice = functools.partial(advise, problem, 0) if is_guided else None
    return search_problem(problem, advice=advice, budget=_BUDGET, deadline=deadline).chain.cost


def orders_rows() -> Iterator[Row]:
    """Each order alone, cut as well as it can be cut."""
    results: dict[str, list[dict[str, float]]] = {}
    instances = [i for n in STRUCTURED_SIZES for i in structured_instances(n)]
    for kind in (RANDOM_BYTES, LAYER_BYTES):
        for num_ops in RANDOM_SIZES[1:]:
            instances += random_instances(kind, num_ops)[:24]
    for instance in instances:
        problem = build_problem(instance.graph(), instance.num_stages, instance.objective)
        guidance = guide(problem)
        costs = {name: _cut(problem, structural_order(problem, name)) for name in ORDER_NAMES}
        costs["network"] = _cut(problem, guidance.greedy_order())
        samples = guidance.sample_orders(_NUM_SAMPLES, 0)
        costs[f"network, best of {_NUM_SAMPLES}"] = min(_cut(problem, one) for one in samples)
        draw = np.random.default_rng(0).random((_NUM_SAMPLES, problem.num_items))
        costs[f"random, best of {_NUM_SAMPLES}"] = min(
            _cut(problem, priority_order(problem, row)) for row in draw
        )
        results.setdefault(instance.family, []).append(costs)
    every = [costs for rows in results.values() for costs in rows]
    for family, rows in (*results.items(), ("all", every)):
        file = _geometric([costs["file"] for costs in rows])
        yield {
            "family": family,
            "graphs": len(rows),
            **{
                f"{name} %": 100 * (_geometric([costs[name] for costs in rows]) / file - 1)
                for name in rows[0]
                if name != "file"
            },
        }


def _solve(instance: Instance, scheduler: str, **options: Any) -> Schedule:
    graph = instance.graph()
    found = schedule(graph, instance.num_stages, scheduler, objective=instance.objective, **options)
    check_schedule(graph, found, instance.objective)
    return found


def _timed(instance: Instance, scheduler: str) -> tuple[Schedule, float]:
    graph = instance.graph()
    return least_seconds(
        lambda: schedule(graph, instance.num_stages, scheduler, objective=instance.objective)
    )


def _cut(problem: Problem, order: np.ndarray) -> float:
    rounds = Rounds(problem, 0)
    rounds.add_orders([order], math.inf)
    return rounds.best.cost


def _percent(cost: float, best: float) -> float:
    return 100 * (cost / best - 1) if best else 0.0


def _mean_worst(gaps: Sequence[float]) -> str:
    return f"{statistics.mean(gaps):.2f} / {max(gaps):.1f}"


def _geometric(values: Sequence[float]) -> float:
    return math.exp(statistics.mean(math.log(value or 1.0) for value in values))


_TIMES = """
Times are wall times of single graphs, from `OpGraph` to checked schedule, or the processor's where
these are less, after the compiled code was loaded; the lesser of two runs.
"""

SECTIONS: dict[str, tuple[str, Callable[[], Iterator[Row]], str]] = {
    "models": (
        "The ten models: the policy against the proved optimum, K = 4, 5, 6",
        models_rows,
        f'"optimal" counts schedules of "policy" whose cost is proved to be the least.\n{_TIMES}',
    ),
    "random": (
        "Random DAGs: gaps to the best schedule known",
        random_rows,
        'In-degree 2-6, K = 3, 4, 6, communication weight 0 and 1. "file" is the best cut of the '
        f'file\'s order. "MILP s" is the median for the plain program, at most {MILP_SECONDS:g} s, '
        'on the first of the graphs; "largest" is the largest ratio of its time to that of '
        f'"policy" on one graph.\n{_TIMES}',
    ),
    "structured": (
        f"Structured families: the policy within {_POLICY_SECONDS:g} s against HiGHS within "
        f"{MILP_SECONDS:g} s",
        structured_rows,
        'K = 4, 8 and communication weight 0, 1 by turns. "same, MILP proved" are graphs whose '
        'optimum HiGHS proved, where nobody can be better. "no limit" is the policy without a time '
        "limit. No order can be further below the file's order than the best schedule known, the "
        f"last column.\n{_TIMES}",
    ),
    "milp": (
        '"policy+milp" against the plain integer program',
        milp_rows,
        f"The graphs of the table of random DAGs. Costs within {_SAME:g} of each other are as "
        f"good.\n{_TIMES}",
    ),
    "network": (
        "The same search in the same time, with the network against without it",
        network_rows,
        "Geometric means of the cost with the network by that without it: less than 0 is better "
        f"with it. The network's own time counts, but for the {_BUDGET} moves per op without "
        "a time limit.",
    ),
    "orders": (
        "Each order alone, against the file's order",
        orders_rows,
        "Geometric means of costs, each order cut as well as it can be cut, against the file's "
        'order. "mass" and "critical_path" are the hand-made priorities.',
    ),
}


if __name__ == "__main__":
    main()
