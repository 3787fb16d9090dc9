"""Searches for architectures that are fast enough."""

import keras
import numpy as np
import pytest
from keras import layers

import respect_tf
from respect_tf import ArgumentError

keras_tuner = pytest.importorskip("keras_tuner")

built = []


def _build(hyperparameters):
    channels = hyperparameters.Choice("channels", [4, 2048])
    built.append(channels)
    start = keras.Input((16, 16, 8))
    tensor = layers.Conv2D(channels, 3, activation="relu")(start)
    tensor = layers.Conv2D(channels, 3, activation="relu")(tensor)
    tensor = layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(tensor))
    model = keras.Model(start, tensor)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.filterwarnings("ignore")
def test_a_tuner_trains_only_what_is_fast_enough(tmp_path, capsys):
    tuner = keras_tuner.GridSearch(
        respect_tf.speed_limited(_build, 200, device="usb3-pi5"),
        objective="val_accuracy",
        directory=tmp_path,
        max_consecutive_failed_trials=5,
    )
    x = np.random.default_rng(0).uniform(0, 1, (8, 16, 16, 8)).astype("float32")
    y = np.arange(8) % 2
    tuner.search(x, y, validation_data=(x, y), epochs=1, verbose=0)
    status = {
        trial.hyperparameters.get("channels"): trial.status
        for trial in tuner.oracle.trials.values()
    }
    assert status == {4: "COMPLETED", 2048: "FAILED"}
    assert tuner.get_best_hyperparameters()[0].get("channels") == 4


def test_limits_that_make_no_sense_are_refused():
    with pytest.raises(ArgumentError, match="above 0"):
        respect_tf.speed_limited(_build, 0)
    with pytest.raises(ArgumentError):
        respect_tf.speed_limited(_build, 10, num_devices=0)
    with pytest.raises(ArgumentError):
        respect_tf.speed_limited(_build, 10, device="nothing")
