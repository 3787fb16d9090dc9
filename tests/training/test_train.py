"""Training: losses, draws, the choice of heads, and a run that is stopped and continued."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slow_clock import SlowClock

from respect_tf.policy import layer_sizes, load_weights, propose, rounded_weights
from respect_tf.scheduling import OrderCuts, PeakMemory, Throughput, slice_order
from respect_tf.training import (
    Example,
    NetworkSize,
    TrainingPlan,
    example_of,
    head_tasks,
    label_task,
    random_graph,
)
from respect_tf.training._heads import HeadChoice
from respect_tf.training._label_shards import solve_task
from respect_tf.training._losses import advantages, best_others


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return [example_of(label_task(index, 8, mix=("levels", "wide"))) for index in range(6)]


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_an_order_costs_what_its_best_cut_costs(weight: float) -> None:
    graph, objective = random_graph("nasnet", 40, 0), PeakMemory(weight)
    cuts = OrderCuts(graph, 4, objective)
    for order in propose(graph, 4, transfer_cost=2 * weight):
        cost = slice_order(graph, order, 4, objective).cost
        assert cost is not None
        assert cuts.cost(order) == cuts.cost(order, cost) == cost
        assert cuts.cost(order, 0.99 * cost) == np.inf


def test_only_sums_have_compiled_cuts() -> None:
    from respect_tf._errors import ArgumentError

    with pytest.raises(ArgumentError, match="sums"):
        OrderCuts(random_graph("unet", 40, 0), 3, Throughput("usb3-pc"))


@pytest.mark.slow
def test_only_the_nearest_head_is_corrected() -> None:
    import tensorflow as tf

    from respect_tf.training._losses import imitation_loss

    sizes, num_stages = tf.constant([4, 3]), tf.constant([3, 2])
    stages = tf.constant([0, 1, 1, 2, 0, 1, 1])
    good = np.array([0.1, 0.5, 0.5, 0.9, 0.1, 0.8, 0.9])
    scores = tf.Variable(np.stack([good, 1 - good], axis=1).astype(np.float32))
    with tf.GradientTape() as tape:
        loss = imitation_loss(scores, sizes, num_stages, stages, 1e-3)
    gradient = tape.gradient(loss, scores).numpy()
    assert np.abs(gradient[:, 1]).max() < 1e-6 < np.abs(gradient[:, 0]).max()
    alone = [
        float(imitation_loss(scores[:, head : head + 1], sizes, num_stages, stages, 1.0))
        for head in (0, 1)
    ]
    assert float(loss) == pytest.approx(alone[0], abs=1e-6)
    assert alone[0] < 0.5 < alone[1]
    hot = float(imitation_loss(scores, sizes, num_stages, stages, 1e6))
    assert hot == pytest.approx(np.mean(alone), rel=1e-3)


def test_a_head_is_rewarded_for_what_it_adds_to_the_others(examples: list[Example]) -> None:
    random = np.random.default_rng(0)
    for example in examples:
        scores = np.argsort(example.view.rule)[:, None] / 40 + 0.1 * random.normal(
            size=(example.task.num_ops, 6)
        )
        costs, others = best_others(example, scores)
        rule = example.rule_ratio
        full = np.array(
            [best_others(example, scores[:, [head]])[0][0] for head in range(scores.shape[1])]
        )
        for head in range(6):
            rest = np.minimum(np.delete(full, head), rule)
            assert others[head] == rest.min()
            assert costs[head] == full[head] or full[head] >= others.min()
        direction, reward = advantages(example, scores, 0.05, random.standard_normal(scores.shape))
        assert direction.shape == scores.shape
        assert reward >= 0


def test_chosen_heads_are_never_worse_than_the_trained_ones(examples: list[Example]) -> None:
    network = load_weights().network
    kernel = network.heads[:, :3]
    tasks = head_tasks(examples, network)
    choice = HeadChoice(tasks, kernel, seed=0)
    trained = choice.mean_cost
    choice.pick(40, verbose=0)
    picked = choice.mean_cost
    choice.evolve(30, np.inf, verbose=0)
    assert trained >= picked >= choice.mean_cost
    assert trained > choice.mean_cost
    assert choice.kernel.shape == kernel.shape
    # What is known of the costs is what the rounded heads cost.
    rounded = rounded_weights({"heads": choice.kernel})["heads"].astype(np.float64)
    again = [
        min(best_others(example, inputs @ rounded)[1].min(), example.rule_ratio)
        for example, inputs in tasks
    ]
    assert np.mean(again) == pytest.approx(choice.mean_cost)
    other = HeadChoice(tasks, kernel, seed=0)
    other.pick(40, verbose=0)
    other.evolve(30, np.inf, verbose=0)
    np.testing.assert_array_equal(choice.kernel, other.kernel)


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

    from respect_tf.training import _trainer, train

    # Tracing would take longer than these few steps do without it.
    monkeypatch.setattr(tf, "function", lambda function, **_: function)
    monkeypatch.setattr(_trainer, "_NUM_LARGE", 2)
    labels = [solve_task(label_task(index, 7, mix=("hrnet", "unet"))) for index in range(4)]
    plan = TrainingPlan(
        imitation_steps=2,
        reinforce_steps=2,
        head_graphs=2,
        head_candidates=20,
        head_changes=4,
        batch=2,
        reinforce_batch=2,
        pool=4,
        pool_ops=(30, 32),
        epoch_steps=2,
        size=NetworkSize(units=8, rounds=1, heads=4),
    )
    log = Log()
    arguments = (labels, labels, plan, 0)
    whole = _trainer.Trainer(tmp_path / "whole", *arguments, callbacks=[log])
    SlowClock(monkeypatch, 1.0)
    whole.run(1.5)  # one epoch
    shutil.copytree(tmp_path / "whole", tmp_path / "stopped")
    whole.run(np.inf)
    assert [found.step for found in whole.validations] == [2, 4, 5]
    assert whole.validations[2].gap <= whole.validations[2].rule_gap
    assert list((tmp_path / "whole" / "tensorboard").iterdir())
    once = ["set_model", "set_params", "on_train_begin"]
    epoch = ["on_epoch_begin", "on_epoch_end"]
    expected = [*once, *epoch, "on_train_end", *once, *epoch, *epoch, "on_train_end"]
    assert [name for name, *_ in log.calls] == expected
    ends = [arguments for name, *arguments in log.calls if name == "on_epoch_end"]
    assert [number for number, _ in ends] == [0, 1, 2]
    assert set(ends[0][1]) == {"loss", "gap", "worst_gap", "rule_gap", "ratio"}
    assert all(type(value) is float for _, logs in ends for value in logs.values())

    weights, validations = train(tmp_path / "stopped", labels, labels, plan, verbose=0)
    assert validations == whole.validations
    for name, array in weights.items():
        np.testing.assert_array_equal(array, whole.weights[name])
    assert set(weights) == {
        f"{layer}/{kind}"
        for layer in layer_sizes(8, 1, 4)
        for kind in ("kernel", "bias")
        if (layer, kind) != ("heads", "bias")
    }
