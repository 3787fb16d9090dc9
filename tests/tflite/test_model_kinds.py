"""Models and files of kinds that people have: converted, or refused with the right words."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from model_builder import ModelBuilder

import respect_tf
from respect_tf._errors import (
    ArgumentError,
    ConversionError,
    InterpreterError,
    InvalidModelError,
    QuantizationError,
    ScheduleError,
    UnsupportedModelError,
)
from respect_tf.tflite import schema, to_int8

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


def test_wide_integers_that_become_floats_are_pictures_too():
    image = keras.Input((8, 8, 3), dtype="int32", name="image")
    x = keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, x)
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3))
    pipeline = respect_tf.convert(model, 1, pixels, compile=False, verbose=0)
    assert "CAST" not in pipeline.graph.op_types
    for dtype in ("int32", "int64", "uint8", "float32"):
        found = pipeline.predict(pixels[:2].astype(dtype))
        assert np.abs(found - model(pixels[:2]).numpy()).max() < 0.05
    with pytest.raises(QuantizationError, match="CAST"):
        to_int8(model, pixels, rewrite="off", verbose=0)


def test_integers_that_are_looked_up_stay_integers():
    words = keras.Input((6,), dtype="int32", name="words")
    x = keras.layers.Dense(3)(keras.layers.Flatten()(keras.layers.Embedding(9, 4)(words)))
    given = np.random.default_rng(0).integers(0, 9, (12, 6))
    pipeline = respect_tf.convert(keras.Model(words, x), 2, given, compile=False, verbose=0)
    assert pipeline.inputs["words"].dtype == "int32"
    found = pipeline.predict(given.astype(np.int64))  # what calibration took
    np.testing.assert_array_equal(found, pipeline.predict(given.astype(np.int32)))
    with pytest.raises(ArgumentError, match="must be int32"):
        pipeline.predict(np.full((1, 6), 2**40))


def test_classes_stay_integers():
    model = _model(last=keras.layers.Lambda(lambda t: tf.argmax(t, axis=-1)))
    pipeline = respect_tf.convert(model, 2, _SAMPLES, compile=False, verbose=0)
    assert pipeline.schedule.cpu_stages == (1,)
    found = pipeline.predict(_SAMPLES[:2])
    assert found.dtype == np.int64
    assert np.mean(found == model(_SAMPLES[:2]).numpy()) > 0.9
    assert not any("inference_output_type" in warning for warning in pipeline.warnings)


class _Product(tf.Module):
    def __init__(self, dtype: str) -> None:
        weights = np.random.default_rng(0).normal(size=(6, 4))
        self.weights = tf.Variable(tf.cast(weights, dtype))

    @tf.function
    def compute(self, x):
        return {"y": tf.nn.relu(x @ self.weights)}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_saved_models_of_other_precisions_run_in_float32(dtype, tmp_path):
    module = _Product(dtype)
    function = module.compute.get_concrete_function(tf.TensorSpec((None, 6), dtype, "x"))
    tf.saved_model.save(module, tmp_path, signatures=function)
    given = np.random.default_rng(1).normal(size=(12, 6)).astype(np.float32)
    pipeline = respect_tf.convert(tmp_path, 1, given, compile=False, verbose=0)
    assert pipeline.warnings == ()
    expected = np.maximum(given @ tf.cast(module.weights, "float32").numpy(), 0)
    assert np.abs(pipeline.predict(given) - expected).max() < 0.05 * expected.max()


def test_random_numbers_of_a_layer_are_named():
    class Noisy(keras.layers.Layer):
        def call(self, x):
            return x + keras.random.normal(keras.ops.shape(x))

    with pytest.raises(ConversionError, match=r"layer 'noisy': random numbers"):
        to_int8(_model(last=Noisy(name="noisy")), _SAMPLES, verbose=0)


def test_a_refusal_of_gelu_offers_the_approximation_with_its_layers():
    model = _model(last=keras.layers.Conv2D(4, 1, activation="gelu", name="hidden"))
    with pytest.raises(ScheduleError, match=r"GELU.*in hidden.*rewrite=\"all\""):
        respect_tf.convert(model, 1, _SAMPLES, compile=False, verbose=0)
    pipeline = respect_tf.convert(model, 1, _SAMPLES, rewrite="all", compile=False, verbose=0)
    assert "GELU" not in pipeline.graph.op_types


def test_a_custom_op_of_another_runtime_is_a_stage_that_is_not_proved():
    builder = ModelBuilder()
    image = builder.tensor("image", (1, 4, 4, 2))
    builder.inputs.append(image)
    heat, poses = builder.tensor("heat", (1, 4, 4, 2)), builder.tensor("poses", (1, 3), "FLOAT32",
                                                                     scale=None)  # fmt: skip
    builder.op("ADD", [image, image], [heat], schema().AddOptionsT(), 2)
    builder.custom_op("DecoderOp", [heat], [poses], b"")
    content = builder.build([poses])
    pipeline = respect_tf.convert(content, 2, compile=False, verbose=0)
    assert pipeline.schedule.cpu_stages == (1,)
    assert pipeline.parity.num_tensors == 1
    assert any("does not have DecoderOp" in warning for warning in pipeline.warnings)
    with pytest.raises(InterpreterError, match="DecoderOp"):
        pipeline.predict(np.zeros((1, 4, 4, 2), np.int8))


def test_a_private_class_is_a_model_too():
    class _Private(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.last = keras.layers.Dense(3)

        def call(self, x):
            return self.last(x)

    model = _Private()
    samples = _SAMPLES.reshape(12, -1)
    model(samples)
    assert to_int8(model, samples, verbose=0).accuracy.is_good
