"""Small models of the kinds that people run on Edge TPUs: maps in, maps or boxes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

Builder = Callable[[], keras.Model]


def conv(x: Any, filters: int, size: int = 3, stride: int = 1, act: Any = "relu") -> Any:
    """Convolution, batch normalisation, activation."""
    x = layers.Conv2D(filters, size, stride, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return layers.LeakyReLU(0.1)(x) if act == "leaky" else layers.Activation(act)(x)


def backbone(x: Any, act: Any = "relu", width: int = 16) -> list[Any]:
    """Three maps, each half as large as the one before."""
    maps = []
    x = conv(x, width, 3, 2, act)
    for number in range(3):
        x = conv(x, width * 2 ** (number + 1), 3, 2, act)
        x = layers.Add()([x, conv(x, width * 2 ** (number + 1), 3, 1, act)])
        maps.append(x)
    return maps


def _yolo(act: Any, *, focus: bool = False) -> Builder:
    def build() -> keras.Model:
        image = x = keras.Input((64, 64, 3))
        if focus:
            x = layers.Concatenate()([x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)])
            x = layers.UpSampling2D()(x)
        small, middle, large = backbone(x, act)
        up = layers.UpSampling2D()(conv(large, 32, 1, 1, act))
        middle = conv(layers.Concatenate()([up, middle]), 64, 3, 1, act)
        up = layers.UpSampling2D()(conv(middle, 16, 1, 1, act))
        small = conv(layers.Concatenate()([up, small]), 32, 3, 1, act)
        heads = [layers.Conv2D(18, 1)(level) for level in (small, middle, large)]
        return keras.Model(image, heads)

    return build


def _ssd() -> keras.Model:
    image = keras.Input((64, 64, 3))
    boxes, scores = [], []
    for level in backbone(image):
        boxes.append(layers.Reshape((-1, 4))(layers.Conv2D(16, 3, padding="same")(level)))
        scores.append(layers.Reshape((-1, 5))(layers.Conv2D(20, 3, padding="same")(level)))
    scores_all = layers.Activation("sigmoid")(layers.Concatenate(axis=1)(scores))
    return keras.Model(image, [layers.Concatenate(axis=1)(boxes), scores_all])


def _efficientdet(act: str = "swish") -> keras.Model:
    image = keras.Input((64, 64, 3))
    levels = [layers.Conv2D(16, 1)(level) for level in backbone(image, act)]
    for _ in range(2):  # BiFPN: down, then up
        for low in (1, 0):
            up = layers.UpSampling2D()(levels[low + 1])
            levels[low] = conv(layers.Add()([levels[low] * 0.6, up * 0.4]), 16, act=act)
        for high in (1, 2):
            down = layers.MaxPooling2D()(levels[high - 1])
            levels[high] = conv(layers.Add()([levels[high] * 0.5, down * 0.5]), 16, act=act)
    heads = [layers.SeparableConv2D(9, 3, padding="same")(level) for level in levels]
    return keras.Model(image, heads)


def _retinanet() -> keras.Model:
    image = keras.Input((64, 64, 3))
    small, middle, large = (layers.Conv2D(32, 1)(level) for level in backbone(image))
    middle = layers.Add()([middle, layers.UpSampling2D()(large)])
    small = layers.Add()([small, layers.UpSampling2D()(middle)])
    first = layers.Conv2D(32, 3, padding="same", activation="relu")
    last = layers.Conv2D(9, 3, padding="same")
    return keras.Model(image, [last(first(level)) for level in (small, middle, large)])


def _centernet() -> keras.Model:
    image = keras.Input((64, 64, 3))
    x = backbone(image)[-1]
    for _ in range(2):
        x = layers.Conv2DTranspose(32, 4, 2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    heat = layers.Conv2D(4, 1, activation="sigmoid")(x)
    return keras.Model(image, [heat, layers.Conv2D(2, 1)(x)])


def _unet(kind: str) -> Builder:
    def build() -> keras.Model:
        image = x = keras.Input((64, 64, 3))
        skips = []
        for width in (16, 32):
            x = conv(conv(x, width), width)
            skips.append(x)
            x = layers.MaxPooling2D()(x)
        x = conv(x, 64)
        for width, skip in zip((32, 16), skips[::-1], strict=True):
            if kind == "transposed":
                x = layers.Conv2DTranspose(width, 2, 2)(x)
            else:
                x = layers.UpSampling2D(interpolation=kind)(x)
            x = conv(layers.Concatenate()([x, skip]), width)
        return keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid")(x))

    return build


def _attention_unet() -> keras.Model:
    image = keras.Input((32, 32, 3))
    skip = conv(image, 16)
    deep = layers.UpSampling2D()(conv(layers.MaxPooling2D()(skip), 16))
    gate = layers.Activation("sigmoid")(layers.Conv2D(1, 1)(layers.ReLU()(deep + skip)))
    mean = ops.mean(skip, axis=-1, keepdims=True)
    spatial = layers.Conv2D(1, 7, padding="same", activation="sigmoid")(mean)
    x = layers.Concatenate()([deep, skip * gate * spatial])
    return keras.Model(image, layers.Conv2D(2, 1)(x))


def _deeplab(*, argmax: bool = False) -> Builder:
    def build() -> keras.Model:
        image = keras.Input((64, 64, 3))
        x = backbone(image)[0]
        pooled = layers.GlobalAveragePooling2D(keepdims=True)(x)
        pooled = layers.UpSampling2D(16, interpolation="bilinear")(conv(pooled, 16, 1))
        branches = [conv(x, 16, 1), pooled]
        for rate in (2, 4):
            y = layers.DepthwiseConv2D(3, padding="same", dilation_rate=rate)(x)
            branches.append(conv(y, 16, 1))
        x = layers.Conv2D(5, 1)(layers.Concatenate()(branches))
        x = layers.UpSampling2D(4, interpolation="bilinear")(x)
        return keras.Model(image, ops.argmax(x, axis=-1) if argmax else x)

    return build


def _pose() -> keras.Model:
    image = keras.Input((64, 64, 3))
    x = backbone(image, "hard_swish")[-1]
    for _ in range(3):
        x = layers.Conv2DTranspose(16, 4, 2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    return keras.Model(image, layers.Conv2D(17, 1)(x))


def _hourglass() -> keras.Model:
    image = keras.Input((32, 32, 3))
    x = conv(image, 16)
    down = conv(layers.MaxPooling2D()(x), 16)
    deeper = layers.UpSampling2D()(conv(layers.MaxPooling2D()(down), 16))
    x = layers.Add()([x, layers.UpSampling2D()(layers.Add()([down, deeper]))])
    return keras.Model(image, layers.Conv2D(17, 1)(x))


def _superresolution(kind: str) -> Builder:
    def build() -> keras.Model:
        image = keras.Input((32, 32, 3))
        x = first = layers.Conv2D(16, 3, padding="same")(image)
        for _ in range(2):
            y = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
            x = x + layers.Conv2D(16, 3, padding="same")(y) * 0.1
        x = x + first
        if kind == "shuffle":
            x = layers.Conv2D(12, 3, padding="same")(x)
            x = layers.Reshape((32, 32, 2, 2, 3))(x)
            x = layers.Reshape((64, 64, 3))(layers.Permute((1, 3, 2, 4, 5))(x))
        else:
            x = layers.UpSampling2D()(layers.PReLU(shared_axes=[1, 2])(x))
            x = layers.Conv2D(3, 3, padding="same")(x)
        return keras.Model(image, x)

    return build


def _gan() -> keras.Model:
    noise = keras.Input((32,))
    x = layers.LeakyReLU(0.2)(layers.Dense(4 * 4 * 32)(noise))
    x = layers.Reshape((4, 4, 32))(x)
    for width in (16, 8):
        x = layers.Conv2DTranspose(width, 4, 2, padding="same", use_bias=False)(x)
        x = layers.LeakyReLU(0.2)(layers.BatchNormalization()(x))
    return keras.Model(noise, layers.Conv2D(3, 3, padding="same", activation="tanh")(x))


def _style_transfer() -> keras.Model:
    image = keras.Input((32, 32, 3))
    x = layers.ReLU()(
        layers.GroupNormalization(groups=-1)(layers.Conv2D(16, 9, padding="same")(image))
    )
    x = layers.Conv2D(32, 3, 2, padding="same")(x)
    x = layers.ReLU()(layers.GroupNormalization(groups=-1)(x))
    x = layers.Conv2D(16, 3, padding="same")(layers.UpSampling2D()(x))
    return keras.Model(image, layers.Conv2D(3, 9, padding="same", activation="tanh")(x))


def _autoencoder() -> keras.Model:
    image = keras.Input((32, 32, 1))
    x = conv(conv(image, 8, 3, 2), 16, 3, 2)
    x = layers.Dense(8 * 8 * 16)(layers.Dense(16, activation="elu")(layers.Flatten()(x)))
    x = layers.UpSampling2D(4)(layers.Reshape((8, 8, 16))(x))
    return keras.Model(image, layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x))


def _lane() -> keras.Model:
    image = keras.Input((32, 64, 3))
    x = conv(conv(image, 16, 3, 2), 16)
    x = layers.Conv2D(16, (1, 9), padding="same", activation="relu")(x)
    x = layers.Conv2D(16, (9, 1), padding="same", activation="relu")(x)
    return keras.Model(image, layers.Softmax()(layers.Flatten()(layers.Conv2D(1, 1)(x))))


def _crowd() -> keras.Model:
    image = keras.Input((32, 32, 3))
    x = conv(image, 16)
    for rate in (2, 3):
        x = layers.Conv2D(16, 3, padding="same", dilation_rate=rate, activation="relu")(x)
    return keras.Model(image, layers.Conv2D(1, 1)(x))


def _optical_flow() -> keras.Model:
    first, second = keras.Input((32, 32, 3)), keras.Input((32, 32, 3))
    net = keras.Sequential([layers.Conv2D(8, 3, padding="same", activation="relu")])
    x = layers.Concatenate()([net(first), net(second), ops.abs(net(first) - net(second))])
    return keras.Model([first, second], layers.Conv2D(2, 3, padding="same")(x))


MAPS: dict[str, Builder] = {
    "YOLO with SiLU": _yolo("swish"),
    "YOLO with leaky ReLU": _yolo("leaky"),
    "YOLO with Focus": _yolo("swish", focus=True),
    "YOLO with mish": _yolo("mish"),
    "SSD": _ssd,
    "EfficientDet with BiFPN": _efficientdet,
    "RetinaNet": _retinanet,
    "CenterNet": _centernet,
    "U-Net, nearest": _unet("nearest"),
    "U-Net, bilinear": _unet("bilinear"),
    "U-Net, transposed": _unet("transposed"),
    "U-Net with attention gates": _attention_unet,
    "DeepLab": _deeplab(),
    "DeepLab with argmax": _deeplab(argmax=True),
    "pose, hard swish": _pose,
    "hourglass": _hourglass,
    "super-resolution, shuffle": _superresolution("shuffle"),
    "super-resolution, PReLU": _superresolution("prelu"),
    "GAN generator": _gan,
    "style transfer": _style_transfer,
    "autoencoder with ELU": _autoencoder,
    "lane detection": _lane,
    "crowd counting": _crowd,
    "optical flow": _optical_flow,
}
"""Name -> builder."""
