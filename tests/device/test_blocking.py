"""Ops that make the compiler fail at the whole file."""

import numpy as np
import pytest
from model_builder import ModelBuilder

from respect_tf.device import blocking_reason, unsupported_reason, version_warning
from respect_tf.device._op_table import HIGHEST_VERSIONS
from respect_tf.graph import OpGraph
from respect_tf.tflite import read_model, write_model
from respect_tf.tflite._schema import op_type_names


def _op(kind, version, *, num_inputs=1, shape=(1, 4, 4, 8), dtype="INT8"):
    builder = ModelBuilder()
    image = builder.tensor("image", shape, dtype)
    builder.inputs.append(image)
    made = builder.tensor("made", shape, dtype)
    builder.op(kind, [image] * num_inputs, [made], version=version)
    return OpGraph.from_tflite(builder.build([made]))


def test_the_table_names_ops_of_the_schema():
    codes = {name: code for code, name in op_type_names().items()}
    assert set(HIGHEST_VERSIONS) <= set(codes)
    # The schema of TensorFlow 2.5 ends there.
    assert max(codes[name] for name in HIGHEST_VERSIONS) == codes["HASHTABLE_SIZE"] == 139
    assert HIGHEST_VERSIONS["CONV_2D"] == 5
    assert HIGHEST_VERSIONS["RESHAPE"] == 1
    assert HIGHEST_VERSIONS["ZEROS_LIKE"] == 1


@pytest.mark.parametrize(
    ("kind", "version"),
    [("CONV_2D", 6), ("GELU", 1), ("EXP", 2), ("LOG", 2), ("DEPTH_TO_SPACE", 2), ("QUANTIZE", 3),
     ("TRANSPOSE_CONV", 4), ("CAST", 2), ("ADD", 4), ("BITCAST", 1), ("RELU_0_TO_1", 1),
     ("BROADCAST_ARGS", 1), ("DEQUANTIZE", 5)],
)  # fmt: skip
def test_what_tensorflow_2_5_cannot_read_stops_the_whole_file(kind, version):
    graph = _op(kind, version)
    reason = blocking_reason(graph, 0)
    assert reason is not None
    assert "whole file" in reason
    assert kind in reason
    assert unsupported_reason(graph, 0) == reason
    assert version_warning(graph, 0) is None


@pytest.mark.parametrize(
    ("kind", "version"),
    [("AVERAGE_POOL_2D", 2), ("QUANTIZE", 2), ("CONV_2D", 5), ("EXP", 1), ("RSQRT", 2),
     ("DEPTH_TO_SPACE", 1), ("FLOOR", 1), ("TRANSPOSE_CONV", 3)],
)  # fmt: skip
def test_what_it_can_read_stops_nothing(kind, version):
    assert blocking_reason(_op(kind, version), 0) is None


def test_an_op_on_the_cpu_is_no_blocker():
    graph = _op("FLOOR", 1)
    assert unsupported_reason(graph, 0) == "Operation not supported"
    assert blocking_reason(graph, 0) is None


def _custom(name):
    model = read_model(_content())
    model.operatorCodes[0].builtinCode = 32
    model.operatorCodes[0].deprecatedBuiltinCode = 32
    model.operatorCodes[0].customCode = name
    return OpGraph.from_tflite(write_model(model))


def _content():
    builder = ModelBuilder()
    return builder.build([builder.relu(builder.input())])


@pytest.mark.parametrize(
    ("name", "stops"),
    [("Atan", True), ("FlexErf", True), ("TFLite_Detection_PostProcess", False),
     ("PosenetDecoderOp", False)],
)  # fmt: skip
def test_custom_ops_that_the_compiler_does_not_know_stop_it(name, stops):
    graph = _custom(name)
    assert (blocking_reason(graph, 0) is not None) == stops
    assert unsupported_reason(graph, 0) is not None


def test_tensor_types_that_are_newer_than_the_compiler_stop_it():
    assert "int4" in blocking_reason(_op("RELU", 1, dtype="INT4"), 0)
    assert blocking_reason(_op("RELU", 1, dtype="INT16"), 0) is None


@pytest.mark.parametrize(("values", "stops"), [(900, False), (1000, True), (1280, True)])
def test_an_lstm_that_reads_many_values_stops_it(values, stops):
    graph = _op("UNIDIRECTIONAL_SEQUENCE_LSTM", 1, shape=(1, 5, values))
    assert (blocking_reason(graph, 0) is not None) == stops


def test_a_large_transpose_behind_an_input_stops_it_and_elsewhere_stays_on_the_cpu():
    builder = ModelBuilder()
    image = builder.tensor("image", (1, 64, 32, 32))
    builder.inputs.append(image)
    tensor = image
    for number in range(2):
        made = builder.tensor(f"made_{number}", (1, 64, 32, 32))
        axes = builder.tensor(f"axes_{number}", (4,), "INT32", data=np.arange(4, dtype=np.int32),
                              scale=None)  # fmt: skip
        builder.op("TRANSPOSE", [tensor, axes], [made])
        tensor = made
    graph = OpGraph.from_tflite(builder.build([tensor]))
    assert "large activation" in blocking_reason(graph, 0)
    assert blocking_reason(graph, 1) is None
    assert unsupported_reason(graph, 1) is not None


def test_graphs_of_arrays_hold_no_blockers():
    assert blocking_reason(OpGraph.from_arrays([1, 2], [1, 1], [[0, 1]]), 0) is None
