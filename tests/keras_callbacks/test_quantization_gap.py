"""`QuantizationGap`: float against int8 during training."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from callback_models import NUM_CLASSES, PACKAGES, classes, images, tiny, two_inputs, vectors

import respect_tf
from keras_callbacks import QuantizationGap
from keras_callbacks._quantization_gap import accuracy


def fit(model: Any, callback: Any, epochs: int = 1, x: Any = None) -> Any:
    x = images() if x is None else x
    return model.fit(x, classes(), epochs=epochs, callbacks=[callback], verbose=0).history


def expected_scores(model: Any, x: Any) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of the float and of the int8 model."""
    pipeline = respect_tf.convert(model, 1, x, scheduler="slicing", verbose=0)
    return model.predict(x, verbose=0), np.asarray(pipeline.predict(x))


@pytest.mark.parametrize("package", PACKAGES)
def test_compares_the_model_as_it_is_with_its_int8_form(package: str) -> None:
    model = tiny(package)
    callback = QuantizationGap(images(), classes())
    found = fit(model, callback, epochs=2)
    scores = expected_scores(model, images())
    shares = [np.mean(one.argmax(-1) == classes()) for one in scores]
    assert found["float_accuracy"][1] == shares[0]
    assert found["int8_accuracy"][1] == shares[1]
    assert found["quantization_gap"][1] == shares[0] - shares[1]
    assert len(found["int8_accuracy"]) == 2
    assert callback.errors == []


@pytest.mark.parametrize("package", PACKAGES)
def test_takes_functions_and_keras_metrics_and_measures_now_and_then(package: str) -> None:
    keras = importlib.import_module(package)
    model = tiny(package)

    def mean_score(y: Any, scores: Any) -> Any:
        return scores[np.arange(len(y)), y]

    callback = QuantizationGap(images(), classes(), metric=mean_score, every=2)
    found = fit(model, callback, epochs=3)
    assert len(found["quantization_gap"]) == 1
    callback = QuantizationGap(images(), classes(), metric=mean_score, name="score")
    found = fit(model, callback)
    scores = expected_scores(model, images())
    means = [mean_score(classes(), one).mean() for one in scores]
    assert found["float_score"] == [pytest.approx(means[0], rel=1e-5)]
    assert found["int8_score"] == [pytest.approx(means[1], rel=1e-5)]
    # A metric accumulates what it sees: it has to start anew each time.
    metric = keras.metrics.SparseCategoricalAccuracy(name="share")
    found = fit(model, QuantizationGap(images(), classes(), metric=metric), epochs=2)
    own = QuantizationGap(images(), classes())
    own.set_model(model)
    logs: dict[str, float] = {}
    own.on_epoch_end(0, logs)
    assert found["int8_share"][1] == pytest.approx(logs["int8_accuracy"])
    assert found["float_share"][1] == pytest.approx(logs["float_accuracy"])


@pytest.mark.parametrize("package", PACKAGES)
def test_models_with_two_inputs(package: str) -> None:
    model, x = two_inputs(package), [images(), vectors()]
    lists = QuantizationGap(x, classes())
    found = fit(model, lists, x=x)
    assert lists.errors == []
    assert found["float_accuracy"] == [np.mean(model.predict(x, verbose=0).argmax(-1) == classes())]
    by_name = QuantizationGap({"vector": x[1], "image": x[0]}, classes(), x)
    by_name.set_model(model)
    logs: dict[str, float] = {}
    by_name.on_epoch_end(0, logs)
    assert logs == {name: values[0] for name, values in found.items() if name != "loss"}


def test_several_outputs_go_to_the_metric_by_name() -> None:
    import keras

    given = keras.Input((8, 8, 3), name="image")
    flat = keras.layers.Flatten()(given)
    outputs = {
        name: keras.layers.Dense(size, name=name)(flat) for name, size in (("b", 2), ("a", 3))
    }
    model = keras.Model(given, outputs)
    model.compile(loss="mse", run_eagerly=True)
    shapes: list[dict[str, tuple[int, ...]]] = []

    def metric(y: Any, scores: dict[str, np.ndarray]) -> float:
        shapes.append({name: array.shape for name, array in scores.items()})
        return 0.0

    x = images(4)
    y = {"a": np.zeros((4, 3)), "b": np.zeros((4, 2))}
    refused = QuantizationGap(x, y, verbose=0)
    callback = QuantizationGap(x, y, metric=metric)
    model.fit(x, y, callbacks=[callback, refused], verbose=0)
    assert shapes == [{"a": (4, 3), "b": (4, 2)}] * 2
    assert "function of y and a dict" in str(refused.last_error)


def test_pixels_as_bytes_are_taken_for_the_models_floats() -> None:
    x = (images() * 255).astype(np.uint8)
    callback = QuantizationGap(x, classes())
    fit(tiny("keras"), callback, x=x)
    assert callback.errors == []


def test_data_that_does_not_fit_is_reported_once(capsys: pytest.CaptureFixture[str]) -> None:
    callback = QuantizationGap(vectors(), classes())
    found = fit(tiny("keras"), callback, epochs=3)
    assert set(found) == {"loss"}
    assert len(callback.errors) == 3
    assert capsys.readouterr().err.count("QuantizationGap") == 1
    wrong = QuantizationGap(images(), classes(5), on_error="raise")
    with pytest.raises(respect_tf.ArgumentError, match="y has the shape"):
        fit(tiny("keras"), wrong)


def test_accuracy_of_all_usual_kinds_of_labels() -> None:
    random = np.random.default_rng(0)
    scores, labels = random.random((50, NUM_CLASSES)), random.integers(0, NUM_CLASSES, 50)
    expected = np.mean(scores.argmax(axis=1) == labels)
    assert accuracy(labels, scores) == expected
    assert accuracy(labels[:, None], scores) == expected  # as Keras's CIFAR-10 has them
    assert accuracy(np.eye(NUM_CLASSES)[labels], scores) == expected
    binary = random.random((50, 1))
    for y in (labels % 2, (labels % 2)[:, None]):
        assert accuracy(y, binary) == np.mean((binary[:, 0] > 0.5) == labels % 2)
    pixels, mask = random.random((2, 5, 5, 3)), random.integers(0, 3, (2, 5, 5))
    assert accuracy(mask, pixels) == np.mean(pixels.argmax(-1) == mask)
