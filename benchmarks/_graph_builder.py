"""Op graphs as a conversion to int8 leaves them, built op by op without TensorFlow."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from respect_tf.graph import OpAttributes, OpGraph, Quantization

CLASSES = 1000
SLIM_CLASSES = 1001  # Google's networks of 2019 have one for "none of these"

_SIZES = {"int8": 1, "int32": 4}

Pair = int | tuple[int, int]


class GraphBuilder:
    """Grows an op graph. Methods take and return indices of tensors.

    Batch normalisation and activations are part of the convolution before them, as the converter
    leaves them; `scale` is for those that no convolution takes in. Weights have values of no kind,
    only shapes.

    Args:
        image: Height, width and channels of what the model reads.
        per_channel: Whether weights have a scale for each output channel, as those that TensorFlow
            converts today; Google's published networks of 2019 have one.
        bias: Whether convolutions and dense layers add one.
    """

    def __init__(
        self, image: Sequence[int], *, per_channel: bool = True, bias: bool = True
    ) -> None:
        self._per_channel, self._bias = per_channel, bias
        self._shapes: list[tuple[int, ...]] = [(1, *image)]
        self._dtypes = ["int8"]
        self._quantization: list[Quantization | None] = [None]
        self._is_constant = [False]
        self._ops: list[tuple[str, list[int], int, int]] = []  # type, inputs, output, MACs
        self._attributes: list[OpAttributes] = []

    @property
    def image(self) -> int:
        """What the model reads."""
        return 0

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Shape of a tensor, the batch of 1 included."""
        return self._shapes[tensor]

    def conv(
        self, tensor: int, filters: int, kernel: Pair = 1, stride: int = 1, *, padding: str = "SAME"
    ) -> int:
        """A convolution."""
        height, width = _pair(kernel)
        weights = (filters, height, width, self.shape(tensor)[-1])
        return self._window("CONV_2D", tensor, weights, filters, stride, padding)

    def depthwise(
        self, tensor: int, kernel: Pair = 3, stride: int = 1, *, padding: str = "SAME"
    ) -> int:
        """A depthwise convolution."""
        height, width = _pair(kernel)
        channels = self.shape(tensor)[-1]
        weights = (1, height, width, channels)
        return self._window("DEPTHWISE_CONV_2D", tensor, weights, channels, stride, padding)

    def transpose_conv(self, tensor: int, filters: int, kernel: int = 3, stride: int = 2) -> int:
        """A transposed convolution that makes a map `stride` times as high and wide."""
        _, height, width, channels = self.shape(tensor)
        weights = self._weights((filters, kernel, kernel, channels), filters)
        made = (1, stride * height, stride * width, filters)
        size = self._tensor((4,), "int32", constant=True)
        macs = height * width * channels * kernel * kernel * filters
        attributes = OpAttributes(
            has_bias=self._bias, padding="SAME", strides=(stride, stride),
            settings=(made, None, None, None)[: 3 + self._bias],
        )  # fmt: skip
        inputs = [size, weights[0], tensor, *weights[1:]]
        return self._op("TRANSPOSE_CONV", inputs, made, attributes, macs=macs)

    def dense(self, tensor: int, units: int) -> int:
        """A dense layer of all that a map or vector holds."""
        values = math.prod(self.shape(tensor))
        weights = self._weights((units, values), units)
        attributes = OpAttributes(has_bias=self._bias, settings=(None,) * (1 + len(weights)))
        return self._op(
            "FULLY_CONNECTED", [tensor, *weights], (1, units), attributes, macs=units * values
        )

    def scale(self, tensor: int) -> int:
        """A batch normalisation that stays by itself: MUL and ADD with a constant per channel."""
        for kind in ("MUL", "ADD"):
            vector = self._tensor((1, 1, 1, self.shape(tensor)[-1]), "int8", constant=True)
            tensor = self._op(kind, [tensor, vector], self.shape(tensor))
        return tensor

    def add(self, *tensors: int) -> int:
        """The sum of two tensors."""
        return self._op("ADD", list(tensors), self.shape(tensors[0]))

    def concatenate(self, tensors: Sequence[int]) -> int:
        """Maps one behind the other along the channels."""
        shape = self.shape(tensors[0])
        channels = sum(self.shape(tensor)[-1] for tensor in tensors)
        return self._op("CONCATENATION", list(tensors), (*shape[:-1], channels))

    def stack(self, tensors: Sequence[int]) -> int:
        """Lists of vectors one behind the other: [1, count, values] each."""
        count = sum(self.shape(tensor)[1] for tensor in tensors)
        return self._op("CONCATENATION", list(tensors), (1, count, self.shape(tensors[0])[-1]))

    def max_pool(self, tensor: int, window: int, stride: int, *, padding: str = "SAME") -> int:
        """The largest value in each window."""
        return self._pool("MAX_POOL_2D", tensor, window, stride, padding)

    def average_pool(self, tensor: int, window: int, stride: int, *, padding: str = "SAME") -> int:
        """The mean of each window."""
        return self._pool("AVERAGE_POOL_2D", tensor, window, stride, padding)

    def mean(self, tensor: int) -> int:
        """The mean over all pixels."""
        axes = self._tensor((2,), "int32", constant=True)
        attributes = OpAttributes(settings=(None, (1, 2)))
        return self._op("MEAN", [tensor, axes], (1, self.shape(tensor)[-1]), attributes)

    def pad(self, tensor: int, before: Pair, after: Pair) -> int:
        """Zeros before and after a map's rows and columns."""
        _, height, width, channels = self.shape(tensor)
        (top, left), (bottom, right) = _pair(before), _pair(after)
        amounts = (0, 0, top, bottom, left, right, 0, 0)
        constant = self._tensor((4, 2), "int32", constant=True)
        made = (1, top + height + bottom, left + width + right, channels)
        return self._op("PAD", [tensor, constant], made, OpAttributes(settings=(None, amounts)))

    def plain(self, kind: str, tensor: int, made: Sequence[int] | None = None) -> int:
        """An op of one input and no options, for example `"SOFTMAX"` or `"RESHAPE"`.

        Args:
            kind: As TFLite's schema spells it.
            tensor: What it reads.
            made: The shape of what it makes; that of what it reads where left out.
        """
        shape = self.shape(tensor) if made is None else tuple(made)
        return self._op(kind, [tensor], shape)

    def classified(self, tensor: int, classes: int = CLASSES) -> OpGraph:
        """The graph, with a dense layer of classes at its end."""
        self.plain("SOFTMAX", self.dense(tensor, classes))
        return self.graph()

    def slim_end(self, tensor: int) -> OpGraph:
        """The graph, with the mean over all pixels, and classes as a 1x1 convolution."""
        window = self.shape(tensor)[1]
        pooled = self.average_pool(tensor, window, 1, padding="VALID")
        here = self.conv(pooled, SLIM_CLASSES)
        self.plain("SOFTMAX", self.plain("RESHAPE", here, (1, SLIM_CLASSES)))
        return self.graph()

    def graph(self, outputs: Sequence[int] = ()) -> OpGraph:
        """The graph; what the last op makes is the model's output where none are named."""
        shapes = self._shapes
        sizes = np.array(
            [
                math.prod(shape) * _SIZES[dtype]
                for shape, dtype in zip(shapes, self._dtypes, strict=True)
            ],
            np.int64,
        )
        constant = np.array(self._is_constant, bool)
        rows = [inputs for _, inputs, _, _ in self._ops]
        made = np.array([output for _, _, output, _ in self._ops], np.int32)
        return OpGraph(
            op_names=tuple(f"{kind.lower()}_{op}" for op, (kind, *_) in enumerate(self._ops)),
            op_types=tuple(kind for kind, *_ in self._ops),
            parameter_bytes=np.array(
                [int(sizes[[t for t in row if constant[t]]].sum()) for row in rows], np.int64
            ),
            macs=np.array([macs for *_, macs in self._ops], np.int64),
            input_offsets=np.cumsum([0, *(len(row) for row in rows)]),
            input_tensors=np.array([tensor for row in rows for tensor in row], np.int32),
            output_offsets=np.arange(len(rows) + 1),
            output_tensors=made,
            tensor_names=tuple(f"tensor_{tensor}" for tensor in range(len(shapes))),
            tensor_bytes=sizes,
            tensor_shapes=tuple(shapes),
            tensor_dtypes=tuple(self._dtypes),
            tensor_quantization=tuple(self._quantization),
            is_constant=constant,
            model_inputs=np.zeros(1, np.int32),
            model_outputs=np.array(outputs if outputs else made[-1:], np.int32),
            colocated=np.zeros((0, 2), np.int32),
            op_attributes=tuple(self._attributes),
        )

    def _window(
        self,
        kind: str,
        tensor: int,
        weights: tuple[int, int, int, int],
        channels: int,
        stride: int,
        padding: str,
    ) -> int:
        constants = self._weights(weights, channels)
        made = self._slid(tensor, weights[1:3], stride, padding, channels)
        attributes = OpAttributes(
            has_bias=self._bias, padding=padding, strides=(stride, stride),
            settings=(None,) * (1 + len(constants)),
        )  # fmt: skip
        read = weights[-1] if kind == "CONV_2D" else 1
        macs = math.prod(made) * weights[1] * weights[2] * read
        return self._op(kind, [tensor, *constants], made, attributes, macs=macs)

    def _pool(self, kind: str, tensor: int, window: int, stride: int, padding: str) -> int:
        made = self._slid(tensor, (window, window), stride, padding, self.shape(tensor)[-1])
        attributes = OpAttributes(
            padding=padding, strides=(stride, stride), window=(window, window), settings=(None,)
        )
        return self._op(kind, [tensor], made, attributes)

    def _slid(
        self, tensor: int, window: tuple[int, int], stride: int, padding: str, channels: int
    ) -> tuple[int, ...]:
        read = self.shape(tensor)[1:3]
        whole = (0, 0) if padding == "SAME" else (window[0] - 1, window[1] - 1)
        height, width = (
            -(-(size - less) // stride) for size, less in zip(read, whole, strict=True)
        )
        return (1, height, width, channels)

    def _weights(self, shape: tuple[int, ...], channels: int) -> list[int]:
        scales = Quantization((1.0,) * channels, (0,) * channels) if self._per_channel else None
        made = [self._tensor(shape, "int8", constant=True, quantization=scales)]
        if self._bias:
            made.append(self._tensor((channels,), "int32", constant=True))
        return made

    def _tensor(
        self,
        shape: tuple[int, ...],
        dtype: str,
        *,
        constant: bool,
        quantization: Quantization | None = None,
    ) -> int:
        self._shapes.append(shape)
        self._dtypes.append(dtype)
        self._quantization.append(quantization)
        self._is_constant.append(constant)
        return len(self._shapes) - 1

    def _op(
        self,
        kind: str,
        inputs: list[int],
        made: tuple[int, ...],
        attributes: OpAttributes | None = None,
        *,
        macs: int | None = None,
    ) -> int:
        output = self._tensor(made, "int8", constant=False)
        self._ops.append((kind, inputs, output, math.prod(made) if macs is None else macs))
        plain = OpAttributes(settings=(None,) * len(inputs))
        self._attributes.append(dataclasses.replace(attributes or plain))
        return output


def _pair(size: Pair) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size
