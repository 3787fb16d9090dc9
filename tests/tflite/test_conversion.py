"""Every kind of model becomes the same full-integer int8 model of batch 1, or a clear error."""

import hashlib
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tf_keras
from model_builder import ModelBuilder

from respect_tf._errors import (
    ArgumentError,
    CalibrationDataError,
    ConversionError,
    InvalidModelError,
    QuantizationError,
    UnsupportedModelError,
)
from respect_tf.tflite import Interpreter, op_type, read_model, text, to_int8
from respect_tf.tflite._converter_calls import quantized
from respect_tf.tflite._precision import layer_of
from respect_tf.tflite._silence import Chatter, silenced

# Keras 3 warns of its own use of numpy 2 when it reads variables.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

PACKAGES = pytest.mark.parametrize("package", [keras, tf_keras], ids=["keras", "tf_keras"])
RANGES = {"image": 1.0, "vector": 100.0}  # far apart, so that swapped data would show


def _model(package=keras):
    """Two inputs and two outputs, in an order that no sorting gives."""
    package.utils.set_random_seed(0)
    vector = package.Input((6,), name="vector")
    image = package.Input((8, 8, 3), name="image")
    maps = package.layers.Conv2D(4, 3, padding="same", name="conv")(image)
    maps = package.layers.BatchNormalization(name="norm")(maps)
    maps = package.layers.ReLU(name="relu")(maps)
    flat = package.layers.Flatten(name="flatten")(maps)
    score = package.layers.Dense(5, activation="softmax", name="score")(flat)
    box = package.layers.Dense(2, name="box")(vector)
    return package.Model([vector, image], [score, box], name="detector")


def _data(count: int = 16) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "image": rng.uniform(-1, 1, (count, 8, 8, 3)).astype(np.float32) * RANGES["image"],
        "vector": rng.uniform(-1, 1, (count, 6)).astype(np.float32) * RANGES["vector"],
    }


def _single(*layers, shape=(8, 8, 3), name="single"):
    tensor = made = keras.Input(shape, name="x")
    for layer in layers:
        made = layer(made)
    return keras.Model(tensor, made, name=name)


def _noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _graph(content: bytes):
    model = read_model(content)
    return model, model.subgraphs[0]


def _op_types(content: bytes) -> list[str]:
    model, subgraph = _graph(content)
    return [op_type(model, operator) for operator in subgraph.operators]


def _run(result, sample: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run an int8 model on floats and give floats back, by name."""
    _, subgraph = _graph(result.content)

    def scale(index):
        quantization = subgraph.tensors[index].quantization
        return float(quantization.scale[0]), int(quantization.zeroPoint[0])

    inputs = []
    for name, index in zip(result.input_names, subgraph.inputs, strict=True):
        step, zero = scale(index)
        inputs.append(np.clip(np.round(sample[name] / step) + zero, -128, 127).astype(np.int8))
    outputs = Interpreter(result.content).run(inputs)
    return {
        name: (array.astype(np.float32) - scale(index)[1]) * scale(index)[0]
        for name, index, array in zip(result.output_names, subgraph.outputs, outputs, strict=True)
    }


@PACKAGES
def test_a_model_with_several_inputs_computes_what_keras_computes(package):
    model, data = _model(package), _data()
    result = to_int8(model, data, verbose=0)
    assert (result.name, result.source) == ("detector", package.__name__)
    assert result.input_names == ("vector", "image")
    assert result.output_names == ("score", "box")
    assert result.seconds > 0
    for number in range(4):
        sample = {name: array[number : number + 1] for name, array in data.items()}
        expected = [np.asarray(x) for x in model([sample["vector"], sample["image"]])]
        received = _run(result, sample)
        np.testing.assert_allclose(received["score"], expected[0], atol=0.02)
        np.testing.assert_allclose(received["box"], expected[1], atol=0.02 * RANGES["vector"])


@pytest.mark.parametrize("kind", ["list", "dict", "generator", "dataset"])
def test_scales_come_from_the_right_data_however_it_is_given(kind):
    import tensorflow as tf

    data = _data()
    listed = [data["vector"], data["image"]]
    given = {
        "list": listed,
        "dict": data,
        "generator": lambda: ([v, i] for v, i in zip(*listed, strict=True)),
        "dataset": tf.data.Dataset.from_tensor_slices(data).batch(4),
    }[kind]
    content = to_int8(_model(), given, verbose=0).content
    _, subgraph = _graph(content)
    for name, index in zip(("vector", "image"), subgraph.inputs, strict=True):
        scale = float(subgraph.tensors[index].quantization.scale[0])
        assert scale == pytest.approx(2 * RANGES[name] / 255, rel=0.05), name


def test_shapes_are_fixed_to_batch_1_without_shape_ops():
    model = _single(
        keras.layers.Conv2DTranspose(4, 3, strides=2),
        keras.layers.Flatten(),
        keras.layers.Reshape((-1, 4)),
        keras.layers.GlobalAveragePooling1D(),
    )
    content = to_int8(model, _noise(12, 8, 8, 3), verbose=0).content
    assert set(_op_types(content)) <= {"TRANSPOSE_CONV", "RESHAPE", "MEAN"}
    _, subgraph = _graph(content)
    assert all(t.shapeSignature is None or min(t.shapeSignature) > 0 for t in subgraph.tensors)
    assert subgraph.tensors[subgraph.inputs[0]].shape.tolist() == [1, 8, 8, 3]


def test_dense_weights_have_one_scale_and_convolutions_one_per_channel():
    model, subgraph = _graph(to_int8(_model(), _data(), verbose=0).content)
    scales = {}
    for operator in subgraph.operators:
        if op_type(model, operator) in ("FULLY_CONNECTED", "CONV_2D"):
            weights = subgraph.tensors[operator.inputs[1]]
            scales.setdefault(op_type(model, operator), set()).add(len(weights.quantization.scale))
    assert scales == {"FULLY_CONNECTED": {1}, "CONV_2D": {4}}


@pytest.mark.parametrize("input_type", ["int8", "uint8", "float32"])
@pytest.mark.parametrize("output_type", ["int8", "uint8", "float32"])
def test_inputs_and_outputs_have_the_types_asked_for(input_type, output_type):
    result = to_int8(
        _model(),
        _data(),
        inference_input_type=input_type,
        inference_output_type=output_type,
        verbose=0,
    )
    interpreter = Interpreter(result.content)
    types = {"int8": np.int8, "uint8": np.uint8, "float32": np.float32}
    samples = [np.ones((1, 6), types[input_type]), np.ones((1, 8, 8, 3), types[input_type])]
    assert {output.dtype for output in interpreter.run(samples)} == {np.dtype(types[output_type])}


def test_types_may_be_tensorflows_or_numpys():
    import tensorflow as tf

    model, data = _single(keras.layers.ReLU()), _noise(12, 8, 8, 3)
    by_name = to_int8(model, data, inference_input_type="uint8", verbose=0)
    for kind in (tf.uint8, np.uint8, np.dtype("uint8")):
        assert to_int8(model, data, inference_input_type=kind, verbose=0) == by_name
    for wrong in ("int16", np.int16, 8, None):
        with pytest.raises(ArgumentError, match="inference_output_type must be one of"):
            to_int8(model, data, inference_output_type=wrong)


def test_names_and_layers_survive_in_the_file():
    result = to_int8(_model(), _data(), inference_input_type="float32", verbose=0)
    model, subgraph = _graph(result.content)
    (signature,) = model.signatureDefs
    assert text(signature.signatureKey) == "serving_default"
    for entries, names, indices in (
        (signature.inputs, result.input_names, subgraph.inputs),
        (signature.outputs, result.output_names, subgraph.outputs),
    ):
        assert [(text(e.name), e.tensorIndex) for e in entries] == list(
            zip(names, indices, strict=True)
        )
        assert [text(subgraph.tensors[index].name) for index in indices] == list(names)
    made = [text(subgraph.tensors[op.outputs[0]].name) for op in subgraph.operators]
    layers = {layer_of(name, result.layer_names) for name in made}
    assert layers == {"vector", "image", "relu", "flatten", "score", "box"}
    assert len({tensor.name for tensor in subgraph.tensors}) == len(subgraph.tensors)


def test_tensorflows_interpreter_takes_the_signature():
    import tensorflow as tf

    result = to_int8(_model(), _data(), inference_output_type="float32", verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer releases announce that the class moves
        runner = tf.lite.Interpreter(model_content=result.content).get_signature_runner()
    outputs = runner(vector=np.zeros((1, 6), np.int8), image=np.zeros((1, 8, 8, 3), np.int8))
    assert {name: array.shape for name, array in outputs.items()} == {
        "score": (1, 5),
        "box": (1, 2),
    }


def test_a_tensor_that_is_returned_twice_or_unchanged_keeps_its_place():
    tensor = keras.Input((8, 8, 3), name="x")
    maps = keras.layers.Conv2D(2, 1, name="conv")(tensor)
    model = keras.Model(tensor, [maps, keras.layers.ReLU(name="relu")(maps), maps, tensor])
    result = to_int8(model, _noise(12, 8, 8, 3), verbose=0)
    assert result.output_names == ("conv", "relu", "conv_1", "x")
    _, subgraph = _graph(result.content)
    outputs = [int(index) for index in subgraph.outputs]
    assert outputs[0] == outputs[2]
    assert outputs[3] == subgraph.inputs[0]


def test_the_same_model_gives_the_same_bytes_here_and_in_another_process():
    script = """
import hashlib
from test_conversion import _data, _model, to_int8
print(hashlib.sha256(to_int8(_model(), _data(), verbose=0).content).hexdigest())
"""
    model = _model()
    here = {hashlib.sha256(to_int8(model, _data(), verbose=0).content).hexdigest() for _ in "ab"}
    there = _python(script).stdout.split()
    assert here == set(there)


def test_files_and_saved_models_give_what_the_model_itself_gives(tmp_path):
    model, data = _model(), _data()
    model.save(tmp_path / "detector.keras")
    with silenced():
        model.export(tmp_path / "exported")
    direct = to_int8(model, data, verbose=0)
    assert to_int8(tmp_path / "detector.keras", data, verbose=0).content == direct.content
    exported = to_int8(tmp_path / "exported", data, verbose=0)
    assert exported.source == "saved_model"
    assert exported.input_names == ("image", "vector")
    assert _op_types(exported.content) == _op_types(direct.content)
    sample = {name: array[:1] for name, array in data.items()}
    expected = list(_run(direct, sample).values())
    received = list(_run(exported, sample).values())
    for left, right in zip(expected, received, strict=True):
        np.testing.assert_array_equal(left, right)


def test_real_keras_2_files_become_int8(data_folder):
    folder = data_folder / "models" / "mlperf_tiny"
    result = to_int8(folder / "pretrainedResnet.h5", _noise(12, 32, 32, 3) * 50 + 127, verbose=0)
    official = (folder / "pretrainedResnet_quant.tflite").read_bytes()
    made, theirs = _op_types(result.content), _op_types(official)
    assert sorted(made) == sorted(kind for kind in theirs if kind != "RESHAPE")


def test_a_few_samples_are_kept_for_later_checks():
    result = to_int8(_model(), {k: v.astype(np.float64) for k, v in _data().items()}, verbose=0)
    assert len(result.samples) == 8
    for sample in result.samples:
        assert list(sample) == ["vector", "image"]
        assert {array.dtype for array in sample.values()} == {np.dtype(np.float32)}
        assert {array.shape[0] for array in sample.values()} == {1}


def test_no_data_is_an_error_that_shows_what_to_pass():
    with pytest.raises(CalibrationDataError, match=r'(?s)"vector": .*\(n, 6\)'):
        to_int8(_model())


# .tflite files


def test_a_tflite_file_is_taken_as_it_is(tmp_path):
    made = to_int8(_model(), _data(), inference_input_type="uint8", verbose=0)
    path = tmp_path / "my detector.tflite"
    path.write_bytes(made.content)
    for model in (path, str(path), made.content):
        result = to_int8(model)
        assert result.content == made.content
        assert (result.input_names, result.output_names) == (made.input_names, made.output_names)
        assert (result.source, result.seconds, result.samples) == ("tflite", 0, ())
    assert to_int8(path).name == "my_detector"
    with pytest.raises(ArgumentError, match="quantised already"):
        to_int8(path, _data())
    assert to_int8(path, inference_input_type="uint8").content == made.content
    with pytest.raises(ArgumentError, match="Input 'vector' of 'my_detector' is uint8"):
        to_int8(path, inference_input_type="float32")


def test_a_float_tflite_file_is_an_error_unless_strict_is_off(data_folder, capsys):
    path = data_folder / "models" / "litert" / "add_10x10.tflite"
    with pytest.raises(QuantizationError, match="op 0 ADD: input 'a' is float32"):
        to_int8(path)
    assert to_int8(path, strict=False).content == path.read_bytes()
    assert "not 8 bit" in capsys.readouterr().err


def test_bytes_that_are_no_model_are_refused():
    with pytest.raises(InvalidModelError):
        to_int8(b"certainly no model")


# Configured converters


def _skip_where_keras_3_crashes():
    import tensorflow as tf

    if tf.__version__.startswith("2.16."):
        pytest.skip("the converter of this TensorFlow crashes on Keras 3 models")


def _converter(kind: str = "keras"):
    """A converter of a Keras 3 model, or of a concrete function."""
    import tensorflow as tf

    if kind == "keras":
        _skip_where_keras_3_crashes()
    keras.utils.set_random_seed(0)
    model = _single(
        keras.layers.Conv2D(4, 3),
        keras.layers.Reshape((-1, 6)),
        keras.layers.Flatten(),
        keras.layers.Dense(40),
    )
    if kind == "keras":
        return tf.lite.TFLiteConverter.from_keras_model(model)
    function = tf.function(lambda x: model(x, training=False)).get_concrete_function(
        tf.TensorSpec((1, 8, 8, 3), tf.float32, name="x")
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    converter.model = model  # functions do not keep their variables alive
    return converter


def _configure(converter):
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([x[None]] for x in _noise(12, 8, 8, 3))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return converter


@pytest.mark.parametrize("kind", ["keras", "function"])
def test_a_configured_converters_options_stand(kind):
    import tensorflow as tf

    converter = _configure(_converter(kind))
    converter.inference_input_type = tf.uint8
    converter.exclude_conversion_metadata = True
    result = to_int8(converter, verbose=0)
    assert result.source == "converter"
    assert result.name == ("single" if kind == "keras" else "model")
    assert result.input_names == ("x",)
    model, _ = _graph(result.content)
    names = [text(entry.name) for entry in model.metadata]
    assert "CONVERSION_METADATA" not in names
    assert _op_types(result.content)[0] == "QUANTIZE"
    assert to_int8(converter, verbose=0).content == result.content
    with pytest.raises(ArgumentError, match=r"converter\.representative_dataset"):
        to_int8(converter, _noise(12, 8, 8, 3))


@pytest.mark.parametrize("given", ["converter", "its file"])
def test_an_open_batch_is_fixed_and_nothing_else_changes(given):
    converter = _configure(_converter())
    with silenced():
        left_open = converter.convert()
    if "SHAPE" not in _op_types(left_open):
        pytest.skip("this TensorFlow fixes the batch by itself")
    fixed = to_int8(converter if given == "converter" else left_open, verbose=0).content
    kinds = {"QUANTIZE", "CONV_2D", "RESHAPE", "FULLY_CONNECTED", "DEQUANTIZE"}
    assert set(_op_types(fixed)) == kinds
    model, subgraph = _graph(fixed)
    used = {int(i) for op in subgraph.operators for i in [*op.inputs, *op.outputs]}
    assert all(subgraph.tensors[i].shapeSignature is None for i in used)
    sample = _noise(1, 8, 8, 3)
    outputs = [Interpreter(content).run([sample]) for content in (left_open, fixed)]
    np.testing.assert_array_equal(*outputs)
    assert text(model.signatureDefs[0].inputs[0].name) == "x"


def test_a_converter_with_other_unknown_sizes_is_refused():
    import tensorflow as tf

    _skip_where_keras_3_crashes()
    model = _single(keras.layers.Conv2D(4, 3), shape=(None, 8, 3))
    converter = _configure(tf.lite.TFLiteConverter.from_keras_model(model))
    with pytest.raises(
        UnsupportedModelError, match=r"Input '.*x.*' has the shape \[-1, -1, 8, 3\]"
    ):
        to_int8(converter, verbose=0)


def test_a_converter_that_is_not_set_to_int8_is_found_out():
    import tensorflow as tf

    with pytest.raises(QuantizationError, match="never quantised"):
        to_int8(_converter(), verbose=0)
    converter = _converter()
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    with pytest.raises(QuantizationError, match="float32"):
        to_int8(converter, verbose=0)


def test_what_a_converter_raises_is_explained_and_ctrl_c_passes():
    def broken(error):
        raise error
        yield

    converter = _configure(_converter("function"))
    converter.representative_dataset = lambda: broken(OSError(28, "No space left on device"))
    with pytest.raises(ConversionError, match="No space left") as caught:
        to_int8(converter, verbose=0)
    assert isinstance(caught.value.__cause__, OSError)
    for error in (KeyboardInterrupt, MemoryError):
        converter.representative_dataset = lambda error=error: broken(error())
        with pytest.raises(error):
            to_int8(converter, verbose=0)


# What cannot be converted


def _recurrent(package, kind: str):
    layers = package.layers
    sequence = package.Input((4, 3), name="sequence")
    made = {
        "lstm": lambda: layers.LSTM(2, name="memory")(sequence),
        "gru": lambda: layers.Bidirectional(layers.GRU(2), name="memory")(sequence),
        "cell": lambda: layers.RNN(layers.LSTMCell(2), name="memory")(sequence),
        "nested": lambda: package.Sequential(
            [package.Input((4, 3)), layers.LSTM(2, name="memory")], name="inner"
        )(sequence),
    }[kind]()
    return package.Model(sequence, made, name="talker")


@pytest.mark.parametrize("kind", ["lstm", "gru", "cell", "nested"])
@PACKAGES
def test_loops_are_refused_before_they_crash_the_converter(package, kind):
    with pytest.raises(UnsupportedModelError, match=r"'talker'.* layer '\w*memory'.*unroll=True"):
        to_int8(_recurrent(package, kind), _noise(12, 4, 3), verbose=0)


def test_loops_in_saved_models_are_refused_too(tmp_path):
    import tensorflow as tf

    model = _recurrent(keras, "lstm")
    function = tf.function(lambda x: {"y": model(x, training=False)}).get_concrete_function(
        tf.TensorSpec((None, 4, 3), tf.float32, name="x")
    )
    module = tf.Module()
    module.model = model
    tf.saved_model.save(module, str(tmp_path), signatures=function)
    with pytest.raises(UnsupportedModelError, match=r"loop in layer '[^']*memory'"):
        to_int8(tmp_path, _noise(12, 4, 3), verbose=0)


@pytest.mark.parametrize("layer", [keras.layers.LSTM, keras.layers.GRU])
def test_unrolled_recurrent_layers_are_converted_to_the_same_bytes_every_time(layer):
    # TFLite leaves a split of such a model in float by chance, here in one run of three.
    model = _single(layer(2, unroll=True), shape=(12, 3))
    contents = {to_int8(model, _noise(12, 12, 3), verbose=0).content for _ in range(4)}
    assert len(contents) == 1
    assert "FULLY_CONNECTED" in _op_types(contents.pop())


def test_a_converter_that_always_leaves_a_split_in_float_is_not_called_for_ever():
    builder = ModelBuilder()
    floats = [builder.tensor(name, (1, 4, 4, 8), "FLOAT32", scale=None) for name in "ab"]
    builder.op("DEQUANTIZE", [builder.conv(builder.input())], [floats[0]])
    builder.op("SPLIT", [floats[0]], [floats[1]])
    last = builder.tensor("last", (1, 4, 4, 8))
    builder.op("QUANTIZE", [floats[1]], [last])
    calls = []

    def convert() -> bytes:
        calls.append(None)
        return builder.build([last])

    content, _ = quantized(convert, "model", (), Chatter(None))
    assert content == builder.build([last])
    assert len(calls) == 20


def test_an_op_that_tflite_lacks_is_named_with_its_layer():
    import tensorflow as tf

    odd = keras.layers.Lambda(tf.math.erf, name="odd")
    model = _single(keras.layers.Conv2D(2, 1), odd)
    with pytest.raises(ConversionError) as caught:
        to_int8(model, _noise(12, 8, 8, 3), verbose=0)
    message = str(caught.value)
    assert "'single'" in message
    assert "tf.Erf" in message
    assert "layer 'odd'" in message
    assert "functional.py" not in message
    assert caught.value.__cause__ is not None


def test_an_op_without_an_int8_kernel_is_listed_with_its_layer(capsys):
    tensor = keras.Input((8, 8, 3), name="x")
    model = keras.Model(tensor, keras.layers.LayerNormalization(name="norm")(tensor), name="m")
    with pytest.raises(QuantizationError, match=r"op \d+ NEG: .*float32, layer 'norm'"):
        to_int8(model, _noise(12, 8, 8, 3), rewrite="off", verbose=0)
    loose = to_int8(model, _noise(12, 8, 8, 3), rewrite="off", strict=False)
    assert "NEG" in _op_types(loose.content)
    assert "layer 'norm'" in capsys.readouterr().err


def test_a_model_that_cannot_be_traced_says_why():
    class Picky(keras.layers.Layer):
        def call(self, inputs):
            if inputs.shape[0] is not None:
                raise ValueError("I want an unknown batch")
            return inputs

    with pytest.raises(ConversionError, match=r"cannot trace 'single'.*unknown batch"):
        to_int8(_single(Picky()), _noise(12, 8, 8, 3), verbose=0)


def test_unknown_dimensions_and_unread_inputs_are_refused_by_name():
    with pytest.raises(UnsupportedModelError, match=r"Input 'x'.*unknown"):
        to_int8(_single(keras.layers.ReLU(), shape=(None, None, 3)), verbose=0)
    inputs = [keras.Input((3,), name="used"), keras.Input((3,), name="unused")]
    first = keras.layers.Lambda(lambda pair: pair[0])(inputs)  # not every Keras takes loose inputs
    model = keras.Model(inputs, keras.layers.Dense(2)(first))
    with pytest.raises(QuantizationError, match="input 'unused' is float32"):
        to_int8(model, [_noise(12, 3), _noise(12, 3)], verbose=0)


# What the user sees


def test_only_verbose_2_shows_what_tensorflow_prints():
    _skip_where_keras_3_crashes()
    script = """
import os
from test_conversion import _configure, _converter, _data, _model, to_int8
model, data, converter = _model(), _data(8), _configure(_converter())
for verbose in (0, 1, 2):
    os.write(2, b"MARK")
    print("MARK", flush=True)
    to_int8(model, lambda: iter([data]), verbose=verbose)
    to_int8(converter, verbose=verbose)
"""
    done = _python(script)
    _, silent, normal, chatty = done.stderr.split("MARK")
    assert silent == ""
    assert [line for line in normal.splitlines() if not line.startswith("Converting")] == [
        "warning: the representative dataset holds 8 samples; 100 to 500 typical ones give better "
        "scales."
    ]
    assert "fully_quantize" in chatty
    _, silent, normal, chatty = done.stdout.split("MARK")
    assert silent.strip() == normal.strip() == ""
    assert "Saved artifact" in chatty


def _python(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script that can import this file."""
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {folders!r}\n{script}"],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
