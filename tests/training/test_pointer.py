"""Training of the pointer decoder in the published setting."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from respect_tf._errors import ArgumentError
from respect_tf.scheduling import schedule
from respect_tf.training import Label, PointerPlan, label_task, train_pointer
from respect_tf.training._reward import cosine_reward


def label(index: int, num_ops: int = 12) -> Label:
    task = label_task(index, 30, num_ops=(num_ops, num_ops), mix=("levels",))
    task = dataclasses.replace(task, num_stages=3, communication_weight=0.0, macs_per_byte=0.0)
    found = schedule(task.graph(), 3, "exact", objective=task.objective)
    return Label(task, found.stages, float(found.cost or 0), float(found.lower_bound or 0))


@pytest.mark.slow
def test_the_baseline_follows_the_best_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    from respect_tf.training import _pointer
    from respect_tf.training._network import NetworkSize

    # Tracing would take longer than these few steps do without it.
    monkeypatch.setattr(tf, "function", lambda function, **_: function)
    monkeypatch.setattr(_pointer, "_SIGNIFICANT", 1.0)  # whatever is better replaces it
    labels = [label(index, 6) for index in range(6)]
    plan = PointerPlan(epochs=2, epoch_steps=2, batch=6, rate=0.02, units=4, size=NetworkSize(4, 1))
    found = train_pointer(labels, labels, plan, verbose=0)
    assert [one.step for one in found] == [0, 2, 4]
    assert found[0].cost == found[0].baseline_cost
    for before, after in itertools.pairwise(found):
        expected = min(before.cost, before.baseline_cost)
        assert after.baseline_cost == pytest.approx(expected, abs=1e-6)
    assert all(one.gap >= 0 and 0 <= one.cost < 1 for one in found)


@pytest.mark.slow
def test_costs_are_those_of_the_cosine_reward() -> None:
    from respect_tf.training._pointer import cosine_costs

    stages = np.array([[0, 1, 0, 2], [2, 1, 0, 0]], np.int32)
    orders = np.array([[0, 1, 2, 3], [3, 2, 1, 0]], np.int32)
    expected = [1 - cosine_reward(row, order) for row, order in zip(stages, orders, strict=True)]
    np.testing.assert_allclose(cosine_costs(stages, orders), expected, atol=1e-6)


def test_what_cannot_be_trained_is_said() -> None:
    with pytest.raises(ArgumentError, match="same number of ops"):
        train_pointer([label(0)], [label(0, 13)])
    with pytest.raises(ArgumentError, match="0 and 1 labels"):
        train_pointer([], [label(0)])
    with pytest.raises(ArgumentError, match="temperature"):
        PointerPlan(temperature=0.0)
