"""The schedulers of the policy beside exact ones, on held-out graphs and the ten models.

Run one section by name: `python -m benchmarks policy random` (`models`, `structured`, `milp`,
`proposals`). What HiGHS finds is kept in `benchmarks/data/policy_milp.json`, so that new weights
are measured in minutes; `python -m benchmarks._policy_suite 0 2` and `1 2`, side by side, make that
file anew where it is missing.
"""

from __future__ import annotations

import functools
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks._models import TEN_MODELS, int8_model
from benchmarks._policy_rivals import PROPOSAL_NOTES, rival_rows, rivals
from benchmarks._policy_suite import (
    LAYER_BYTES,
    MILP_SECONDS,
    RANDOM_BYTES,
    RANDOM_SIZES,
    STRUCTURED_FAMILIES,
    STRUCTURED_SIZES,
    Instance,
    best_known,
    held_out_structured,
    least_seconds,
    milp_note,
    random_instances,
    solve_milp,
    structured_instances,
    timed_random_instances,
)
from benchmarks._tables import (
    PAGE,
    RESULTS,
    environment,
    markdown,
    update_page,
    write_results,
)
from respect_tf import OpGraph, schedule
from respect_tf.scheduling import Schedule, check_schedule
from respect_tf.scheduling._orders import ORDER_NAMES, orders_by_name
from respect_tf.scheduling._problem import Problem, build_problem
from respect_tf.scheduling._search_rounds import Rounds

Row = dict[str, Any]

# Beyond this part of them, two costs count as different: HiGHS is no more precise.
_SAME = 1e-6
_LARGE = 200  # ops
_POLICY_SECONDS = 1.0
# Random graphs of each size that "policy+milp" is tried on.
_NUM_COMBINED = {50: 24, 100: 12}


def main() -> None:
    """Run the sections that the command line names, or all."""
    chosen = [name for name in sys.argv[1:] if name in SECTIONS] or list(SECTIONS)
    for name in chosen:
        title, make_rows, notes = SECTIONS[name]
        if name in ("random", "structured", "milp"):
            notes += milp_note()
        write_results(f"policy_{name}", title, list(make_rows()), notes)
    results = {name: RESULTS / f"policy_{name}.json" for name in SECTIONS}
    if all(path.exists() for path in results.values()) and "<!-- policy -->" in PAGE.read_text():
        found = {name: json.loads(path.read_text()) for name, path in results.items()}
        update_page("policy", _summary(found))


def _summary(found: dict[str, list[Row]]) -> str:
    """What `docs/measured.md` says: the tables without their details."""
    names = ("random", "structured", "milp", "proposals")
    tables = [
        f"{SECTIONS[name][0]} ([policy_{name}.md](../benchmarks/results/policy_{name}.md)):\n\n"
        + markdown([row for row in found[name] if row.get("family", "all") == "all"])
        for name in names
    ]
    models = found["models"]
    equal = sum(row["optimal"] for row in models)
    graphs = sum(row["schedules"] for row in models)
    slowest = max(row["slowest s"] for row in models)
    return (
        f'On the ten models, "policy" finds the proved optimum in {equal} of {graphs} cases, in at '
        f"most {slowest:.2g} s ([policy_models.md](../benchmarks/results/policy_models.md)).\n\n"
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
    orders = {name: _cut(problem, order) for name, order in orders_by_name(problem).items()}
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


def proposal_rows() -> Iterator[Row]:
    """The policy in one pass beside its rivals; a row for random and for structured graphs."""
    random = [
        instance
        for num_ops in RANDOM_SIZES
        for kind in (RANDOM_BYTES, LAYER_BYTES)
        for instance in random_instances(kind, num_ops)
    ]
    sections = {"random, 30-100": random, "structured, 50-1000": held_out_structured()}
    for name, instances in sections.items():
        found = [rivals(instance) for instance in instances]
        yield from rival_rows(name, found)


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
    "proposals": (
        "One pass: what the policy proposes, beside its rivals",
        proposal_rows,
        PROPOSAL_NOTES,
    ),
}


if __name__ == "__main__":
    main()
