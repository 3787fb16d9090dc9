"""Families of synthetic networks like those for ImageNet: see `_families` for the others."""

from __future__ import annotations

from respect_tf.training._synthetic import Network, Tensor

_SCALES = 4  # of maps, each half as high and wide as the one before, as in these networks


def resnet(net: Network, num_ops: int, units: int) -> None:
    """Residual blocks, plain or with a bottleneck. A unit is a block.

    The first block of a scale has a convolution in its shortcut, and the second version of ResNet
    an activation before each block that both branches read.
    """
    random = net.random
    has_bottleneck = num_ops >= 50 and random.chance(75)
    is_second = random.chance(40)
    width = random.pick((48, 64, 64, 80))
    counts = _spread(net, units, (3, 4, 8, 3))
    here = net.pool(net.stem(112 * 112, width))
    for scale, count in enumerate(counts):
        inner = width << scale
        outer = 4 * inner if has_bottleneck else inner
        for block in range(count):
            stride = 2 if block == 0 and scale > 0 else 1
            read = net.activation(here) if is_second else here
            shortcut = here
            if block == 0:
                shortcut = net.conv(read, outer, 1, stride)
            if has_bottleneck:
                branch = net.conv(net.conv(read, inner, 1), inner, 3, stride)
                branch = net.conv(branch, outer, 1)
            else:
                branch = net.conv(net.conv(read, inner, 3, stride), inner, 3)
            here = net.add(shortcut, branch)
    _classify(net, here)


def inception(net: Network, num_ops: int, units: int) -> None:
    """Modules of branches of different depth, concatenated. A unit is a module.

    At most half of all networks add a module to what it reads, as Inception-ResNet does.
    """
    random = net.random
    is_residual = random.chance(40)
    width = random.pick((32, 48, 64))
    most = 4 if num_ops >= 60 else 3
    counts = _spread(net, units, (2, 4, 2, 1))
    here = net.pool(net.conv(net.stem(75 * 75, 32), 64, 3))
    for scale, count in enumerate(counts):
        unit = width << scale
        # Modules of one scale have one design.
        design = [
            [random.pick((1, 3, 3)) for _ in range(random.integer(1, 3))]
            for _ in range(random.integer(2, most))
        ]
        for module in range(count):
            if module == 0 and scale > 0:
                reduced = net.conv(net.conv(here, unit, 1), 2 * unit, 3, 2)
                here = net.concatenate(net.conv(here, unit, 3, 2), reduced, net.pool(here))
            branches = [net.conv(here, unit, 1)]
            for kernels in design:
                branch = net.conv(here, unit, 1)
                for kernel in kernels:
                    branch = net.conv(branch, unit, kernel)
                branches.append(branch)
            if is_residual:
                made = net.conv(net.concatenate(*branches), here.channels, 1)
                here = net.add(here, made)
            else:
                pooled = net.conv(net.pool(here, 1), unit, 1)
                here = net.concatenate(*branches, pooled)
    _classify(net, here)


def densenet(net: Network, num_ops: int, units: int) -> None:
    """Layers that are concatenated to all that is before them in their block. A unit is a layer."""
    del num_ops
    random = net.random
    growth = random.pick((24, 32, 32, 48))
    counts = _spread(net, units, (6, 12, 24, 16))
    here = net.pool(net.stem(112 * 112, 2 * growth))
    for scale, count in enumerate(counts):
        for _ in range(count):
            made = net.conv(net.conv(net.activation(here), 4 * growth, 1), growth, 3)
            here = net.concatenate(here, made)
        if scale < _SCALES - 1:
            here = net.pool(net.conv(net.activation(here), here.channels // 2, 1))
    _classify(net, here)


def mobilenet(net: Network, num_ops: int, units: int) -> None:
    """Inverted residuals, some with squeeze and excitation. A unit is a block."""
    del num_ops
    random = net.random
    factor = random.pick((3, 4, 6, 6))
    width = random.pick((16, 24, 32))
    has_excitation = random.chance(50)
    counts = _spread(net, units, (2, 4, 6, 4))
    here = net.stem(112 * 112, width)
    for scale, count in enumerate(counts):
        channels = width << scale
        for block in range(count):
            stride = 2 if block == 0 else 1
            wide = net.depthwise(
                net.conv(here, factor * here.channels, 1), random.pick((3, 5)), stride
            )
            if has_excitation:
                scores = net.conv(net.mean(wide), max(8, here.channels // 4), 1)
                wide = net.op(
                    [wide, net.conv(scores, wide.channels, 1)], wide.positions, wide.channels, 0
                )
            made = net.conv(wide, channels, 1)
            here = made if block == 0 else net.add(here, made)
    _classify(net, net.conv(here, 4 * here.channels, 1))


def _classify(net: Network, tensor: Tensor) -> None:
    classes = net.random.pick((100, 1000))
    net.op([net.mean(tensor)], 1, classes, tensor.channels * classes)


def _spread(net: Network, units: int, shares: tuple[int, ...]) -> list[int]:
    """Units of each scale, about as the shares have it, at least one in the first."""
    total = sum(shares)
    counts = [units * share // total for share in shares]
    for _ in range(units - sum(counts)):
        counts[net.random.integer(0, len(shares) - 1)] += 1
    if counts[0] == 0:
        largest = max(range(len(counts)), key=counts.__getitem__)
        counts[largest] -= 1
        counts[0] = 1
    return counts
