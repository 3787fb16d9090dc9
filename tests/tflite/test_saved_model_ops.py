"""The graphs of a SavedModel may compute, and nothing else unless the user says so."""

import os
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from click.testing import CliRunner

import respect_tf
from respect_tf._errors import InvalidModelError, UnsupportedModelError
from respect_tf.cli import main
from respect_tf.tflite import _saved_model
from respect_tf.tflite._graph_ops import computes, symbol_computes
from respect_tf.tflite._source import open_source
from respect_tf.tflite._trust import Trust

SPEC = tf.TensorSpec((None, 3), tf.float32, name="x")


@pytest.fixture
def marker(tmp_path):
    """What an attack would make."""
    return tmp_path / "marker"


def _refused(folder, marker, op):
    with pytest.raises(UnsupportedModelError, match=rf"'{op}'") as caught:
        open_source(folder)
    assert "trusted=True" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2
    assert not marker.exists()


def _module(body, folder, *, signature=True):
    module = tf.Module()
    module.weight = tf.Variable(2.0)
    module.run = tf.function(lambda x: {"y": body(x) * module.weight}, input_signature=[SPEC])
    plain = tf.function(lambda x: {"y": x * module.weight}, input_signature=[SPEC])
    module.plain = plain
    tf.saved_model.save(
        module, str(folder), signatures={"serving_default": module.run if signature else plain}
    )
    return folder


def _writes(marker):
    def body(x):
        with tf.control_dependencies([tf.io.write_file(str(marker), "x")]):
            return tf.identity(x)

    return body


def _prints(marker):
    def body(x):
        with tf.control_dependencies([tf.print(x, output_stream=f"file://{marker}")]):
            return tf.identity(x)

    return body


def _reads(_):
    return lambda x: x + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)


def _calls_python(marker):
    def touch(x):
        marker.touch()
        return x

    return lambda x: tf.ensure_shape(tf.numpy_function(touch, [x], tf.float32), (None, 3))


def _calls_python_eagerly(marker):
    def touch(x):
        marker.touch()
        return x

    return lambda x: tf.ensure_shape(tf.py_function(touch, [x], tf.float32), (None, 3))


def _in_a_branch(marker):
    write = _writes(marker)
    return lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: write(x), lambda: x)


def _in_a_loop(marker):
    write = _writes(marker)
    return lambda x: tf.while_loop(lambda _: True, write, [x], maximum_iterations=2)


def _matches_files(_):
    return lambda x: x + tf.cast(tf.size(tf.io.matching_files("/etc/*")), tf.float32)


ATTACKS = {
    "WriteFile": _writes,
    "PrintV2": _prints,
    "ReadFile": _reads,
    "PyFunc": _calls_python,
    "EagerPyFunc": _calls_python_eagerly,
    "MatchingFiles": _matches_files,
}


@pytest.mark.parametrize("signature", [True, False], ids=["signature", "elsewhere"])
@pytest.mark.parametrize("op", ATTACKS)
def test_ops_that_do_more_than_compute_are_refused(op, signature, tmp_path, marker):
    _refused(_module(ATTACKS[op](marker), tmp_path / "model", signature=signature), marker, op)


@pytest.mark.parametrize("make", [_in_a_branch, _in_a_loop])
def test_they_are_found_in_inner_functions(make, tmp_path, marker):
    _refused(_module(make(marker), tmp_path / "model"), marker, "WriteFile")


def test_a_text_form_is_read_the_same_way(tmp_path, marker):
    from google.protobuf import text_format
    from tensorflow.core.protobuf import saved_model_pb2

    folder = _module(_writes(marker), tmp_path / "model")
    binary = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(binary.read_bytes())
    (folder / "saved_model.pbtxt").write_text(text_format.MessageToString(model), "utf-8")
    binary.unlink()
    _refused(folder, marker, "WriteFile")


def test_tables_that_read_files_are_refused(tmp_path, marker):
    """They do it while the model is loaded."""
    words = tmp_path / "words.txt"
    words.write_text("a\nb\n")
    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(words),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        ),
        -1,
    )
    module.run = tf.function(
        lambda x: {"y": x + tf.cast(module.table.lookup(tf.constant(["a"])), tf.float32)},
        input_signature=[SPEC],
    )
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.run)
    _refused(tmp_path / "model", marker, "InitializeTableFromTextFileV2")


def test_saving_is_for_the_saver_alone(tmp_path, marker):
    """Ops that every SavedModel has in its saver are refused where anything else calls them."""

    def body(x):
        saved = tf.raw_ops.SaveV2(
            prefix=str(marker), tensor_names=["x"], shape_and_slices=[""], tensors=[x]
        )
        with tf.control_dependencies([saved]):
            return tf.identity(x)

    _refused(_module(body, tmp_path / "model"), marker, "SaveV2")


def _v1(folder, body, *, init=None):
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        x = tf.compat.v1.placeholder(tf.float32, (None, 3), name="x")
        weight = tf.compat.v1.get_variable("w", initializer=2.0, use_resource=True)
        y = body(x) * weight
        session.run(tf.compat.v1.global_variables_initializer())
        builder = tf.compat.v1.saved_model.builder.SavedModelBuilder(str(folder))
        signature = tf.compat.v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"serving_default": signature},
            main_op=None if init is None else init(),
        )
        builder.save()
    return folder


def test_models_of_tensorflow_1_are_checked_too(tmp_path, marker):
    source = open_source(_v1(tmp_path / "good", lambda x: x + 1.0))
    [(name, tensor)] = source.call(np.ones((1, 3), np.float32))
    assert name == "y"
    np.testing.assert_array_equal(tensor, [[4.0, 4.0, 4.0]])
    _refused(_v1(tmp_path / "bad", _writes(marker)), marker, "WriteFile")
    init = _v1(
        tmp_path / "init", lambda x: x, init=lambda: tf.group(tf.io.write_file(str(marker), "x"))
    )
    _refused(init, marker, "WriteFile")


def test_trust_lets_them_run(tmp_path, marker):
    folder = _module(_writes(marker), tmp_path / "model")
    source = open_source(folder, Trust(trusted=True))
    source.call(np.ones((1, 3), np.float32))
    assert marker.exists()


def test_through_the_command_line_and_the_converter(tmp_path, marker):
    folder = _module(_writes(marker), tmp_path / "model")
    samples = tmp_path / "samples.npy"
    np.save(samples, np.ones((2, 3), np.float32))
    arguments = ["convert", str(folder), "-r", str(samples), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "WriteFile" in result.output
    with pytest.raises(UnsupportedModelError, match="WriteFile"):
        respect_tf.TFLiteConverter.from_saved_model(str(folder))
    respect_tf.TFLiteConverter.from_saved_model(str(folder), trusted=True)
    assert not marker.exists()


def test_the_folder_may_change_while_it_is_checked(tmp_path, marker, monkeypatch):
    """What is loaded is what was checked."""
    bad = _module(_writes(marker), tmp_path / "bad") / "saved_model.pb"
    good = _module(lambda x: x + 1.0, tmp_path / "good")
    check = _saved_model._check

    def swap_then_check(model, path):
        shutil.copy(bad, good / "saved_model.pb")
        check(model, path)

    monkeypatch.setattr(_saved_model, "_check", swap_then_check)
    [(_, tensor)] = open_source(good).call(np.ones((1, 3), np.float32))
    np.testing.assert_array_equal(tensor, [[4.0, 4.0, 4.0]])
    assert not marker.exists()


def test_good_models_load(tmp_path):
    """Recurrent layers, random ones, tables in memory, optimizers, printing to the screen."""
    tensor = tf_keras.Input((4, 3))
    hidden = tf_keras.layers.Dropout(0.5)(tf_keras.layers.LSTM(2, return_sequences=True)(tensor))
    hidden = tf_keras.layers.RandomFlip()(tf_keras.layers.Reshape((4, 2, 1))(hidden))
    model = tf_keras.Model(tensor, tf_keras.layers.Dense(2)(hidden))
    model.compile("adam", "mse")
    model.fit(np.ones((2, 4, 3)), np.ones((2, 4, 2, 2)), verbose=0)
    model.save(tmp_path / "two", save_format="tf")
    assert open_source(tmp_path / "two").inputs[0].shape == (1, 4, 3)
    tensor = keras.Input((8, 8, 3))
    hidden = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(tensor))
    model = keras.Model(
        tensor, keras.layers.GlobalMaxPooling2D()(keras.layers.Resizing(4, 4)(hidden))
    )
    model.export(tmp_path / "three", verbose=False)
    assert open_source(tmp_path / "three").inputs[0].shape == (1, 8, 8, 3)

    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer([1, 2], [3.0, 4.0], tf.int64, tf.float32), 0.0
    )

    def body(x):
        tf.debugging.assert_all_finite(x, "no")
        with tf.control_dependencies([tf.print("seen")]):
            noise = tf.reduce_sum(tf.random.uniform((3,)))
            return {"y": x + noise + module.table.lookup(tf.constant([1], tf.int64))}

    module.run = tf.function(body, input_signature=[SPEC])
    tf.saved_model.save(module, str(tmp_path / "module"), signatures=module.run)
    assert open_source(tmp_path / "module").inputs[0].shape == (1, 3)


def test_python_code_in_the_metadata_of_keras_2_is_not_run(tmp_path, marker):
    """Of such a SavedModel only the graphs are loaded, so there is nothing to refuse."""
    function = eval(f"lambda x: (open({str(marker)!r}, 'w').close(), x * 2.0)[1]")
    model = tf_keras.Sequential([tf_keras.Input((3,)), tf_keras.layers.Lambda(function)])
    model.save(tmp_path / "model", save_format="tf")
    assert b"function_type" in (tmp_path / "model" / "keras_metadata.pb").read_bytes()
    marker.unlink()  # made when the graphs were
    [(_, tensor)] = open_source(tmp_path / "model").call(np.ones((1, 3), np.float32))
    np.testing.assert_array_equal(tensor, [[2.0, 2.0, 2.0]])
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"\xff\xff\xff", b"\n" * 1000, bytes(range(256))])
def test_damaged_models_end_in_our_errors(content, tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(content)
    with pytest.raises(InvalidModelError, match="cannot load the SavedModel"):
        open_source(tmp_path)


def test_a_pipe_among_the_weights_is_not_waited_for(tmp_path):
    folder = _module(lambda x: x + 1.0, tmp_path / "model")
    weights = folder / "variables" / "variables.data-00000-of-00001"
    weights.unlink()
    os.mkfifo(weights)
    with pytest.raises(InvalidModelError, match="no regular file"):
        open_source(folder)


def test_what_counts_as_computation():
    for op in ("Conv2D", "MatMul", "ResizeBilinear", "While", "TensorListStack", "VarHandleOp"):
        assert computes(op)
    for op in (
        *("WriteFile", "ReadFile", "PyFuncStateless", "Abort", "RemoteCall", "DebugIdentity"),
        *("XlaCallModule", "SaveV2", "TextLineDataset", "RecordInput", "Send", "NoSuchOp", ""),
        *("__class__", "_Send", "DecodeProtoV2", "WriteSummary", "LoadAndRemapMatrix", "PrintV2"),
    ):
        assert not computes(op)
    for symbol in ("math.add", "nn.relu", "__operators__.getitem", "compat.v1.transpose", "cast"):
        assert symbol_computes(symbol)
    for symbol in ("io.write_file", "math", "", ".", "math.", "os.system", "math.add.add"):
        assert not symbol_computes(symbol)


def test_a_graph_that_never_ends_is_stopped_where_it_does_no_harm(tmp_path, monkeypatch):
    class Endless(tf.saved_model.experimental.TrackableResource):
        def _create_resource(self):
            return tf.raw_ops.VarHandleOp(dtype=tf.int32, shape=[], shared_name="endless")

        def _initialize(self):
            (value,) = tf.while_loop(lambda i: i >= 0, lambda i: (i * 0,), [tf.constant(1)])
            tf.raw_ops.AssignVariableOp(resource=self.resource_handle, value=value)

        def _destroy_resource(self):
            pass

    module = tf.Module()
    module.endless = Endless()
    module.run = tf.function(lambda x: {"y": x + 1.0}, input_signature=[SPEC])
    tf.saved_model.save(module, str(tmp_path / "module"), signatures=module.run)
    monkeypatch.setenv("RESPECT_TF_MODEL_SECONDS", "3")
    with pytest.raises(InvalidModelError, match=r"module'.*did not finish within 3 s of the"):
        open_source(tmp_path / "module")
