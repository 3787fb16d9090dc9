"""Models of which the compiler leaves ops on the CPU, in the middle of wide graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

_NUM_SAMPLES = 3


def crnn() -> keras.Model:
    """A reader of text lines: convolutions, an unrolled LSTM in both directions, attention."""
    steps, units, characters = 23, 48, 80
    line = keras.Input((32, 4 * steps, 1))
    x = line
    for filters, pool in ((32, 2), (64, 2), (128, (2, 1)), (128, (2, 1))):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(pool)(x)
    x = layers.Reshape((steps, 256))(layers.Permute((2, 1, 3))(x))
    x = layers.Bidirectional(layers.LSTM(units, unroll=True, return_sequences=True))(x)
    weights = layers.Softmax(axis=1)(layers.Dense(1)(layers.Dense(64, activation="tanh")(x)))
    context = ops.sum(x * weights, axis=1, keepdims=True)
    x = layers.Concatenate()([x, x * 0 + context])
    return keras.Model(line, layers.Dense(characters, activation="softmax")(x))


def yolov8() -> keras.Model:
    """YOLOv8n for 320x320 that decodes its boxes: a softmax over bins, and sums with anchors."""
    size, classes = 320, 80
    image = keras.Input((size, size, 3))
    x = _conv(_conv(image, 16, 3, 2), 32, 3, 2)
    x = _conv(_c2f(x, 32, 1), 64, 3, 2)
    p3 = _c2f(x, 64, 2)
    p4 = _c2f(_conv(p3, 128, 3, 2), 128, 2)
    p5 = _pyramid(_c2f(_conv(p4, 256, 3, 2), 256, 1), 256)
    n4 = _c2f(_joined(layers.UpSampling2D()(p5), p4), 128, 1, shortcut=False)
    n3 = _c2f(_joined(layers.UpSampling2D()(n4), p3), 64, 1, shortcut=False)
    m4 = _c2f(_joined(_conv(n3, 64, 3, 2), n4), 128, 1, shortcut=False)
    m5 = _c2f(_joined(_conv(m4, 128, 3, 2), p5), 256, 1, shortcut=False)
    boxes, scores = [], []
    for level in (n3, m4, m5):
        box = layers.Conv2D(64, 1)(_conv(_conv(level, 64), 64))
        score = layers.Conv2D(classes, 1)(_conv(_conv(level, 80), 80))
        boxes.append(layers.Reshape((-1, 64))(box))
        scores.append(layers.Reshape((-1, classes))(score))
    every = layers.Concatenate(axis=1)(boxes)
    count = every.shape[1]
    bins = layers.Softmax(axis=-1)(layers.Reshape((count, 4, 16))(every))
    sides = layers.Reshape((count, 4))(layers.Conv2D(1, 1, use_bias=False)(bins))
    anchors = np.random.default_rng(0).random((1, count, 2), np.float32)
    first, last = sides[..., :2] * -1.0 + anchors, sides[..., 2:] + anchors
    box = layers.Concatenate()([(first + last) * 0.5, last - first]) * 8.0
    score = layers.Activation("sigmoid")(layers.Concatenate(axis=1)(scores))
    return keras.Model(image, layers.Concatenate()([box, score]))


def built(name: str) -> tuple[keras.Model, Any]:
    """A model of this file, the same every time, and samples to calibrate it with."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    model = CPU_OP_MODELS[name]()
    shape = (_NUM_SAMPLES, *model.input_shape[1:])
    return model, np.random.default_rng(0).random(shape, np.float32)


def _conv(x: Any, filters: int, kernel: int = 3, strides: int = 1) -> Any:
    x = layers.Conv2D(filters, kernel, strides, padding="same", use_bias=False)(x)
    return layers.Activation("swish")(layers.BatchNormalization()(x))


def _c2f(x: Any, filters: int, repeats: int, *, shortcut: bool = True) -> Any:
    x = _conv(x, filters, 1)
    parts = [x[..., : filters // 2], x[..., filters // 2 :]]
    for _ in range(repeats):
        y = _conv(_conv(parts[-1], filters // 2), filters // 2)
        parts.append(parts[-1] + y if shortcut else y)
    return _conv(layers.Concatenate()(parts), filters, 1)


def _pyramid(x: Any, filters: int) -> Any:
    parts = [_conv(x, filters // 2, 1)]
    for _ in range(3):
        parts.append(layers.MaxPooling2D(5, 1, padding="same")(parts[-1]))
    return _conv(layers.Concatenate()(parts), filters, 1)


def _joined(*parts: Any) -> Any:
    return layers.Concatenate()(parts)


CPU_OP_MODELS: dict[str, Callable[[], keras.Model]] = {
    "CRNN with attention": crnn,
    "YOLOv8 with boxes": yolov8,
}
