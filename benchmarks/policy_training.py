"""What training gives: `python -m benchmarks.policy_training orders` (or `pointer`).

`orders` compares the orders of the shipped weights with others, on graphs that training did not
see. `pointer` trains the pointer decoder as RESPECT trains its own, and writes the curve of the
validation cost, as a table and as a picture.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks._tables import write_results
from respect_tf.training import (
    FAMILIES,
    Label,
    PointerPlan,
    PointerValidation,
    evaluate,
    evaluation_rows,
    label_task,
    train_pointer,
)
from respect_tf.training._labels import solve_task

_RESULTS = Path(__file__).with_name("results")
_NUM_LABELS, _NUM_VALIDATION = 300, 100
# Sequences of graphs for this purpose only.
_LABEL_SEED, _VALIDATION_SEED = 20, 21
_HELD_OUT_SEED = 22
# Graphs of each family, by size.
_SIZES = {50: 12, 200: 6, 1000: 2}
_SEARCH_SECONDS = 0.5

_NOTES = f"""
Graphs that neither training nor validation saw: 2 to 8 stages, and as cost memory, memory and
transfers, or linear time. Geometric means of the cost against that of the file's order: of the
network's one greedy order (`policy-greedy`), of the one structural order that is best for the
row's graphs (`best single`, `order`), of the best structural order of each graph, of the best of
16 random orders of the network and of 16 uniform ones, and of a search of {_SEARCH_SECONDS} s. Gaps
are to the least of these costs, mean and worst.

The network chooses among ten orders, of which five fill stage after stage and are none of the
structural ones: `policy-greedy` can be below `best structural`. What it sees of each of the ten
includes what a quick cut of it costs.
"""


def main() -> None:
    """Run the sections that the command line names, or both."""
    chosen = [name for name in sys.argv[1:] if name in SECTIONS] or list(SECTIONS)
    for name in chosen:
        SECTIONS[name]()


def orders() -> None:
    """Write `policy_training_orders`: the network's orders beside others, by family and size."""
    rows = []
    for num_ops, num_graphs in _SIZES.items():
        tasks = [
            label_task(index, _HELD_OUT_SEED, num_ops=(num_ops, num_ops), mix=(family,))
            for family in FAMILIES
            for index in range(num_graphs)
        ]
        found = evaluate(tasks, search_seconds=_SEARCH_SECONDS)
        rows += [{"ops": num_ops, **_readable(row)} for row in evaluation_rows(found)]
    write_results(
        "policy_training_orders", "The network's orders, cut as well as can be", rows, _NOTES
    )


def _readable(row: dict[str, str | int | float]) -> dict[str, str | int]:
    return {
        name: value
        if not isinstance(value, float)
        else f"{100 * value:.2f} %"
        if name.endswith(("gap", "worst"))
        else f"{value:.4f}"
        for name, value in row.items()
    }


def pointer() -> None:
    """Train, and write `policy_training_pointer.csv` and `.png`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    found = train_pointer(
        _labels(_LABEL_SEED, _NUM_LABELS), _labels(_VALIDATION_SEED, _NUM_VALIDATION), PointerPlan()
    )
    write_curve(found, _RESULTS / "policy_training_pointer")


def _labels(seed: int, count: int) -> list[Label]:
    """The published training graphs, 30 ops in levels, with optimal stages of peak memory."""
    tasks = (label_task(index, seed, num_ops=(30, 30), mix=("levels",)) for index in range(count))
    return [
        solve_task(
            dataclasses.replace(task, num_stages=4, communication_weight=0.0, macs_per_byte=0.0)
        )
        for task in tasks
    ]


def write_curve(found: Sequence[PointerValidation], path: Path) -> None:
    """Write validations as comma-separated values and as a picture."""
    from matplotlib.figure import Figure

    names = [field.name for field in dataclasses.fields(PointerValidation)]
    rows = [",".join(f"{value:.6g}" for value in dataclasses.astuple(one)) for one in found]
    path.with_suffix(".csv").write_text("\n".join([",".join(names), *rows]) + "\n")
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    steps = [one.step for one in found]
    axes.plot(steps, [one.cost for one in found], label="greedy, validation")
    axes.plot(steps, [one.training_cost for one in found], label="samples, training")
    axes.set_xlabel("step")
    axes.set_ylabel("1 - cosine")
    axes.set_title("Pointer decoder, graphs of 30 ops, REINFORCE with greedy rollout")
    axes.legend()
    figure.savefig(path.with_suffix(".png"), dpi=100, metadata={"Software": None})


SECTIONS: dict[str, Callable[[], None]] = {"orders": orders, "pointer": pointer}

if __name__ == "__main__":
    main()
