"""Ops and tensors while an architecture is lowered, before they become an `OpGraph`."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from respect_tf.graph._attributes import OpAttributes
from respect_tf.graph._macs import count_macs
from respect_tf.graph._op_graph import OpGraph, Quantization

Shape = tuple[int, ...]
_ITEM_BYTES = {"int8": 1, "uint8": 1, "bool": 1, "int32": 4, "float32": 4, "int64": 8}


@dataclasses.dataclass(eq=False)
class Value:
    """A tensor.

    Attributes:
        shape: With a batch of 1.
        dtype: numpy's name for it.
        constant: Whether the file would hold it.
        settings: The values of a small int32 constant (axes, sizes), else None.
        key: Constants with equal keys are one buffer of the file.
    """

    shape: Shape
    dtype: str = "int8"
    constant: bool = False
    settings: tuple[int, ...] | None = None
    key: object = None

    @property
    def num_bytes(self) -> int:
        """Size of its elements."""
        return math.prod(self.shape) * _ITEM_BYTES[self.dtype]


@dataclasses.dataclass(eq=False)
class Op:
    """An op of TFLite's, or one that fusing takes away.

    Attributes:
        kind: As TFLite's schema spells it; `"BATCH_NORM"`, `"SCALE"`, `"BIAS"`,
            `"MINUS"` and `"NOTHING"` besides.
        inputs: What it reads.
        outputs: What it makes.
        attributes: Its options.
        layer: The Keras layer it comes from.
    """

    kind: str
    inputs: list[Value]
    outputs: list[Value]
    attributes: OpAttributes
    layer: str

    @property
    def made(self) -> Value:
        """The first tensor that it makes."""
        return self.outputs[0]


# The op versions that TFLite's converter writes for int8, where they are not 2.
_VERSIONS = {
    "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "TRANSPOSE_CONV": 3, "RESHAPE": 1,
    "QUANTIZE": 1, "HARD_SWISH": 1, "LEAKY_RELU": 1, "PRELU": 1, "ELU": 1, "NEG": 1, "TILE": 3,
    "RESIZE_BILINEAR": 3, "SELECT_V2": 1, "SELECT": 1, "SHAPE": 1,
    "SQUARE": 1, "LESS": 1, "GREATER": 2, "GATHER": 2, "ARG_MAX": 2,
}  # fmt: skip


class Form:
    """The ops of a model in the making, in an order in which they can run.

    Args:
        trained: Whether weights that are still zero count as trained; TFLite removes sums with
            zeros.
    """

    def __init__(self, *, trained: bool) -> None:
        self.trained = trained
        self.ops: list[Op] = []
        self.inputs: list[Value] = []
        self.outputs: list[Value] = []
        self.layer = ""
        self.shares_input = False  # whether convolutions with these gaps read one tensor
        self._owner: object = None
        self._count = 0

    def begin(self, owner: object) -> None:
        """From here on, weights are those of a layer; called again, it reads the same ones."""
        self._owner, self._count = owner, 0

    def op(
        self,
        kind: str,
        inputs: Sequence[Value],
        shape: Iterable[int],
        *,
        dtype: str = "int8",
        version: int | None = None,
        **options: Any,
    ) -> Value:
        """Add an op that makes one tensor.

        Args:
            kind: See `Op`.
            inputs: What it reads.
            shape: Of what it makes.
            dtype: Of what it makes.
            version: Of the op; what the converter writes if left out.
            options: Fields of `OpAttributes`.
        """
        made = Value(tuple(int(size) for size in shape), dtype)
        attributes = OpAttributes(
            version=_VERSIONS.get(kind, 2) if version is None else version, **options
        )
        self.ops.append(Op(kind, list(inputs), [made], attributes, self.layer))
        return made

    def adds(self, *variables: Any) -> bool:
        """Whether what these variables add to a tensor is anything: None stands for no variable."""
        given = [variable for variable in variables if variable is not None]
        return bool(given) and (self.trained or any(np.any(np.asarray(v)) for v in given))

    def weights(self, shape: Iterable[int], dtype: str = "int8") -> Value:
        """A constant of which only the size is known."""
        key = None if self._owner is None else (id(self._owner), self._count)
        self._count += 1
        return Value(tuple(int(size) for size in shape), dtype, constant=True, key=key)

    def setting(self, *values: int, shape: Shape | None = None) -> Value:
        """A small int32 constant."""
        numbers = tuple(int(value) for value in values)
        return Value(
            (len(numbers),) if shape is None else shape,
            "int32",
            constant=True,
            settings=numbers,
            key=(shape, numbers),
        )


def op_graph(form: Form) -> OpGraph:
    """The finished form as an `OpGraph`. Tensor names are those of layers."""
    values: list[Value] = []
    number: dict[int, int] = {}

    def index(value: Value) -> int:
        if id(value) not in number:
            number[id(value)] = len(values)
            values.append(value)
        return number[id(value)]

    for value in form.inputs:
        index(value)
    inputs = [[index(value) for value in op.inputs] for op in form.ops]
    outputs = [[index(value) for value in op.outputs] for op in form.ops]
    model_outputs = [index(value) for value in form.outputs]
    shapes = tuple(value.shape for value in values)
    names = _names(form, number)
    return OpGraph(
        op_names=tuple(names[made[0]] for made in outputs),
        op_types=tuple(op.kind for op in form.ops),
        parameter_bytes=np.array([_parameter_bytes(op) for op in form.ops], np.int64),
        macs=np.array(
            [
                count_macs(op.kind, _operator(op, read, made), shapes)
                for op, read, made in zip(form.ops, inputs, outputs, strict=True)
            ],
            np.int64,
        ),
        input_offsets=_offsets(inputs),
        input_tensors=np.array([t for read in inputs for t in read], np.int32),
        output_offsets=_offsets(outputs),
        output_tensors=np.array([t for made in outputs for t in made], np.int32),
        tensor_names=tuple(names),
        tensor_bytes=np.array([value.num_bytes for value in values], np.int64),
        tensor_shapes=shapes,
        tensor_dtypes=tuple(value.dtype for value in values),
        tensor_quantization=_quantization(form, values),
        is_constant=np.array([value.constant for value in values], bool),
        model_inputs=np.array([number[id(value)] for value in form.inputs], np.int32),
        model_outputs=np.array(model_outputs, np.int32),
        colocated=_colocated(form, number),
        op_attributes=_attributes(form),
    )


# The axis of channels in weights, each of which the converter gives a scale of its own.
_CHANNELS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}


def _quantization(form: Form, values: Sequence[Value]) -> tuple[Quantization | None, ...]:
    """Of weights, as many scales as conversion would give; their values are not known."""
    axes = {
        id(op.inputs[1]): _CHANNELS[op.kind]
        for op in form.ops
        if op.kind in _CHANNELS and op.inputs[1].constant
    }

    def scales(value: Value) -> Quantization | None:
        if id(value) not in axes:
            return None
        axis = axes[id(value)]
        channels = value.shape[axis]
        return Quantization(scale=(1.0,) * channels, zero_point=(0,) * channels, axis=axis)

    return tuple(map(scales, values))


def _attributes(form: Form) -> tuple[OpAttributes, ...]:
    """Of each op. A file asks for one version per kind of op: the highest that it needs."""
    versions: dict[str, int] = {}
    for op in form.ops:
        versions[op.kind] = max(versions.get(op.kind, 1), op.attributes.version)
    return tuple(
        dataclasses.replace(
            op.attributes,
            version=versions[op.kind],
            settings=tuple(value.settings for value in op.inputs),
        )
        for op in form.ops
    )


def _names(form: Form, number: dict[int, int]) -> list[str]:
    names = [""] * len(number)
    for place, value in enumerate(form.inputs):
        names[number[id(value)]] = f"input_{place}"
    for op in form.ops:
        for value in op.inputs:
            if value.constant:
                names[number[id(value)]] = f"{op.layer}/constant"
        for value in op.outputs:
            names[number[id(value)]] = f"{op.layer}/{op.kind}"
    return names


def _parameter_bytes(op: Op) -> int:
    buffers = {value.key or id(value): value.num_bytes for value in op.inputs if value.constant}
    return sum(buffers.values())


def _operator(op: Op, read: list[int], made: list[int]) -> Any:
    """What `count_macs` reads of the schema's operator."""
    height, width = op.attributes.window
    options = types.SimpleNamespace(filterHeight=height, filterWidth=width)
    return types.SimpleNamespace(inputs=read, outputs=made, builtinOptions=options)


def _offsets(rows: list[list[int]]) -> Any:
    return np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)


def _colocated(form: Form, number: dict[int, int]) -> Any:
    """A DEQUANTIZE stays with the op before it, as in graphs of files. int32 [num_pairs, 2]."""
    maker = {id(value): index for index, op in enumerate(form.ops) for value in op.outputs}
    pairs = [
        (maker[id(op.inputs[0])], index)
        for index, op in enumerate(form.ops)
        if op.kind == "DEQUANTIZE" and id(op.inputs[0]) in maker
    ]
    return np.array(pairs, np.int32).reshape(-1, 2)
