"""The callback for the training of the policy's network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import respect_tf
from keras_callbacks import OptimalityGap
from respect_tf.policy import Weights, propose, rounded_weights
from respect_tf.scheduling import slice_order
from respect_tf.training import Label, label_task, named_weights

METRICS = ["optimality_gap", "worst_optimality_gap"]


def begun(callback: Any, model: Any) -> Any:
    callback.set_model(model)
    callback.set_params({"epochs": 1})
    callback.on_train_begin({})
    return callback


def after_epoch(callback: Any, epoch: int = 0) -> dict[str, float]:
    logs: dict[str, float] = {}
    callback.on_epoch_end(epoch, logs)
    return logs


def test_the_gap_is_that_of_the_best_cut_of_the_networks_orders(
    network: Any, labels: list[Label]
) -> None:
    callback = begun(OptimalityGap(labels), network)
    weights = Weights(rounded_weights(named_weights(network)), {})
    gaps = []
    for label in labels:
        task, graph = label.task, label.task.graph()
        weight = task.communication_weight
        orders = propose(graph, task.num_stages, transfer_cost=2 * weight, weights=weights)
        cuts = (slice_order(graph, one, task.num_stages, task.objective) for one in orders)
        gaps.append(min(cut.cost for cut in cuts if cut.cost is not None) / label.cost - 1)
    logs = after_epoch(callback)
    assert logs == {METRICS[0]: pytest.approx(np.mean(gaps)), METRICS[1]: max(gaps)}
    assert min(gaps) >= 0
    assert callback.stop_reason is None


def test_training_stops_at_the_target(
    network: Any, labels: list[Label], capsys: pytest.CaptureFixture[str]
) -> None:
    network.stop_training = False
    after_epoch(begun(OptimalityGap(labels, target=0.0), network))
    stopped_at_zero = network.stop_training
    gap = begun(OptimalityGap(labels, target=100.0, every=2), network)
    assert after_epoch(gap, 0) == {}
    mean = after_epoch(gap, 1)["optimality_gap"]
    assert stopped_at_zero == (mean == 0)
    assert network.stop_training
    assert "within the target of 10000.00%" in gap.stop_reason
    assert gap.stop_reason in capsys.readouterr().err
    begun(gap, network)
    assert gap.stop_reason is None
    network.stop_training = False


def test_other_models_and_other_data_are_refused(labels: list[Label]) -> None:
    import tf_keras

    model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,))])
    with pytest.raises(respect_tf.ArgumentError, match="Expected the network"):
        begun(OptimalityGap(labels), model)
    task = label_task(0)
    makers: list[tuple[Any, str]] = [
        (lambda: OptimalityGap([]), "Received: none"),
        (lambda: OptimalityGap([task]), "Received: LabelTask"),
        (lambda: OptimalityGap(labels, target=-0.1), "target"),
        (lambda: OptimalityGap(labels, every=0), "every"),
    ]
    for make, part in makers:
        with pytest.raises(respect_tf.ArgumentError, match=part):
            make()


def test_a_config_makes_the_same_callback(labels: list[Label]) -> None:
    callback = OptimalityGap(labels, target=0.01, every=3, verbose=0)
    config = callback.get_config()
    assert OptimalityGap.from_config(config).get_config() == config


def test_the_trainer_calls_it(
    labels: list[Label], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    from respect_tf.training import NetworkSize, TrainingPlan, _trainer

    class Last:
        def __getattr__(self, name: str) -> Any:
            return lambda *arguments: None

        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            seen.append(logs)
            gap.target = 1000.0

    seen: list[dict[str, float]] = []
    # Tracing would take longer than these few steps do without it.
    monkeypatch.setattr(tf, "function", lambda function, **_: function)
    monkeypatch.setattr(_trainer, "_NUM_LARGE", 2)
    plan = TrainingPlan(
        imitation_steps=3,
        reinforce_steps=0,
        head_graphs=0,
        batch=2,
        epoch_steps=1,
        size=NetworkSize(units=8, rounds=1, heads=4),
    )
    gap = OptimalityGap(labels, verbose=0)
    trainer = _trainer.Trainer(tmp_path / "run", labels, labels, plan, 0, callbacks=[gap, Last()])
    trainer.run(time.monotonic() + 1000)
    assert len(seen) == 2  # of three
    assert gap.stop_reason is not None
    for logs in seen:
        # Four heads are all proposed.
        assert logs["optimality_gap"] == pytest.approx(logs["gap"], abs=1e-9)
        assert logs["worst_optimality_gap"] == pytest.approx(logs["worst_gap"], abs=1e-9)
