"""Calling TFLite's converter: again where it leaves ops in float by chance, and what it raises."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from respect_tf._errors import (
    ConversionError,
    RespectError,
)
from respect_tf.tflite._flatbuffer import op_type, read_model, text
from respect_tf.tflite._precision import (
    layer_of,
    left_by_chance,
)
from respect_tf.tflite._schema import schema
from respect_tf.tflite._silence import Chatter
from respect_tf.tflite._source import (
    FloatModel,
    gist,
)
from respect_tf.tflite._trace import placeholder

_SIGNATURE = "serving_default"


# How often a model is quantised at most where TFLite leaves splits in float by chance: in up to
# half of the conversions of an LSTM or GRU, and mostly the same split of a model.
_ATTEMPTS = 20


def quantized(
    convert: Callable[[], Any], name: str, layer_names: Sequence[str], chatter: Chatter
) -> tuple[bytes, Any]:
    """Call a converter until it leaves nothing in float by chance; the bytes, and unpacked."""
    for _ in range(_ATTEMPTS):
        content = _run(convert, name, layer_names, chatter)
        parsed = read_model(content)
        if not left_by_chance(parsed):
            break
    return content, parsed


def _run(
    convert: Callable[[], Any], name: str, layer_names: Sequence[str], chatter: Chatter
) -> bytes:
    """Call a converter and explain what it raises."""
    try:
        content = convert()
    except (MemoryError, RespectError):
        raise
    except Exception as error:
        raise ConversionError(explained(error, name, layer_names, chatter)) from error
    if not isinstance(content, (bytes, bytearray)):
        raise ConversionError(
            f"The converter of '{name}' returned {type(content).__name__}. Expected the bytes of a "
            ".tflite model: check its output format."
        )
    return bytes(content)


def explained(error: Exception, name: str, layer_names: Sequence[str], chatter: Chatter) -> str:
    """What went wrong, and which ops and layers are to blame."""
    said = "\n".join([str(error), *chatter.lines()])
    written = re.search(r"passed \w+ from (\S+)/ReadVariableOp/resource", said)
    if written:
        layer = layer_of(written.group(1), layer_names) or written.group(1)
        return (
            f"'{name}' changes a variable while it computes, in layer '{layer}': random numbers "
            "drawn with keras.random do so, and counters. An int8 model always computes the same: "
            "leave the layer out, or let it do that in training only."
        )
    reasons = dict.fromkeys(re.findall(r"error: (.+)", said)) or {gist(error): None}
    ops = dict.fromkeys(re.findall(r"'(tf\.[A-Z]\w*)' op\b", said))
    paths = re.findall(r'"([\w./;-]+/[\w./;:-]+)"', said)
    layers = dict.fromkeys(filter(None, (layer_of(path, layer_names) for path in paths)))
    message = (
        f"TensorFlow could not convert '{name}' to int8: {'; '.join(list(reasons)[:3])[:500]}."
    )
    if ops:
        message += f" Ops without a TFLite kernel: {', '.join(ops)}."
    if layers and layer_names:
        message += f" They come from layer {', '.join(map(repr, layers))}."
    if ops:
        return message + " Replace them by ops that TFLite knows, or leave them out of the model."
    return message + " Run it with verbose=2 to see everything that TensorFlow says."


def write_names(parsed: Any, source: FloatModel, output_names: Sequence[str]) -> None:
    """Name the inputs and outputs of a converted function as users know them.

    The names go into a signature, which may name one tensor twice, and into the tensors.
    """
    generated = schema()
    subgraph = parsed.subgraphs[0]
    inputs = [int(index) for index in subgraph.inputs]
    outputs = [int(index) for index in subgraph.outputs]
    found = [text(subgraph.tensors[index].name) for index in inputs]
    expected = [placeholder(number) for number in range(len(source.inputs))]
    if found != expected or len(outputs) != len(output_names):
        raise ConversionError(
            f"TensorFlow changed the interface of '{source.name}'. Expected the inputs {expected} "
            f"and {len(output_names)} outputs, received {found} and {len(outputs)}. This version "
            "of TensorFlow does not keep their order; use 2.16 to 2.21."
        )
    signature = generated.SignatureDefT()
    signature.signatureKey = _SIGNATURE
    signature.subgraphIndex = 0
    taken = {text(tensor.name) for tensor in subgraph.tensors}
    names: dict[int, str] = {}
    for attribute, indices, given in (
        ("inputs", inputs, [spec.name for spec in source.inputs]),
        ("outputs", outputs, list(output_names)),
    ):
        entries = []
        for index, name in zip(indices, given, strict=True):
            entry = generated.TensorMapT()
            entry.name, entry.tensorIndex = name, index
            entries.append(entry)
            names.setdefault(index, name)
        setattr(signature, attribute, entries)
    parsed.signatureDefs = [signature]
    for operator in subgraph.operators:  # what float or uint8 inputs and outputs are inside
        kind = op_type(parsed, operator)
        if kind in ("QUANTIZE", "DEQUANTIZE"):
            outside, inside = int(operator.inputs[0]), int(operator.outputs[0])
            if inside in outputs:
                outside, inside = inside, outside
            eight_bit = subgraph.tensors[inside].type == generated.TensorType.INT8
            if outside in names and eight_bit:
                names.setdefault(inside, f"{names[outside]}/quantized")
    for index, name in names.items():
        if name not in taken:
            subgraph.tensors[index].name = name
            taken.add(name)
