"""Tiny models of both Keras packages, and data for them."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

PACKAGES = ("keras", "tf_keras")
SHAPE = (8, 8, 3)
NUM_CLASSES = 4


def small_cnn(package: str, *, eager: bool = False) -> Any:
    """An image classifier with a BatchNormalization that no convolution can absorb."""
    keras = importlib.import_module(package)
    layers = keras.layers
    image = keras.Input(SHAPE, name="image")
    x = layers.Conv2D(8, 3, activation="relu", name="first")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Activation("relu", name="relu")(x)
    x = layers.Conv2D(8, 3, activation="relu", name="second")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    scores = layers.Dense(NUM_CLASSES, activation="softmax", name="scores")(x)
    return finished(keras.Model(image, scores, name="digits"), eager=eager)


def tiny(package: str, *, units: int = 6) -> Any:
    """What is trained and converted in least time, for tests of when and where."""
    keras = importlib.import_module(package)
    layers = keras.layers
    image = keras.Input(SHAPE, name="image")
    x = layers.Dense(units, activation="relu")(layers.Flatten()(image))
    scores = layers.Dense(NUM_CLASSES, activation="softmax")(x)
    return finished(keras.Model(image, scores, name="tiny"), eager=True)


def two_inputs(package: str) -> Any:
    """A model of an image and a vector."""
    keras = importlib.import_module(package)
    layers = keras.layers
    image = keras.Input(SHAPE, name="image")
    vector = keras.Input((6,), name="vector")
    x = layers.Conv2D(8, 3, activation="relu")(image)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Concatenate()([x, layers.Dense(8, activation="relu")(vector)])
    scores = layers.Dense(NUM_CLASSES, activation="softmax", name="scores")(x)
    return finished(keras.Model([image, vector], scores, name="pair"), eager=True)


def unbuilt(package: str) -> Any:
    """A Sequential that does not know its input yet."""
    keras = importlib.import_module(package)
    layers = keras.layers
    return finished(
        keras.Sequential(
            [
                layers.Conv2D(4, 3, activation="relu"),
                layers.Conv2D(4, 3, activation="relu"),
                layers.GlobalAveragePooling2D(),
                layers.Dense(NUM_CLASSES, activation="softmax"),
            ],
            name="unbuilt",
        ),
        eager=True,
    )


def any_length(package: str) -> Any:
    """A model that no pipeline can be made of: it takes any number of steps."""
    keras = importlib.import_module(package)
    steps = keras.Input((None, 3), name="steps")
    pooled = keras.layers.GlobalAveragePooling1D()(steps)
    scores = keras.layers.Dense(NUM_CLASSES, activation="softmax")(pooled)
    return finished(keras.Model(steps, scores, name="any_length"), eager=True)


def finished(model: Any, *, eager: bool = False) -> Any:
    """Compile a model for `fit`; eager training starts sooner."""
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", run_eagerly=eager)
    return model


def images(num_samples: int = 24) -> np.ndarray:
    """float32 [num_samples, 8, 8, 3]."""
    return np.random.default_rng(0).random((num_samples, *SHAPE), np.float32)


def vectors(num_samples: int = 24) -> np.ndarray:
    """float32 [num_samples, 6]."""
    return np.random.default_rng(1).random((num_samples, 6), np.float32)


def classes(num_samples: int = 24) -> np.ndarray:
    """int64 [num_samples]."""
    return np.random.default_rng(2).integers(0, NUM_CLASSES, num_samples)
