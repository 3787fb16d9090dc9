"""Synthetic networks: ops with the bytes and MACs of int8 layers, for the graph generators."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from respect_tf.graph import OpGraph

_Item = TypeVar("_Item")


class Random:
    """Pseudo-random numbers that are the same with every version of numpy.

    Only the raw 64-bit stream of PCG64 is used: numpy keeps that stable for good (NEP 19), but not
    what its `Generator` makes of it. Whole numbers, 0 or more, name the stream.
    """

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(list(key))

    def integer(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(self._bits.random_raw()) % (high - low + 1)

    def chance(self, percent: int) -> bool:
        """True in that many percent of all calls."""
        return self.integer(0, 99) < percent

    def pick(self, items: Sequence[_Item]) -> _Item:
        """One of the items."""
        return items[self.integer(0, len(items) - 1)]


@dataclasses.dataclass(frozen=True)
class Tensor:
    """What an op of a network makes. Positions are height times width, or tokens."""

    op: int
    positions: int
    channels: int


class Network:
    """Grows a network op by op. All weights and activations take a byte, biases four."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self._names: list[str] = []
        self._parameters: list[int] = []
        self._outputs: list[int] = []
        self._macs: list[int] = []
        self._inputs: list[tuple[int, ...]] = []

    @property
    def num_ops(self) -> int:
        """Number of ops so far."""
        return len(self._names)

    def stem(self, positions: int, channels: int) -> Tensor:
        """A first 3x3 convolution of an RGB image; without an op before it."""
        return self._op("stem", (), positions, channels, weights=27 * channels)

    def conv(self, tensor: Tensor, channels: int, kernel: int = 3, stride: int = 1) -> Tensor:
        """A convolution."""
        positions = max(1, tensor.positions // stride**2)
        weights = kernel * kernel * tensor.channels * channels
        return self._op("conv", (tensor,), positions, channels, weights=weights)

    def convs(self, tensor: Tensor, channels: int, kernels: Iterable[int]) -> Tensor:
        """Convolutions, one after the other."""
        for kernel in kernels:
            tensor = self.conv(tensor, channels, kernel)
        return tensor

    def depthwise(self, tensor: Tensor, kernel: int = 3, stride: int = 1) -> Tensor:
        """A depthwise convolution."""
        positions = max(1, tensor.positions // stride**2)
        weights = kernel * kernel * tensor.channels
        return self._op("depthwise", (tensor,), positions, tensor.channels, weights=weights)

    def separable(self, tensor: Tensor, channels: int, kernel: int = 3, stride: int = 1) -> Tensor:
        """A depthwise convolution and a 1x1 convolution: two ops."""
        return self.conv(self.depthwise(tensor, kernel, stride), channels, 1)

    def add(self, *tensors: Tensor) -> Tensor:
        """The sum of maps; what is too large is thought of as cropped."""
        return self._op("add", tensors, tensors[0].positions, tensors[0].channels)

    def concatenate(self, *tensors: Tensor) -> Tensor:
        """Maps one behind the other along the channels."""
        channels = sum(tensor.channels for tensor in tensors)
        return self._op("concatenate", tensors, tensors[0].positions, channels)

    def pool(self, tensor: Tensor, stride: int = 2) -> Tensor:
        """A pool."""
        positions = max(1, tensor.positions // stride**2)
        return self._op("pool", (tensor,), positions, tensor.channels)

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean over all positions."""
        return self._op("mean", (tensor,), 1, tensor.channels)

    def resize(self, tensor: Tensor, positions: int) -> Tensor:
        """A map of another size."""
        return self._op("resize", (tensor,), positions, tensor.channels)

    def activation(self, tensor: Tensor) -> Tensor:
        """An activation or normalisation that is an op of its own."""
        return self._op("activation", (tensor,), tensor.positions, tensor.channels)

    def product(self, left: Tensor, right: Tensor, channels: int) -> Tensor:
        """A product of two matrices that are both computed, as in attention."""
        macs = left.positions * left.channels * channels
        return self._op("product", (left, right), left.positions, channels, macs=macs)

    def classify(self, tensor: Tensor, classes: int) -> Tensor:
        """A layer that reads everything."""
        return self.op([tensor], 1, classes, tensor.channels * classes)

    def op(self, tensors: Sequence[Tensor], positions: int, channels: int, weights: int) -> Tensor:
        """An op of no special kind. Without weights it has no bias either."""
        return self._op("op", tensors, positions, channels, weights=weights)

    def graph(self, num_ops: int) -> OpGraph:
        """The graph, with as many activations put in as are missing to `num_ops`.

        They follow ops drawn at random, and whatever read such an op reads its activation instead.
        """
        extra = [0] * self.num_ops
        for _ in range(num_ops - self.num_ops):
            extra[self.random.integer(0, self.num_ops - 1)] += 1
        last: list[int] = []  # the op that stands for each op's result, numbered anew
        kept: list[tuple[int, bool]] = []  # the op of each new one, and whether it is its first
        edges: list[tuple[int, int]] = []
        for op, inputs in enumerate(self._inputs):
            edges += [(last[source], len(kept)) for source in inputs]
            edges += [(len(kept) + i, len(kept) + i + 1) for i in range(extra[op])]
            kept += [(op, i == 0) for i in range(1 + extra[op])]
            last.append(len(kept) - 1)
        return OpGraph.from_arrays(
            [self._parameters[op] if first else 0 for op, first in kept],
            [self._outputs[op] for op, _ in kept],
            np.array(edges, np.int64).reshape(-1, 2),
            macs=[self._macs[op] if first else self._outputs[op] for op, first in kept],
            names=[
                f"{self._names[op] if first else 'activation'}_{index}"
                for index, (op, first) in enumerate(kept)
            ],
        )

    def _op(
        self,
        name: str,
        tensors: Sequence[Tensor],
        positions: int,
        channels: int,
        *,
        weights: int = 0,
        macs: int = 0,
    ) -> Tensor:
        """MACs that are not given are one for each weight, or else each channel, and position."""
        self._names.append(name)
        self._parameters.append(weights + 4 * channels if weights else 0)
        self._outputs.append(positions * channels)
        self._macs.append(macs or positions * (weights or channels))
        self._inputs.append(tuple(tensor.op for tensor in tensors))
        return Tensor(self.num_ops - 1, positions, channels)
