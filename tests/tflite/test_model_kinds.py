"""Models and files of kinds that people have: converted, or refused with the right words."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import respect_tf
from respect_tf._errors import (
    ArgumentError,
    InvalidModelError,
    QuantizationError,
    UnsupportedModelError,
)
from respect_tf.tflite import to_int8

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

_SAMPLES = np.random.default_rng(0).normal(size=(12, 8, 8, 3)).astype(np.float32)


def _model(package=keras, shape=(8, 8, 3), last=None):
    package.utils.set_random_seed(0)
    image = package.Input(shape, name="image")
    x = package.layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    x = package.layers.GlobalAveragePooling2D()(x) if last is None else last(x)
    return package.Model(image, x, name="net")


@pytest.mark.parametrize("package", [keras, tf_keras], ids=["keras", "tf_keras"])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64", "bfloat16"])
def test_other_precisions_run_in_float32(package, policy):
    package.mixed_precision.set_global_policy(policy) if package is tf_keras else (
        keras.config.set_dtype_policy(policy)
    )
    try:
        model = _model(package)
    finally:
        package.mixed_precision.set_global_policy("float32") if package is tf_keras else (
            keras.config.set_dtype_policy("float32")
        )
    if package is tf_keras and not policy.startswith("mixed"):
        with pytest.raises(UnsupportedModelError, match=rf"'conv' keeps its weights in {policy}"):
            to_int8(model, _SAMPLES, verbose=0)
        return
    before = [layer.compute_dtype for layer in model.layers]
    result = to_int8(model, _SAMPLES, verbose=0)
    assert result.accuracy.is_good
    assert [layer.compute_dtype for layer in model.layers] == before


def test_pictures_of_bytes_need_no_cast():
    image = keras.Input((8, 8, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255)(keras.ops.cast(image, "float32"))
    model = keras.Model(image, keras.layers.Conv2D(4, 3)(x))
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3)).astype(np.uint8)
    pipeline = respect_tf.convert(
        model, 1, pixels, inference_input_type="uint8", compile=False, verify=False, verbose=0
    )
    (spec,) = pipeline.inputs.values()
    assert spec.dtype == "uint8"
    assert spec.quantization is not None
    assert "CAST" not in pipeline.graph.op_types
    real = pipeline.predict(pixels[:2].astype(np.float32))
    assert np.abs(real - model(pixels[:2]).numpy()).max() < 0.05


def test_integers_are_values_where_the_input_is_stored_otherwise():
    model = _model()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3)).astype(np.uint8)
    pipeline = respect_tf.convert(model, 1, pixels, compile=False, verify=False, verbose=0)
    found = pipeline.predict(pixels)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, pipeline.predict(pixels.astype(np.float32)))
    assert pipeline.predict(np.zeros((1, 8, 8, 3), np.int8)).dtype == np.int8


def test_open_sizes_can_be_given(tmp_path):
    model = _model(shape=(None, None, 3))
    with pytest.raises(UnsupportedModelError, match=r"input_shape=\(224, 224, 3\)"):
        to_int8(model, _SAMPLES, verbose=0)
    assert to_int8(model, _SAMPLES, input_shape=(8, 8, 3), verbose=0).content
    assert to_int8(model, _SAMPLES, input_shape={"image": (8, 8, 3)}, verbose=0).content
    model.save(tmp_path / "net.keras")
    assert to_int8(tmp_path / "net.keras", _SAMPLES, input_shape=[8, 8, 3], verbose=0).content
    for wrong in ((8, 8), (8, 8, 4), (1, 8, 8, 3), ("a", 8, 3), (0, 8, 3), 8):
        with pytest.raises(ArgumentError, match="input_shape"):
            to_int8(model, _SAMPLES, input_shape=wrong, verbose=0)
    content = to_int8(model, _SAMPLES, input_shape=(8, 8, 3), verbose=0).content
    with pytest.raises(ArgumentError, match="shapes of its own"):
        to_int8(content, input_shape=(8, 8, 3), verbose=0)


def test_argmax_of_keras_3_converts():
    model = _model(last=lambda x: keras.ops.argmax(x, axis=-1))
    result = to_int8(model, _SAMPLES, strict=False, verbose=0)
    assert result.accuracy is not None


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_a_model_that_keras_has_quantised_is_named():
    model = _model(last=lambda x: keras.layers.Dense(3, name="score")(keras.layers.Flatten()(x)))
    model.quantize("int8")
    with pytest.raises(UnsupportedModelError, match=r"quantised by Keras.*'score'"):
        to_int8(model, _SAMPLES, verbose=0)


_FILES = {
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n",
    "an HTML page": b"\n<!DOCTYPE html>\n<html><body>404</body></html>",
    "empty": b"",
}


@pytest.mark.parametrize("suffix", [".tflite", ".h5", ".keras"])
@pytest.mark.parametrize("kind", _FILES)
def test_files_that_are_no_models_are_named(kind, suffix, tmp_path):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(_FILES[kind])
    with pytest.raises(InvalidModelError, match=kind):
        to_int8(path, verbose=0)


def test_a_model_under_another_name_is_named(tmp_path):
    _model().save(tmp_path / "net.keras")
    (tmp_path / "net.keras").rename(tmp_path / "net.tflite")
    with pytest.raises(InvalidModelError, match=r"its name should end in \.keras"):
        to_int8(tmp_path / "net.tflite", verbose=0)


def _converted(**settings) -> bytes:
    wide = _model(last=lambda x: keras.layers.Dense(40)(keras.layers.Flatten()(x)))
    converter = tf.lite.TFLiteConverter.from_keras_model(wide)
    for name, value in settings.items():
        setattr(converter, name, value)
    return converter.convert()


def test_half_quantised_files_are_named_by_kind():
    dynamic = _converted(optimizations=[tf.lite.Optimize.DEFAULT])
    with pytest.raises(QuantizationError, match=r"weights are int8.*full-integer"):
        to_int8(dynamic, verbose=0)
    with pytest.raises(QuantizationError, match="never quantised"):
        to_int8(_converted(), verbose=0)
