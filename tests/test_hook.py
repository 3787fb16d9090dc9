from __future__ import annotations

import inspect
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import respect_tf
import respect_tf._intercept as _intercept
from respect_tf import (
    ArgumentError,
    CalibrationDataError,
    RespectError,
    TFLiteConverter,
    export,
    intercept,
)
from respect_tf.tflite import op_type, read_model

# TensorFlow's own remark on a script that sets int8 inputs.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Statistics for quantized inputs were expected"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]


def _model(package=keras, name="small"):
    package.utils.set_random_seed(0)
    tensor = package.Input((8, 8, 3), name="image")
    made = package.layers.Conv2D(4, 3, activation="relu", name="one")(tensor)
    made = package.layers.Conv2D(4, 3, activation="relu", name="two")(made)
    made = package.layers.Dense(5, name="three")(package.layers.Flatten(name="flat")(made))
    return package.Model(tensor, made, name=name)


def _data():
    rng = np.random.default_rng(0)
    for _ in range(8):
        yield [rng.normal(size=(1, 8, 8, 3)).astype(np.float32)]


def _converter(kind, folder):
    import tensorflow as tf

    if kind == "saved_model":
        tf.saved_model.save(_saved_module(), str(folder))
        return tf.lite.TFLiteConverter.from_saved_model(str(folder))
    if kind == "concrete_function":
        module = _saved_module()
        return tf.lite.TFLiteConverter.from_concrete_functions(
            [module.call.get_concrete_function()], module
        )
    if kind == "keras" and tf.__version__.startswith("2.16."):
        pytest.skip("the converter of this TensorFlow crashes on Keras 3 models")
    return tf.lite.TFLiteConverter.from_keras_model(_model(keras if kind == "keras" else tf_keras))


def _saved_module():
    import tensorflow as tf

    class Module(tf.Module):
        def __init__(self):
            super().__init__()
            rng = np.random.default_rng(0)
            self.one = tf.Variable(rng.normal(size=(3, 3, 3, 4)).astype(np.float32))
            self.two = tf.Variable(rng.normal(size=(3, 3, 4, 4)).astype(np.float32))

        @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 3), tf.float32, "image")])
        def call(self, image):
            made = tf.nn.relu(tf.nn.conv2d(image, self.one, 1, "SAME"))
            made = tf.nn.relu(tf.nn.conv2d(made, self.two, 1, "SAME"))
            return {"out": tf.nn.conv2d(made, self.two, 1, "SAME")}

    return Module()


def _script(kind, folder, *, with_data):
    """What somebody wrote who had never heard of pipelines."""
    import tensorflow as tf

    converter = _converter(kind, folder)
    if with_data:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = _data
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def _methods():
    from tensorflow.lite.python import lite

    return {name: cls.__dict__.get("convert") for name, cls in vars(lite).items() if _is_class(cls)}


def _is_class(value):
    return isinstance(value, type)


@pytest.mark.parametrize("with_data", [True, False], ids=["int8", "float"])
@pytest.mark.parametrize("kind", ["keras", "tf_keras", "saved_model", "concrete_function"])
def test_a_plain_script_runs_unchanged(kind, with_data, tmp_path):
    outside = _script(kind, tmp_path / "outside", with_data=with_data)
    with intercept(2, verbose=0) as seen:
        inside = _script(kind, tmp_path / "inside", with_data=with_data)
        assert len(seen) == with_data
    assert inside == outside
    for pipeline in seen:
        assert len(pipeline.segments) == 2
        assert pipeline.parity is not None
        assert respect_tf.inspect(pipeline.model).inputs[0].dtype == "int8"


def test_float_conversions_are_left_alone_with_one_line(tmp_path, capsys):
    import tensorflow as tf

    with intercept(2) as seen:
        _script("concrete_function", tmp_path, with_data=False)
        converter = _converter("concrete_function", tmp_path)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]  # weights alone are int8 then
        converter.convert()
    said = capsys.readouterr().err
    assert list(seen) == []
    assert said.count("is converted in float, and left alone") == 2
    assert said.count("converter.representative_dataset") == 2
    assert "warning" not in said.lower()
    assert "edgetpu_compiler" not in said


def test_advice_is_in_the_words_of_the_script(tmp_path, capsys):
    import tensorflow as tf

    with intercept(2, compile=False):
        converter = _converter("concrete_function", tmp_path)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = _data
        converter.convert()
    assert "converter.inference_output_type = tf.int8" in capsys.readouterr().err


def test_what_can_be_rewritten_is_in_the_pipeline_only():
    tokens = keras.Input((4, 8))
    made = keras.layers.LayerNormalization()(keras.layers.Dense(8)(tokens))
    model = keras.Model(tokens, made)
    samples = np.random.default_rng(0).normal(size=(12, 1, 4, 8)).astype(np.float32)

    def script():
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([sample] for sample in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        return converter.convert()

    with intercept(1, verbose=0) as seen:
        content = script()
    given = read_model(content)
    assert "NEG" in [op_type(given, op) for op in given.subgraphs[0].operators]
    (pipeline,) = seen
    assert "NEG" not in pipeline.graph.op_types
    assert pipeline.rewritten
    with intercept(1, rewrite="off", verbose=0) as seen:
        script()
    assert "NEG" in seen[0].graph.op_types


def test_float_conversions_can_be_quantised_beside(tmp_path):
    outside = _script("concrete_function", tmp_path, with_data=False)
    with intercept(2, representative_dataset=_data, verbose=0) as seen:
        assert _script("concrete_function", tmp_path, with_data=False) == outside
    assert respect_tf.inspect(seen[0].model).inputs[0].dtype == "int8"
    # The user's own converter still has no data.
    assert _script("concrete_function", tmp_path, with_data=False) == outside


def test_pipelines_are_saved_side_by_side(tmp_path):
    with intercept(2, folder=tmp_path / "out", verbose=0):
        _script("concrete_function", tmp_path, with_data=True)
        _script("concrete_function", tmp_path, with_data=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model", "model_2"]
    assert len(respect_tf.load(tmp_path / "out" / "model_2").segments) == 2


def test_keras_litert_export_is_seen(tmp_path):
    model = _model()
    if "litert" not in (model.export.__doc__ or ""):
        pytest.skip("this Keras does not export to LiteRT")
    with intercept(2, _data, verbose=0) as seen:
        model.export(str(tmp_path / "model.tflite"), format="litert", verbose=False)
    assert len(seen) == 1
    assert (tmp_path / "model.tflite").stat().st_size > 0


def test_tensorflow_is_as_it_was_after_the_block(tmp_path):
    before = _methods()
    with intercept(2, verbose=0):
        assert _methods() != before
        with intercept(3, verbose=0):
            pass
        assert _methods() != before
    assert _methods() == before
    with pytest.raises(ZeroDivisionError), intercept(2, verbose=0):
        _ = 1 / 0
    assert _methods() == before


def test_the_inner_of_two_blocks_sees_a_conversion(tmp_path):
    with intercept(2, verbose=0) as outer:
        with intercept(3, verbose=0) as inner:
            _script("concrete_function", tmp_path, with_data=True)
        _script("concrete_function", tmp_path, with_data=True)
    assert [len(found.segments) for found in inner] == [3]
    assert [len(found.segments) for found in outer] == [2]


def test_threads_see_their_own_conversions_only(tmp_path):
    before = _methods()
    found, failures = {}, []
    started = threading.Barrier(3)

    def work(num_segments):
        try:
            started.wait()
            if num_segments == 0:
                found[0] = _script("concrete_function", tmp_path, with_data=True)
            else:
                with intercept(num_segments, verbose=0) as seen:
                    _script("concrete_function", tmp_path, with_data=True)
                found[num_segments] = [len(pipeline.segments) for pipeline in seen]
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(count,)) for count in (0, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert (found[2], found[3]) == ([2], [3])
    assert _methods() == before


def test_a_conversion_that_gives_no_pipeline_is_an_error_at_the_end(tmp_path):
    done = []

    def convert_two():
        with intercept(50, verbose=0) as seen:
            done.append(seen)
            done.append(_script("concrete_function", tmp_path, with_data=True))
            done.append(_script("concrete_function", tmp_path, with_data=True))

    with pytest.raises(RespectError, match="stages"):
        convert_two()
    assert len(done) == 3
    seen = done[0]
    assert len(seen) == 0
    assert [name for name, _ in seen.errors] == ["model", "model"]


def test_errors_of_the_script_come_first(tmp_path):
    def convert_and_fail():
        with intercept(50, verbose=0):
            _script("concrete_function", tmp_path, with_data=True)
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        convert_and_fail()


def test_unknown_options_are_refused():
    with pytest.raises(ArgumentError, match="num_stages"), intercept(2, num_stages=3):
        pass


def test_our_converter_gives_a_pipeline(tmp_path):
    import tensorflow as tf

    module = _saved_module()
    tf.saved_model.save(module, str(tmp_path / "saved"))
    for converter in (
        TFLiteConverter.from_saved_model(str(tmp_path / "saved")),
        TFLiteConverter.from_concrete_functions([module.call.get_concrete_function()], module),
        TFLiteConverter.from_keras_model(_model(tf_keras)),
    ):
        converter.representative_dataset = _data
        converter.num_segments = 2
        converter.verbose = 0
        converter.inference_output_type = tf.uint8
        pipeline = converter.convert()
        assert len(pipeline.segments) == 2
        assert next(iter(pipeline.inputs.values())).dtype == "int8"
        assert next(iter(pipeline.outputs.values())).dtype == "uint8"


def test_our_converter_has_the_attributes_of_both():
    module = _saved_module()
    converter = TFLiteConverter.from_concrete_functions(
        [module.call.get_concrete_function()], module
    )
    assert converter.scheduler == "policy"
    assert converter.allow_custom_ops is False
    converter.allow_custom_ops = True
    assert converter.allow_custom_ops is True
    with pytest.raises(AttributeError, match="num_stages"):
        converter.num_stages = 2
    with pytest.raises(CalibrationDataError, match="representative_dataset"):
        converter.convert()


def test_export_saves_what_convert_makes(tmp_path):
    samples = np.concatenate([row[0] for row in _data()])
    made = export(_model(), tmp_path / "out", 2, samples, verbose=0)
    assert [s.content for s in respect_tf.load(tmp_path / "out").segments] == [
        s.content for s in made.segments
    ]
    with pytest.raises(RespectError, match="exists"):
        export(_model(), tmp_path / "out", 2, samples, verbose=0)


@pytest.mark.parametrize("broken", ["convert", "converter_name", "_quantising"])
def test_an_error_of_ours_leaves_the_conversion_alone(monkeypatch, tmp_path, broken):
    def fail(*_, **__):
        raise ZeroDivisionError("oops")

    converter = _converter("concrete_function", tmp_path / "model")
    expected = _converter("concrete_function", tmp_path / "model").convert()
    owner = _intercept.Intercepted if broken == "_quantising" else _intercept
    monkeypatch.setattr(owner, broken, fail)
    made = None
    with (
        pytest.raises(respect_tf.ConversionError, match=r"ZeroDivisionError: oops.*report"),
        intercept(2, _data, verbose=0) as seen,
    ):
        made = converter.convert()
    assert made == expected
    assert [type(error.__cause__) for _, error in seen.errors[:1]] == [ZeroDivisionError]


def test_the_options_of_convert_are_typed():
    signature = inspect.signature(respect_tf.convert)
    keywords = {
        name
        for name, parameter in signature.parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert keywords == {*respect_tf.ConvertOptions.__annotations__, "verbose"}
