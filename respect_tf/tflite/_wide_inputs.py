"""Integer inputs of more than 8 bit that a model only turns into floats: pictures as int32."""

from __future__ import annotations

import dataclasses
from typing import Any

from respect_tf.tflite._source import FloatModel
from respect_tf.tflite._trace import placeholder

_WIDE = ("int16", "uint16", "int32", "uint32", "int64", "uint64")
_PASSED_ON = ("Identity",)


def with_float_inputs(source: FloatModel, function: Any) -> FloatModel:
    """The same model with such inputs as floats, so that they can be quantised.

    Args:
        source: The model.
        function: It, traced.

    Returns:
        The very model where it has no such inputs.
    """
    tensors = {tensor.name.split(":")[0]: tensor for tensor in function.inputs}
    inputs = [
        dataclasses.replace(spec, dtype="float32", cast=spec.dtype)
        if spec.dtype in _WIDE and _is_only_cast(tensors[placeholder(number)])
        else spec
        for number, spec in enumerate(source.inputs)
    ]
    if tuple(inputs) == source.inputs:
        return source
    return dataclasses.replace(source, inputs=tuple(inputs))


def _is_only_cast(tensor: Any) -> bool:
    readers = tensor.consumers()
    return bool(readers) and all(
        (op.type == "Cast" and op.outputs[0].dtype.is_floating)
        or (op.type in _PASSED_ON and _is_only_cast(op.outputs[0]))
        for op in readers
    )
