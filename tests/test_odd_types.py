"""Tensors of every type that the schema knows, also those that numpy has no arrays for."""

import numpy as np
import pytest
from model_builder import ModelBuilder

import respect_tf
from respect_tf import RespectError
from respect_tf.tflite import dtype_bits, tensor_type_names

_TYPES = sorted(name.upper() for name in tensor_type_names().values())


def _model(place, kind):
    builder = ModelBuilder()
    if place == "input":
        odd = builder.tensor("odd", (1, 4, 4, 8), kind)
        builder.inputs.append(odd)
        return builder.build([builder.conv(odd)])
    odd = builder.tensor("odd", (1, 4, 4, 8), kind)
    builder.op("RELU", [builder.conv(builder.input())], [odd])
    return builder.build([odd])


@pytest.mark.parametrize("place", ["input", "output"])
@pytest.mark.parametrize("kind", _TYPES)
def test_a_border_of_any_type_converts_or_is_refused(place, kind):
    content = _model(place, kind)
    assert kind.lower() in str(respect_tf.inspect(content))
    options = {"strict": False, "verify": False, "compile": False, "verbose": 0}
    pipeline, refusal = None, ""
    try:
        pipeline = respect_tf.convert(content, 1, **options)
    except RespectError as error:
        refusal = str(error)
    if kind == "INT8":
        assert pipeline.predict(np.zeros((1, 4, 4, 8), np.int8)) is not None
    assert pipeline or kind.lower() in refusal


def test_the_bits_of_a_type_are_those_in_its_name():
    known = {"int8": 8, "uint4": 4, "int2": 2, "bfloat16": 16, "bool": 8, "complex128": 128}
    assert {name: dtype_bits(name) for name in known} == known
    assert dtype_bits("string") is dtype_bits("resource") is None
