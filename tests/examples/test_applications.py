"""The offline applications are deterministic, and behave like trained models."""

import hashlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from examples.applications import build_application, calibration_samples, synthetic_images
from respect_tf.tflite import Interpreter, read_model, to_int8

# Keras 3 warns of its own use of numpy 2 when it reads variables.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (96, 96, 3)


def _digest(model: keras.Model) -> str:
    content = b"".join(weight.tobytes() for weight in model.get_weights())
    return hashlib.sha256(content).hexdigest()


def test_images_are_smooth_differ_and_follow_the_seed():
    images = synthetic_images(6, SHAPE, seed=1)
    assert images.shape == (6, *SHAPE)
    assert images.dtype == np.float32
    assert images.min() >= 0
    assert images.max() <= 255
    assert images.std() > 20
    steps = np.abs(np.diff(images, axis=1))
    assert steps.mean() < 0.1 * images.std()
    assert min(np.abs(images[i] - images[j]).mean() for i in range(6) for j in range(i)) > 5
    np.testing.assert_array_equal(images, synthetic_images(6, SHAPE, seed=1))
    assert not np.array_equal(images, synthetic_images(6, SHAPE, seed=2))


def test_samples_are_preprocessed_as_the_application_wants_them():
    scaled = calibration_samples("MobileNetV2", 4, input_shape=SHAPE)
    assert -1 <= scaled.min() < -0.5
    assert 0.5 < scaled.max() <= 1
    centred = calibration_samples("ResNet50", 4, input_shape=SHAPE)
    assert centred.min() < -50
    assert centred.max() > 50
    raw = calibration_samples("EfficientNetB0", 4, input_shape=SHAPE)
    np.testing.assert_array_equal(raw, synthetic_images(4, SHAPE))


def test_an_unknown_application_is_refused_with_those_that_exist():
    with pytest.raises(ValueError, match=r"no model 'ResNet51'.*ResNet50"):
        build_application("ResNet51")
    with pytest.raises(ValueError, match="no model 'resnet50'"):
        build_application("resnet50")


_CLASSES = {
    name: value for name, value in vars(keras.applications).items() if inspect.isfunction(value)
}
_SMALL = (
    "ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "EfficientNetV2B0", "InceptionResNetV2",
    "InceptionV3", "MobileNet", "MobileNetV2", "MobileNetV3Small", "NASNetMobile", "ResNet50",
    "ResNet50V2", "VGG16", "VGG19", "Xception",
)  # fmt: skip
# The larger classes of a family are built of the same layers: EVERY_APPLICATION=1 tries them, too.
_NAMES = sorted(_CLASSES) if os.environ.get("EVERY_APPLICATION") else _SMALL


def test_each_family_of_applications_is_tried():
    families = {_CLASSES[name].__module__ for name in _CLASSES}
    assert {_CLASSES[name].__module__ for name in _SMALL} == families


@pytest.mark.parametrize("name", _NAMES)
def test_every_application_is_built_and_gives_classes(name):
    shape = (75, 75, 3)  # the least that all of them take
    model = build_application(name, input_shape=shape)
    images = calibration_samples(name, 2, input_shape=shape)
    found = np.asarray(model(images, training=False))
    assert found.shape == (2, 1000)
    assert np.isfinite(found).all()
    assert not np.array_equal(*found)


def test_weights_and_names_follow_the_seed():
    first, again, other = (
        build_application("MobileNetV2", input_shape=SHAPE, seed=seed) for seed in (3, 3, 4)
    )
    assert _digest(first) == _digest(again) != _digest(other)
    assert [layer.name for layer in first.layers] == [layer.name for layer in again.layers]
    assert first.inputs[0].name == again.inputs[0].name


def test_the_model_is_left_ready_for_training():
    model = build_application("MobileNetV2", input_shape=SHAPE)
    plain = keras.applications.MobileNetV2(weights=None, input_shape=SHAPE)
    normal = keras.layers.BatchNormalization
    for layer, untouched in zip(model.layers, plain.layers, strict=True):
        assert layer.trainable == untouched.trainable
        if isinstance(layer, normal):
            assert layer.momentum == untouched.momentum


def _inner_and_outputs(model: keras.Model, name: str, images: np.ndarray):
    """What every op of the int8 model makes of each image, and the probabilities."""
    samples = calibration_samples(name, 16, input_shape=images.shape[1:])
    result = to_int8(model, samples, inference_output_type="float32", verbose=0)
    subgraph = read_model(result.content).subgraphs[0]
    quantization = subgraph.tensors[subgraph.inputs[0]].quantization
    step, zero = float(quantization.scale[0]), int(quantization.zeroPoint[0])
    interpreter = Interpreter(result.content, keep_inner_tensors=True)
    inner, outputs = [], []
    for image in images:
        stored = np.clip(np.round(image[None] / step) + zero, -128, 127).astype(np.int8)
        outputs.append(interpreter.run([stored])[0][0])
        inner.append([interpreter.tensor(int(op.outputs[0])) for op in subgraph.operators])
    return inner, outputs


def test_inner_tensors_and_outputs_vary_with_the_input():
    model = build_application("MobileNetV2", input_shape=SHAPE)
    images = calibration_samples("MobileNetV2", 8, input_shape=SHAPE, seed=1)
    inner, outputs = _inner_and_outputs(model, "MobileNetV2", images)
    for number, pair in enumerate(zip(inner[0], inner[1], strict=True)):
        assert not np.array_equal(*pair), number
        assert all(len(np.unique(array)) > 3 for array in pair), number
    assert len({array.tobytes() for array in outputs}) == len(outputs)
    assert len(set(np.argmax(model(images, training=False), axis=1))) >= 3


@pytest.mark.slow
def test_the_int8_resnet50_follows_the_float_one():
    model = build_application("ResNet50")
    images = calibration_samples("ResNet50", 8, seed=1)
    _, outputs = _inner_and_outputs(model, "ResNet50", images)
    expected = np.asarray(model(images, training=False))
    agreement = [np.corrcoef(*pair)[0, 1] for pair in zip(outputs, expected, strict=True)]
    assert np.median(agreement) > 0.8, agreement


@pytest.mark.slow
def test_two_processes_make_the_same_file():
    script = """
import hashlib
from examples.applications import build_application, calibration_samples
from respect_tf.tflite import to_int8
model = build_application("MobileNetV2", input_shape=(96, 96, 3))
images = calibration_samples("MobileNetV2", 4, input_shape=(96, 96, 3))
print(hashlib.sha256(to_int8(model, images, verbose=0).content).hexdigest())
"""
    digests = {
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=600,
            check=True,
        ).stdout
        for _ in range(2)
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == 64
