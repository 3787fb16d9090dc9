"""An int8 pipeline against its float model: a table, a picture, and clear refusals."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import respect_tf
from respect_tf._errors import ArgumentError, CalibrationDataError, UnsupportedModelError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

_SAMPLES = np.random.default_rng(0).normal(size=(20, 8, 8, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, activation="hard_swish", name="conv")(image)
    x = keras.layers.Flatten()(keras.layers.LayerNormalization(name="norm")(x))
    outputs = {"score": keras.layers.Dense(5, name="score")(x)}
    return keras.Model(image, outputs, name="net")


@pytest.fixture(scope="module")
def pipeline(model):
    return respect_tf.convert(model, 2, _SAMPLES, compile=False, verify=False, verbose=0)


def test_outputs_and_layers_are_compared(model, pipeline):
    found = respect_tf.compare(model, pipeline, _SAMPLES, verbose=0)
    assert found.num_samples == 16
    assert found.is_good
    (output,) = found.outputs
    assert output.name == "score"
    assert 0 < output.relative_error < 0.2
    assert {"conv", "norm", "score"} <= {layer.layer for layer in found.layers}
    assert found.layers[-1].relative_error == pytest.approx(output.relative_error, rel=0.01)
    assert [layer.op_index for layer in found.layers] == sorted(
        layer.op_index for layer in found.layers
    )
    text = str(found)
    assert "net: int8 against float on 16 samples" in text
    assert "conv" in text
    assert "<pre>" in found._repr_html_()
    assert found.to_dict()["outputs"][0]["name"] == "score"


def test_a_saved_pipeline_is_compared_with_a_saved_model(model, pipeline, tmp_path):
    model.save(tmp_path / "net.keras")
    pipeline.save(tmp_path / "saved", verbose=0)
    found = respect_tf.compare(
        tmp_path / "net.keras", respect_tf.load(tmp_path / "saved"), _SAMPLES[:3], verbose=0
    )
    assert found.num_samples == 3
    assert {"conv", "norm", "score"} <= {layer.layer for layer in found.layers}


def test_the_picture_is_written(model, pipeline, tmp_path):
    pytest.importorskip("matplotlib")
    found = respect_tf.compare(model, pipeline, _SAMPLES[:2], verbose=0)
    found.plot(path=tmp_path / "layers.svg")
    assert "error of int8" in (tmp_path / "layers.svg").read_text("utf-8")


def test_what_does_not_belong_together_is_refused(model, pipeline):
    with pytest.raises(ArgumentError, match=r"must be a respect_tf\.Pipeline"):
        respect_tf.compare(model, model, _SAMPLES)
    with pytest.raises(CalibrationDataError):
        respect_tf.compare(model, pipeline, _SAMPLES[:, :4], verbose=0)
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ArgumentError, match="no pipeline of this model"):
        respect_tf.compare(other, pipeline, np.zeros((3, 4)), verbose=0)
    with pytest.raises(UnsupportedModelError, match="quantised already"):
        respect_tf.compare(pipeline.model, pipeline, _SAMPLES, verbose=0)
