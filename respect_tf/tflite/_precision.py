"""The 8-bit check: which tensors of a model an Edge TPU would not take, and whose they are."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from respect_tf._errors import QuantizationError
from respect_tf._reporting import Verbosity, report
from respect_tf.tflite._flatbuffer import has_data, ints, op_type, read_model, text
from respect_tf.tflite._schema import tensor_type_names

_EIGHT_BIT = ("int8", "uint8")
_INDEX = ("int32", "int64")
_WEIGHTED = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"}
# Recurrent ops whose cell state is int16 in full-integer int8, and its position.
_CELL_STATES = {"UNIDIRECTIONAL_SEQUENCE_LSTM": 19, "LSTM": 19}
_LISTED = 20

BIASES = {
    "CONV_2D": (2,),
    "CONV_3D": (2,),
    "DEPTHWISE_CONV_2D": (2,),
    "FULLY_CONNECTED": (2,),
    "TRANSPOSE_CONV": (3,),
    "CONV_3D_TRANSPOSE": (3,),
    "SVDF": (3,),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (12, 13, 14, 15, 17),
    "LSTM": (12, 13, 14, 15, 17),
}
"""Op type -> positions of its bias inputs, which are int32 by TFLite's quantisation specification:
https://ai.google.dev/edge/litert/models/quantization_spec"""

# Ops that TFLite leaves in float by chance, with the DEQUANTIZE and QUANTIZE around them.
_LEFT_BY_CHANCE = {"SPLIT", "SPLIT_V", "DEQUANTIZE", "QUANTIZE"}

# Scopes that TensorFlow puts around the names of layers.
_WRAPPERS = re.compile(r"^(StatefulPartitionedCall|PartitionedCall|Identity)(_\d+)?$")


@dataclass(frozen=True)
class NonInt8Tensor:
    """A tensor that is not 8 bit and does not have to be something else.

    Attributes:
        op_index: The op that makes it, or the first that reads it if none does; -1 if none reads
            it either. Counted within its subgraph.
        op_type: That op's type, for example `"CONV_2D"`.
        role: `"input"` or `"output"` of the model, `"constant"`, or `"activation"`.
        name: The tensor's name.
        dtype: Its element type, in numpy's spelling.
        layer: The Keras layer it comes from, as far as the name tells; else empty.
        subgraph: 0 for the main one.
        tensor: Its index.
    """

    op_index: int
    op_type: str
    role: str
    name: str
    dtype: str
    layer: str
    subgraph: int = 0
    tensor: int = field(default=-1, compare=False)

    def __str__(self) -> str:
        op = f"op {self.op_index} {self.op_type}" if self.op_index >= 0 else self.op_type
        where = f"subgraph {self.subgraph}, {op}" if self.subgraph else op
        layer = f", layer '{self.layer}'" if self.layer else ""
        return f"{where}: {self.role} '{self.name}' is {self.dtype}{layer}"


def non_int8_tensors(
    model: Any,
    *,
    float_input: bool = True,
    float_output: bool = True,
    layer_names: Collection[str] = (),
) -> tuple[NonInt8Tensor, ...]:
    """List every tensor that is not 8 bit, in the order of the ops.

    Not listed are int32 biases, constant int32 or int64 operands without a scale (shapes, axes,
    paddings, indices), and, where allowed, float32 inputs that only QUANTIZE reads and float32
    outputs that DEQUANTIZE makes.

    Args:
        model: The bytes of a .tflite file, or what `read_model` made of them.
        float_input: Whether float32 model inputs are allowed.
        float_output: Whether float32 model outputs are allowed.
        layer_names: Names of the Keras layers, if known; they make `layer` exact.

    Raises:
        InvalidModelError: The bytes are no TFLite model.
    """
    if isinstance(model, (bytes, bytearray, memoryview)):
        model = read_model(bytes(model))
    return tuple(
        tensor
        for number in range(len(model.subgraphs))
        for tensor in _of_subgraph(model, number, float_input, float_output, layer_names)
    )


def check_int8(
    tensors: Sequence[NonInt8Tensor],
    *,
    label: str,
    strict: bool,
    kind: str | None = None,
    verbose: Verbosity = "auto",
) -> None:
    """Raise if there are tensors that are not 8 bit, or only say so.

    Args:
        tensors: Those tensors.
        label: How messages name the model.
        strict: Whether to raise.
        kind: What `quantization_kind` says of the model.
        verbose: 0 is silence.

    Raises:
        QuantizationError: There are, and `strict` is set.
    """
    if not tensors:
        return
    several = len(tensors) > 1
    count = f"{len(tensors)} tensor{'s' if several else ''} of {label} {'are' if several else 'is'}"
    lines = [f"  {tensor}" for tensor in tensors[:_LISTED]]
    if len(tensors) > _LISTED:
        lines.append(f"  and {len(tensors) - _LISTED} more")
    listing = "\n".join(lines)
    if not strict:
        report(
            f"warning: {count} not 8 bit, so an Edge TPU will not run those ops:\n{listing}",
            verbose=verbose,
        )
        return
    raise QuantizationError(
        f"{count} not 8 bit. Expected int8 or uint8, with int32 biases:\n{listing}\n"
        f"{kind or _remedy(tensors)} To go on all the same, with those ops on the CPU, pass "
        "strict=False."
    )


def quantization_kind(model: Any) -> str | None:
    """How a given file was quantised, where that is not full-integer int8, and what to export.

    Args:
        model: What `read_model` made of it.

    Returns:
        A sentence or two; None where ops are 8 bit.
    """
    subgraph = model.subgraphs[0]
    weights: set[str] = set()
    values: set[str] = set()
    for operator in subgraph.operators:
        kind = op_type(model, operator)
        read = ints(operator.inputs)
        if kind == "DEQUANTIZE" and has_data(model, subgraph.tensors[read[0]]):
            weights.add(tensor_type_names()[subgraph.tensors[read[0]].type])
        if kind not in _WEIGHTED:
            continue
        for position, tensor in enumerate(read[:3]):
            entry = subgraph.tensors[tensor] if tensor >= 0 else None
            if entry is None or position in BIASES.get(kind, ()):
                continue
            group = weights if has_data(model, entry) else values
            group.add(tensor_type_names()[entry.type])
    if values not in ({"float32"}, {"float32", "int32"}):
        return None
    if "int8" in weights or "uint8" in weights:
        return (
            "The weights are int8 and the activations float: dynamic-range quantisation, which "
            "needs no data and which no Edge TPU runs (of Ultralytics' exports, '..._int8.tflite' "
            "is of this kind, '..._full_integer_quant.tflite' is not). Export it with full-integer "
            "quantisation, or pass the float model with representative data."
        )
    if "float16" in weights:
        return (
            "The weights are float16 and the activations float. Export it with full-integer "
            "quantisation, or pass the float model with representative data."
        )
    return None


def left_by_chance(model: Any) -> bool:
    """Whether all that is float in a quantised model are splits, which have an int8 kernel.

    TFLite's quantiser visits ops in an order that differs from run to run. In TensorFlow 2.19 it
    leaves a split of unrolled LSTM and GRU layers in float now and then, mostly the same one.

    Args:
        model: What `read_model` made of a .tflite file.
    """
    tensors = non_int8_tensors(model)
    types = {tensor.op_type for tensor in tensors if tensor.dtype == "float32"}
    return len(types) > 1 and "DEQUANTIZE" in types and types <= _LEFT_BY_CHANCE


def layer_of(tensor_name: str, layer_names: Collection[str] = ()) -> str:
    """The Keras layer that a TFLite tensor comes from, empty where the name does not say.

    TFLite joins the names of fused ops with `;`, the last op's first, and each is a path of scopes:
    `resnet50_1/conv1_relu_1/Relu;resnet50_1/conv1_conv_1/convolution`. Keras 3 opens a scope twice
    and numbers the second, in which ops are: that of a layer `re_lu` is `re_lu_1`, which a layer of
    that name may be as well. Where the model's own scope is numbered, all are.

    Args:
        tensor_name: A tensor's name.
        layer_names: Names of the model and of its Keras layers, if known: the innermost one in the
            path counts. Otherwise it is the scope behind the model's.
    """
    for path in tensor_name.split(";"):
        scopes = [scope for scope in path.split(":")[0].split("/") if scope]
        while scopes and _WRAPPERS.match(scopes[0]):
            scopes.pop(0)
        if layer_names:
            numbered = bool(scopes) and scopes[0] not in layer_names
            numbered = numbered and _without_number(scopes[0]) in layer_names
            for scope in reversed(scopes):
                names = (scope, _without_number(scope))
                for name in reversed(names) if numbered else names:
                    if name in layer_names:
                        return name
        elif len(scopes) > 1:
            scope = scopes[1] if len(scopes) > 2 else scopes[0]
            return re.sub(r"_1$", "", scope)
    return ""


def _without_number(scope: str) -> str:
    return re.sub(r"_\d+$", "", scope)


def _of_subgraph(
    model: Any,
    number: int,
    float_input: bool,
    float_output: bool,
    layer_names: Collection[str],
) -> Iterator[NonInt8Tensor]:
    subgraph = model.subgraphs[number]
    operators = subgraph.operators
    types = [op_type(model, operator) for operator in operators]
    makers: dict[int, int] = {}
    readers: dict[int, list[tuple[int, int]]] = {}  # tensor -> (op, position)
    order: dict[int, None] = {}
    for index, operator in enumerate(operators):
        for position, tensor in enumerate(ints(operator.inputs)):
            if tensor >= 0:
                readers.setdefault(tensor, []).append((index, position))
                order[tensor] = None
        for tensor in ints(operator.outputs):
            makers.setdefault(tensor, index)
            order[tensor] = None
    inputs, outputs = set(ints(subgraph.inputs)), set(ints(subgraph.outputs))
    order.update(dict.fromkeys([*ints(subgraph.inputs), *ints(subgraph.outputs)]))
    main = number == 0
    for index in order:
        tensor = subgraph.tensors[index]
        dtype = tensor_type_names()[tensor.type]
        if dtype in _EIGHT_BIT:
            continue
        read_by = readers.get(index, [])
        made_by = makers.get(index)
        if (
            dtype == "int16"
            and read_by
            and all(position == _CELL_STATES.get(types[op]) for op, position in read_by)
        ):
            continue
        constant = made_by is None and index not in inputs and has_data(model, tensor)
        if constant and _allowed_constant(dtype, tensor, read_by, types):
            continue
        if dtype == "float32" and main:
            only_quantize = all(types[op] == "QUANTIZE" for op, _ in read_by)
            if index in inputs and float_input and read_by and only_quantize:
                continue
            if (
                index in outputs
                and float_output
                and made_by is not None
                and types[made_by] == "DEQUANTIZE"
                and not read_by
            ):
                continue
        op = made_by if made_by is not None else read_by[0][0] if read_by else -1
        role = "activation"
        for candidate, applies in (
            ("constant", constant),
            ("input", index in inputs),
            ("output", index in outputs),
        ):
            if applies:
                role = candidate
                break
        name = text(tensor.name)
        yield NonInt8Tensor(
            op_index=op,
            op_type=types[op] if op >= 0 else "no op",
            role=role,
            name=name,
            dtype=dtype,
            layer=layer_of(name, layer_names),
            subgraph=number,
            tensor=index,
        )


def _allowed_constant(
    dtype: str,
    tensor: Any,
    read_by: list[tuple[int, int]],
    types: list[str],
) -> bool:
    """Whether a constant is a bias, or an operand that says where and not how much."""
    if dtype not in _INDEX:
        return False
    if dtype == "int32" and all(position in BIASES.get(types[op], ()) for op, position in read_by):
        return True
    quantization = tensor.quantization
    return quantization is None or quantization.scale is None or len(quantization.scale) == 0


def _remedy(tensors: Sequence[NonInt8Tensor]) -> str:
    """What to do, by what the tensors have in common."""
    if all(tensor.op_index < 0 for tensor in tensors):
        return "No op reads them: build the model without these inputs."
    if all(t.role in ("input", "output") and t.dtype == "float32" for t in tensors):
        return "Inputs and outputs may be float32 where only QUANTIZE and DEQUANTIZE touch them."
    if any(tensor.op_type == "SHAPE" for tensor in tensors):
        return "The batch was left open: convert it with a batch of 1, or pass the Keras model."
    if any(tensor.dtype == "int16" for tensor in tensors):
        return "int16 comes from 16x8 quantisation or recurrent ops: convert for 8 bit activations."
    return (
        "Where all ops are listed, the model was never quantised: convert it from Keras, or with a "
        "representative dataset and OpsSet.TFLITE_BUILTINS_INT8. Where single ops are, TFLite left "
        "them in float, mostly for want of an int8 kernel: replace them, or leave them out of the "
        "model."
    )
