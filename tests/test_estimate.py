"""Plans for architectures, before there is a trained or converted model."""

import keras
import numpy as np
import pytest
from keras import layers

import respect_tf
from respect_tf import ArgumentError


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    tensor = start = keras.Input((32, 32, 3))
    for channels in (64, 128, 256):
        tensor = layers.Conv2D(channels, 3, use_bias=False, padding="same")(tensor)
        tensor = layers.ReLU()(layers.BatchNormalization()(tensor))
        tensor = layers.MaxPooling2D(2)(tensor)
    model = keras.Model(start, layers.Dense(10)(layers.Flatten()(tensor)), name="net")
    for weight in model.weights:
        weight.assign(np.abs(np.random.default_rng(1).standard_normal(weight.shape)) + 0.1)
    return model


def test_an_estimate_is_the_plan_of_the_converted_model(model):
    estimated = respect_tf.estimate(model, 3, device="usb3-pi5", verbose=0)
    data = np.random.default_rng(0).uniform(0, 1, (4, 32, 32, 3)).astype("float32")
    whole = respect_tf.convert(model, 1, data, verbose=0)
    planned = respect_tf.plan(whole.graph, 3, device="usb3-pi5", verbose=0)
    assert estimated.origin == "architecture"
    assert estimated.note == ""
    assert estimated.graph.op_types == whole.graph.op_types
    for row, expected in zip(estimated.rows, planned.rows, strict=True):
        assert row.interval_ms == pytest.approx(expected.interval_ms, rel=0.03)
        assert row.replicas == expected.replicas
    assert "net" in str(estimated)


def test_weights_that_are_still_zero_count_where_that_is_asked_for():
    start = keras.Input((8, 8, 4))
    tensor = layers.ReLU()(layers.BatchNormalization()(layers.MaxPooling2D(2)(start)))
    fresh = keras.Model(start, tensor)
    assert respect_tf.estimate(fresh, 1, verbose=0).graph.op_types == ("MAX_POOL_2D", "MUL")
    trained = respect_tf.estimate(fresh, 1, trained=True, verbose=0)
    assert trained.graph.op_types == ("MAX_POOL_2D", "MUL", "ADD")


def test_no_devices_and_no_models_are_refused(model):
    with pytest.raises(ArgumentError, match="nothing to plan"):
        respect_tf.estimate(model, 0)
    with pytest.raises(ArgumentError):
        respect_tf.estimate("no_such_file.keras", 2)
