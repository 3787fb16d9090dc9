"""Tables of the policy beside HiGHS: random and structured graphs, and `"policy+milp"`."""

from __future__ import annotations

import functools
import json
import math
import statistics
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks._policy_suite import (
    LAYER_BYTES,
    RANDOM_BYTES,
    RANDOM_SIZES,
    STRUCTURED_FAMILIES,
    STRUCTURED_SIZES,
    Instance,
    best_known,
    known_milp,
    least_seconds,
    random_instances,
    structured_instances,
    timed_random_instances,
)
from benchmarks._tables import RESULTS
from respect_tf import schedule
from respect_tf.graph import ORDERS
from respect_tf.scheduling import Schedule, check_schedule
from respect_tf.scheduling._orders import orders_by_name
from respect_tf.scheduling._problem import Problem, build_problem
from respect_tf.scheduling._search_rounds import Rounds

Row = dict[str, Any]

# Beyond this part of them, two costs count as different: HiGHS is no more precise.
SAME = 1e-6
POLICY_SECONDS = 1.0
_LARGE = 200  # ops
# Random graphs of each size that "policy+milp" is tried on.
_NUM_COMBINED = {50: 24, 100: 12}


def random_rows() -> Iterator[Row]:
    """Random DAGs, one row per size and kind of bytes, and one per size for both kinds."""
    for num_ops in RANDOM_SIZES:
        both: list[Row] = []
        for kind in (RANDOM_BYTES, LAYER_BYTES):
            timed = set(timed_random_instances(kind, num_ops))
            rows = [_random_result(one, one in timed) for one in random_instances(kind, num_ops)]
            both += rows
            about = {"bytes": kind, "ops": num_ops}
            yield {**about, **_random_summary(rows, _before("random", about))}
        about = {"bytes": "both", "ops": num_ops}
        yield {**about, **_random_summary(both, _before("random", about))}


def _random_result(instance: Instance, is_timed: bool) -> Row:
    costs = {"file": _solve(instance, "slicing").cost}
    costs["policy-greedy"] = _solve(instance, "policy-greedy").cost
    found, taken = _timed(instance, "policy")
    costs["policy"] = found.cost
    exact = known_milp(instance) if is_timed else None
    best = min(best_known(instance), *costs.values(), exact.cost if exact else math.inf)
    return {
        "gaps": {name: percent(cost, best) for name, cost in costs.items()},
        "proved": found.status == "optimal",
        "seconds": taken,
        "timed": is_timed,
        "milp": exact.seconds if exact else None,
    }


def _random_summary(rows: Sequence[Row], before: Row) -> Row:
    timed = [row for row in rows if row["timed"]]
    seconds = statistics.median(row["seconds"] for row in rows)
    if all(row["milp"] is not None for row in timed):
        milp = statistics.median(row["milp"] for row in timed)
        largest = max(row["milp"] / row["seconds"] for row in timed)
    else:
        milp, largest = before["MILP s"], before["largest"]
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
        "largest": largest,
    }


def _before(section: str, about: Row) -> Row:
    """The row of the table before that is about the same graphs."""
    path = RESULTS / f"policy_{section}.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    for row in rows:
        if about.items() <= row.items():
            return dict(row)
    sys.exit("HiGHS was never run on these graphs: run python -m benchmarks._policy_suite first.")


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
            about = {"family": family, "ops": ops}
            yield {**about, **_structured_summary(rows, about)}


def _compare(instance: Instance) -> Row:
    problem = build_problem(instance.graph(), instance.num_stages, instance.objective)
    found, taken = least_seconds(
        lambda: _solve(instance, "policy", time_limit=POLICY_SECONDS), repeats=1
    )
    quick, quick_seconds = _timed(instance, "policy")
    orders = {name: _cut(problem, order) for name, order in orders_by_name(problem).items()}
    return {
        "orders": orders,
        "greedy": _solve(instance, "policy-greedy").cost,
        "policy": found.cost,
        "quick": quick.cost,
        "quick s": quick_seconds,
        "s": taken,
        "milp": known_milp(instance),
        "proved": found.status == "optimal",
    }


def _structured_summary(rows: Sequence[Row], about: Row) -> Row:
    orders = {name: _geometric([row["orders"][name] for row in rows]) for name in ORDERS}
    greedy = _geometric([row["greedy"] for row in rows])
    best = min(orders, key=orders.__getitem__)
    summary = {
        "graphs": len(rows),
        "proved, policy": sum(row["proved"] for row in rows),
        "no limit: s": statistics.median(row["quick s"] for row in rows),
        "policy-greedy against file %": 100 * (greedy / orders["file"] - 1),
        "best order": f"{best} {100 * (orders[best] / orders['file'] - 1):+.1f} %",
    }
    if all(row["milp"] is not None for row in rows):
        return summary | _against_milp(rows, orders["file"])
    before = _before("structured", about)
    return summary | {name: before[name] for name in before if name not in (*about, *summary)}


def _against_milp(rows: Sequence[Row], file: float) -> Row:
    changes = [row["policy"] / row["milp"].cost - 1 for row in rows]
    quick = [row["quick"] / row["milp"].cost - 1 for row in rows]
    known = _geometric([min(row["policy"], row["quick"], row["milp"].cost) for row in rows])
    ties = [row["milp"].is_proved for row, x in zip(rows, changes, strict=True) if abs(x) <= SAME]
    return {
        "better": sum(x < -SAME for x in changes),
        "same, MILP proved": sum(ties),
        "same": len(ties) - sum(ties),
        "worse": sum(x > SAME for x in changes),
        "worst %": 100 * max(0.0, *changes),
        "mean %": 100 * statistics.mean(changes),
        "no limit: worst %": 100 * max(0.0, *quick),
        "MILP s": statistics.median(row["milp"].seconds for row in rows),
        "largest MILP / policy": max(row["milp"].seconds / row["quick s"] for row in rows),
        "best known against file %": 100 * (known / file - 1),
    }


def milp_rows() -> Iterator[Row]:
    """`"policy+milp"` beside the plain integer program."""
    for kind in (RANDOM_BYTES, LAYER_BYTES):
        for num_ops, count in _NUM_COMBINED.items():
            about = {"bytes": kind, "ops": num_ops}
            instances = timed_random_instances(kind, num_ops)[:count]
            plain = [one for one in map(known_milp, instances) if one is not None]
            if len(plain) < count:
                yield _before("milp", about)
                continue
            found, seconds = zip(
                *(
                    least_seconds(functools.partial(_solve, one, "policy+milp"), 1)
                    for one in instances
                ),
                strict=True,
            )
            ratios = [one.seconds / taken for one, taken in zip(plain, seconds, strict=True)]
            gaps = [new.cost / one.cost - 1 for new, one in zip(found, plain, strict=True)]
            yield {
                **about,
                "graphs": count,
                "as good": sum(gap <= SAME for gap in gaps),
                "better": sum(gap < -SAME for gap in gaps),
                "worst %": 100 * max(0.0, *gaps),
                "median s": statistics.median(seconds),
                "times as fast, median": statistics.median(ratios),
                "largest": max(ratios),
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


def percent(cost: float, best: float) -> float:
    return 100 * (cost / best - 1) if best else 0.0


def _mean_worst(gaps: Sequence[float]) -> str:
    return f"{statistics.mean(gaps):.2f} / {max(gaps):.1f}"


def _geometric(values: Sequence[float]) -> float:
    return math.exp(statistics.mean(math.log(value or 1.0) for value in values))
