"""Draws the pictures in `docs/pictures` again: `python docs/make_pictures.py`.

Only the graph of a model matters here, so its weights are random and need no download.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

import respect_tf

PICTURES = Path(__file__).resolve().parent / "pictures"


def main() -> None:
    """Convert three models and draw them."""
    PICTURES.mkdir(exist_ok=True)
    keras.utils.set_random_seed(0)
    resnet = _pipeline(keras.applications.ResNet50(weights=None))
    resnet.plot_schedule(path=PICTURES / "schedule_resnet50.png")
    resnet.plot_memory(path=PICTURES / "memory_resnet50.png")
    resnet.plot_pipeline(path=PICTURES / "pipeline_resnet50.png")
    inception = _pipeline(keras.applications.InceptionResNetV2(weights=None))
    inception.plot_schedule().savefig(PICTURES / "schedule_inception_resnet_v2.png", dpi=75)
    robot = _pipeline(_robot(), objective="memory")
    robot.plot_schedule(path=PICTURES / "schedule_two_inputs.png")


def _pipeline(model: keras.Model, **options: Any) -> respect_tf.Pipeline:
    random = np.random.default_rng(0)
    samples = {
        tensor.name: random.random((2, *tensor.shape[1:]), np.float32) for tensor in model.inputs
    }
    return respect_tf.convert(
        model, 4, samples, scheduler="exact", verify=False, compile=False, **options
    )


def _robot() -> keras.Model:
    """A camera and the joints go in; an action and its value come out."""
    layers = keras.layers
    camera, joints = keras.Input((64, 64, 3), name="camera"), keras.Input((32,), name="joints")
    x = camera
    for filters in (32, 64, 128):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(x)
        x = layers.Add()([x, layers.Conv2D(filters, 3, padding="same", activation="relu")(x)])
    seen = layers.GlobalAveragePooling2D()(x)
    felt = layers.Dense(256, activation="relu")(layers.Dense(64, activation="relu")(joints))
    state = layers.Dense(512, activation="relu")(layers.Concatenate()([seen, felt]))
    action = layers.Dense(10, activation="softmax", name="action")(state)
    value = layers.Dense(1, activation="tanh", name="value")(state)
    return keras.Model([camera, joints], [action, value], name="robot")


if __name__ == "__main__":
    main()
