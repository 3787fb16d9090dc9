"""What a report advises, and where it says that the cuts are."""

import keras
import numpy as np
import pytest
from keras import layers

import respect_tf
from respect_tf.report._advice import proof_of
from respect_tf.report._report import layer_label


@pytest.fixture(scope="module")
def pipeline():
    keras.utils.set_random_seed(0)
    start = keras.Input((16, 16, 3), name="image")
    tensor = layers.Conv2D(8, 3, activation="relu", name="stem")(start)
    tensor = layers.Conv2D(8, 3, activation="relu", name="body")(tensor)
    tensor = layers.Dense(4, name="classes")(layers.GlobalAveragePooling2D(name="pool")(tensor))
    data = np.random.default_rng(0).uniform(0, 1, (4, 16, 16, 3)).astype("float32")
    model = keras.Model(start, tensor, name="small")
    return respect_tf.convert(model, 2, data, compile=False, verbose=0)


def test_a_report_says_after_which_layer_each_stage_ends(pipeline):
    ends = [stage.ends_after for stage in pipeline.report.stages]
    assert set(ends) <= {"stem", "body", "pool", "classes"}
    assert ends[-1] == "classes"
    assert "ends after" in str(pipeline.report)


def test_a_report_says_what_to_do_next(pipeline):
    text = str(pipeline.report)
    assert "name your host" in text
    assert "respect-tf compile" in text
    page = pipeline.report.to_html()
    assert "What the words mean" in page
    assert page.count("small in 2 segments") == 2  # the window's title and the page's


def test_a_pipelines_speed_and_graph_print_on_a_line(pipeline):
    sentence = str(pipeline.report.speed)
    assert "frames/s on usb3-pi5 (predicted)" in sentence
    assert sentence.endswith(".")
    assert repr(pipeline.graph).startswith("<OpGraph of 4 ops")
    assert len(repr(pipeline.graph)) < 120


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("model_1/conv4_block4_out_1/Relu;model_1/conv4_add_1/Add", "conv4_block4_out"),
        ("stem", "stem"),
        ("model/stem/CONV_2D", "stem"),
        ("", ""),
    ],
)
def test_layers_are_called_by_their_names(name, label):
    assert layer_label(name) == label


@pytest.mark.parametrize(
    ("status", "gap", "said"),
    [
        ("optimal", 0.0, "proved optimal"),
        ("optimal within 1e-6", 1e-7, "proved optimal within 1e-6"),
        ("feasible", 0.01, "at most 1.00% above the optimum"),
        ("feasible", 1.85, "at most 185% above the optimum: nothing better was found"),
        ("feasible", None, "not proved"),
    ],
)
def test_a_gap_is_explained(status, gap, said):
    assert proof_of(status, gap).startswith(said)
