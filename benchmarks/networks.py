"""Networks whose times on an Edge TPU are published, as op graphs that need no conversion.

Google's table names networks, not files. Layers are those of `keras.applications` where it has the
network, else those of the papers and of the reference code. A conversion takes minutes and gives
the same ops, shapes and bytes: `tests/device/test_compute.py` compares them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from benchmarks._graph_builder import CLASSES, SLIM_CLASSES, GraphBuilder
from benchmarks._mobilenets import (
    mobilenet_v1,
    mobilenet_v2,
    ssd_mobilenet_v1,
    ssd_mobilenet_v2,
    unet_mobilenet_v2,
)
from respect_tf.graph import OpGraph


@functools.cache
def network(name: str) -> OpGraph:
    """The op graph of a network, by its name in `NETWORKS`; each is built once."""
    return NETWORKS[name]()


def densenet121(size: int = 224) -> OpGraph:
    """DenseNet121 as in Keras."""
    net = GraphBuilder((size, size, 3))
    here = _stem(net)
    for block, count in enumerate((6, 12, 24, 16)):
        if block:
            half = net.shape(here)[-1] // 2
            here = net.average_pool(net.conv(net.scale(here), half), 2, 2, padding="VALID")
        for _ in range(count):
            made = net.conv(net.conv(net.scale(here), 128), 32, 3)
            here = net.concatenate([here, made])
    return net.classified(net.mean(net.scale(here)))


def resnet(counts: tuple[int, ...], size: int = 224) -> OpGraph:
    """ResNet v1 as in Keras: (3, 4, 6, 3) is ResNet50."""
    net = GraphBuilder((size, size, 3))
    here = _stem(net)
    for block, count in enumerate(counts):
        width = 64 << block
        for unit in range(count):
            stride = 2 if block and not unit else 1
            shortcut = here if unit else net.conv(here, 4 * width, 1, stride)
            made = net.conv(net.conv(here, width, 1, stride), width, 3)
            here = net.add(shortcut, net.conv(made, 4 * width))
    return net.classified(net.mean(here))


def resnet_v2(counts: tuple[int, ...], size: int = 224) -> OpGraph:
    """ResNet v2 as in Keras: normalisation comes before the convolutions of each block."""
    net = GraphBuilder((size, size, 3))
    here = _stem(net)
    for block, count in enumerate(counts):
        width = 64 << block
        for unit in range(count):
            stride = 2 if block < len(counts) - 1 and unit == count - 1 else 1
            ready = net.scale(here)
            if unit == 0:
                shortcut = net.conv(ready, 4 * width)
            elif stride == 2:
                shortcut = net.max_pool(here, 1, 2, padding="VALID")
            else:
                shortcut = here
            made = net.conv(ready, width)
            if stride == 1:  # the converter makes one op of this padding and the convolution
                made = net.conv(made, width, 3)
            else:
                made = net.conv(net.pad(made, 1, 1), width, 3, stride, padding="VALID")
            here = net.add(shortcut, net.conv(made, 4 * width))
    return net.classified(net.mean(net.scale(here)))


def vgg(counts: tuple[int, ...], size: int = 224) -> OpGraph:
    """VGG: (2, 2, 3, 3, 3) is VGG16."""
    net = GraphBuilder((size, size, 3))
    here = net.image
    for block, count in enumerate(counts):
        for _ in range(count):
            here = net.conv(here, min(512, 64 << block), 3)
        here = net.max_pool(here, 2, 2)
    return net.classified(net.dense(net.dense(here, 4096), 4096))


def squeezenet(size: int = 224) -> OpGraph:
    """SqueezeNet 1.1."""
    net = GraphBuilder((size, size, 3))
    here = net.conv(net.image, 64, 3, 2, padding="VALID")
    here = net.max_pool(here, 3, 2, padding="VALID")
    for squeeze, pools in [(16, 0), (16, 1), (32, 0), (32, 1), (48, 0), (48, 0), (64, 0), (64, 0)]:
        narrow = net.conv(here, squeeze)
        here = net.concatenate([net.conv(narrow, 4 * squeeze), net.conv(narrow, 4 * squeeze, 3)])
        here = net.max_pool(here, 3, 2, padding="VALID") if pools else here
    here = net.mean(net.conv(here, CLASSES))
    net.plain("SOFTMAX", here)
    return net.graph()


def inception_v1(size: int = 224) -> OpGraph:
    """Inception v1 (GoogLeNet) as in TF-Slim."""
    net = GraphBuilder((size, size, 3), per_channel=False)
    here = net.max_pool(net.conv(net.image, 64, 7, 2), 3, 2)
    here = net.max_pool(net.conv(net.conv(here, 64), 192, 3), 3, 2)
    for modules in _INCEPTION_V1:
        for own, narrow, wide, thin, broad, pooled in modules:
            here = net.concatenate([
                net.conv(here, own),
                net.conv(net.conv(here, narrow), wide, 3),
                net.conv(net.conv(here, thin), broad, 3),
                net.conv(net.max_pool(here, 3, 1), pooled),
            ])  # fmt: skip
        if modules is not _INCEPTION_V1[-1]:
            window = 3 if modules is _INCEPTION_V1[0] else 2
            here = net.max_pool(here, window, 2)
    return net.slim_end(here)


_INCEPTION_V1 = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    ((192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64),
     (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128)),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)  # fmt: skip


def _inception_stem(net: GraphBuilder) -> int:
    here = net.conv(net.conv(net.image, 32, 3, 2, padding="VALID"), 32, 3, padding="VALID")
    here = net.conv(here, 64, 3)
    here = net.concatenate([
        net.max_pool(here, 3, 2, padding="VALID"), net.conv(here, 96, 3, 2, padding="VALID"),
    ])  # fmt: skip
    long = net.conv(net.conv(net.conv(here, 64), 64, (1, 7)), 64, (7, 1))
    here = net.concatenate([
        net.conv(net.conv(here, 64), 96, 3, padding="VALID"),
        net.conv(long, 96, 3, padding="VALID"),
    ])  # fmt: skip
    return net.concatenate([
        net.conv(here, 192, 3, 2, padding="VALID"), net.max_pool(here, 3, 2, padding="VALID"),
    ])  # fmt: skip


def inception_v4(size: int = 299) -> OpGraph:
    """Inception v4 as in TF-Slim."""
    net = GraphBuilder((size, size, 3), per_channel=False)
    here = _inception_stem(net)
    for _ in range(4):
        here = net.concatenate([
            net.conv(here, 96),
            net.conv(net.conv(here, 64), 96, 3),
            net.conv(net.conv(net.conv(here, 64), 96, 3), 96, 3),
            net.conv(net.average_pool(here, 3, 1), 96),
        ])  # fmt: skip
    here = net.concatenate([
        net.conv(here, 384, 3, 2, padding="VALID"),
        net.conv(net.conv(net.conv(here, 192), 224, 3), 256, 3, 2, padding="VALID"),
        net.max_pool(here, 3, 2, padding="VALID"),
    ])  # fmt: skip
    for _ in range(7):
        long = here
        for filters, kernel in [
            (192, 1), (192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7)),
        ]:  # fmt: skip
            long = net.conv(long, filters, kernel)
        here = net.concatenate([
            net.conv(here, 384),
            net.conv(net.conv(net.conv(here, 192), 224, (1, 7)), 256, (7, 1)),
            long,
            net.conv(net.average_pool(here, 3, 1), 128),
        ])  # fmt: skip
    long = net.conv(net.conv(net.conv(here, 256), 256, (1, 7)), 320, (7, 1))
    here = net.concatenate([
        net.conv(net.conv(here, 192), 192, 3, 2, padding="VALID"),
        net.conv(long, 320, 3, 2, padding="VALID"),
        net.max_pool(here, 3, 2, padding="VALID"),
    ])  # fmt: skip
    for _ in range(3):
        fork = net.conv(here, 384)
        long = net.conv(net.conv(net.conv(here, 384), 448, (3, 1)), 512, (1, 3))
        here = net.concatenate([
            net.conv(here, 256),
            net.conv(fork, 256, (1, 3)),
            net.conv(fork, 256, (3, 1)),
            net.conv(long, 256, (1, 3)),
            net.conv(long, 256, (3, 1)),
            net.conv(net.average_pool(here, 3, 1), 256),
        ])  # fmt: skip
    window = net.shape(here)[1]
    here = net.average_pool(here, window, 1, padding="VALID")
    return net.classified(here, SLIM_CLASSES)


def inception_resnet_v2(size: int = 299) -> OpGraph:
    """Inception-ResNet v2 as in Keras."""
    net = GraphBuilder((size, size, 3))
    here = net.conv(net.conv(net.image, 32, 3, 2, padding="VALID"), 32, 3, padding="VALID")
    here = net.max_pool(net.conv(here, 64, 3), 3, 2, padding="VALID")
    here = net.conv(net.conv(here, 80, padding="VALID"), 192, 3, padding="VALID")
    here = net.max_pool(here, 3, 2, padding="VALID")
    here = net.concatenate([
        net.conv(here, 96),
        net.conv(net.conv(here, 48), 64, 5),
        net.conv(net.conv(net.conv(here, 64), 96, 3), 96, 3),
        net.conv(net.average_pool(here, 3, 1), 64),
    ])  # fmt: skip
    for _ in range(10):
        branches = [
            net.conv(here, 32),
            net.conv(net.conv(here, 32), 32, 3),
            net.conv(net.conv(net.conv(here, 32), 48, 3), 64, 3),
        ]
        here = _residual(net, here, branches)
    here = net.concatenate([
        net.conv(here, 384, 3, 2, padding="VALID"),
        net.conv(net.conv(net.conv(here, 256), 256, 3), 384, 3, 2, padding="VALID"),
        net.max_pool(here, 3, 2, padding="VALID"),
    ])  # fmt: skip
    for _ in range(20):
        long = net.conv(net.conv(net.conv(here, 128), 160, (1, 7)), 192, (7, 1))
        here = _residual(net, here, [net.conv(here, 192), long])
    here = net.concatenate([
        net.conv(net.conv(here, 256), 384, 3, 2, padding="VALID"),
        net.conv(net.conv(here, 256), 288, 3, 2, padding="VALID"),
        net.conv(net.conv(net.conv(here, 256), 288, 3), 320, 3, 2, padding="VALID"),
        net.max_pool(here, 3, 2, padding="VALID"),
    ])  # fmt: skip
    for _ in range(10):
        long = net.conv(net.conv(net.conv(here, 192), 224, (1, 3)), 256, (3, 1))
        here = _residual(net, here, [net.conv(here, 192), long])
    return net.classified(net.mean(net.conv(here, 1536)))


def _residual(net: GraphBuilder, here: int, branches: list[int]) -> int:
    made = net.conv(net.concatenate(branches), net.shape(here)[-1])
    return net.add(here, made)


def efficientnet_edgetpu(depth: float = 1.0, size: int = 224, width: float = 1.0) -> OpGraph:
    """EfficientNet-EdgeTpu: S is (1.0, 224), M (1.1, 240), L (1.4, 300) of width 1.2."""
    net = GraphBuilder((size, size, 3), per_channel=False)
    here = net.conv(net.image, _eighths(32 * width), 3, 2)
    for fused, count, kernel, stride, factor, base in [
        (True, 1, 3, 1, 4, 24), (True, 2, 3, 2, 8, 32), (True, 4, 3, 2, 8, 48),
        (False, 5, 5, 2, 8, 96), (False, 4, 5, 1, 8, 144), (False, 2, 5, 2, 8, 192),
    ]:  # fmt: skip
        filters = _eighths(base * width)
        for block in range(-int(-count * depth // 1)):
            step = stride if block == 0 else 1
            expanded = factor * net.shape(here)[-1]
            if fused:
                made = net.conv(here, expanded, kernel, step)
            else:
                made = net.depthwise(net.conv(here, expanded), kernel, step)
            made = net.conv(made, filters)
            here = net.add(here, made) if block else made
    here = net.conv(here, _eighths(1280 * width))
    here = net.average_pool(here, net.shape(here)[1], 1, padding="VALID")
    return net.classified(here, SLIM_CLASSES)


def _eighths(filters: float) -> int:
    """The nearest multiple of 8, but not less than nine tenths."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * filters else rounded


def _stem(net: GraphBuilder) -> int:
    """How ResNets and DenseNets begin: a convolution of 7x7 and a pool, padded as Keras does."""
    here = net.conv(net.pad(net.image, 3, 3), 64, 7, 2, padding="VALID")
    return net.max_pool(net.pad(here, 1, 1), 3, 2, padding="VALID")


NETWORKS: dict[str, Callable[[], OpGraph]] = {
    "MobileNet v1": mobilenet_v1,
    "MobileNet v2": mobilenet_v2,
    "Inception v1": inception_v1,
    "SqueezeNet": squeezenet,
    "U-Net MobileNet v2": unet_mobilenet_v2,
    "EfficientNet-EdgeTpu S": efficientnet_edgetpu,
    "EfficientNet-EdgeTpu M": lambda: efficientnet_edgetpu(1.1, 240),
    "EfficientNet-EdgeTpu L": lambda: efficientnet_edgetpu(1.4, 300, 1.2),
    "SSD MobileNet v1": ssd_mobilenet_v1,
    "SSD MobileNet v2": ssd_mobilenet_v2,
    "DenseNet121": densenet121,
    "ResNet-50 v1": lambda: resnet((3, 4, 6, 3), 299),
    "ResNet-50 v2": lambda: resnet_v2((3, 4, 6, 3), 299),
    "ResNet-152 v2": lambda: resnet_v2((3, 8, 36, 3), 299),
    "Inception v4": inception_v4,
    "Inception-ResNet v2": inception_resnet_v2,
    "VGG16": lambda: vgg((2, 2, 3, 3, 3)),
    "VGG19": lambda: vgg((2, 2, 4, 4, 4)),
}
