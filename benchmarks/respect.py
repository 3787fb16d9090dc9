"""RESPECT as published, trained with both rewards: `python -m benchmarks respect`.

The authors' graphs are cut where `shared/data` is beside the project; training needs nothing else.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks._tables import write_results
from benchmarks.scheduling import PUBLISHED, authors_graphs
from respect_tf.scheduling import schedule, slice_order
from respect_tf.training import (
    Label,
    RespectPlan,
    RespectRun,
    cosine_reward,
    example_of,
    label_task,
    noisy_orders,
    one_thread,
    solve_task,
)

Row = dict[str, Any]

_NUM_LABELS, _NUM_VALIDATION = 300, 100
# Sequences of graphs for this purpose only.
_LABEL_SEED, _VALIDATION_SEED = 20, 21
_REWARDS = ("cosine", "cut")
_STAGES = (4, 5, 6)
TEN = (
    *("xception", "resnet50", "resnet101", "resnet152", "resnet101v2", "resnet152v2"),
    *("densenet121", "densenet169", "densenet201", "inception_resnet_v2"),
)


def main() -> None:
    """Train twice, and write `respect_training` and, where the graphs are, `respect_authors`."""
    one_thread()
    labels, validation = (
        _labels(_LABEL_SEED, _NUM_LABELS),
        _labels(_VALIDATION_SEED, _NUM_VALIDATION),
    )
    runs = {reward: RespectRun(labels, validation, RespectPlan(reward)) for reward in _REWARDS}
    curves = {reward: run.run() for reward, run in runs.items()}
    rows: list[Row] = [
        {
            "step": found[0].step,
            **{
                f"{reward}: {what}": value
                for reward, one in zip(_REWARDS, found, strict=True)
                for what, value in (
                    ("likeness", f"{one.likeness:.4f}"),
                    ("cut above optimum %", f"{100 * one.gap:.2f}"),
                )
            },
        }
        for found in zip(*curves.values(), strict=True)
    ]
    write_results(
        "respect_training",
        "RESPECT's pointer network, trained with its own reward and with the cost",
        rows,
        _notes(validation),
    )
    cuts = list(_authors_rows(runs))
    if cuts:
        write_results("respect_authors", "RESPECT's cuts of the authors' ten graphs", cuts, _CUTS)


def _labels(seed: int, count: int) -> list[Label]:
    """The published training graphs, 30 ops in levels, with optimal stages of peak memory."""
    tasks = (label_task(index, seed, num_ops=(30, 30), mix=("levels",)) for index in range(count))
    return [
        solve_task(
            dataclasses.replace(task, num_stages=4, communication_weight=0.0, macs_per_byte=0.0)
        )
        for task in tasks
    ]


def _notes(validation: list[Label]) -> str:
    """What the two rewards have to do with each other, on orders near the rule's."""
    examples = [example_of(label) for label in validation]
    file = [np.arange(example.task.num_ops) for example in examples]
    likeness = statistics.mean(
        cosine_reward(label.stages, order) for label, order in zip(validation, file, strict=True)
    )
    gap = statistics.mean(one.cost(order) for one, order in zip(examples, file, strict=True)) - 1
    correlations, optimal = [], []
    for label, example in zip(validation, examples, strict=True):
        orders = noisy_orders(example.view, 64, 0)
        values = np.array([[cosine_reward(label.stages, one), example.cost(one)] for one in orders])
        if values.std(axis=0).min() > 0:
            correlations.append(float(np.corrcoef(values.T)[0, 1]))
        optimal += values[values[:, 1] <= 1 + 1e-9, 0].tolist()
    return f"""
Graphs of 30 ops in levels, 4 stages, peak parameter bytes; {_NUM_LABELS} labels, and
{_NUM_VALIDATION} others to validate by. "likeness" is the published reward of the greedy sequence,
1 at best; "cut" is the best cut of that sequence. The file's own order has the likeness
{likeness:.4f}, and its cut is {100 * gap:.2f} % above the optimum.

With the published reward the network becomes ever more like its teacher, and its cuts do not get
better: the reward compares with one optimum of many. Of 64 orders near the rule's for each graph,
those whose best cut is optimal have a mean likeness of {statistics.mean(optimal):.4f}, from
{min(optimal):.4f} on, and within a graph the correlation of likeness and cost is
{statistics.mean(correlations):+.2f} in the mean (-1 would be a perfect reward). Likeness says how
far ops are from their teacher's stages, and costs come from which of them. With minus the cost of
the best cut as the reward, likeness falls, as it may, and in these few steps cost does not come
down: both rewards leave the network above the file's own order.
"""


_STEPS = RespectPlan().epochs * RespectPlan().epoch_steps
_CUTS = f"""
Peak stage parameter bytes above the proved optimum. "published" are the cuts in the paper that are
not optimal. "cosine" and "cut" are those of the two networks, trained for {_STEPS} steps on graphs
of 30 ops; a sequence is cut as well as it can be cut, which is at least as good as the published
packing. "file order" needs no network. "policy-greedy" is the proposal of the shipped policy.
"""


def _authors_rows(runs: dict[str, RespectRun]) -> Iterator[Row]:
    graphs = authors_graphs()
    for name in TEN:
        graph = graphs.get(name)
        if graph is None:
            return
        orders = {reward: run.order(graph) for reward, run in runs.items()}
        for num_stages in _STAGES:
            exact = schedule(graph, num_stages, "exact", objective="memory")
            costs = {
                reward: slice_order(graph, order, num_stages, "memory").cost
                for reward, order in orders.items()
            }
            costs["file order"] = schedule(graph, num_stages, "slicing", objective="memory").cost
            greedy = schedule(graph, num_stages, "policy-greedy", objective="memory")
            costs["policy-greedy"] = greedy.cost
            published = PUBLISHED.get((name, num_stages))
            yield {
                "graph": name,
                "K": num_stages,
                "optimum": exact.cost,
                "proved": exact.status == "optimal",
                "published": "" if published is None else _above(published, exact.cost),
                **{what: _above(cost, exact.cost) for what, cost in costs.items()},
            }


def _above(cost: Any, best: Any) -> str:
    return f"{100 * (cost / best - 1):.1f} %"


if __name__ == "__main__":
    main()
