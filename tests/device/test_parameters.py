"""Bytes of parameters as the compiler stores and prints them."""

import numpy as np
import pytest
from model_builder import ModelBuilder

from benchmarks._stacks import conv_stack, dense_stack
from respect_tf.device import op_parameters, predict
from respect_tf.device._parameters import stored_taps
from respect_tf.graph import OpAttributes, OpGraph


def test_dense_layers_are_padded_to_blocks_of_output_channels():
    # 100 units of 64 inputs are stored as 128 * 64; 10 units as 16 of 100 inputs, logged as 64.
    parameters = op_parameters(dense_stack(100, 0, inputs=64, outputs=10))
    assert parameters.stored.tolist() == [128 * 64, 16 * 100]
    assert parameters.logged.tolist() == [128 * 64, 64 * 100]
    assert parameters.blocks.tolist() == [2, 1]
    assert parameters.block_bytes.tolist() == [64 * 64, 64 * 100]


def test_convolutions_with_weights_per_channel_store_eight_bytes_more_a_channel():
    # Public log: 102 filters of 3x3x3 take 5632 bytes, of 3x3x102 120,832.
    parameters = op_parameters(conv_stack(102, 1))
    assert parameters.logged.tolist() == [5632, 120_832]
    assert (parameters.blocks * parameters.block_bytes).tolist() == [5632, 120_832]


def test_a_bias_that_is_not_zero_takes_four_bytes_a_channel():
    builder = ModelBuilder()
    graph = OpGraph.from_tflite(builder.build([builder.conv(builder.input(), 8)]))
    assert graph.op_attributes[0].has_bias
    assert op_parameters(graph).stored.tolist() == [16 * (8 + 4)]


def test_compiler_1_keeps_biases_that_are_absent():
    graph = dense_stack(100, 0, inputs=64, outputs=10)
    parameters = op_parameters(graph, keeps_zero_biases=True)
    assert parameters.stored.tolist() == [128 * 68, 1664]  # 16 * (100 + 4), a multiple of 64
    assert not any(attributes.has_bias for attributes in graph.op_attributes)


def test_constants_of_elementwise_ops_are_always_streamed():
    builder = ModelBuilder()
    image = builder.input(channels=24)
    vector = builder.add(image, builder.constant((1, 1, 1, 24)))
    full = builder.add(vector, builder.constant((1, 4, 4, 24)))
    number = builder.add(full, builder.constant((1, 1, 1, 1)))
    parameters = op_parameters(OpGraph.from_tflite(builder.build([number])))
    assert parameters.streamed.tolist() == [16 * 24, 4 * 4 * 24, 0]
    assert parameters.stored.tolist() == parameters.streamed.tolist()
    assert parameters.blocks.tolist() == [0, 0, 0]


def _transposed(axes):
    builder = ModelBuilder()
    image = builder.input(channels=24)
    settings = builder.tensor("axes", (4,), "INT32", data=np.array(axes, np.int32), scale=None)
    made = builder.tensor("made", [(1, 4, 4, 24)[axis] for axis in axes])
    builder.op("TRANSPOSE", [image, settings], [made])
    return op_parameters(OpGraph.from_tflite(builder.build([made])))


def test_moving_the_channels_is_stored_as_an_identity_matrix():
    parameters = _transposed([0, 3, 1, 2])
    assert parameters.stored.tolist() == [32 * 24]
    assert parameters.logged.tolist() == [64 * 24]
    assert (parameters.blocks * parameters.block_bytes == parameters.logged).all()
    assert _transposed([0, 2, 1, 3]).stored.tolist() == [0]


def test_a_dense_layer_of_many_inputs_and_few_outputs_takes_16_bytes_a_weight():
    # Public pair tcn: 94,400 -> 1 with a bias; its one block is larger than a tile.
    builder = ModelBuilder()
    read = builder.tensor("read", (1, 94_400))
    builder.inputs.append(read)
    weights = builder.constant((1, 94_400))
    bias = builder.tensor("bias", (1,), "INT32", data=np.array([7], np.int32))
    made = builder.tensor("made", (1, 1))
    builder.op("FULLY_CONNECTED", [read, weights, bias], [made])
    graph = OpGraph.from_tflite(builder.build([made]))
    assert op_parameters(graph).stored.tolist() == [1_510_464]
    assert predict(graph, [0]).stages[0].cost.streamed_bytes == 1_510_464


@pytest.mark.parametrize(("units", "streamed"), [(2560, False), (2688, True), (3000, True)])
def test_square_dense_layers_are_streamed_whole_from_about_2700_units_on(units, streamed):
    graph = dense_stack(units, 0, inputs=units, outputs=10)
    cost = predict(graph, [0, 0]).stages[0].cost
    assert (0 in cost.streamed_ops) == streamed


def test_an_lstm_caches_tables_and_streams_a_byte_for_each_value_that_it_makes():
    # As in the one public pair: 28 values a step, 20 units, 28 steps.
    builder = ModelBuilder()
    read = builder.tensor("read", (1, 28, 28))
    builder.inputs.append(read)
    gates = [builder.constant((20, 28)) for _ in range(4)]
    gates += [builder.constant((20, 20)) for _ in range(4)]
    gates += [builder.tensor("bias", (20,), "INT32", data=np.ones(20, np.int32)) for _ in range(4)]
    made = builder.tensor("made", (1, 28, 20))
    builder.op("UNIDIRECTIONAL_SEQUENCE_LSTM", [read, *gates], [made])
    graph = OpGraph.from_tflite(builder.build([made]))
    parameters = op_parameters(graph)
    assert parameters.movable.tolist() == [34_304]
    assert parameters.streamed.tolist() == [576]
    cost = predict(graph, [0]).stages[0].cost
    assert (cost.cached_bytes, cost.streamed_bytes) == (34_304, 576)


def test_a_depthwise_op_that_makes_more_channels_pads_its_scales_to_eight():
    # Public pair gabor_64x64_p4: 3200 bytes for eight 7x7 kernels of one channel.
    builder = ModelBuilder()
    image = builder.tensor("image", (1, 64, 64, 1))
    builder.inputs.append(image)
    data = np.ones((1, 7, 7, 8), np.int8)
    weights = builder.tensor("weights", data.shape, data=data, scale=[0.1] * 8, zero_point=[0] * 8)
    made = builder.tensor("made", (1, 64, 64, 8))
    options = builder._schema.DepthwiseConv2DOptionsT()
    options.strideH = options.strideW = 1
    builder.op("DEPTHWISE_CONV_2D", [image, weights], [made], options)
    assert op_parameters(OpGraph.from_tflite(builder.build([made]))).stored.tolist() == [3200]


def test_graphs_of_arrays_store_what_they_say():
    parameters = op_parameters(OpGraph.from_arrays([100, 0, 33.5], [1, 1, 1], [[0, 1], [1, 2]]))
    assert parameters.stored.tolist() == [100, 0, 34]
    assert np.all(parameters.blocks * parameters.block_bytes >= parameters.stored)


@pytest.mark.parametrize(
    ("size", "dilation", "expected"),
    [(33, 6, 9), (33, 18, 9), (10, 12, 1), (12, 12, 1), (13, 12, 9)],
)
def test_taps_that_only_meet_padding_are_not_stored(size, dilation, expected):
    shape = (1, size, size, 8)
    attributes = OpAttributes(padding="SAME", dilation=(dilation, dilation))
    assert stored_taps("CONV_2D", (8, 3, 3, 8), shape, shape, attributes) == expected


def test_taps_of_valid_convolutions_are_all_stored():
    attributes = OpAttributes(padding="VALID", strides=(2, 2))
    taps = stored_taps("CONV_2D", (8, 7, 5, 8), (1, 7, 9, 8), (1, 1, 3, 8), attributes)
    assert taps == 35
