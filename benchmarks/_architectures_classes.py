"""Small models of the kinds that people run on Edge TPUs: images in, classes or vectors out."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from benchmarks._architectures_maps import Builder, conv


def _classifier(x: Any, classes: int = 10) -> Any:
    return layers.Dense(classes, activation="softmax")(layers.GlobalAveragePooling2D()(x))


def _mobile(act: str, *, excite: bool) -> Builder:
    def build() -> keras.Model:
        image = keras.Input((32, 32, 3))
        x = conv(image, 16, 3, 2, act)
        for width in (16, 24):
            y = conv(x, width * 3, 1, 1, act)
            y = layers.Activation(act)(layers.DepthwiseConv2D(3, padding="same")(y))
            if excite:
                s = layers.GlobalAveragePooling2D(keepdims=True)(y)
                s = layers.Conv2D(8, 1, activation="relu")(s)
                gate = "hard_sigmoid" if act == "hard_swish" else "sigmoid"
                y = y * layers.Conv2D(width * 3, 1, activation=gate)(s)
            x = layers.Conv2D(width, 1)(y)
        return keras.Model(image, _classifier(x))

    return build


def _shufflenet() -> keras.Model:
    image = keras.Input((32, 32, 3))
    x = conv(image, 16, 3, 2)
    for _ in range(2):
        left, right = ops.split(x, 2, axis=-1)
        right = conv(layers.DepthwiseConv2D(3, padding="same")(right), 8, 1)
        x = layers.Concatenate()([left, right])
        x = layers.Reshape((16, 16, 2, 8))(x)
        x = layers.Reshape((16, 16, 16))(layers.Permute((1, 2, 4, 3))(x))
    return keras.Model(image, _classifier(x))


def _resnext() -> keras.Model:
    image = keras.Input((32, 32, 3))
    x = conv(image, 32, 3, 2)
    y = layers.Conv2D(32, 3, padding="same", groups=8, activation="relu")(x)
    return keras.Model(image, _classifier(x + y))


def _regnet() -> keras.Model:
    image = keras.Input((32, 32, 3))
    x = conv(image, 96, 3, 2)
    y = layers.Conv2D(96, 3, padding="same", groups=2, activation="relu")(x)
    s = layers.Conv2D(96, 1, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(y))
    return keras.Model(image, _classifier(x + y * s))


def _convnext(approximate: bool) -> Builder:
    def build() -> keras.Model:
        image = keras.Input((32, 32, 3))
        x = layers.LayerNormalization(epsilon=1e-6)(layers.Conv2D(32, 4, 4)(image))
        for _ in range(2):
            y = layers.LayerNormalization(epsilon=1e-6)(
                layers.DepthwiseConv2D(7, padding="same")(x)
            )
            y = keras.activations.gelu(layers.Dense(128)(y), approximate=approximate)
            x = x + layers.Dense(32)(y)
        x = layers.LayerNormalization(epsilon=1e-6)(layers.GlobalAveragePooling2D()(x))
        return keras.Model(image, layers.Dense(10)(x))

    return build


def _mixer(act: Any) -> Builder:
    def build() -> keras.Model:
        image = keras.Input((32, 32, 3))
        x = layers.Reshape((64, 32))(layers.Conv2D(32, 4, 4)(image))
        for _ in range(2):
            y = layers.Permute((2, 1))(layers.LayerNormalization()(x))
            y = layers.Permute((2, 1))(layers.Dense(64)(act(layers.Dense(32)(y))))
            x = x + y
            x = x + layers.Dense(32)(act(layers.Dense(64)(layers.LayerNormalization()(x))))
        return keras.Model(image, layers.Dense(10)(layers.GlobalAveragePooling1D()(x)))

    return build


def _gelu(x: Any) -> Any:
    return keras.activations.gelu(x, approximate=True)


def _vit(*, approximate: bool = False, token: bool = False) -> Builder:
    def build() -> keras.Model:
        image = keras.Input((32, 32, 3))
        x = layers.Reshape((16, 32))(layers.Conv2D(32, 8, 8)(image))
        for _ in range(2):
            y = layers.LayerNormalization()(x)
            x = x + layers.MultiHeadAttention(2, 16)(y, y)
            y = layers.Dense(64)(layers.LayerNormalization()(x))
            x = x + layers.Dense(32)(keras.activations.gelu(y, approximate=approximate))
        x = x[:, 0] if token else layers.GlobalAveragePooling1D()(x)
        return keras.Model(image, layers.Dense(10)(x))

    return build


def _swin_merging() -> keras.Model:
    image = keras.Input((32, 32, 3))
    x = layers.Conv2D(16, 4, 4)(image)
    x = layers.Concatenate()([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)])
    x = layers.Dense(32, use_bias=False)(layers.LayerNormalization()(x))
    return keras.Model(image, _classifier(x))


def _face() -> keras.Model:
    image = keras.Input((32, 32, 3))
    x = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(16, 3, 2, padding="same")(image))
    x = layers.PReLU()(layers.Conv2D(32, 3, 2, padding="same")(x))
    x = layers.Dense(64)(layers.Flatten()(x))
    return keras.Model(image, layers.UnitNormalization()(x))


def _siamese(kind: str) -> Builder:
    def build() -> keras.Model:
        first, second = keras.Input((32, 32, 1)), keras.Input((32, 32, 1))
        image = keras.Input((32, 32, 1))
        features = layers.Dense(32)(layers.Flatten()(conv(image, 8, 3, 2)))
        net = keras.Model(image, features)
        left, right = net(first), net(second)
        if kind == "cosine":
            distance = layers.Dot(1, normalize=True)([left, right])
        else:
            distance = layers.Dense(1, activation="sigmoid")(ops.abs(left - right))
        return keras.Model([first, second], distance)

    return build


def _preprocessing() -> keras.Model:
    image = keras.Input((48, 48, 3))
    x = layers.Resizing(32, 32)(image)
    x = layers.Normalization(mean=[100.0, 110, 120], variance=[2500.0, 2400, 2300])(x)
    return keras.Model(image, _classifier(conv(layers.CenterCrop(28, 28)(x), 8)))


def _bytes_in() -> keras.Model:
    image = keras.Input((32, 32, 3), dtype="uint8")
    x = layers.Rescaling(1 / 127.5, -1)(ops.cast(image, "float32"))
    return keras.Model(image, _classifier(conv(x, 8)))


def _reversed_channels() -> keras.Model:
    image = keras.Input((32, 32, 3))
    return keras.Model(image, _classifier(conv(image[..., ::-1] - 110.0, 8)))


def _multi_task() -> keras.Model:
    image = keras.Input((32, 32, 3))
    x = conv(conv(image, 16, 3, 2), 32, 3, 2)
    flat = layers.GlobalAveragePooling2D()(x)
    outputs = {"age": layers.Dense(1)(flat), "kind": layers.Dense(4, activation="softmax")(flat),
               "mask": layers.Conv2D(1, 1, activation="sigmoid")(x)}  # fmt: skip
    return keras.Model(image, outputs)


class _Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.first = layers.Conv2D(8, 3, activation="relu")
        self.norm = layers.GroupNormalization(4)
        self.last = layers.Dense(5)

    def call(self, image: Any) -> Any:
        x = self.norm(self.first(image))
        return self.last(ops.mean(x, axis=(1, 2)))


def _subclassed() -> keras.Model:
    model = _Subclassed()
    model(ops.zeros((1, 32, 32, 3)))
    return model


def _nested() -> keras.Model:
    image = keras.Input((32, 32, 3))
    inner = keras.Input((16, 16, 8))
    block = keras.Model(
        inner, inner + layers.Conv2D(8, 3, padding="same", activation="gelu")(inner)
    )
    x = conv(image, 8, 3, 2)
    return keras.Model(image, _classifier(block(block(x))))


def _selu_maxout() -> keras.Model:
    image = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, activation="selu", kernel_initializer="lecun_normal")(image)
    y = layers.Maximum()([layers.Conv2D(8, 3)(x), layers.Conv2D(8, 3)(x) * 4.0])
    return keras.Model(image, _classifier(y))


CLASSES: dict[str, Builder] = {
    "mobile, ReLU6": _mobile("relu6", excite=False),
    "mobile, hard swish": _mobile("hard_swish", excite=True),
    "EfficientNet-like": _mobile("swish", excite=True),
    "ShuffleNet": _shufflenet,
    "ResNeXt": _resnext,
    "RegNet": _regnet,
    "ConvNeXt": _convnext(False),
    "ConvNeXt, tanh GELU": _convnext(True),
    "Mixer, ReLU": _mixer(ops.relu),
    "Mixer, tanh GELU": _mixer(_gelu),
    "Mixer, GELU": _mixer(keras.activations.gelu),
    "ViT": _vit(),
    "ViT, tanh GELU, class token": _vit(approximate=True, token=True),
    "Swin's patch merging": _swin_merging,
    "face embedding": _face,
    "siamese, difference": _siamese("difference"),
    "siamese, cosine": _siamese("cosine"),
    "preprocessing layers": _preprocessing,
    "uint8 input, Rescaling": _bytes_in,
    "reversed channels": _reversed_channels,
    "multi-task": _multi_task,
    "subclassed, group norm": _subclassed,
    "nested and shared": _nested,
    "SELU and maxout": _selu_maxout,
}
"""Name -> builder."""
