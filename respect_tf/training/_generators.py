"""Synthetic graphs for training, tests and benchmarks: the same seed gives the same graph."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from respect_tf._errors import ArgumentError
from respect_tf.graph import OpGraph
from respect_tf.scheduling.parts import checked_count
from respect_tf.training._families import STRUCTURED
from respect_tf.training._synthetic import Network, Random, Tensor

_MIN_OPS = 30
_IN_DEGREE = 2, 6  # in levels, as far as there are so many ops before

_LAYERED = ("levels", "wide")

FAMILIES: tuple[str, ...] = tuple(sorted((*STRUCTURED, *_LAYERED)))
"""What `random_graph` can make."""


def random_graph(family: str, num_ops: int, seed: int) -> OpGraph:
    """Make a synthetic graph with the parameter bytes, tensor bytes and MACs of int8 layers.

    The same arguments give the same graph on every machine and with every version of numpy.

    * `"levels"`: random ops in levels, one op or a few in each: the training graphs of RESPECT
      (arXiv 2304.04716: 30 ops, 10-25 levels, in-degree up to 6), in any size.
    * `"wide"`: the same with the square root of `num_ops` to twice that many levels.
    * `"nasnet"`: repeated cells of branches. `"randwire"`: small-world random wiring.
      `"towers"`: parallel chains. `"fpn"`: a detector with a feature pyramid and heads.
      `"hrnet"`: scales side by side that exchange maps. `"unet"`: encoder and decoder with skips.
      `"transformer"`: blocks whose attention heads are apart.
    * `"resnet"`, `"inception"`, `"densenet"`, `"mobilenet"`: like the networks of that name.

    Args:
        family: One of `FAMILIES`.
        num_ops: Number of ops, exactly: structured families are grown by whole units (cells,
            blocks, convolutions) as far as they fit, and the rest are activations behind random
            ops. From 30; `"levels"` and `"wide"` from 1.
        seed: 0 or more.

    Returns:
        A graph whose ops are in topological order.

    Raises:
        ArgumentError: No family has that name, or a number is out of range.
    """
    if family not in FAMILIES:
        raise ArgumentError(
            f"Unknown family of graphs. Expected one of {', '.join(map(repr, FAMILIES))}. "
            f"Received: {family!r}."
        )
    least = 1 if family in _LAYERED else _MIN_OPS
    num_ops, seed = checked_count("num_ops", num_ops, least), checked_count("seed", seed, 0)
    random_key = (seed, zlib.crc32(family.encode()), num_ops)
    if family in _LAYERED:
        network = Network(Random(*random_key))
        _grow_levels(network, family, num_ops)
        return network.graph(num_ops)
    return _largest(STRUCTURED[family], num_ops, random_key).graph(num_ops)


def _largest(
    grow: Callable[[Network, int, int], None], num_ops: int, key: tuple[int, ...]
) -> Network:
    """The network of the most units that has no more than `num_ops` ops."""

    def grown(units: int) -> Network:
        network = Network(Random(*key))
        grow(network, num_ops, units)
        return network

    # Random links make the size waver by an op or two from one number of units to the next.
    low, high = 1, num_ops
    best = grown(low)
    while low < high:
        units = (low + high + 1) // 2
        network = grown(units)
        if network.num_ops <= num_ops:
            best, low = network, units
        else:
            high = units - 1
    return best


def _grow_levels(net: Network, family: str, num_ops: int) -> None:
    random, root = net.random, round(num_ops**0.5)
    low, high = (num_ops // 3, 5 * num_ops // 6) if family == "levels" else (root, 2 * root)
    num_levels = min(num_ops, max(1, random.integer(low, high)))
    widths = [1] * num_levels
    for _ in range(num_ops - num_levels):
        widths[random.integer(0, num_levels - 1)] += 1
    made: list[Tensor] = []
    previous: list[Tensor] = []
    for level, width in enumerate(widths):
        # Maps shrink and channels grow with depth, as in most vision models.
        scale = 4 * level // num_levels
        positions, channels = (56 >> scale) ** 2, 32 << scale
        here = []
        for _ in range(width):
            read = _sources(random, made, previous, random.integer(*_IN_DEGREE))
            out = channels * random.pick((1, 2, 3, 4)) // 2
            weights = 0
            if not read or random.chance(80):
                into = min((tensor.channels for tensor in read), default=3)
                weights = random.pick((1, 1, 9)) * into * out
            here.append(net.op(read, positions, out, weights))
        made += here
        previous = here


def _sources(
    random: Random, made: list[Tensor], previous: list[Tensor], count: int
) -> list[Tensor]:
    """One op of the level before, which makes the level what it is, and others, near ones first."""
    if not previous:
        return []
    chosen = {(first := random.pick(previous)).op: first}
    near = made[-4 * count :]
    others = [tensor for tensor in near if tensor.op not in chosen]
    while others and len(chosen) < count:
        tensor = others.pop(random.integer(0, len(others) - 1))
        chosen[tensor.op] = tensor
    return [chosen[op] for op in sorted(chosen)]
