"""Detectors whose best numbers of segments are published, built with Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

_CLASSES = 80


def yolo_v8(depth: float, width: float, most: int, image: tuple[int, int]) -> keras.Model:
    """YOLOv8 as its authors' configuration file has it, up to the maps that are decoded.

    Args:
        depth: Multiple of the number of blocks.
        width: Multiple of the channels.
        most: The most channels before that.
        image: Height and width.
    """

    def channels(count: int) -> int:
        return int(-(-min(count, most) * width // 8) * 8)

    def conv(x: Any, count: int, kernel: int, stride: int = 1) -> Any:
        x = keras.layers.Conv2D(count, kernel, stride, "same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        return keras.layers.Activation("swish")(x)

    def block(x: Any, count: int, times: int, *, adds: bool) -> Any:
        """C2f: two halves, and what a chain of bottlenecks makes of the second one."""
        half, out = channels(count) // 2, channels(count)
        x = conv(x, 2 * half, 1)
        left = keras.layers.Conv2D(half, 1)(x)  # splits are 1x1 convolutions of the same size
        right = keras.layers.Conv2D(half, 1)(x)
        parts = [left, right]
        for _ in range(max(1, round(times * depth))):
            y = conv(conv(parts[-1], half, 3), half, 3)
            parts.append(keras.layers.Add()([parts[-1], y]) if adds else y)
        return conv(keras.layers.Concatenate()(parts), out, 1)

    inputs = keras.Input((*image, 3), name="image")
    x = conv(conv(inputs, channels(64), 3, 2), channels(128), 3, 2)
    x = block(x, 128, 3, adds=True)
    third = block(conv(x, channels(256), 3, 2), 256, 6, adds=True)
    fourth = block(conv(third, channels(512), 3, 2), 512, 6, adds=True)
    fifth = block(conv(fourth, channels(1024), 3, 2), 1024, 3, adds=True)
    pooled = [conv(fifth, channels(1024) // 2, 1)]
    for _ in range(3):
        pooled.append(keras.layers.MaxPooling2D(5, 1, "same")(pooled[-1]))
    fifth = conv(keras.layers.Concatenate()(pooled), channels(1024), 1)

    def joined(above: Any, beside: Any, count: int) -> Any:
        return block(keras.layers.Concatenate()([above, beside]), count, 3, adds=False)

    middle = joined(keras.layers.UpSampling2D()(fifth), fourth, 512)
    fine = joined(keras.layers.UpSampling2D()(middle), third, 256)
    middle = joined(conv(fine, channels(256), 3, 2), middle, 512)
    coarse = joined(conv(middle, channels(512), 3, 2), fifth, 1024)
    boxes, classes = max(64, channels(256) // 4), max(channels(256), _CLASSES)
    outputs = []
    for level in (fine, middle, coarse):
        box = conv(conv(level, boxes, 3), boxes, 3)
        kind = conv(conv(level, classes, 3), classes, 3)
        outputs += [keras.layers.Conv2D(64, 1)(box), keras.layers.Conv2D(_CLASSES, 1)(kind)]
    return keras.Model(inputs, outputs)


def ssd_mobilenet_fpn(image: tuple[int, int]) -> keras.Model:
    """SSD on MobileNet v1 with a feature pyramid, as TensorFlow's detection API configures it."""
    base = keras.applications.MobileNet(
        weights=None, include_top=False, input_shape=(*image, 3), pooling=None
    )

    def conv(x: Any, count: int, stride: int = 1) -> Any:
        x = keras.layers.Conv2D(count, 3, stride, "same", use_bias=False)(x)
        return keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(x))

    taps = [base.get_layer(f"conv_pw_{at}_relu").output for at in (5, 11, 13)]
    sides = [keras.layers.Conv2D(256, 1)(tap) for tap in taps]
    levels = [sides[2]]
    for side in (sides[1], sides[0]):
        up = keras.layers.UpSampling2D()(levels[0])
        levels.insert(0, keras.layers.Add()([up, side]))
    levels = [conv(levels[0], 256), conv(levels[1], 256), levels[2]]
    for _ in range(2):
        levels.append(conv(levels[-1], 256, 2))
    outputs = []
    for level in levels:
        for last in (24, 546):
            x = level
            for _ in range(4):
                x = conv(x, 256)
            outputs.append(keras.layers.Conv2D(last, 3, padding="same")(x))
    return keras.Model(base.input, outputs)


DETECTORS: dict[str, Callable[[], keras.Model]] = {
    "yolov8m_416_640px": lambda: yolo_v8(0.67, 0.75, 768, (416, 640)),
    "yolov8l_416_640px": lambda: yolo_v8(1.0, 1.0, 512, (416, 640)),
    "tf2_ssd_mobilenet_v1_fpn_640x640_coco17_ptq": lambda: ssd_mobilenet_fpn((640, 640)),
}
"""By the names under which they were measured."""
