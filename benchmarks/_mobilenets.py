"""MobileNets, and what stands on them: a U-Net, and SSD."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks._graph_builder import SLIM_CLASSES, GraphBuilder
from respect_tf.graph import OpGraph


def mobilenet_v1(size: int = 224, alpha: float = 1.0) -> OpGraph:
    """MobileNet v1."""
    net = GraphBuilder((size, size, 3), per_channel=False)
    return net.slim_end(_mobilenet_v1_body(net, alpha)[-1])


def _mobilenet_v1_body(net: GraphBuilder, alpha: float = 1.0) -> list[int]:
    """The last map of each size."""
    here = net.conv(net.image, int(32 * alpha), 3, 2)
    made = []
    for filters, stride in [
        (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2),
        (1024, 1),
    ]:  # fmt: skip
        if stride == 2:
            made.append(here)
        here = net.conv(net.depthwise(here, 3, stride), int(filters * alpha))
    return [*made, here]


def mobilenet_v2(size: int = 224, classes: int = SLIM_CLASSES) -> OpGraph:
    """MobileNet v2."""
    net = GraphBuilder((size, size, 3), per_channel=False)
    here = _mobilenet_v2_body(net)[-1]
    here = net.average_pool(net.conv(here, 1280), size // 32, 1, padding="VALID")
    return net.classified(here, classes)


def _mobilenet_v2_body(net: GraphBuilder) -> list[int]:
    """What the network makes: the widest map of each size, and the last narrow one."""
    here = net.conv(net.image, 32, 3, 2)
    here = net.conv(net.depthwise(here), 16)
    wide = []
    for filters, count, stride in [
        (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1),
    ]:  # fmt: skip
        for block in range(count):
            first = block == 0
            expanded = net.conv(here, 6 * net.shape(here)[-1])
            if first and stride == 2:
                wide.append(expanded)
            made = net.conv(net.depthwise(expanded, 3, stride if first else 1), filters)
            here = made if first else net.add(here, made)
    return [*wide, here]


def unet_mobilenet_v2(size: int = 128, classes: int = 3) -> OpGraph:
    """The U-Net of TensorFlow's tutorial on segmentation: MobileNet v2 and upsampling."""
    net = GraphBuilder((size, size, 3))
    *skips, here = _mobilenet_v2_body(net)
    for filters, skip in zip((512, 256, 128, 64), reversed(skips), strict=True):
        here = net.concatenate([net.transpose_conv(here, filters), skip])
    net.transpose_conv(here, classes)
    return net.graph()


_ANCHORS = (3, 6, 6, 6, 6, 6)


_DETECTED = 91  # COCO's classes and "none"


def _ssd(net: GraphBuilder, sources: Sequence[int]) -> OpGraph:
    """SSD's heads on maps of six sizes: boxes and scores leave, the rest is for the CPU."""
    boxes, scores = [], []
    for anchors, source in zip(_ANCHORS, sources, strict=True):
        for values, made in ((4, boxes), (_DETECTED, scores)):
            head = net.conv(source, anchors * values)
            count = math.prod(net.shape(head)[1:]) // values
            made.append(net.plain("RESHAPE", head, (1, count, values)))
    named = net.stack(boxes), net.plain("LOGISTIC", net.stack(scores))
    return net.graph(named)


def _ssd_ends(net: GraphBuilder, here: int) -> list[int]:
    made = []
    for narrow, wide in ((256, 512), (128, 256), (128, 256), (64, 128)):
        here = net.conv(net.conv(here, narrow), wide, 3, 2)
        made.append(here)
    return made


def ssd_mobilenet_v1(size: int = 300) -> OpGraph:
    """SSD on MobileNet v1, with the classes of COCO."""
    net = GraphBuilder((size, size, 3), per_channel=False)
    *_, middle, here = _mobilenet_v1_body(net)
    return _ssd(net, [middle, here, *_ssd_ends(net, here)])


def ssd_mobilenet_v2(size: int = 300) -> OpGraph:
    """SSD on MobileNet v2, with the classes of COCO."""
    net = GraphBuilder((size, size, 3), per_channel=False)
    *_, middle, here = _mobilenet_v2_body(net)
    here = net.conv(here, 1280)
    return _ssd(net, [middle, here, *_ssd_ends(net, here)])
