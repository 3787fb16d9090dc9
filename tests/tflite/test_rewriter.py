"""All kinds of models are rewritten when they are converted, proved first, and left if in doubt."""

from __future__ import annotations

import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import respect_tf
from respect_tf._errors import ArgumentError, QuantizationError
from respect_tf.tflite import op_type, read_model, to_int8
from respect_tf.tflite.rewrites import _apply, _proof

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

_SAMPLES = np.random.default_rng(0).normal(size=(12, 4, 8)).astype(np.float32)


def _model(package=keras, *, activation="relu"):
    package.utils.set_random_seed(0)
    given = package.Input((4, 8), name="x")
    x = package.layers.Dense(8, activation=activation, name="dense")(given)
    return package.Model(given, package.layers.LayerNormalization(name="norm")(x), name="m")


def _kinds(content: bytes) -> list[str]:
    model = read_model(content)
    return [op_type(model, op) for op in model.subgraphs[0].operators]


def _converter(model):
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample[None]] for sample in _SAMPLES)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter


@pytest.mark.parametrize("source", ["keras", "tf_keras", "saved_model", "converter"])
def test_every_kind_of_model_is_rewritten(source, tmp_path):
    model = _model(tf_keras if source == "tf_keras" else keras)
    data = _SAMPLES
    if source == "saved_model":
        model.export(tmp_path / "saved", verbose=False)
        model = tmp_path / "saved"
    elif source == "converter":
        model, data = _converter(model), None
    result = to_int8(model, data, verbose=0)
    rules = {item.rule for item in result.rewritten}
    norm = "batch-reduction" if source == "tf_keras" else "negation"
    assert rules == {"dense-on-sequence", norm}
    assert "NEG" not in _kinds(result.content)
    assert "FULLY_CONNECTED" not in _kinds(result.content)


@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")
def test_a_converter_is_left_as_it_was():
    converter = _converter(_model())
    rewritten = to_int8(converter, verbose=0).content
    assert "NEG" not in _kinds(rewritten)
    assert "_quantize" not in vars(converter)
    assert "NEG" in _kinds(converter.convert())


def test_nothing_is_rewritten_when_switched_off():
    with pytest.raises(QuantizationError, match="NEG"):
        to_int8(_model(), _SAMPLES, rewrite="off", verbose=0)
    with pytest.raises(ArgumentError, match="rewrite must be one of"):
        to_int8(_model(), _SAMPLES, rewrite="none", verbose=0)


def test_approximations_are_made_when_asked_for():
    model = _model(activation="gelu")
    assert "GELU" in _kinds(to_int8(model, _SAMPLES, verbose=0).content)
    assert "GELU" not in _kinds(to_int8(model, _SAMPLES, rewrite="all", verbose=0).content)


def test_a_model_that_maps_already_has_the_bytes_that_it_had():
    given = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="relu")(given)
    model = keras.Model(given, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    samples = np.random.default_rng(0).normal(size=(12, 8, 8, 3)).astype(np.float32)
    plain = to_int8(model, samples, rewrite="off", verbose=0)
    assert to_int8(model, samples, rewrite="all", verbose=0).content == plain.content


def test_a_form_that_is_wrong_is_noticed_and_not_used(monkeypatch, capsys):
    def wrong(graph, op):
        x = graph.read(op)[0]
        graph.result(op, graph.binary(op, "MUL", x, -1.5))
        return True

    rules = tuple(
        dataclasses.replace(rule, apply=wrong) if rule.name == "negation" else rule
        for rule in _apply.RULES
    )
    monkeypatch.setattr(_apply, "RULES", rules)
    result = to_int8(_model(), _SAMPLES, strict=False, verbose=1)
    assert result.rewritten == ()
    assert "NEG" in _kinds(result.content)
    assert "is not rewritten: its outputs would differ" in capsys.readouterr().err


def test_what_the_quantiser_refuses_is_left(monkeypatch, capsys):
    def broken(graph, op):  # ADD of one tensor
        x = graph.read(op)[0]
        graph.result(op, graph.add(op, "ADD", [x], graph.shape(x)))
        return True

    rules = tuple(
        dataclasses.replace(rule, apply=broken, tolerance=math.inf)
        if rule.name == "negation" else rule
        for rule in _apply.RULES
    )  # fmt: skip
    monkeypatch.setattr(_apply, "RULES", rules)
    monkeypatch.setattr("respect_tf.tflite._rewriter.largest_difference", lambda *_: 0.0)
    result = to_int8(_model(), _SAMPLES, strict=False, verbose=1)
    assert result.rewritten == ()
    assert "but not its rewritten form" in capsys.readouterr().err


def test_differences_are_relative_and_see_what_is_not_finite():
    one = np.array([1.0, 2.0], np.float32)
    assert _proof._relative(one, one) == 0
    assert _proof._relative(one, np.array([1.0, 1.0], np.float32)) == pytest.approx(0.5)
    assert _proof._relative(one, np.array([1.0, np.nan], np.float32)) == math.inf
    assert _proof._relative(np.array([1, 2]), np.array([1, 3])) == math.inf


def test_the_report_and_the_saved_folder_say_what_was_rewritten(tmp_path):
    pipeline = respect_tf.convert(_model(), 2, _SAMPLES, compile=False, verbose=0)
    assert any("NEG as SUB" in line and "norm" in line for line in pipeline.rewritten)
    assert "rewritten" in str(pipeline.report)
    assert pipeline.report.to_dict()["rewritten"] == list(pipeline.rewritten)
    pipeline.save(tmp_path / "saved", verbose=0)
    assert respect_tf.load(tmp_path / "saved").rewritten == pipeline.rewritten
