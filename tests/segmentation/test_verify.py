"""Verification finds a single wrong value and says where it is."""

import dataclasses
import itertools

import numpy as np
import pytest
from model_builder import ModelBuilder

import respect_tf
from respect_tf.tflite import read_model, write_model


def _chain_of_convs(num_ops: int = 4) -> bytes:
    builder = ModelBuilder()
    tensor = builder.input("image")
    for _ in range(num_ops):
        tensor = builder.conv(tensor)
    return builder.build([tensor])


def _with_other_weights(segment, *, op: int):
    """The segment with one weight of one of its ops changed."""
    model = read_model(segment.content)
    subgraph = model.subgraphs[0]
    buffer = model.buffers[subgraph.tensors[subgraph.operators[op].inputs[1]].buffer]
    buffer.data = buffer.data.copy()
    buffer.data[:8] ^= 64
    return dataclasses.replace(segment, content=write_model(model))


def test_equal_segments_are_reported_with_what_was_compared(tmp_path):
    model = _chain_of_convs()
    report = respect_tf.verify(model, respect_tf.segment(model, [0, 0, 1, 1]))
    path = tmp_path / "model.tflite"
    path.write_bytes(model)
    assert respect_tf.verify(path, respect_tf.segment(path, [0, 0, 1, 1])) == report
    assert report.num_inputs == 3
    assert report.num_tensors == 2  # the one that crosses, and the output
    assert report.num_bytes == 3 * 2 * 4 * 4 * 8


def test_a_changed_weight_is_found_at_its_op():
    model = _chain_of_convs()
    first, second = respect_tf.segment(model, [0, 0, 1, 1])
    with pytest.raises(respect_tf.ParityError) as caught:
        respect_tf.verify(model, [first, _with_other_weights(second, op=0)])
    message = str(caught.value)
    assert "segment 1, op 2 CONV_2D" in message
    assert "first difference at index (0, 0, 0, 0)" in message


def test_a_fault_that_the_outputs_hide_is_found_at_the_border():
    builder = ModelBuilder()
    first = builder.conv(builder.input())
    # A constant as large as the range drives every value to its limit.
    big = builder.tensor("big", (8,), data=np.full(8, 127, np.int8), scale=(0.5,), zero_point=(0,))
    model = builder.build([builder.add(first, big)])
    segments = respect_tf.segment(model, [0, 1])
    broken = _with_other_weights(segments[0], op=0)
    assert np.all(
        respect_tf.tflite.Interpreter(model).run([np.zeros((1, 4, 4, 8), np.int8)])[0] == 127
    )
    with pytest.raises(respect_tf.ParityError, match="segment 0, op 0 CONV_2D"):
        respect_tf.verify(model, [broken, segments[1]])


def test_inputs_that_do_not_fit_are_refused():
    model = _chain_of_convs()
    segments = respect_tf.segment(model, [0, 0, 1, 1])
    with pytest.raises(respect_tf.ArgumentError, match=r"int8 \[1, 4, 4, 8\]"):
        respect_tf.verify(model, segments, [[np.zeros((1, 4, 4, 8), np.uint8)]])
    with pytest.raises(respect_tf.ArgumentError, match="1 inputs"):
        respect_tf.verify(model, segments, [[]])


def test_a_model_that_crashes_the_interpreter_does_not_take_us_with_it():
    builder = ModelBuilder()
    huge = builder.tensor("huge", (8,), data=np.ones(8, np.int8), scale=(1e6,), zero_point=(0,))
    model = builder.build([builder.relu(builder.add(builder.input(), huge))])
    segments = respect_tf.segment(model, [0, 1])
    with pytest.raises(respect_tf.InterpreterError, match="crash"):
        respect_tf.verify(model, segments)
    healthy = _chain_of_convs()
    respect_tf.verify(healthy, respect_tf.segment(healthy, [0, 0, 1, 1]))


def test_a_small_file_with_huge_inputs_takes_no_memory():
    builder = ModelBuilder()
    huge = (1, 2**20, 32, 64)
    left = builder.tensor("left", huge)
    builder.inputs.append(left)
    first = builder.tensor("first", huge)
    builder.op("RELU", [left], [first], version=2)
    out = builder.tensor("out", huge)
    builder.op("RELU", [first], [out], version=2)
    model = builder.build([out])
    with pytest.raises(respect_tf.UnsupportedModelError, match="2,147,483,648 bytes"):
        respect_tf.verify(model, respect_tf.segment(model, [0, 1]))


@pytest.mark.parametrize("dtype", ["INT4", "BFLOAT16"])
def test_inputs_that_numpy_cannot_hold_are_refused(dtype):
    builder = ModelBuilder()
    tensors = [builder.tensor(name, (1, 8), dtype, scale=None) for name in ("a", "b", "c")]
    builder.inputs.append(tensors[0])
    for source, target in itertools.pairwise(tensors):
        builder.op("RELU", [source], [target])
    model = builder.build([tensors[-1]])
    with pytest.raises(respect_tf.UnsupportedModelError, match=f"'a' is {dtype.lower()}"):
        respect_tf.verify(model, respect_tf.segment(model, [0, 1]))
