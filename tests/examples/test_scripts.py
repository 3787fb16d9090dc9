"""The scripts for cameras and detection run, and their parts do what they say."""

import numpy as np
import pytest

import respect_tf
from examples import camera_loop, detection
from examples.detection import decode, overlaps, suppress

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    tensor = keras.layers.Conv2D(4, 3)(keras.layers.Conv2D(4, 3)(image))
    model = keras.Model(image, keras.layers.Dense(5)(keras.layers.Flatten()(tensor)))
    images = np.random.default_rng(0).uniform(0, 1, (8, 8, 8, 3)).astype(np.float32)
    pipeline = respect_tf.convert(model, 2, images, compile=False, verbose=0)
    return pipeline.save(tmp_path_factory.mktemp("camera") / "out", verbose=0)


def test_the_camera_loop_gives_a_result_for_each_frame_that_it_did_not_drop(
    folder, tmp_path, capsys
):
    count = camera_loop.main([str(folder), "--count", "5", "--rate", "200"])
    assert 1 <= count <= 5
    np.save(tmp_path / "x.npy", np.zeros((3, 8, 8, 3), np.float32))
    count = camera_loop.main([str(folder), "--frames", str(tmp_path / "x.npy"), "--rate", "1000"])
    assert 1 <= count <= 3
    told = capsys.readouterr().out
    assert "segment 1 on cpu" in told
    assert f"frame {count - 1}: class" in told


def test_detection_finds_boxes_within_the_picture():
    for one in detection.main():
        assert 0.5 <= one["score"] <= 1
        assert (one["box"] >= 0).all()
        assert (one["box"] <= 1).all()


def test_suppression_keeps_the_best_of_boxes_that_overlap():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 0.9], [0, 0, 0.2, 0.2], [0.5, 0.5, 0.6, 0.6]])
    scores = np.array([[0.6, 0.9], [0.8, 0.1], [0.7, 0.2], [0.1, 0.3]])
    kept = suppress(boxes, scores, threshold=0.5, overlap=0.5)
    assert [(one["class"], round(one["score"], 1)) for one in kept] == [
        (1, 0.9),
        (0, 0.8),
        (0, 0.7),
    ]
    assert overlaps(boxes[0], boxes[1:]).tolist() == pytest.approx([0.9, 0.04, 0.01])
    assert overlaps(np.zeros(4), np.zeros((1, 4))).tolist() == [0]


def test_boxes_are_decoded_around_their_anchors():
    prior = np.array([[0.5, 0.5, 0.2, 0.4]])
    assert decode(np.zeros((1, 4)), prior)[0].tolist() == pytest.approx([0.4, 0.3, 0.6, 0.7])
    moved = decode(np.array([[1.0, 0, 0, 0]]), prior)[0]
    assert moved.tolist() == pytest.approx([0.42, 0.3, 0.62, 0.7])
