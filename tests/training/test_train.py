"""Training: losses, rewards, and a run that is stopped and continued."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slow_clock import SlowClock

from respect_tf._errors import ArgumentError
from respect_tf.scheduling import PeakMemory, slice_order
from respect_tf.scheduling._problem import build_problem
from respect_tf.scheduling._rollout import sample_orders, successors_of
from respect_tf.training import random_graph
from respect_tf.training._labels import label_task, solve_task
from respect_tf.training._plan import TrainingPlan
from respect_tf.training._reward import SlicedCost, cosine_reward
from respect_tf.training._trainer import _advantages


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_reward_is_the_cost_of_the_best_cut(weight: float) -> None:
    graph = random_graph("nasnet", 40, 0)
    cost = SlicedCost(build_problem(graph, 4, PeakMemory(weight), None))
    for order in sample_orders(successors_of(graph), np.zeros(40), 3, 0):
        assert cost(order) == slice_order(graph, order, 4, PeakMemory(weight)).cost


def test_the_cosine_reward_is_one_for_the_teachers_own_order() -> None:
    stages = np.array([0, 1, 0, 2], np.int32)
    assert cosine_reward(stages, np.array([0, 2, 1, 3])) == pytest.approx(1)
    # (1, 2, 1, 3) against (1, 1, 2, 3)
    assert cosine_reward(stages, np.array([0, 1, 2, 3])) == pytest.approx(14 / 15)


def test_a_plan_names_its_reward() -> None:
    with pytest.raises(ArgumentError, match="reward"):
        TrainingPlan(reward="speed")  # type: ignore[arg-type]


def test_only_samples_that_beat_the_baseline_are_rewarded() -> None:
    saved = np.array([[-0.1, -0.3, -0.2], [0.1, -0.1, 0.0]])
    found = _advantages(saved)
    assert np.all(found[0] == 0)
    assert found[1, 0] > 0 > found[1, 1] == found[1, 2]
    assert found.sum() == pytest.approx(0)
    assert np.all(_advantages(-np.ones((2, 1))) == 0)


@pytest.mark.slow
def test_imitation_wants_earlier_stages_first() -> None:
    import tensorflow as tf

    from respect_tf.training._losses import choice_loss, ordering_loss, placing_loss

    # The last graph has no label.
    stages = tf.constant([0, 1, 2, 0, 1, -1, -1], tf.int32)
    sizes, num_stages = tf.constant([3, 2, 2]), tf.constant([3, 2, 2])
    priorities = np.array([3.0, 0.0, -3.0, 3.0, -3.0, 9.0, 9.0], np.float32)
    low, high = (float(ordering_loss(sign * priorities, sizes, stages)) for sign in (1, -1))
    assert low < 0.1 < 2 < high
    where = np.array([0.2, 0.5, 0.9, 0.2, 0.8, 0.0, 0.0], np.float32)
    low, high = (
        float(placing_loss(np.stack([place, 3 + 0 * place], 1), sizes, num_stages, stages))
        for place in (where, 1 - where)
    )
    assert low < 0.4 < 1 < high
    nothing = tf.fill([7], -1)
    assert float(ordering_loss(priorities, sizes, nothing)) == 0
    assert float(placing_loss(np.ones((7, 2), np.float32), sizes, num_stages, nothing)) == 0
    excess = tf.constant([[0.0, 0.3, 0.1]])
    costs = [float(choice_loss(10 * tf.one_hot([row], 3), excess)) for row in range(3)]
    assert np.argsort(costs).tolist() == [0, 2, 1]


class Log:
    """A callback that writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.calls.append((name, *arguments))


@pytest.mark.slow
def test_a_run_is_continued_as_if_it_had_not_been_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    from respect_tf.training import _trainer
    from respect_tf.training._network import NetworkSize
    from respect_tf.training._train import train

    # Tracing would take longer than these few steps do without it.
    monkeypatch.setattr(tf, "function", lambda function, **_: function)
    monkeypatch.setattr(_trainer, "_NUM_LARGE", 2)
    labels = [solve_task(label_task(index, 7, mix=("hrnet", "unet"))) for index in range(4)]
    plan = TrainingPlan(
        imitation_steps=2,
        reinforce_steps=2,
        imitation_batch=2,
        reinforce_batch=2,
        samples=2,
        pool=4,
        pool_ops=(30, 32),
        epoch_steps=2,
        size=NetworkSize(units=8, rounds=1),
    )
    log = Log()
    arguments = (labels, labels, plan, 0)
    whole = _trainer.Trainer(tmp_path / "whole", *arguments, callbacks=[log])
    SlowClock(monkeypatch, 1.0)
    whole.run(1.5)  # one epoch
    shutil.copytree(tmp_path / "whole", tmp_path / "stopped")
    whole.run(np.inf)
    assert [found.step for found in whole.validations] == [2, 4]
    assert list((tmp_path / "whole" / "tensorboard").iterdir())
    once = ["set_model", "set_params", "on_train_begin"]
    epoch = ["on_epoch_begin", "on_epoch_end"]
    assert [name for name, *_ in log.calls] == 2 * [*once, *epoch, "on_train_end"]
    ends = [arguments for name, *arguments in log.calls if name == "on_epoch_end"]
    assert [number for number, _ in ends] == [0, 1]
    measured = {"loss", "gap", "worst_gap", "file_gap", "ratio"}
    assert set(ends[0][1]) == measured
    assert set(ends[1][1]) == measured | {"baseline_cost", "p_value"}
    assert all(type(value) is float for _, logs in ends for value in logs.values())

    weights, validations = train(tmp_path / "stopped", labels, labels, plan, verbose=0)
    assert validations == whole.validations
    for name, array in weights.items():
        np.testing.assert_allclose(array, whole.best_weights[name], atol=1e-6)
