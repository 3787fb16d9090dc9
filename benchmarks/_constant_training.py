"""Small runs of labels and training, for the constants that only these read."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._constant_outcomes import Case, alone
from respect_tf.policy import load_weights
from respect_tf.training import (
    UNPROVED,
    WIDE_MIX,
    WIDE_OPS,
    Example,
    TrainingPlan,
    example_of,
    head_tasks,
    label_task,
    least_cost,
    load_all_labels,
    noisy_orders,
    solve_task,
    train,
)
from respect_tf.training._heads import HeadChoice
from respect_tf.training._label_shards import search_task

_LABELS = Path(__file__).parent / "data" / "policy_labels"
_NUM_LABELS = 200
_PLAN = TrainingPlan(
    imitation_steps=20,
    reinforce_steps=3,
    head_graphs=16,
    head_candidates=32,
    head_changes=16,
    pool=30,
    epoch_steps=20,
)
# Of sequences of graphs that neither training nor its validation draws from.
_SEED = 77


def training_cases() -> list[Case]:
    """All of them."""
    return list(_cases())


def _cases() -> Iterator[Case]:
    def searched() -> Any:
        tasks = [
            label_task(number, UNPROVED, num_ops=WIDE_OPS, mix=WIDE_MIX) for number in range(20)
        ]
        return alone([search_task(task).cost for task in tasks])

    yield Case("20 labels without proof", searched, only="training")

    def proved() -> Any:
        labels = [solve_task(label_task(number), cross_check=True) for number in (1, 4)]
        return alone([label.cost for label in labels], all(x.cost <= x.lower_bound for x in labels))

    yield Case("2 labels by both exact methods", proved, only="training")

    def noise() -> Any:
        return alone([least_cost(one, noisy_orders(one.view, 64, 0)) for one in _examples()])

    yield Case("64 noisy orders of 30 graphs", noise, only="training")

    def heads() -> Any:
        network = load_weights().network
        choice = HeadChoice(head_tasks(_examples(), network), network.heads, 0)
        choice.pick(128, verbose=0)
        choice.evolve(80, np.inf, verbose=0)
        return alone([choice.mean_cost])

    yield Case("heads for 30 graphs", heads, only="training")

    def trained() -> Any:
        labels, others = load_all_labels(_LABELS)
        with tempfile.TemporaryDirectory() as folder:
            _, found = train(folder, labels[:_NUM_LABELS], others[:30], _PLAN, verbose=0)
        return alone([1 + found[-1].gap, found[-1].ratio])

    yield Case("a short training", trained, only="_losses|_trainer", unseen="_losses")


@functools.cache
def _examples() -> list[Example]:
    return [
        example_of(label_task(number, _SEED, num_ops=(30, 120), mix=WIDE_MIX))
        for number in range(30)
    ]
