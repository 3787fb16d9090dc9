"""A conversion says how far int8 is from float, and where that comes from."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import respect_tf
from respect_tf.tflite import to_int8
from respect_tf.tflite._accuracy import Accuracy, LayerError, OutputAccuracy, _agreement

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

_SAMPLES = np.random.default_rng(0).normal(size=(20, 8, 8, 3)).astype(np.float32)


def _model(*, spoilt: bool = False):
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    if spoilt:  # a channel a thousand times as large as what counts
        x = keras.layers.Conv2D(4, 1, use_bias=False, name="uneven")(x)
        kernel = np.eye(4, dtype=np.float32)[None, None] * [1, 1, 1, 3000]
        model = keras.Model(image, x)
        model.get_layer("uneven").set_weights([kernel])
        x = keras.layers.Conv2D(4, 1, use_bias=False, name="even")(model(image))
        after = keras.Model(image, x)
        after.get_layer("even").set_weights(
            [np.eye(4, dtype=np.float32)[None, None] * [1, 1, 1, 0]]
        )
        x = after(image)
    x = keras.layers.Dense(5, name="score")(keras.layers.Flatten()(x))
    return keras.Model(image, x, name="net")


def test_a_good_conversion_is_silent_and_says_its_error(capsys):
    result = to_int8(_model(), _SAMPLES, verbose=1)
    assert result.accuracy is not None
    assert 1 <= result.accuracy.num_samples <= 16
    (output,) = result.accuracy.outputs
    assert output.name == "score"
    assert 0 < output.relative_error < 0.1
    assert output.agreement is not None
    assert result.remarks == ()
    assert "differs from float" not in capsys.readouterr().err


def test_a_bad_one_is_warned_of_with_the_layer_that_brings_it(capsys):
    pipeline = respect_tf.convert(
        _model(spoilt=True), 1, _SAMPLES, compile=False, verify=False, verbose=1
    )
    (warning,) = [text for text in pipeline.warnings if "differs from float" in text]
    assert "'uneven'" in warning or "'even'" in warning
    assert "respect_tf.compare" in warning
    assert "differs from float" in capsys.readouterr().err


def test_a_tflite_file_has_no_float_model_to_be_compared_with():
    content = to_int8(_model(), _SAMPLES, verbose=0).content
    assert to_int8(content, verbose=0).accuracy is None


def test_what_is_warned_of():
    good = OutputAccuracy("y", 0.2, 0.9)
    assert Accuracy(4, (good,)).warning() is None
    far = Accuracy(1, (OutputAccuracy("y", 0.21, None),))
    assert "'y' by 21%" in far.warning()
    assert "1 calibration sample:" in far.warning()
    layers = tuple(LayerError(n, "ADD", "t", f"l{n}", 0.3, 0.1) for n in range(5))
    said = Accuracy(4, (OutputAccuracy("y", 0.1, 0.5),), layers).warning()
    assert "same for 50%" in said
    assert "'l2'" in said
    assert "'l3'" not in said


def test_ties_within_a_step_agree_and_maps_have_no_largest_class():
    wanted = np.array([[0.50, 0.49, 0.0]], np.float32)
    swapped = np.array([[0.49, 0.50, 0.0]])
    assert _agreement([(wanted, swapped)], step=0.02) == 1.0
    assert _agreement([(wanted, swapped)], step=0.001) == 0.0
    assert _agreement([(wanted.reshape(1, 1, 3, 1), swapped)], step=0.1) is None


def test_approximations_are_offered_with_layers_and_difference():
    tensor = keras.Input((8,))
    made = keras.layers.Dense(8, activation="gelu", name="hidden")(tensor)
    model = keras.Model(tensor, keras.layers.Dense(2)(made))
    samples = _SAMPLES.reshape(20, -1)[:, :8]
    (remark,) = to_int8(model, samples, verbose=0).remarks
    assert "GELU" in remark
    assert "hidden" in remark
    assert 'rewrite="all"' in remark
    assert "0.0204" in remark
    assert to_int8(model, samples, rewrite="all", verbose=0).remarks == ()
