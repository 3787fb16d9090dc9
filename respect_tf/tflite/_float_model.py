"""The float .tflite model that TFLite's converter makes of a model before it quantises it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from respect_tf._errors import ArgumentError, RespectError, UnsupportedModelError
from respect_tf._reporting import Verbosity
from respect_tf.tflite._flatbuffer import ints, read_model, signature_names, text
from respect_tf.tflite._frozen import freeze_without_a_function
from respect_tf.tflite._interpreter import mark_made_here
from respect_tf.tflite._model_inputs import ModelInput
from respect_tf.tflite._precision import non_int8_tensors
from respect_tf.tflite._quantizer import edited_before_quantizing
from respect_tf.tflite._schema import tensor_type_names
from respect_tf.tflite._silence import Chatter, silenced
from respect_tf.tflite._source import ConfiguredConverter, FloatModel, TFLiteContent, open_source
from respect_tf.tflite._trace import trace
from respect_tf.tflite._trust import Trust
from respect_tf.tflite._wide_inputs import with_float_inputs


@dataclass(frozen=True)
class FloatTFLite:
    """A float .tflite model.

    Attributes:
        content: The file.
        name: Usable as a file name.
        inputs: In the order of the file.
        output_names: Likewise.
        layer_names: Names of the Keras layers; empty where unknown.
    """

    content: bytes = field(repr=False)
    name: str
    inputs: tuple[ModelInput, ...] = ()
    output_names: tuple[str, ...] = ()
    layer_names: tuple[str, ...] = ()


class _Converted(Exception):
    """The float model is there, and is not to be quantised."""


def int8_converter(function: Any, representative_dataset: Callable[[], Any]) -> Any:
    """TFLite's converter of a traced function, set to full-integer int8."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    freeze_without_a_function(converter, function)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative_dataset
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    # The Edge TPU compiler dates from when dense weights had one scale per tensor.
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    return converter


def float_tflite(
    model: Any,
    *,
    explain: Callable[[Exception, FloatModel, Chatter], RespectError],
    custom_objects: Mapping[str, Any] | None = None,
    trusted: bool = False,
    verbose: Verbosity = "auto",
) -> FloatTFLite:
    """The float .tflite model of a model: what `to_int8` quantises, before it is rewritten.

    Args:
        model: As for `to_int8`, but for a configured converter; a .tflite file has to be float.
        explain: Makes the error to raise of what TensorFlow raised.
        custom_objects: As for `to_int8`.
        trusted: Whether a model file may run code of its own.
        verbose: `2` shows TensorFlow's output.

    Raises:
        ArgumentError: A configured converter, or no model.
        UnsupportedModelError: A .tflite file that is quantised; and as for `to_int8`.
    """
    with silenced(verbose=verbose) as chatter:
        source = open_source(model, Trust.of(custom_objects, trusted))
        if isinstance(source, ConfiguredConverter):
            raise ArgumentError(
                "A configured converter is no model to compare with. Pass the model that it "
                "converts."
            )
        if isinstance(source, TFLiteContent):
            return _given(source)
        function, output_names = trace(source)
        with_floats = with_float_inputs(source, function)
        if with_floats is not source:
            source = with_floats
            function, output_names = trace(source)
        found: list[bytes] = []

        def capture(content: bytes) -> bytes:
            found.append(content)
            raise _Converted

        def nothing() -> Any:
            yield [np.zeros(spec.shape, spec.dtype) for spec in source.inputs]

        converter = int8_converter(function, nothing)
        try:
            with edited_before_quantizing(converter, capture, lambda _: None):
                converter.convert()
        except _Converted:
            pass
        except (MemoryError, RespectError):
            raise
        except Exception as error:
            raise explain(error, source, chatter) from error
    if not found:
        raise UnsupportedModelError(
            "This version of TensorFlow does not show the float model that it quantises. Use 2.16 "
            "to 2.21."
        )
    mark_made_here(found[0])
    return FloatTFLite(
        found[0], source.name, source.inputs, tuple(output_names), source.layer_names
    )


def _given(source: TFLiteContent) -> FloatTFLite:
    model = read_model(source.content)
    tensors = non_int8_tensors(model, float_input=False, float_output=False)
    floats = sum(tensor.dtype == "float32" for tensor in tensors)
    if floats < len(model.subgraphs[0].operators) / 2:
        raise UnsupportedModelError(
            f"'{source.name}' is quantised already: there is no float model in it. Expected the "
            "model that it was made from."
        )
    names, subgraph = signature_names(source.content), model.subgraphs[0]

    def name(index: int) -> str:
        return names.get(index) or text(subgraph.tensors[index].name)

    inputs = tuple(
        ModelInput(
            name(index),
            tuple(ints(subgraph.tensors[index].shape)),
            tensor_type_names()[subgraph.tensors[index].type],
        )
        for index in ints(subgraph.inputs)
    )
    outputs = tuple(name(index) for index in ints(subgraph.outputs))
    return FloatTFLite(source.content, source.name, inputs, outputs)
