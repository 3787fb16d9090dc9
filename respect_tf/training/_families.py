"""Families of synthetic networks. Each function grows one, larger with more units."""

from __future__ import annotations

import itertools

from respect_tf.training._synthetic import Network, Tensor

# A pyramid of so many scales has so many ops at least where maps go down, up, down, up and down.
_MOST_SCALES, _LARGE_PYRAMID = 5, 102


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
    net.op([net.mean(here)], 1, 100, here.channels * 100)


def randwire(net: Network, num_ops: int, units: int) -> None:
    """Small-world random graphs (Watts-Strogatz, K = 4, P = 0.75), as in RandWire.

    Three stages of `units` nodes together; a node adds what it reads and is a separable
    convolution.
    """
    del num_ops
    random = net.random
    here = net.conv(net.stem(112 * 112, 24), 48, 3, 2)
    for stage in range(3):
        num_nodes = (units + stage) // 3
        if num_nodes == 0:
            continue
        channels = 64 << stage
        sources: list[list[int]] = [[] for _ in range(num_nodes)]
        for node in range(num_nodes):
            for step in (1, 2):
                other = (node + step) % num_nodes
                if random.chance(75):
                    other = random.integer(0, num_nodes - 1)
                low, high = min(node, other), max(node, other)
                if low < high and low not in sources[high]:
                    sources[high].append(low)
        made: list[Tensor] = []
        for node in range(num_nodes):
            read = [made[source] for source in sorted(sources[node])]
            stride = 1 if read else 2
            summed = net.add(*read) if len(read) > 1 else (read or [here])[0]
            made.append(net.separable(summed, channels, 3, stride))
        inner = {source for row in sources for source in row}
        ends = [tensor for node, tensor in enumerate(made) if node not in inner]
        here = net.add(*ends) if len(ends) > 1 else ends[0]
    net.op([net.mean(here)], 1, 100, here.channels * 100)


def towers(net: Network, num_ops: int, units: int) -> None:
    """Three to eight parallel chains that meet at the end, with a few links between them.

    A unit is a convolution; chains are of uneven length.
    """
    random = net.random
    here = net.stem(56 * 56, 32)
    num_towers = random.integer(3, min(8, max(3, num_ops // 6)))
    lengths = [1] * num_towers
    shares = [random.integer(1, 4) for _ in lengths]
    for _ in range(units):
        pick = random.integer(1, sum(shares))
        tower = next(i for i in range(num_towers) if sum(shares[: i + 1]) >= pick)
        lengths[tower] += 1
    ends: list[Tensor] = []
    every: list[Tensor] = []
    for length in lengths:
        tensor = here
        channels = random.pick((16, 32, 48, 64, 96))
        for step in range(length):
            stride = 2 if step in (length // 3, 2 * length // 3) and tensor.positions > 49 else 1
            tensor = net.conv(tensor, channels * (1 if stride == 1 else 2), 3, stride)
            channels = tensor.channels
            like = [t for t in every if t.positions == tensor.positions]
            if like and random.chance(8):
                tensor = net.add(tensor, random.pick(like))
            every.append(tensor)
        ends.append(net.pool(tensor) if tensor.positions > 49 else tensor)
    net.op([net.concatenate(*ends)], 1, 100, 100 * sum(tensor.channels for tensor in ends))


def fpn(net: Network, num_ops: int, units: int) -> None:
    """A backbone, a feature pyramid and heads on each of its scales: an object detector.

    A unit is a convolution of the backbone or of a head, in turn. Pyramids go down, or down and
    up again once or twice (BiFPN).
    """
    random = net.random
    num_scales = random.integer(3, 5) if num_ops >= 60 else 3
    num_rounds = random.integer(0, 2) if num_ops >= 100 else 0
    if num_ops < _LARGE_PYRAMID and num_scales == _MOST_SCALES:
        num_rounds = min(num_rounds, 1)
    share = random.integer(40, 70)
    for_heads = units * (100 - share) // 100
    in_backbone = units - for_heads
    here = net.stem(96 * 96, 32)
    scales: list[Tensor] = []
    for scale in range(num_scales):
        here = net.conv(here, min(512, 48 << scale), 3, 2)
        for _ in range((in_backbone + scale) // num_scales):
            here = net.conv(here, here.channels, random.pick((1, 3)))
        scales.append(here)
    width = random.pick((64, 96, 128))
    levels = [net.conv(tensor, width, 1) for tensor in scales]
    for upward in [False, *([True, False] * num_rounds)]:
        places = list(range(num_scales)) if upward else list(reversed(range(num_scales)))
        for source, place in itertools.pairwise(places):
            moved = (
                net.pool(levels[source])
                if upward
                else net.resize(levels[source], levels[place].positions)
            )
            levels[place] = net.separable(net.add(levels[place], moved), width)
    for scale, level in enumerate(levels):
        for head, channels in enumerate((90, 36)):
            tensor = level
            for _ in range((for_heads + 2 * scale + head) // (2 * num_scales)):
                tensor = net.conv(tensor, width, 3)
            net.conv(tensor, channels, 3)


def hrnet(net: Network, num_ops: int, units: int) -> None:
    """Branches of several scales side by side that exchange their maps, as in HRNet.

    A unit is a convolution in each branch; after each third one every branch adds up all branches.
    """
    random = net.random
    num_branches = random.integer(3, 4) if num_ops >= 150 else 2
    here = net.conv(net.stem(112 * 112, 32), 32, 3, 2)
    branches = [here]
    while len(branches) < num_branches:
        last = branches[-1]
        branches.append(net.conv(last, 2 * last.channels, 3, 2))
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
        for _ in range(counts[level]):
            here = net.conv(here, width << level)
        skips.append(here)
        here = net.pool(here)
    for _ in range(counts[depth]):
        here = net.conv(here, width << depth)
    for level in reversed(range(depth)):
        skip = skips[level]
        here = net.concatenate(net.resize(here, skip.positions), skip)
        here = net.conv(here, width << level, 1)
        for _ in range(counts[2 * depth - level]):
            here = net.conv(here, width << level)
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
    net.op([net.mean(here)], 1, 100, here.channels * 100)
