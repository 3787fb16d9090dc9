"""Damaged files end in a clear error, whole ones survive reading and writing."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_builder import ModelBuilder

import respect_tf
from respect_tf import InvalidModelError, OpGraph, RespectError
from respect_tf.tflite import op_type, read_content, read_model, write_model


def _model() -> bytes:
    builder = ModelBuilder()
    tensor = builder.conv(builder.input("image"))
    return builder.build([builder.add(tensor, builder.relu(tensor))], signature=(["a"], ["b"]))


def test_writing_what_was_read_keeps_the_graph():
    model = _model()
    again = write_model(read_model(model))
    assert OpGraph.from_tflite(again).op_names == OpGraph.from_tflite(model).op_names
    assert write_model(read_model(again)) == again


def test_a_path_and_bytes_are_both_accepted(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(_model())
    assert read_content(path) == read_content(str(path)) == read_content(_model())


def test_a_missing_file_and_a_wrong_type_are_named():
    with pytest.raises(respect_tf.ArgumentError, match="no/such"):
        read_content("no/such.tflite")
    with pytest.raises(respect_tf.ArgumentError, match="int"):
        read_content(3)


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x00" * 64, b"PK\x03\x04" + b"x" * 100])
def test_what_is_no_model_is_told_by_its_identifier(content):
    with pytest.raises(InvalidModelError, match="identifier"):
        read_model(content)


def test_every_truncation_is_an_error_or_a_model():
    model = _model()
    for length in range(0, len(model), 7):
        try:
            OpGraph.from_tflite(model[:length])
        except RespectError:
            continue


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_random_damage_never_escapes_as_another_error(seed, num_bytes):
    generator = random.Random(seed)
    damaged = bytearray(_model())
    for _ in range(num_bytes):
        damaged[generator.randrange(8, len(damaged))] = generator.randrange(256)
    try:
        graph = OpGraph.from_tflite(bytes(damaged))
    except RespectError:
        return
    assert graph.num_ops > 0


def test_the_larger_of_both_operator_codes_counts():
    model = read_model(_model())
    code = model.operatorCodes[0]
    code.builtinCode, code.deprecatedBuiltinCode = 0, 3  # as files before 2020 have it
    assert op_type(model, model.subgraphs[0].operators[0]) == "CONV_2D"


def test_operators_of_a_newer_schema_are_refused():
    model = read_model(_model())
    model.operatorCodes[0].builtinCode = 5000
    with pytest.raises(respect_tf.UnsupportedModelError, match="newer converter"):
        read_model(write_model(model))
