"""The 8-bit check finds every tensor that an Edge TPU would not take, and only those."""

import numpy as np
import pytest
from model_builder import ModelBuilder

from respect_tf._errors import InvalidModelError, QuantizationError
from respect_tf.tflite._flatbuffer import read_model
from respect_tf.tflite._precision import check_int8, layer_of, left_by_chance, non_int8_tensors


def _found(content: bytes, **options) -> list[tuple[int, str, str, str]]:
    return [(t.op_index, t.op_type, t.role, t.dtype) for t in non_int8_tensors(content, **options)]


def test_biases_and_index_operands_are_fine():
    builder = ModelBuilder()
    maps = builder.split(builder.conv(builder.input()))
    assert _found(builder.build(maps)) == []


def test_float_inputs_and_outputs_are_fine_only_at_the_border_and_only_if_asked_for():
    builder = ModelBuilder()
    outside = builder.input("photo", dtype="FLOAT32")
    inside = builder.tensor("inside", (1, 4, 4, 8))
    builder.op("QUANTIZE", [outside], [inside])
    result = builder.tensor("result", (1, 4, 4, 8), "FLOAT32", scale=None)
    builder.op("DEQUANTIZE", [builder.conv(inside)], [result])
    content = builder.build([result])
    assert _found(content) == []
    assert _found(content, float_input=False) == [(0, "QUANTIZE", "input", "float32")]
    assert _found(content, float_output=False) == [(2, "DEQUANTIZE", "output", "float32")]


def test_a_float_op_in_the_middle_is_found_with_what_feeds_it():
    builder = ModelBuilder()
    first = builder.conv(builder.input())
    floats = [builder.tensor(f"model/odd/{i}", (1, 4, 4, 8), "FLOAT32", scale=None) for i in "ab"]
    builder.op("DEQUANTIZE", [first], [floats[0]])
    builder.op("RELU", [floats[0]], [floats[1]])
    last = builder.tensor("last", (1, 4, 4, 8))
    builder.op("QUANTIZE", [floats[1]], [last])
    content = builder.build([last])
    assert _found(content) == [
        (1, "DEQUANTIZE", "activation", "float32"),
        (2, "RELU", "activation", "float32"),
    ]
    assert {tensor.layer for tensor in non_int8_tensors(content)} == {"odd"}
    # Not at the border: both are read or made by other ops than QUANTIZE and DEQUANTIZE.
    builder = ModelBuilder()
    outside = builder.input(dtype="FLOAT32")
    result = builder.tensor("result", (1, 4, 4, 8), "FLOAT32", scale=None)
    builder.op("RELU", [outside], [result])
    assert [entry[2] for entry in _found(builder.build([result]))] == ["input", "output"]


@pytest.mark.parametrize(
    ("floats", "by_chance"),
    [((), False), (("SPLIT",), True), (("SPLIT", "NEG"), False), (("NEG",), False)],
)
def test_only_splits_are_left_in_float_by_chance(floats, by_chance):
    builder = ModelBuilder()
    last = builder.conv(builder.input())
    for kind in floats:
        names = [f"{kind}/{place}" for place in ("in", "out", "back")]
        before, after = (builder.tensor(n, (1, 4, 4, 8), "FLOAT32", scale=None) for n in names[:2])
        builder.op("DEQUANTIZE", [last], [before])
        builder.op(kind, [before], [after])
        last = builder.tensor(names[2], (1, 4, 4, 8))
        builder.op("QUANTIZE", [after], [last])
    assert left_by_chance(read_model(builder.build([last]))) == by_chance


def test_a_model_that_was_never_quantised_is_not_left_by_chance():
    builder = ModelBuilder()
    result = builder.tensor("result", (1, 4, 4, 8), "FLOAT32", scale=None)
    builder.op("SPLIT", [builder.input(dtype="FLOAT32")], [result])
    assert not left_by_chance(read_model(builder.build([result])))


@pytest.mark.parametrize(
    ("dtype", "scale", "listed"),
    [
        ("INT32", None, False),
        ("INT64", None, False),
        ("INT32", (0.1,), True),
        ("FLOAT32", None, True),
        ("FLOAT16", None, True),
        ("INT16", (0.1,), True),
        ("BOOL", None, True),
    ],
)
def test_constants_count_by_dtype_and_scale(dtype, scale, listed):
    builder = ModelBuilder()
    left = builder.input()
    data = np.ones(8, np.dtype(dtype.lower()))
    constant = builder.tensor("constant", (8,), dtype, data=data, scale=scale)
    out = builder.tensor("out", (1, 4, 4, 8))
    builder.op("ADD", [left, constant], [out])
    expected = [(0, "ADD", "constant", dtype.lower())] if listed else []
    assert _found(builder.build([out])) == expected


def test_an_input_that_nothing_reads_is_found():
    builder = ModelBuilder()
    builder.input("unused", dtype="FLOAT32")
    content = builder.build([builder.relu(builder.input())])
    assert _found(content) == [(-1, "no op", "input", "float32")]
    with pytest.raises(QuantizationError, match="without these inputs"):
        check_int8(non_int8_tensors(content), label="'m'", strict=True)


def test_the_error_lists_twenty_and_counts_the_rest_and_strict_false_only_reports(capsys):
    builder = ModelBuilder()
    tensor = builder.input(dtype="FLOAT32")
    for index in range(30):
        out = builder.tensor(f"net/layer_{index}/Relu", (1, 4, 4, 8), "FLOAT32", scale=None)
        builder.op("RELU", [tensor], [out])
        tensor = out
    tensors = non_int8_tensors(builder.build([tensor]))
    assert len(tensors) == 31
    with pytest.raises(QuantizationError) as caught:
        check_int8(tensors, label="'net'", strict=True)
    message = str(caught.value)
    assert message.startswith("31 tensors of 'net' are not 8 bit")
    assert "op 3 RELU: activation 'net/layer_3/Relu' is float32, layer 'layer_3'" in message
    assert "layer_18/" in message
    assert "layer_19/" not in message
    assert "and 11 more" in message
    assert "strict=False" in message
    check_int8(tensors, label="'net'", strict=False)
    assert "31 tensors of 'net' are not 8 bit" in capsys.readouterr().err
    check_int8(tensors, label="'net'", strict=False, verbose=0)
    check_int8((), label="'net'", strict=True)
    assert capsys.readouterr().err == ""


def test_bytes_that_are_no_model_are_refused():
    with pytest.raises(InvalidModelError):
        non_int8_tensors(b"nothing of the kind")


@pytest.mark.parametrize(
    ("tensor_name", "layers", "layer"),
    [
        ("resnet50_1/conv1_relu_1/Relu;resnet50_1/conv1_conv_1/convolution", (), "conv1_relu"),
        ("resnet50_1/conv1_relu_1/Relu;x/y/z", ("conv1_conv", "conv1_relu"), "conv1_relu"),
        ("model/backbone/conv_2/Conv2D", ("backbone", "conv_2"), "conv_2"),
        ("model/conv_2/Conv2D", ("conv", "conv_2"), "conv_2"),
        ("model/conv_2_1/Conv2D", ("conv", "conv_2"), "conv_2"),
        ("StatefulPartitionedCall/StatefulPartitionedCall/model/bn/mul_1", (), "bn"),
        ("dense_1/MatMul", (), "dense"),
        ("serving_default_image:0", (), ""),
        ("Identity_1", (), ""),
        ("a;model/b/c", (), "b"),
        ("probabilities", ("probabilities",), "probabilities"),
        ("probabilities/quantized", ("probabilities",), "probabilities"),
        ("net_1/re_lu_1/Relu", ("net", "re_lu", "re_lu_1"), "re_lu"),
        ("net_1/re_lu_1_2/Relu", ("net", "re_lu", "re_lu_1"), "re_lu_1"),
        ("net_1/re_lu_1/Relu", ("net_1", "re_lu", "re_lu_1"), "re_lu_1"),
        ("net_1/inner_1/re_lu_1/Relu", ("net", "inner", "re_lu", "re_lu_1"), "re_lu"),
        ("net/re_lu_1/Relu", ("net", "re_lu", "re_lu_1"), "re_lu_1"),
        ("", (), ""),
        ("tfl.quantize", ("dense",), ""),
    ],
)
def test_the_layer_is_read_off_the_tensors_name(tensor_name, layers, layer):
    assert layer_of(tensor_name, layers) == layer


def _converted(kind: str) -> bytes:
    import keras
    import tensorflow as tf

    from respect_tf.tflite._silence import silenced

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3), batch_size=1),
            keras.layers.Conv2D(16, 3),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(40),
        ]
    )
    concrete = tf.function(lambda x: model(x, training=False)).get_concrete_function(
        tf.TensorSpec((1, 12, 12, 3), tf.float32)
    )
    ops = tf.lite.OpsSet
    with silenced():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
        if kind != "float":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if kind == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if kind in ("16x8", "int8"):
            converter.representative_dataset = lambda: (
                [np.random.default_rng(i).normal(size=(1, 12, 12, 3)).astype(np.float32)]
                for i in range(3)
            )
        if kind == "16x8":
            converter.target_spec.supported_ops = [
                ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
            ]
        return converter.convert()


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("float", "float32"), ("dynamic", "float32"), ("float16", "float16"), ("16x8", "int16")],
)
def test_other_kinds_of_quantisation_are_told_apart_from_int8(kind, dtype):
    tensors = non_int8_tensors(_converted(kind))
    assert dtype in {tensor.dtype for tensor in tensors}
    assert any(tensor.role == "activation" for tensor in tensors)


def test_full_int8_with_float_inputs_and_outputs_is_accepted():
    assert non_int8_tensors(_converted("int8")) == ()


def test_public_models_are_judged_by_their_activations(data_folder):
    for path, clean in {
        "mlperf_tiny/kws_ref_model.tflite": True,
        "mlperf_tiny/pretrainedResnet_quant.tflite": True,
        "coral/mobilenet_v1_0.25_128_quant.tflite": True,
        "tflm/person_detect.tflite": True,
        "coral/traffic_model.tflite": False,
        "litert/add_10x10.tflite": False,
        "litert/single_mul_default_a16w8_recipe_quantized.tflite": False,
        "aeq/single_fc_bias_sub_channel_weight_only_sym_weight.tflite": False,
    }.items():
        assert (non_int8_tensors((data_folder / "models" / path).read_bytes()) == ()) is clean, path
