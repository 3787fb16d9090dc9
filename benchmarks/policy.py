"""The schedulers of the policy beside exact ones, on held-out graphs and the ten models.

Run one section by name: `python -m benchmarks policy random` (`models`, `structured`, `milp`,
`proposals`). Each takes minutes: HiGHS runs beforehand, for an hour or two, by `python -m
benchmarks._policy_suite 0 2` and `1 2`, side by side, and what it finds is kept in
`benchmarks/data`. Without that, rows keep what the table before says of it.
"""

from __future__ import annotations

import functools
import json
import statistics
import sys
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks._models import TEN_MODELS, int8_model
from benchmarks._policy_milp import (
    POLICY_SECONDS,
    SAME,
    milp_rows,
    percent,
    random_rows,
    structured_rows,
)
from benchmarks._policy_rivals import PROPOSAL_NOTES, rival_rows, rivals
from benchmarks._policy_suite import (
    LAYER_BYTES,
    MILP_SECONDS,
    NUM_PROPOSED,
    RANDOM_BYTES,
    RANDOM_SIZES,
    held_out_structured,
    least_seconds,
    milp_note,
    random_instances,
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

Row = dict[str, Any]


def main() -> None:
    """Run the sections that the command line names, or all."""
    chosen = [name for name in sys.argv[1:] if name in SECTIONS] or list(SECTIONS)
    for name in chosen:
        title, make_rows, notes = SECTIONS[name]
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
                gaps.append(percent(greedy.cost, exact.cost))
            yield {
                "model": name,
                "objective": objective,
                "schedules": len(gaps),
                "optimal": optimal,
                "slowest s": max(seconds),
                "policy-greedy, mean %": statistics.mean(gaps),
                "policy-greedy, worst %": max(gaps),
            }


def proposal_rows() -> Iterator[Row]:
    """The policy in one pass beside its rivals; a row for random and for structured graphs."""
    random = [
        instance
        for num_ops in RANDOM_SIZES
        for kind in (RANDOM_BYTES, LAYER_BYTES)
        for instance in random_instances(kind, num_ops, NUM_PROPOSED)
    ]
    sections = {"random, 30-100": random, "structured, 50-1000": held_out_structured()}
    for name, instances in sections.items():
        found = [rivals(instance) for instance in instances]
        yield from rival_rows(name, found)


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
        f'"policy" on one graph.\n{milp_note()}\n{_TIMES}',
    ),
    "structured": (
        f"Structured families: the policy within {POLICY_SECONDS:g} s against HiGHS within "
        f"{MILP_SECONDS:g} s",
        structured_rows,
        'K = 4, 8 and communication weight 0, 1 by turns. "same, MILP proved" are graphs whose '
        'optimum HiGHS proved, where nobody can be better. "no limit" is the policy without a time '
        "limit. No order can be further below the file's order than the best schedule known, the "
        f"last column.\n{milp_note()}\n{_TIMES}",
    ),
    "milp": (
        '"policy+milp" against the plain integer program',
        milp_rows,
        f"The graphs of the table of random DAGs. Costs within {SAME:g} of each other are as "
        f"good.\n{milp_note()}\n{_TIMES}",
    ),
    "proposals": (
        "One pass: what the policy proposes, beside its rivals",
        proposal_rows,
        PROPOSAL_NOTES,
    ),
}


if __name__ == "__main__":
    main()
