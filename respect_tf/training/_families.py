"""Families of synthetic networks. Each function grows one, larger with more units."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from respect_tf.training._synthetic import Network, Tensor


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
            branches = [net.convs(here, unit, (1, *kernels)) for kernels in ((), *design)]
            if is_residual:
                here = net.add(here, net.conv(net.concatenate(*branches), here.channels, 1))
            else:
                pooled = net.conv(net.pool(here, 1), unit, 1)
                here = net.concatenate(*branches, pooled)
    _classify(net, here)


def densenet(net: Network, num_ops: int, units: int) -> None:
    """Layers that are concatenated to all that is before them in their block. A unit is a layer."""
    del num_ops
    growth = net.random.pick((24, 32, 32, 48))
    counts = _spread(net, units, (6, 12, 24, 16))
    here = net.pool(net.stem(112 * 112, 2 * growth))
    for scale, count in enumerate(counts):
        if scale:
            here = net.pool(net.conv(net.activation(here), here.channels // 2, 1))
        for _ in range(count):
            made = net.conv(net.conv(net.activation(here), 4 * growth, 1), growth, 3)
            here = net.concatenate(here, made)
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
        for block in range(count):
            wide = net.conv(here, factor * here.channels, 1)
            wide = net.depthwise(wide, random.pick((3, 5)), 2 if block == 0 else 1)
            if has_excitation:
                scores = net.conv(net.mean(wide), max(8, here.channels // 4), 1)
                scores = net.conv(scores, wide.channels, 1)
                wide = net.op([wide, scores], wide.positions, wide.channels, 0)
            made = net.conv(wide, width << scale, 1)
            here = made if block == 0 else net.add(here, made)
    _classify(net, net.conv(here, 4 * here.channels, 1))


def _classify(net: Network, tensor: Tensor) -> None:
    classes = net.random.pick((100, 1000))
    net.classify(net.mean(tensor), classes)


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


def nasnet(net: Network, num_ops: int, units: int) -> None:
    """Cells that read the two cells before them, as NASNet and AmoebaNet are made of.

    One design is drawn and repeated: blocks that add two branches, each a separable convolution, a
    pool or nothing, of an earlier block or cell; what no block reads is concatenated. A unit is a
    cell; each third one halves the map and doubles the channels.
    """
    random = net.random
    num_blocks = random.integer(3, 5) if num_ops >= 60 else 2
    design = [
        [(random.integer(0, 1 + block), random.integer(0, 4)) for _ in range(2)]
        for block in range(num_blocks)
    ]
    used = {source for block in design for source, _ in block}
    before = here = net.stem(56 * 56, 32)
    channels = random.pick((32, 44, 64))
    for cell in range(units):
        stride = 2 if cell % 3 == 2 and here.positions > 49 else 1
        channels *= stride
        made = [
            net.conv(tensor, channels, 1, 2 if tensor.positions > here.positions else 1)
            for tensor in (before, here)
        ]
        for block in design:
            branches = []
            for source, kind in block:
                # The reduction takes place where a block reads from outside its cell.
                step = stride if source < 2 else 1
                branch = made[source]
                if kind < 3:
                    branch = net.separable(branch, channels, (3, 3, 5)[kind], step)
                elif kind == 3 or step > 1:
                    branch = net.pool(branch, step)
                branches.append(branch)
            made.append(net.add(*branches))
        loose = [tensor for index, tensor in enumerate(made) if index > 1 and index not in used]
        before, here = here, net.concatenate(*loose)
    net.classify(net.mean(here), 100)


def randwire(net: Network, num_ops: int, units: int) -> None:
    """Small-world random graphs (Watts-Strogatz, K = 4, P = 0.75), as in RandWire.

    Three stages of `units` nodes together; a node adds what it reads and is a separable
    convolution.
    """
    del num_ops
    random = net.random

    def summed(tensors: Sequence[Tensor]) -> Tensor:
        return net.add(*tensors) if len(tensors) > 1 else tensors[0]

    here = net.conv(net.stem(112 * 112, 24), 48, 3, 2)
    for stage in range(3):
        num_nodes = (units + stage) // 3
        if num_nodes == 0:
            continue
        sources: list[set[int]] = [set() for _ in range(num_nodes)]
        for node in range(num_nodes):
            for step in (1, 2):
                other = (node + step) % num_nodes
                if random.chance(75):
                    other = random.integer(0, num_nodes - 1)
                if other != node:
                    sources[max(node, other)].add(min(node, other))
        made: list[Tensor] = []
        for row in sources:
            read = [made[source] for source in sorted(row)]
            made.append(net.separable(summed(read or [here]), 64 << stage, 3, 1 if read else 2))
        inner = set().union(*sources)
        here = summed([tensor for node, tensor in enumerate(made) if node not in inner])
    net.classify(net.mean(here), 100)


def towers(net: Network, num_ops: int, units: int) -> None:
    """Three to eight parallel chains that meet at the end, with a few links between them.

    A unit is a convolution; chains are of uneven length.
    """
    random = net.random
    here = net.stem(56 * 56, 32)
    num_towers = random.integer(3, min(8, max(3, num_ops // 6)))
    lengths = [1] * num_towers
    upto = list(itertools.accumulate(random.integer(1, 4) for _ in lengths))
    for _ in range(units):
        pick = random.integer(1, upto[-1])
        lengths[next(tower for tower, share in enumerate(upto) if share >= pick)] += 1
    ends: list[Tensor] = []
    every: list[Tensor] = []
    for length in lengths:
        tensor = here
        channels = random.pick((16, 32, 48, 64, 96))
        for step in range(length):
            stride = 2 if step in (length // 3, 2 * length // 3) and tensor.positions > 49 else 1
            channels *= stride
            tensor = net.conv(tensor, channels, 3, stride)
            like = [t for t in every if t.positions == tensor.positions]
            if like and random.chance(8):
                tensor = net.add(tensor, random.pick(like))
            every.append(tensor)
        ends.append(net.pool(tensor) if tensor.positions > 49 else tensor)
    net.classify(net.concatenate(*ends), 100)


def fpn(net: Network, num_ops: int, units: int) -> None:
    """A backbone, a feature pyramid and heads on each of its scales: an object detector.

    A unit is a convolution of the backbone or of a head, in turn. Pyramids go down, or down and
    up again once or twice (BiFPN).
    """
    random = net.random
    num_scales = random.integer(3, 5) if num_ops >= 60 else 3
    num_rounds = random.integer(0, 2) if num_ops >= 100 else 0
    # Where maps of five scales go down, up, down, up and down, there are 102 ops at least.
    if num_ops < 102 and num_scales == 5:
        num_rounds = min(num_rounds, 1)
    share = random.integer(40, 70)
    for_heads = units * (100 - share) // 100
    in_backbone = units - for_heads
    here = net.stem(96 * 96, 32)
    scales: list[Tensor] = []
    for scale in range(num_scales):
        here = net.conv(here, min(512, 48 << scale), 3, 2)
        kernels = [random.pick((1, 3)) for _ in range((in_backbone + scale) // num_scales)]
        here = net.convs(here, here.channels, kernels)
        scales.append(here)
    width = random.pick((64, 96, 128))
    levels = [net.conv(tensor, width, 1) for tensor in scales]
    for upward in [False, *([True, False] * num_rounds)]:
        places = range(num_scales) if upward else reversed(range(num_scales))
        for source, place in itertools.pairwise(places):
            there, here = levels[source], levels[place]
            moved = net.pool(there) if upward else net.resize(there, here.positions)
            levels[place] = net.separable(net.add(here, moved), width)
    for scale, level in enumerate(levels):
        for head, channels in enumerate((90, 36)):
            count = (for_heads + 2 * scale + head) // (2 * num_scales)
            net.conv(net.convs(level, width, [3] * count), channels, 3)


def hrnet(net: Network, num_ops: int, units: int) -> None:
    """Branches of several scales side by side that exchange their maps, as in HRNet.

    A unit is a convolution in each branch; after each third one every branch adds up all branches.
    """
    random = net.random
    num_branches = random.integer(3, 4) if num_ops >= 150 else 2
    branches = [net.conv(net.stem(112 * 112, 32), 32, 3, 2)]
    while len(branches) < num_branches:
        branches.append(net.conv(branches[-1], 2 * branches[-1].channels, 3, 2))
    for unit in range(units):
        branches = [
            net.conv(tensor, tensor.channels, random.pick((1, 3, 3))) for tensor in branches
        ]
        if unit % 3 == 2:
            branches = [_exchange(net, branches, target) for target in range(num_branches)]
    size = branches[0].positions
    joined = [branches[0], *(net.resize(tensor, size) for tensor in branches[1:])]
    net.conv(net.conv(net.concatenate(*joined), 64, 1), 19, 1)


def _exchange(net: Network, branches: list[Tensor], target: int) -> Tensor:
    here = branches[target]
    parts = [here]
    for source, tensor in enumerate(branches):
        if source > target:
            parts.append(net.resize(net.conv(tensor, here.channels, 1), here.positions))
        elif source < target:
            parts.append(net.conv(tensor, here.channels, 3, 1 << (target - source)))
    return net.add(*parts)


def unet(net: Network, num_ops: int, units: int) -> None:
    """An encoder and a decoder with skips between maps of the same size.

    A unit is a convolution, put on either side of a scale drawn at random.
    """
    random = net.random
    depth = random.integer(3, 5) if num_ops >= 50 else 2
    width = random.pick((16, 24, 32))
    here = net.stem(128 * 128, width)
    skips: list[Tensor] = []
    counts = [0] * (2 * depth + 1)
    for _ in range(units):
        counts[random.integer(0, 2 * depth)] += 1
    for level in range(depth):
        skips.append(net.convs(here, width << level, [3] * counts[level]))
        here = net.pool(skips[-1])
    here = net.convs(here, width << depth, [3] * counts[depth])
    for level in reversed(range(depth)):
        here = net.concatenate(net.resize(here, skips[level].positions), skips[level])
        here = net.convs(here, width << level, [1, *[3] * counts[2 * depth - level]])
    net.conv(here, 21, 1)


def transformer(net: Network, num_ops: int, units: int) -> None:
    """Transformer blocks whose attention heads are ops of their own. A unit is a block."""
    random = net.random
    fitting = [heads for heads in (2, 3, 4, 6, 8, 12) if 6 * heads + 9 <= max(21, num_ops // 2)]
    heads = random.pick(fitting)
    size = 32 if heads > 4 else 64
    tokens = random.pick((49, 128, 196))
    here = net.conv(net.stem(tokens, 48), heads * size, 1)
    for _ in range(units):
        normed = net.activation(here)
        mixed = []
        for _ in range(heads):
            query, key, value = (net.conv(normed, size, 1) for _ in range(3))
            scores = net.activation(net.product(query, key, tokens))
            mixed.append(net.product(scores, value, size))
        here = net.add(net.conv(net.concatenate(*mixed), heads * size, 1), here)
        wide = net.conv(net.activation(here), 4 * heads * size, 1)
        here = net.add(net.conv(net.activation(wide), heads * size, 1), here)
    net.classify(net.mean(here), 100)


STRUCTURED = {
    grow.__name__: grow
    for grow in (
        *(densenet, fpn, hrnet, inception, mobilenet, nasnet, randwire, resnet, towers),
        *(transformer, unet),
    )
}
