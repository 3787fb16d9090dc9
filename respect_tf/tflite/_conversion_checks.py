"""Arguments of a conversion that a given model, or a configured converter, has no use for."""

from __future__ import annotations

from typing import Any

import numpy as np

from respect_tf._errors import (
    ArgumentError,
)
from respect_tf.tflite._flatbuffer import text
from respect_tf.tflite._schema import tensor_type_names
from respect_tf.tflite._source import (
    ConfiguredConverter,
    TFLiteContent,
)

_IO_TYPES = ("int8", "uint8", "float32")


def refuse_data(source: TFLiteContent | ConfiguredConverter, data: object) -> None:
    if data is None:
        return
    if isinstance(source, TFLiteContent):
        raise ArgumentError(
            f"'{source.name}' is a .tflite model, which is quantised already, so "
            "representative_dataset has no use. Expected None. To quantise anew, pass the Keras "
            "model."
        )
    raise ArgumentError(
        "A configured converter brings its own options. Expected representative_dataset=None; set "
        "converter.representative_dataset instead."
    )


def refuse_other_types(parsed: Any, label: str, input_type: str, output_type: str) -> None:
    """A given model's types cannot be changed: say so if others than the default were asked for."""
    subgraph = parsed.subgraphs[0]
    for what, indices, wanted in (
        ("input", subgraph.inputs, input_type),
        ("output", subgraph.outputs, output_type),
    ):
        for index in [] if indices is None else indices:
            tensor = subgraph.tensors[index]
            dtype = tensor_type_names()[tensor.type]
            if wanted not in ("int8", dtype):
                raise ArgumentError(
                    f"{what.capitalize()} '{text(tensor.name)}' of {label} is {dtype}, and "
                    f"inference_{what}_type='{wanted}' was asked for. The types of a .tflite model "
                    "or of a configured converter stand: leave the argument out."
                )


def io_type(value: Any, argument: str) -> str:
    """The name of a type given as a string, a TensorFlow dtype or a numpy dtype."""
    name = value if isinstance(value, str) else getattr(value, "name", None)
    if name is None and isinstance(value, type) and issubclass(value, np.generic):
        name = np.dtype(value).name
    if name not in _IO_TYPES:
        raise ArgumentError(f"{argument} must be one of {_IO_TYPES}. Received: {value!r}.")
    return str(name)
