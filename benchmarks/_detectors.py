"""Detectors whose best numbers of segments are published, built with Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from benchmarks._efficientdet import efficientdet_lite
from benchmarks._yolo import yolo_v5, yolo_v8

_Build = Callable[[], keras.Model]


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


def _lite(size: int, filters: int, cells: int, repeats: int, scale: tuple[float, float]) -> _Build:
    width, depth = scale
    options = {"width": width, "depth": depth, "filters": filters, "cells": cells}
    return lambda: efficientdet_lite(size, repeats=repeats, **options)


DETECTORS: dict[str, _Build] = {
    "tf2_ssd_mobilenet_v1_fpn_640x640_coco17_ptq": lambda: ssd_mobilenet_fpn((640, 640)),
    "efficientdet_lite2_448_ptq": _lite(448, 112, 5, 3, (1.1, 1.2)),
    "efficientdet_lite3_512_ptq": _lite(512, 160, 6, 4, (1.2, 1.4)),
    "efficientdet_lite3x_640_ptq": _lite(640, 200, 6, 4, (1.2, 1.4)),
    "yolov5m-int8": lambda: yolo_v5(0.67, 0.75, (448, 448)),
    "yolov5l-int8": lambda: yolo_v5(1.0, 1.0, (448, 448)),
    "yolov8m_416_640px": lambda: yolo_v8(0.67, 0.75, 768, (416, 640)),
    "yolov8l_416_640px": lambda: yolo_v8(1.0, 1.0, 512, (416, 640)),
}
"""By the names under which they were measured. YOLOv5's size of image follows from the pixels per
second that the same project prints beside its times."""
