"""Ops that lack what every op of their type has are refused; whatever is not is priced."""

import contextlib

import numpy as np
import pytest
from model_builder import ModelBuilder

import respect_tf
from respect_tf import InvalidModelError, OpGraph, RespectError, schedule
from respect_tf.graph._forms import _FORMS, _STRICT
from respect_tf.tflite import read_model, schema, write_model

# Without a form, but with rules of their own for the compiler or the count of operations.
_OTHERS = (
    "ARG_MAX", "EXPAND_DIMS", "GATHER", "L2_NORMALIZATION", "PACK", "RELU", "RNN", "SLICE",
    "SPACE_TO_DEPTH", "SPLIT_V", "SQUEEZE", "UNPACK",
)  # fmt: skip

_FED = {"SPLIT": 1, "TRANSPOSE_CONV": 2}  # which input is no constant, where it is not the first


def _odd(kind, num_inputs, rank, made_rank, *, constants=None, options=None):
    """A model of two ops, of which the first reads so many tensors of such a rank."""
    builder = ModelBuilder()
    shape = (2,) * rank
    read = []
    for index in range(num_inputs):
        if constants and index != _FED.get(kind, 0):
            data = np.full(shape, 7, constants)
            read.append(builder.tensor(f"c{index}", shape, constants.upper(), data=data))
        else:
            read.append(builder.tensor(f"x{index}", shape))
            builder.inputs.append(read[-1])
    made = builder.tensor("y", (2,) * made_rank)
    last = builder.tensor("z", (2,) * made_rank)
    builder.op(kind, read, [made], options)
    builder.op("RELU", [made], [last])
    return builder.build([last])


@pytest.mark.parametrize("kind", sorted({*_FORMS, *_OTHERS}))
def test_every_type_with_any_inputs_is_priced_or_refused(kind):
    priced = 0
    for num_inputs in range(6):
        for rank in (0, 1, 2, 4, 5):
            for constants in (None, "int8", "int32"):
                content = _odd(kind, num_inputs, rank, rank, constants=constants)
                with contextlib.suppress(RespectError):
                    schedule(OpGraph.from_tflite(content), 2, "slicing")
                    priced += 1
    assert priced


@pytest.mark.parametrize("kind", sorted(_FORMS))
def test_too_few_inputs_are_named(kind):
    form = _FORMS[kind]
    few = form.num_inputs - 1
    if few != 1 or kind in _STRICT:  # an op may have its first input alone
        with pytest.raises(InvalidModelError, match=rf"op 0 {kind} 'y' reads .* of the"):
            OpGraph.from_tflite(_odd(kind, few, 4, 4))
    model = read_model(_odd(kind, form.num_inputs, 4, 4))
    operator = model.subgraphs[0].operators[0]
    operator.inputs = np.array([*operator.inputs[:-1], -1], np.int32)  # an absent one
    with pytest.raises(InvalidModelError, match=rf"op 0 {kind} 'y' reads .* of the"):
        OpGraph.from_tflite(write_model(model))


@pytest.mark.parametrize("kind", ["CONV_2D", "FULLY_CONNECTED", "SOFTMAX", "MEAN"])
def test_a_tensor_of_another_rank_is_named(kind):
    with pytest.raises(InvalidModelError, match=rf"op 0 {kind} 'y': tensor .* dimensions"):
        OpGraph.from_tflite(_odd(kind, 3, 0, 0))


@pytest.mark.parametrize("option", ["strideH", "strideW", "filterWidth", "filterHeight"])
def test_steps_below_0_are_refused(option):
    options = schema().Pool2DOptionsT()
    options.strideH = options.strideW = options.filterHeight = options.filterWidth = 1
    assert OpGraph.from_tflite(_odd("MAX_POOL_2D", 1, 4, 4, options=options)).num_ops == 2
    setattr(options, option, 0)  # as where it is absent
    assert OpGraph.from_tflite(_odd("MAX_POOL_2D", 1, 4, 4, options=options)).num_ops == 2
    for value in (-1, -3):
        setattr(options, option, value)
        with pytest.raises(InvalidModelError, match=f"{option} {value}"):
            OpGraph.from_tflite(_odd("MAX_POOL_2D", 1, 4, 4, options=options))


def test_options_of_another_op_do_no_harm():
    options = schema().SoftmaxOptionsT()
    assert OpGraph.from_tflite(_odd("MAX_POOL_2D", 1, 4, 4, options=options)).num_ops == 2


@pytest.mark.parametrize("shape", [(2**31 - 1,) * 3, (2**31 - 1,) * 32, (2**21, 2**20, 2**20)])
def test_a_tensor_of_more_bytes_than_can_be_counted_is_named(shape):
    builder = ModelBuilder()
    out = builder.relu(builder.input())
    builder._tensors[out].shape = np.array(shape, np.int32)
    content = builder.build([out])
    with pytest.raises(InvalidModelError, match=r"more than 2\*\*60 bytes"):
        OpGraph.from_tflite(content)
    assert "2**60" in respect_tf.inspect(content).obstacle


def test_more_dimensions_than_any_tensor_has_are_refused():
    builder = ModelBuilder()
    out = builder.relu(builder.input())
    builder._tensors[out].shape = np.ones(33, np.int32)
    with pytest.raises(InvalidModelError, match="33 dimensions"):
        OpGraph.from_tflite(builder.build([out]))


def test_more_operations_than_can_be_counted_are_named():
    builder = ModelBuilder()
    shape = (1, 2**15, 2**15, 1)
    image, out = builder.tensor("image", shape), builder.tensor("out", shape)
    builder.inputs.append(image)
    options = schema().Pool2DOptionsT()
    options.strideH = options.strideW = 1
    options.filterHeight = options.filterWidth = 2**31 - 1
    builder.op("MAX_POOL_2D", [image], [out], options)
    with pytest.raises(InvalidModelError, match=r"more than 2.*multiply-accumulates"):
        OpGraph.from_tflite(builder.build([out]))


def test_a_large_map_takes_no_memory():
    builder = ModelBuilder()
    image = builder.input()
    made = builder.conv(image)
    builder._tensors[made].shape = np.array((1, 2**31 - 1, 2**10, 8), np.int32)
    weights = builder._operators[0].inputs[1]
    builder._tensors[weights].shape = np.array((8, 2, 2, 2), np.int32)
    graph = OpGraph.from_tflite(builder.build([builder.relu(made)]))
    assert schedule(graph, 2, "slicing").cost > 0


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), 0.0, -1.0])
def test_scales_that_cannot_be_are_named(scale):
    builder = ModelBuilder()
    out = builder.relu(builder.input())
    builder._tensors[out].name = "odd"
    builder._tensors[out].quantization.scale = np.array([scale], np.float32)
    with pytest.raises(InvalidModelError, match=r"'odd' has 1 scales"):
        OpGraph.from_tflite(builder.build([out]))


def test_scales_need_as_many_zero_points():
    builder = ModelBuilder()
    out = builder.relu(builder.input())
    builder._tensors[out].quantization.zeroPoint = np.zeros(3, np.int64)
    with pytest.raises(InvalidModelError, match=r"1 scales .* 3 zero points"):
        OpGraph.from_tflite(builder.build([out]))


def test_a_constant_has_the_bytes_of_its_shape():
    builder = ModelBuilder()
    out = builder.conv(builder.input())
    weights = builder._operators[0].inputs[1]
    builder._tensors[weights].shape = np.array((8, 999, 999, 8), np.int32)
    with pytest.raises(InvalidModelError, match=r"'weights', of which the file holds 64 bytes"):
        OpGraph.from_tflite(builder.build([out]))
