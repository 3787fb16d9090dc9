"""What a report advises, and where it says that the cuts are."""

import dataclasses

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


def test_a_report_says_when_and_with_what_it_was_made(pipeline, tmp_path, monkeypatch):
    import tensorflow as tf

    made = pipeline.made
    assert f"respect_tf {respect_tf.__version__}, tensorflow {tf.__version__}" in made
    assert 'num_segments=2, device="usb3"' in made
    assert made in str(pipeline.report)
    assert made in pipeline.report.to_html().replace("&quot;", '"')
    folder = pipeline.save(tmp_path / "out", verbose=0)
    assert respect_tf.load(folder).made == made
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    again = respect_tf.convert(pipeline.model, 2, compile=False, verbose=0)
    assert again.made.startswith("1970-01-02 by respect_tf")


def test_what_matters_most_is_a_tile(pipeline):
    report = dataclasses.replace(pipeline.report, warnings=("first", "<second>"))
    page = report.to_html()
    assert '<div class="tile warning"><b>&lt;second&gt;</b>' in page
    assert "and 1 more below" in page
    page = dataclasses.replace(report, warnings=()).to_html()
    assert '<div class="tile warning">' not in page


def test_variants_of_a_host_that_are_alike_share_a_row(pipeline):
    text = str(pipeline.report)
    assert "usb3-pi5, any bus" in text
    assert text.count("usb3-pi4") < 5


@pytest.mark.parametrize("width", [60, 140])
def test_the_text_is_as_wide_as_the_terminal(pipeline, monkeypatch, width):
    from respect_tf.report import _text

    monkeypatch.setattr(_text, "_is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    lines = str(pipeline.report).splitlines()
    assert width * 0.7 < max(map(len, lines)) <= width
    following = next(at for at, line in enumerate(lines) if line.startswith("throughput")) + 1
    assert lines[following].startswith((" " * 16, "speed-up"))
