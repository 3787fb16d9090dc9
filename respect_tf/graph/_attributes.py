"""What an op's options and constants say about it, beyond shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from respect_tf.tflite import tensor_type_names

_ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
_PADDINGS = ("SAME", "VALID")
# Constants that say how an op works (axes, sizes, strides) have few values; weights have many.
_MAX_SETTINGS = 16


@dataclasses.dataclass(frozen=True)
class OpAttributes:
    """Options of one op. Pairs are (height, width).

    Attributes:
        version: The version of the op that the file asks for.
        has_bias: Whether it adds a bias that is not zero everywhere.
        fused_activation: As TFLite's schema spells it, for example `"RELU6"`.
        padding: `"SAME"`, `"VALID"`, or `""` for ops that do not pad.
        strides: Steps of the window.
        dilation: Steps between the window's elements.
        window: Size of a pool's window; (1, 1) for other ops.
        shuffled_weights: Whether a dense layer's weights are not in the default format.
        settings: One per input of the op (absent ones left out): the values of a small int32
            constant (axes, sizes, strides), or None.
    """

    version: int = 1
    has_bias: bool = False
    fused_activation: str = "NONE"
    padding: str = ""
    strides: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    window: tuple[int, int] = (1, 1)
    shuffled_weights: bool = False
    settings: tuple[tuple[int, ...] | None, ...] = ()


def read_attributes(model: Any, op_types: Sequence[str]) -> tuple[OpAttributes, ...]:
    """The attributes of each op of the main subgraph of the schema's `ModelT`."""
    nonzero = _NonZero(model)
    operators = zip(model.subgraphs[0].operators, op_types, strict=True)
    return tuple(_attributes(model, operator, kind, nonzero) for operator, kind in operators)


class _NonZero:
    """Which buffers hold anything but zeros. Ops may share one: each is looked through once."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._known: dict[int, bool] = {}

    def __getitem__(self, buffer: int) -> bool:
        if buffer not in self._known:
            data = self._model.buffers[buffer].data
            # A bias that an earlier op makes is not known to be zero.
            self._known[buffer] = data is None or bool(np.any(data))
        return self._known[buffer]


def _attributes(model: Any, operator: Any, kind: str, nonzero: _NonZero) -> OpAttributes:
    subgraph = model.subgraphs[0]
    options = operator.builtinOptions
    inputs = [] if operator.inputs is None else [int(tensor) for tensor in operator.inputs]

    def pair(height: str, width: str) -> tuple[int, int]:
        return int(getattr(options, height, 1)), int(getattr(options, width, 1))

    activation = int(getattr(options, "fusedActivationFunction", 0))
    padding = getattr(options, "padding", None)
    return OpAttributes(
        version=int(model.operatorCodes[operator.opcodeIndex].version),
        has_bias=_has_bias(subgraph, inputs, kind, nonzero),
        fused_activation=_ACTIVATIONS[activation]
        if 0 <= activation < len(_ACTIVATIONS)
        else "OTHER",
        padding=_PADDINGS[int(padding)] if padding in (0, 1) else "",
        strides=pair("strideH", "strideW"),
        dilation=pair("dilationHFactor", "dilationWFactor"),
        window=pair("filterHeight", "filterWidth"),
        shuffled_weights=bool(getattr(options, "weightsFormat", 0)),
        settings=tuple(_settings(model, subgraph.tensors[t]) for t in inputs if t >= 0),
    )


def _has_bias(subgraph: Any, inputs: list[int], kind: str, nonzero: _NonZero) -> bool:
    position = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}
    where = position.get(kind)
    if where is None or where >= len(inputs) or inputs[where] < 0:
        return False
    return nonzero[subgraph.tensors[inputs[where]].buffer]


def _settings(model: Any, tensor: Any) -> tuple[int, ...] | None:
    if tensor_type_names()[tensor.type] != "int32":
        return None
    data = model.buffers[tensor.buffer].data
    if data is None or len(data) == 0 or len(data) > 4 * _MAX_SETTINGS or len(data) % 4:
        return None
    return tuple(np.asarray(data, np.uint8).view("<i4").tolist())
