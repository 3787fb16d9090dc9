"""EfficientDet-Lite on EfficientNet-Lite, as the authors' configurations have them, in Keras."""

from __future__ import annotations

import math
from typing import Any

import keras

_LAST_CLASSES, _ANCHORS = 90, 9

# Expansion, channels, blocks, stride, kernel of EfficientNet-B0's stages.
_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
_STEM = 32  # of the "lite" networks, whatever their width
_TAPS = (2, 4, 6)  # stages whose maps are an eighth, a sixteenth and a thirty-second in size


def efficientdet_lite(
    size: int, *, width: float, depth: float, filters: int, cells: int, repeats: int
) -> keras.Model:
    """EfficientDet-Lite up to the maps that are decoded.

    Args:
        size: Height and width of the image.
        width: Multiple of the backbone's channels.
        depth: Multiple of its blocks.
        filters: Channels of the feature pyramid.
        cells: How often the pyramid is gone through.
        repeats: Convolutions of the class and box networks.
    """
    image = keras.Input((size, size, 3), name="image")
    maps = _backbone(image, width, depth)
    levels = [_resized(x, filters) for x in maps]
    levels.append(_pooled(levels[-1]))
    levels.append(_pooled(levels[-1]))
    for cell in range(cells):
        levels = _pyramid(levels, filters, maps if cell == 0 else None)
    outputs = []
    for last in (_LAST_CLASSES * _ANCHORS, 4 * _ANCHORS):
        for level in levels:
            x = level
            for _ in range(repeats):
                x = _separable(x, filters)
            x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
            outputs.append(keras.layers.Conv2D(last, 1)(x))
    return keras.Model(image, outputs)


def _backbone(image: Any, width: float, depth: float) -> list[Any]:
    x = _normal(keras.layers.Conv2D(_STEM, 3, 2, "same", use_bias=False)(image))
    taps = []
    for number, (expansion, channels, blocks, stride, kernel) in enumerate(_STAGES):
        fixed = number in (0, len(_STAGES) - 1)  # these have no more blocks in deeper networks
        for index in range(blocks if fixed else math.ceil(depth * blocks)):
            step = stride if index == 0 else 1
            x = _mobile_block(x, expansion, _eighths(channels * width), step, kernel)
        if number in _TAPS:
            taps.append(x)
    return taps


def _mobile_block(x: Any, expansion: int, channels: int, stride: int, kernel: int) -> Any:
    y = x
    if expansion > 1:
        y = _normal(keras.layers.Conv2D(expansion * x.shape[-1], 1, use_bias=False)(x))
    y = keras.layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False)(y)
    y = keras.layers.Conv2D(channels, 1, use_bias=False)(_normal(y))
    y = keras.layers.BatchNormalization()(y)
    return keras.layers.Add()([x, y]) if stride == 1 and x.shape[-1] == channels else y


def _pyramid(levels: list[Any], filters: int, maps: list[Any] | None) -> list[Any]:
    """One cell: from the coarse maps to the fine ones and back."""
    down = [levels[-1]]
    for level in reversed(levels[:-1]):
        up = keras.layers.UpSampling2D()(down[0])
        down.insert(0, _joined([level, _cropped(up, level)], filters))
    made = [down[0]]
    for number in range(1, len(levels)):
        beside = levels[number]
        if maps is not None and number < len(maps):  # its own copy of the backbone's map
            beside = _resized(maps[number], filters)
        parts = [beside, _pooled(made[-1])]
        if number < len(levels) - 1:
            parts.insert(1, down[number])
        made.append(_joined(parts, filters))
    return made


def _cropped(x: Any, like: Any) -> Any:
    over = x.shape[1] - like.shape[1]  # where a map of odd size was halved
    return keras.layers.Cropping2D(((0, over), (0, over)))(x) if over else x


def _joined(parts: list[Any], filters: int) -> Any:
    x = parts[0]
    for part in parts[1:]:
        x = keras.layers.Add()([x, part])
    return _separable(keras.layers.ReLU(6.0)(x), filters, active=False)


def _separable(x: Any, filters: int, *, active: bool = True) -> Any:
    x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(filters, 1)(x))
    return keras.layers.ReLU(6.0)(x) if active else x


def _resized(x: Any, filters: int) -> Any:
    return keras.layers.BatchNormalization()(keras.layers.Conv2D(filters, 1)(x))


def _pooled(x: Any) -> Any:
    return keras.layers.MaxPooling2D(3, 2, "same")(x)


def _normal(x: Any) -> Any:
    return keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(x))


def _eighths(count: float) -> int:
    nearest = max(8, int(count + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * count else nearest
