"""`StageBalance`: predictions of the architecture in the logs, and the budget."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from callback_models import (
    PACKAGES,
    any_length,
    classes,
    finished,
    images,
    small_cnn,
    tiny,
    two_inputs,
    unbuilt,
    vectors,
)

import respect_tf
from keras_callbacks import StageBalance
from respect_tf._architecture import trained_looking_weights

METRICS = ["bottleneck_ms", "stage_balance", "streamed_bytes"]


def balance(num_segments: int = 2, **options: Any) -> StageBalance:
    return StageBalance(num_segments, scheduler="slicing", **options)


def fit(model: Any, callback: Any, epochs: int = 1, x: Any = None, **arguments: Any) -> Any:
    x = images() if x is None else x
    done = model.fit(x, classes(), epochs=epochs, callbacks=[callback], verbose=0, **arguments)
    return done.history


@pytest.mark.parametrize("package", PACKAGES)
def test_predicts_at_once_what_the_trained_model_gets(package: str) -> None:
    model = small_cnn(package)
    callback = balance(device="pcie")
    weights = [weight.copy() for weight in model.get_weights()]
    callback.set_model(model)
    callback.on_train_begin()
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    found = fit(model, callback, epochs=2)
    trained = respect_tf.convert(
        model, 2, images(), scheduler="slicing", device="pcie", verify=False, verbose=0
    )
    stages = [stage.on_device.predicted for stage in trained.report.stages]
    times = [stage.total_ms for stage in stages]
    assert callback.schedule is not None
    assert callback.schedule.stages.tolist() == trained.schedule.stages.tolist()
    expected = {
        "bottleneck_ms": trained.report.speed.interval_ms,
        "stage_balance": np.mean(times) / max(times),
        "streamed_bytes": sum(stage.streamed_bytes for stage in stages),
    }
    assert {name: found[name] for name in METRICS} == {
        name: [pytest.approx(value)] * 2 for name, value in expected.items()
    }
    assert 0 < expected["stage_balance"] <= 1
    assert callback.stop_reason is None


def test_an_untrained_model_would_have_fewer_ops() -> None:
    # If this ever fails, weights need no disturbance.
    model = small_cnn("keras")
    num_ops = []
    for _ in range(2):
        pipeline = respect_tf.convert(
            model, 1, images(), scheduler="slicing", verify=False, verbose=0
        )
        num_ops.append(pipeline.graph.num_ops)
        with trained_looking_weights(model):
            weights = model.get_weights()
        model.set_weights(weights)
    assert num_ops[0] < num_ops[1]


@pytest.mark.parametrize("package", PACKAGES)
def test_training_is_the_same_with_it(package: str) -> None:
    losses = []
    for callback in (balance(), None):
        model = small_cnn(package, eager=True)
        rng = np.random.default_rng(0)
        model.set_weights([rng.random(weight.shape) for weight in model.get_weights()])
        done = model.fit(
            images(),
            classes(),
            epochs=2,
            shuffle=False,
            callbacks=[callback] if callback else [],
            verbose=0,
        )
        losses.append(done.history["loss"])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("package", PACKAGES)
def test_looks_once_at_an_architecture(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    callback = balance()
    estimate, seen = respect_tf.estimate, []

    def counting(model: Any, *args: Any, **options: Any) -> Any:
        seen.append(model)
        return estimate(model, *args, **options)

    monkeypatch.setattr(respect_tf, "estimate", counting)
    model = tiny(package)
    for _ in range(2):
        fit(model, callback, epochs=2)
    assert len(seen) == 1
    first = callback.metrics
    other = tiny(package, units=600)
    fit(other, callback)
    assert seen == [model, other]
    assert callback.metrics["stage_balance"] != first["stage_balance"]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_budget_stops_training_after_the_first_batch(
    package: str, capsys: pytest.CaptureFixture[str]
) -> None:
    callback = balance(budget_ms=0.01)
    found = fit(tiny(package), callback, epochs=5, batch_size=4)
    assert len(found["loss"]) == len(found["bottleneck_ms"]) == 1
    assert callback.stop_reason is not None
    assert "above the budget of 0.01 ms" in callback.stop_reason
    assert capsys.readouterr().err.count(callback.stop_reason) == 1
    callback.budget_ms = 1000.0
    assert len(fit(tiny(package), callback, epochs=2)["loss"]) == 2
    assert callback.stop_reason is None


@pytest.mark.parametrize("package", PACKAGES)
def test_models_with_two_inputs_and_those_built_by_fit(package: str) -> None:
    callback = balance()
    found = fit(two_inputs(package), callback, x=[images(), vectors()])
    assert sorted(found) == [*METRICS[:1], "loss", *METRICS[1:]]
    callback = balance()
    found = fit(unbuilt(package), callback, epochs=2)
    assert callback.errors == []
    assert len(found["bottleneck_ms"]) == 2


@pytest.mark.parametrize("package", PACKAGES)
def test_a_model_that_cannot_be_converted_is_trained_all_the_same(
    package: str, capsys: pytest.CaptureFixture[str]
) -> None:
    callback = balance(budget_ms=0.001)
    found = fit(any_length(package), callback, epochs=3, x=np.ones((24, 5, 3), np.float32))
    assert len(found["loss"]) == 3
    assert set(found) == {"loss"}
    assert isinstance(callback.last_error, respect_tf.UnsupportedModelError)
    assert capsys.readouterr().err.count("StageBalance") == 1
    model = small_cnn(package, eager=True)
    weights = model.get_weights()
    with pytest.raises(respect_tf.ScheduleError):
        fit(model, balance(50, on_error="raise"))
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("package", PACKAGES)
def test_subclassed_models_are_converted_once(
    package: str, caplog: pytest.LogCaptureFixture
) -> None:
    keras = importlib.import_module(package)

    class Subclassed(keras.Model):  # type: ignore[misc]
        def __init__(self, something: object) -> None:
            super().__init__()
            self.parts = [keras.layers.Flatten(), keras.layers.Dense(5), keras.layers.Dense(4)]
            self.something = something

        def call(self, x: Any) -> Any:
            for part in self.parts:
                x = part(x)
            return x

    callback = balance()
    model = finished(Subclassed(object()), eager=True)
    results = []
    for _ in range(2):
        fit(model, callback, epochs=2)
        results.append(callback.schedule)
    assert callback.errors == []
    assert results[0] is results[1] is not None
    assert "serializable" not in caplog.text


def test_token_models_with_embeddings() -> None:
    import keras

    tokens = keras.Input((5,), dtype="int32", name="tokens")
    x = keras.layers.Flatten()(keras.layers.Embedding(3, 4)(tokens))
    model = keras.Model(tokens, keras.layers.Dense(4, activation="softmax")(x))
    model.compile(loss="sparse_categorical_crossentropy", run_eagerly=True)
    callback = balance()
    found = fit(model, callback, x=np.zeros((24, 5), np.int32))
    assert callback.errors == []
    assert found["bottleneck_ms"][0] > 0
