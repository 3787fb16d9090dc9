"""What converting a model will give is said before any conversion, and turns out so."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from click.testing import CliRunner

import respect_tf
from respect_tf.cli import main
from respect_tf.tflite import op_type, read_model, to_int8

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 4), name="image")
    x = keras.layers.Conv2D(8, 3, activation="hard_swish", name="conv")(image)
    x = keras.layers.LayerNormalization(name="norm")(x)
    x = keras.layers.Conv2D(8, 1, activation="gelu", name="mixed")(x)
    x = keras.layers.Softmax(name="rows")(x)
    return keras.Model(image, x, name="net")


def test_everything_is_said_before_conversion(model):
    found = respect_tf.inspect(model)
    assert found.name == "net"
    assert found.inputs == {"image": "float32 [1, 8, 8, 4]"}
    assert any("HARD_SWISH" in line and "conv" in line for line in found.rewritten)
    assert any("NEG" in line and "norm" in line for line in found.rewritten)
    (offered,) = found.offered
    assert "GELU" in offered
    assert "mixed" in offered
    groups = {group.op_type: group for group in found.unmapped}
    assert groups["GELU"].blocks
    assert groups["GELU"].layers == ("mixed",)
    assert not groups["SOFTMAX"].blocks
    assert found.cpu_ops["safe"] == sum(found.op_counts.values())
    assert 0 < found.cpu_ops["all"] < found.cpu_ops["off"]
    text = str(found)
    assert "not converted" in text
    assert "stops compiler" in text


def test_it_turns_out_so(model):
    found = respect_tf.inspect(model)
    samples = np.random.default_rng(0).normal(size=(12, 8, 8, 4))
    made = read_model(to_int8(model, samples, verbose=0).content)
    kinds = sorted(op_type(made, op) for op in made.subgraphs[0].operators)
    assert kinds == sorted(kind for kind, n in found.op_counts.items() for _ in range(n))


def test_a_model_that_maps_says_so():
    given = keras.Input((4,))
    found = respect_tf.inspect(keras.Model(given, keras.layers.Dense(2)(given)))
    assert found.unmapped == ()
    assert found.cpu_ops == {"off": 0, "safe": 0, "all": 0}
    assert "every op runs on an Edge TPU" in str(found)


def test_the_command_takes_files_and_folders(model, tmp_path):
    model.save(tmp_path / "net.keras")
    model.export(tmp_path / "saved", verbose=False)
    for path in (tmp_path / "net.keras", tmp_path / "saved"):
        done = CliRunner().invoke(main, ["inspect", str(path)])
        assert done.exit_code == 0, done.output
        assert "HARD_SWISH" in done.output
    done = CliRunner().invoke(main, ["inspect", "--json", str(tmp_path / "net.keras")])
    assert json.loads(done.output)["cpu_ops"]["all"] > 0
    (tmp_path / "empty").mkdir()
    done = CliRunner().invoke(main, ["inspect", str(tmp_path / "empty")])
    assert done.exit_code == 1
    assert "saved_model.pb" in done.output
