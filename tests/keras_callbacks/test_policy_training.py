"""The callbacks for the training of the policy's network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import respect_tf
from keras_callbacks import OptimalityGap, RolloutBaseline, ScheduleSummaries, _greedy
from keras_callbacks._schedule_summaries import schedule_strips, schedule_text
from respect_tf.scheduling import Schedule, slice_order
from respect_tf.training import Label, label_task

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


def test_the_gap_is_that_of_the_best_cut_of_the_networks_order(
    network: Any, labels: list[Label]
) -> None:
    callback = begun(OptimalityGap(labels), network)
    weights = _greedy.weights_of(network)
    gaps = []
    for label, example in zip(labels, callback._examples, strict=True):
        order = _greedy.greedy_order_of(weights, example)
        graph = label.task.graph()
        cut = slice_order(graph, order, label.task.num_stages, label.task.objective)
        assert cut.cost is not None
        gaps.append(cut.cost / label.cost - 1)
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


def test_the_baseline_is_replaced_when_the_network_is_surely_better(
    network: Any, labels: list[Label], monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = np.array([1.4, 1.3, 1.2, 1.5])
    monkeypatch.setattr(_greedy, "greedy_costs", lambda weights, examples: costs)
    baseline = begun(RolloutBaseline(labels), network)
    first = baseline.weights
    assert after_epoch(baseline) == {"baseline_cost": costs.mean(), "p_value": 1.0}
    for change, replaced in (
        ([0.1, -0.1, 0.1, 0.0], False),  # worse on average
        ([-0.3, 0.2, 0.1, -0.1], False),  # better by chance
        ([-0.1, -0.1, -0.09, -0.1], True),
        ([-0.1, -0.1, -0.1, -0.1], True),  # all alike, of which a t-test makes nothing
    ):
        costs = baseline._costs + change
        before, mean = baseline.num_replacements, float(baseline._costs.mean())
        logs = after_epoch(baseline)
        assert logs["baseline_cost"] == mean
        assert (logs["p_value"] < 0.05) == replaced
        assert baseline.num_replacements - before == replaced
    assert baseline.weights is not first
    assert begun(baseline, network).num_replacements == 0


def test_the_p_value_is_that_of_the_paired_t_test() -> None:
    from keras_callbacks._rollout_baseline import _p_value

    # t = mean / (s / sqrt(n)) = -0.1 / (0.1 / sqrt(3)); of 2 degrees of freedom:
    # p = 1/2 + t / (2 * sqrt(2 + t^2)).
    t = -np.sqrt(3)
    found = _p_value(np.array([1.0, 0.9, 0.8]), np.array([1.0, 1.0, 1.0]))
    assert found == pytest.approx(0.5 + t / (2 * np.sqrt(2 + t**2)))


def test_the_baseline_keeps_its_own_weights(network: Any, labels: list[Label]) -> None:
    tasks = [label.task for label in labels]
    baseline = RolloutBaseline(tasks)
    with pytest.raises(respect_tf.ArgumentError, match="before training"):
        baseline.costs(tasks)
    begun(baseline, network)
    before = baseline.costs(tasks)
    saved = network.get_weights()
    random = np.random.default_rng(0)
    network.set_weights([random.standard_normal(array.shape) for array in saved])
    np.testing.assert_array_equal(baseline.costs(tasks), before)
    assert _greedy.weights_of(network).keys() == baseline.weights.keys()
    network.set_weights(saved)


def test_summaries_show_text_and_pictures(
    network: Any, labels: list[Label], tmp_path: Path
) -> None:
    import tensorflow as tf

    summaries = ScheduleSummaries(tmp_path, labels, num_graphs=2, every=2)
    for _ in range(2):  # a second training continues in a file of its own
        begun(summaries, network)
        for epoch in range(4):
            summaries.on_epoch_end(epoch, {})
        summaries.on_train_end({})
    found = []
    for path in sorted(tmp_path.iterdir()):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                found.append((value.tag, value.metadata.plugin_data.plugin_name, event.step))
    expected = [
        (f"schedule/graph_{graph}", kind, step)
        for step in (1, 3)
        for graph in (0, 1)
        for kind in ("text", "images")
    ]
    assert sorted(found) == sorted(2 * expected)


def test_the_table_and_the_picture_of_a_schedule(labels: list[Label]) -> None:
    (example,) = _greedy.examples_of(labels[:1], labelled=True, name="test")
    label = labels[0]
    text = schedule_text(example, Schedule(label.stages, 3)).splitlines()
    assert "30 ops (unet) in 3 stages" in text[0]
    assert f"{label.cost:,.0f}, 0.00% above" in text[0]
    counts = np.bincount(label.stages)
    for stage, line in enumerate(text[-3:]):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[0] == str(stage)
        assert cells[1] == cells[3] == str(counts[stage])
        assert cells[2] == cells[4]
    other = np.minimum(np.arange(30), 2)
    assert "0.00% above" not in schedule_text(example, Schedule(other, 3))
    strips = schedule_strips(example, Schedule(other, 3))
    assert strips.dtype == np.uint8
    assert strips.shape == (52, 600, 3)
    for row, stages in ((0, label.stages), (51, other)):
        columns = strips[row, ::20]  # one per op
        assert len({tuple(colour) for colour in columns.tolist()}) == 3
        for stage in range(3):
            assert len(np.unique(columns[stages == stage], axis=0)) == 1


def test_other_models_and_other_data_are_refused(labels: list[Label], tmp_path: Path) -> None:
    import tf_keras

    model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,))])
    for callback in (
        OptimalityGap(labels),
        RolloutBaseline(labels),
        ScheduleSummaries(tmp_path, labels),
    ):
        with pytest.raises(respect_tf.ArgumentError, match="Expected the network"):
            begun(callback, model)
    task = label_task(0)
    makers: list[tuple[Any, str]] = [
        (lambda: OptimalityGap([]), "Received: none"),
        (lambda: OptimalityGap([task]), "Received: LabelTask"),
        (lambda: OptimalityGap(labels, target=-0.1), "target"),
        (lambda: OptimalityGap(labels, every=0), "every"),
        (lambda: RolloutBaseline(labels[:1]), "two graphs"),
        (lambda: RolloutBaseline(labels, significance=1.0), "significance"),
        (lambda: ScheduleSummaries(tmp_path, labels, num_graphs=0), "num_graphs"),
    ]
    for make, part in makers:
        with pytest.raises(respect_tf.ArgumentError, match=part):
            make()


def test_configs_make_the_same_callbacks(labels: list[Label], tmp_path: Path) -> None:
    for callback in (
        OptimalityGap(labels, target=0.01, every=3, verbose=0),
        RolloutBaseline(labels, significance=0.01),
        ScheduleSummaries(str(tmp_path), labels, num_graphs=1, every=2),
    ):
        config = callback.get_config()
        assert type(callback).from_config(config).get_config() == config


def test_the_trainer_calls_them(
    labels: list[Label], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    from respect_tf.training import TrainingPlan, _trainer
    from respect_tf.training._network import NetworkSize

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
        imitation_batch=2,
        pool=4,
        pool_ops=(30, 32),
        epoch_steps=1,
        size=NetworkSize(units=8, rounds=1),
    )
    gap, baseline = OptimalityGap(labels, verbose=0), RolloutBaseline(labels)
    callbacks = [gap, baseline, ScheduleSummaries(tmp_path / "shown", labels), Last()]
    trainer = _trainer.Trainer(tmp_path / "run", labels, labels, plan, 0, callbacks=callbacks)
    trainer.run(time.monotonic() + 1000)
    assert len(seen) == 2  # of three
    assert gap.stop_reason is not None
    for logs in seen:
        # The trainer computes the same in TensorFlow.
        assert logs["optimality_gap"] == pytest.approx(logs["gap"], abs=1e-3)
        assert logs["worst_optimality_gap"] == pytest.approx(logs["worst_gap"], abs=1e-3)
        assert 0 <= logs["p_value"] <= 1
