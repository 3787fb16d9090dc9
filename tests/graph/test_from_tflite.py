"""Op graphs of .tflite models."""

import numpy as np
import pytest
from model_builder import ModelBuilder

import respect_tf
from respect_tf import InvalidModelError, OpGraph, UnsupportedModelError


def test_parameter_bytes_are_those_of_the_distinct_constants_of_each_op():
    builder = ModelBuilder()
    first = builder.conv(builder.input(), shared=True)
    second = builder.conv(first, shared=True)
    graph = OpGraph.from_tflite(builder.build([builder.add(second, first)]))
    assert graph.parameter_bytes.tolist() == [8 * 8 + 4 * 8, 8 * 8 + 4 * 8, 0]
    assert graph.op_types == ("CONV_2D", "CONV_2D", "ADD")
    assert graph.edges.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert graph.activation_bytes.tolist() == [128, 128, 128]


def test_shapes_and_quantisation_are_kept():
    builder = ModelBuilder()
    image = builder.input("image")
    graph = OpGraph.from_tflite(builder.build([builder.relu(image)]))
    assert graph.tensor_names[image] == "image"
    assert graph.tensor_shapes[image] == (1, 4, 4, 8)
    assert graph.tensor_dtypes[image] == "int8"
    assert graph.tensor_quantization[image].zero_point == (3,)


def test_macs_of_a_convolution_and_of_elementwise_ops():
    builder = ModelBuilder()
    conv = builder.conv(builder.input(), 16)
    left, _ = builder.split(conv)
    graph = OpGraph.from_tflite(builder.build([builder.relu(left)]))
    assert graph.macs.tolist() == [4 * 4 * 16 * 8, 0, 4 * 4 * 8]


def test_a_dequantize_is_tied_to_its_maker():
    builder = ModelBuilder()
    graph = OpGraph.from_tflite(builder.build([builder.dequantize(builder.relu(builder.input()))]))
    assert graph.colocated.tolist() == [[0, 1]]


def test_ops_that_share_state_are_tied_together(data_folder):
    path = data_folder / "compiled" / "test_data" / "keras_lstm_mnist_ptq.tflite"
    graph = OpGraph.from_tflite(path)
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in graph.op_types


def test_macs_of_known_models(data_folder):
    # MobileNet v1 0.25 128 has 14 M multiply-adds, MobileNet v2 1.0 224 has 300 M (their papers).
    v1 = OpGraph.from_tflite(data_folder / "models/coral/mobilenet_v1_0.25_128_quant.tflite")
    v2 = OpGraph.from_tflite(
        data_folder / "compiled/Segments-Runner/mobilenet_v2_1.0_224_inat_bird_quant.tflite"
    )
    assert v1.macs.sum() == pytest.approx(14e6, rel=0.05)
    assert v2.macs.sum() == pytest.approx(300e6, rel=0.05)


def test_unknown_dimensions_are_refused_unless_they_are_the_batch():
    builder = ModelBuilder()
    image = builder.input()
    out = builder.relu(image)
    builder._tensors[image].shapeSignature = np.array([-1, 4, 4, 8], np.int32)
    assert OpGraph.from_tflite(builder.build([out])).num_ops == 1
    builder._tensors[image].shapeSignature = np.array([1, -1, 4, 8], np.int32)
    with pytest.raises(UnsupportedModelError, match="unknown along axis 1"):
        OpGraph.from_tflite(builder.build([out]))


def test_ops_out_of_order_are_refused():
    builder = ModelBuilder()
    out = builder.relu(builder.relu(builder.input()))
    builder._operators.reverse()
    with pytest.raises(InvalidModelError, match="topological order"):
        OpGraph.from_tflite(builder.build([out]))


def test_a_tensor_that_nobody_makes_is_refused():
    builder = ModelBuilder()
    builder.input()
    orphan = builder._map(8, "orphan")
    with pytest.raises(InvalidModelError, match=r"'orphan'.*no op makes"):
        OpGraph.from_tflite(builder.build([builder.relu(orphan)]))


def test_a_tensor_made_twice_is_refused():
    builder = ModelBuilder()
    image = builder.input()
    out = builder.relu(image)
    builder.op("RELU", [image], [out], version=2)
    with pytest.raises(InvalidModelError, match="already written"):
        OpGraph.from_tflite(builder.build([out]))


def test_an_output_that_no_op_makes_is_refused():
    builder = ModelBuilder()
    out = builder.relu(builder.input())
    with pytest.raises(UnsupportedModelError, match="made by no op"):
        OpGraph.from_tflite(builder.build([out, builder.constant((8,), "table")]))


def test_a_model_without_ops_is_refused():
    builder = ModelBuilder()
    with pytest.raises(UnsupportedModelError, match="no ops"):
        OpGraph.from_tflite(builder.build([builder.input()]))


def test_every_public_model_gives_a_graph_or_a_clear_error(data_folder):
    paths = sorted((data_folder / "models").glob("*/*.tflite"))
    assert paths
    graphs, messages = [], []
    for path in paths:
        try:
            graphs.append(OpGraph.from_tflite(path))
        except respect_tf.RespectError as error:
            messages.append(str(error))
    assert len(graphs) > 50
    assert min(map(len, messages)) > 30


def test_a_compiled_model_is_refused_as_such(data_folder):
    paths = sorted((data_folder / "compiled").rglob("*_edgetpu.tflite"))
    assert paths
    for path in paths:
        with pytest.raises(UnsupportedModelError, match="compiled already"):
            OpGraph.from_tflite(path)
