"""Orders, search and exact solvers on held-out synthetic graphs and the ten models.

Run one section by name: `python -m benchmarks.policy random` (`structured`, `models`).
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks._models import TEN_MODELS, int8_model
from benchmarks._tables import write_results
from respect_tf import OpGraph, PeakMemory, schedule
from respect_tf.graph import random_graph
from respect_tf.policy._orders import ORDER_NAMES, priority_order, structural_order
from respect_tf.policy._search import search, warm_up
from respect_tf.policy._search_rounds import Rounds
from respect_tf.schedule import check_schedule
from respect_tf.schedule._problem import Problem, build_problem

Row = dict[str, Any]

# Held out: training and tuning use other seeds.
_FIRST_SEED = 5000
_NUM_SEEDS = 2
_RANDOM_SIZES = (30, 50, 100)
_STRUCTURED = ("fpn", "hrnet", "nasnet", "randwire", "towers", "transformer", "unet")
_STRUCTURED_SIZES = (50, 200, 1000)
_MILP_SECONDS = 60.0
_NUM_RANDOM_ORDERS = 64
_LIMITS = (0.1, 1.0)
# Beyond this, two costs count as different.
_SAME = 1e-5


def main() -> None:
    """Run the sections that the command line names, or all."""
    chosen = [name for name in sys.argv[1:] if name in SECTIONS] or list(SECTIONS)
    warm_up()
    for name in chosen:
        title, make_rows, notes = SECTIONS[name]
        write_results(f"policy_{name}", title, list(make_rows()), notes)


def random_rows() -> Iterator[Row]:
    """Random DAGs, one row per size."""
    for num_ops in _RANDOM_SIZES:
        results = [
            compare(random_graph(family, num_ops, seed), num_stages, PeakMemory(weight))
            for seed in _seeds()
            for family in ("levels", "wide")
            for num_stages in (3, 4, 6)
            for weight in (0.0, 1.0)
        ]
        yield {"family": "random", "ops": num_ops, **summary(results)}


def structured_rows() -> Iterator[Row]:
    """Structured families, one row per family and size."""
    for num_ops in _STRUCTURED_SIZES:
        for family in _STRUCTURED:
            results = [
                compare(random_graph(family, num_ops, seed), 3 + index % 4, PeakMemory(1.0))
                for index, seed in enumerate(_seeds())
            ]
            yield {"family": family, "ops": num_ops, **summary(results)}


def models_rows() -> Iterator[Row]:
    """The ten models: cost, proof and time of a single search."""
    for name in TEN_MODELS:
        graph = OpGraph.from_tflite(int8_model(name))
        for num_stages in (4, 5, 6):
            exact = schedule(graph, num_stages, "exact", objective="memory")
            times, found = [], None
            for _ in range(3):
                started = time.perf_counter()
                found = search(graph, num_stages, objective="memory")
                times.append(time.perf_counter() - started)
            yield {
                "model": name,
                "K": num_stages,
                "optimum": exact.cost,
                "search": found.cost,
                "status": found.status,
                "s": min(times),
            }


def compare(graph: OpGraph, num_stages: int, objective: PeakMemory) -> dict[str, Any]:
    """Costs of all ways to schedule one graph, and their wall times."""
    problem = build_problem(graph, num_stages, objective)
    costs: dict[str, float] = {}
    seconds: dict[str, float] = {}

    def take(name: str, solve: Callable[[], float]) -> None:
        started = time.perf_counter()
        costs[name] = solve()
        seconds[name] = time.perf_counter() - started

    for name in ORDER_NAMES:
        take(name, lambda name=name: _cut(problem, [structural_order(problem, name)]))
    draw = np.random.default_rng(0)
    priorities = draw.random((_NUM_RANDOM_ORDERS, problem.num_items))
    take(
        f"best of {_NUM_RANDOM_ORDERS} random",
        lambda: _cut(problem, [priority_order(problem, row) for row in priorities]),
    )
    take("portfolio", lambda: min(costs[name] for name in ORDER_NAMES))
    seconds["portfolio"] = sum(seconds[name] for name in ORDER_NAMES)
    bound = problem.lower_bound()
    for limit in (None, *_LIMITS):
        name = "search" if limit is None else f"search {limit:g} s"
        started = time.perf_counter()
        found = search(graph, num_stages, objective=objective, time_limit=limit)
        seconds[name], costs[name] = time.perf_counter() - started, found.cost
        check_schedule(graph, found, objective)
        bound = max(bound, found.lower_bound)
    started = time.perf_counter()
    exact = schedule(graph, num_stages, "milp", objective=objective, time_limit=_MILP_SECONDS)
    seconds["MILP"], costs["MILP"] = time.perf_counter() - started, exact.cost
    bound = max(bound, exact.lower_bound)
    return {"costs": costs, "seconds": seconds, "bound": bound}


def summary(results: Sequence[dict[str, Any]]) -> Row:
    """Gaps to the best schedule known, percent, and how search compares with the MILP."""
    names = list(results[0]["costs"])
    gaps = {name: [_gap(result, name) for result in results] for name in names}
    row: Row = {"graphs": len(results)}
    for name in names:
        row[name] = f"{statistics.mean(gaps[name]):.2f} / {max(gaps[name]):.1f}"
    last = f"search {_LIMITS[-1]:g} s"
    better = [
        math.log(result["costs"][last] or 1) - math.log(result["costs"]["MILP"] or 1)
        for result in results
    ]
    row["better, same, worse"] = (
        f"{sum(x < -_SAME for x in better)}, {sum(abs(x) <= _SAME for x in better)}, "
        f"{sum(x > _SAME for x in better)}"
    )
    row["worst %"] = 100 * (math.exp(max(better)) - 1)
    row["proved"] = sum(
        min(result["costs"].values()) <= result["bound"] * (1 + 1e-12) for result in results
    )
    for name in ("portfolio", "search", "MILP"):
        row[f"{name} s"] = statistics.median(result["seconds"][name] for result in results)
    return row


def _gap(result: dict[str, Any], name: str) -> float:
    best = min(result["costs"].values())
    return 100 * (result["costs"][name] / best - 1) if best else 0.0


def _cut(problem: Problem, orders: Sequence[np.ndarray]) -> float:
    rounds = Rounds(problem, 0)
    rounds.add_orders(orders, math.inf)
    return rounds.best.cost


def _seeds() -> range:
    return range(_FIRST_SEED, _FIRST_SEED + _NUM_SEEDS)


_COLUMNS = f"""
Mean / largest gap to the best schedule known, percent. Orders are cut optimally; "portfolio" is the
best of them. "search" has its default budget, the others a time limit. "better, same, worse" and
"worst %" compare `search {_LIMITS[-1]:g} s` with the MILP after at most {_MILP_SECONDS:g} s.
"proved" counts graphs whose optimum is proved by either. Seconds are medians of the wall time of
single graphs, after the compiled code was loaded.
"""

SECTIONS: dict[str, tuple[str, Callable[[], Iterator[Row]], str]] = {
    "random": (
        "Search on random DAGs",
        random_rows,
        f"In-degree 2-6, K = 3, 4, 6, communication weight 0 and 1.\n{_COLUMNS}",
    ),
    "structured": (
        "Search on structured families",
        structured_rows,
        f"K = 3, 4 by turns, communication weight 1.\n{_COLUMNS}",
    ),
    "models": (
        "Search on the ten models, peak parameter bytes",
        models_rows,
        "Seconds are the least of three runs.",
    ),
}


if __name__ == "__main__":
    main()
