"""The op graph of whatever a user calls a model."""

import keras
import numpy as np
import pytest
from keras import layers

import respect_tf
from respect_tf import ArgumentError, OpGraph
from respect_tf._architecture import architecture_of


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    start = keras.Input((8, 8, 3))
    tensor = layers.Conv2D(4, 3, activation="relu", name="stem")(start)
    return keras.Model(start, layers.Dense(3)(layers.Flatten()(tensor)), name="small")


@pytest.fixture(scope="module")
def pipeline(model):
    data = np.random.default_rng(0).standard_normal((4, 8, 8, 3)).astype("float32")
    return respect_tf.convert(model, 2, data, verbose=0)


def test_every_form_of_a_model_has_the_same_graph(model, pipeline, tmp_path):
    model.save(tmp_path / "small.keras")
    pipeline.save(tmp_path / "folder", verbose=0)
    (tmp_path / "small.tflite").write_bytes(pipeline.model)
    forms = {
        "graph": pipeline.graph,
        "pipeline": pipeline,
        "tflite": pipeline.model,
        "architecture": model,
    }
    found = {origin: architecture_of(given, verbose=0) for origin, given in forms.items()}
    found["pipeline again"] = architecture_of(tmp_path / "folder", verbose=0)
    found["tflite again"] = architecture_of(str(tmp_path / "small.tflite"), verbose=0)
    found["architecture again"] = architecture_of(tmp_path / "small.keras", verbose=0)
    for expected, one in found.items():
        assert expected.startswith(one.origin)
        assert one.graph.op_types == pipeline.graph.op_types
        assert one.graph.parameter_bytes.tolist() == pipeline.graph.parameter_bytes.tolist()
        assert one.note == ""


class Twice(layers.Layer):
    def call(self, inputs):
        return inputs + inputs


def test_a_model_with_a_layer_of_ones_own_is_converted_and_says_why(capsys):
    start = keras.Input((8, 8, 3))
    tensor = Twice(name="twice")(layers.Conv2D(4, 3)(start))
    found = architecture_of(keras.Model(start, tensor, name="mine"), verbose=1)
    assert found.origin == "conversion"
    assert found.graph.op_types == ("CONV_2D", "ADD")
    assert "Layer 'twice', a Twice" in found.note
    assert "Layer 'twice', a Twice" in capsys.readouterr().err


def test_a_converter_and_other_things_are_refused(model):
    import tensorflow as tf

    with pytest.raises(ArgumentError, match="options of its own"):
        architecture_of(tf.lite.TFLiteConverter.from_keras_model(model), verbose=0)
    with pytest.raises(ArgumentError):
        architecture_of(3, verbose=0)


def test_a_graph_of_arrays_is_taken_as_it_is():
    graph = OpGraph.from_arrays([1, 2], [1, 1], [[0, 1]])
    assert architecture_of(graph).graph is graph


def test_a_file_and_its_model_count_as_trained_alike(tmp_path):
    start = keras.Input((8, 8, 4))
    tensor = Twice(name="twice")(layers.BatchNormalization()(layers.MaxPooling2D(2)(start)))
    fresh = keras.Model(start, tensor, name="fresh")
    fresh.save(tmp_path / "fresh.keras")
    kinds = [
        architecture_of(
            given, trained=True, custom_objects={"Twice": Twice}, verbose=0
        ).graph.op_types
        for given in (fresh, tmp_path / "fresh.keras")
    ]
    assert kinds == [("MAX_POOL_2D", "MUL", "ADD", "ADD")] * 2
