"""YOLO networks, built with Keras."""

from __future__ import annotations

from typing import Any

import keras

_CLASSES = 80


def yolo_v5(depth: float, width: float, image: tuple[int, int]) -> keras.Model:
    """YOLOv5 (release 6) as its authors' configuration file has it, up to the decoded maps.

    Args:
        depth: Multiple of the number of blocks.
        width: Multiple of the channels.
        image: Height and width.
    """

    def channels(count: int) -> int:
        return _eighths(count * width)

    def block(x: Any, count: int, times: int, *, adds: bool) -> Any:
        """C3: a chain of bottlenecks, beside a 1x1 convolution of the same input."""
        half, out = channels(count) // 2, channels(count)
        chain = _conv(x, half, 1)
        for _ in range(max(1, round(times * depth))):
            y = _conv(_conv(chain, half, 1), half, 3)
            chain = keras.layers.Add()([chain, y]) if adds else y
        return _conv(keras.layers.Concatenate()([chain, _conv(x, half, 1)]), out, 1)

    inputs = keras.Input((*image, 3), name="image")
    x = _conv(_conv(inputs, channels(64), 6, 2), channels(128), 3, 2)
    x = block(x, 128, 3, adds=True)
    third = block(_conv(x, channels(256), 3, 2), 256, 6, adds=True)
    fourth = block(_conv(third, channels(512), 3, 2), 512, 9, adds=True)
    fifth = block(_conv(fourth, channels(1024), 3, 2), 1024, 3, adds=True)
    fifth = _conv(_pooled(_conv(fifth, channels(1024) // 2, 1)), channels(1024), 1)

    def joined(above: Any, beside: Any, count: int) -> Any:
        return block(keras.layers.Concatenate()([above, beside]), count, 3, adds=False)

    top = _conv(fifth, channels(512), 1)
    middle = joined(keras.layers.UpSampling2D()(top), fourth, 512)
    side = _conv(middle, channels(256), 1)
    fine = joined(keras.layers.UpSampling2D()(side), third, 256)
    middle = joined(_conv(fine, channels(256), 3, 2), side, 512)
    coarse = joined(_conv(middle, channels(512), 3, 2), top, 1024)
    last = 3 * (_CLASSES + 5)  # three boxes at each place
    return keras.Model(inputs, [keras.layers.Conv2D(last, 1)(x) for x in (fine, middle, coarse)])


def yolo_v8(depth: float, width: float, most: int, image: tuple[int, int]) -> keras.Model:
    """YOLOv8 as its authors' configuration file has it, up to the maps that are decoded.

    Args:
        depth: Multiple of the number of blocks.
        width: Multiple of the channels.
        most: The most channels before that.
        image: Height and width.
    """

    def channels(count: int) -> int:
        return _eighths(min(count, most) * width)

    def block(x: Any, count: int, times: int, *, adds: bool) -> Any:
        """C2f: two halves, and what a chain of bottlenecks makes of the second one."""
        half, out = channels(count) // 2, channels(count)
        x = _conv(x, 2 * half, 1)
        left = keras.layers.Conv2D(half, 1)(x)  # splits are 1x1 convolutions of the same size
        right = keras.layers.Conv2D(half, 1)(x)
        parts = [left, right]
        for _ in range(max(1, round(times * depth))):
            y = _conv(_conv(parts[-1], half, 3), half, 3)
            parts.append(keras.layers.Add()([parts[-1], y]) if adds else y)
        return _conv(keras.layers.Concatenate()(parts), out, 1)

    inputs = keras.Input((*image, 3), name="image")
    x = _conv(_conv(inputs, channels(64), 3, 2), channels(128), 3, 2)
    x = block(x, 128, 3, adds=True)
    third = block(_conv(x, channels(256), 3, 2), 256, 6, adds=True)
    fourth = block(_conv(third, channels(512), 3, 2), 512, 6, adds=True)
    fifth = block(_conv(fourth, channels(1024), 3, 2), 1024, 3, adds=True)
    fifth = _conv(_pooled(_conv(fifth, channels(1024) // 2, 1)), channels(1024), 1)

    def joined(above: Any, beside: Any, count: int) -> Any:
        return block(keras.layers.Concatenate()([above, beside]), count, 3, adds=False)

    middle = joined(keras.layers.UpSampling2D()(fifth), fourth, 512)
    fine = joined(keras.layers.UpSampling2D()(middle), third, 256)
    middle = joined(_conv(fine, channels(256), 3, 2), middle, 512)
    coarse = joined(_conv(middle, channels(512), 3, 2), fifth, 1024)
    boxes, classes = max(64, channels(256) // 4), max(channels(256), _CLASSES)
    outputs = []
    for level in (fine, middle, coarse):
        box = _conv(_conv(level, boxes, 3), boxes, 3)
        kind = _conv(_conv(level, classes, 3), classes, 3)
        outputs += [keras.layers.Conv2D(64, 1)(box), keras.layers.Conv2D(_CLASSES, 1)(kind)]
    return keras.Model(inputs, outputs)


def _conv(x: Any, count: int, kernel: int, stride: int = 1) -> Any:
    x = keras.layers.Conv2D(count, kernel, stride, "same", use_bias=False)(x)
    x = keras.layers.BatchNormalization()(x)
    return keras.layers.Activation("swish")(x)


def _pooled(x: Any) -> Any:
    """What windows of growing size see, side by side."""
    parts = [x]
    for _ in range(3):
        parts.append(keras.layers.MaxPooling2D(5, 1, "same")(parts[-1]))
    return keras.layers.Concatenate()(parts)


def _eighths(count: float) -> int:
    return int(-(-count // 8) * 8)
