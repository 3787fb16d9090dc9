"""Every kind of model is recognised, with the names, order and shapes of its inputs."""

import zipfile

import keras
import numpy as np
import pytest
import tf_keras

from respect_tf._errors import ArgumentError, InvalidModelError, UnsupportedModelError
from respect_tf.tflite._source import (
    ConfiguredConverter,
    FloatModel,
    TFLiteContent,
    file_stem,
    gist,
    open_source,
)

# Keras 3 warns of its own use of numpy 2 when it reads variables.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")

PACKAGES = pytest.mark.parametrize("package", [keras, tf_keras], ids=["keras", "tf_keras"])


def _open(model) -> FloatModel:
    source = open_source(model)
    assert isinstance(source, FloatModel)
    return source


def _interface(model) -> list[tuple[str, tuple[int, ...], str]]:
    return [(spec.name, spec.shape, spec.dtype) for spec in _open(model).inputs]


def _outputs(source: FloatModel) -> dict[str, tuple[int, ...]]:
    arrays = [np.ones(spec.shape, spec.dtype) for spec in source.inputs]
    return {name: tuple(tensor.shape) for name, tensor in source.call(*arrays)}


def _two_inputs(package, inputs="list", outputs="list"):
    image = package.Input((4, 4, 2), name="image")
    ids = package.Input((3,), name="ids", dtype="int32")
    flat = package.layers.Flatten()(image)
    wide = package.layers.Flatten()(package.layers.Embedding(5, 2)(ids))
    heads = [
        package.layers.Dense(2, name="small")(flat),
        package.layers.Dense(3, name="large")(package.layers.Concatenate()([flat, wide])),
    ]
    made = {"list": [image, ids], "dict": {"z": image, "a": ids}, "nested": [image, {"k": ids}]}
    results = {"list": heads, "dict": {"small_head": heads[0], "big_head": heads[1]}}
    return package.Model(made[inputs], results[outputs], name="two")


@PACKAGES
def test_a_functional_model_keeps_names_and_order(package):
    source = _open(_two_inputs(package))
    assert (source.kind, source.name) == (package.__name__, "two")
    assert [(s.name, s.shape, s.dtype) for s in source.inputs] == [
        ("image", (1, 4, 4, 2), "float32"),
        ("ids", (1, 3), "int32"),
    ]
    assert _outputs(source) == {"small": (1, 2), "large": (1, 3)}
    assert {"small", "large", "image"} <= set(source.layer_names)


@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
@PACKAGES
def test_dict_inputs_and_outputs_go_by_their_keys(package):
    source = _open(_two_inputs(package, "dict", "dict"))
    assert [spec.name for spec in source.inputs] == ["a", "z"]
    assert _outputs(source) == {"big_head": (1, 3), "small_head": (1, 2)}


def test_nested_inputs_are_flattened():
    assert [name for name, _, _ in _interface(_two_inputs(keras, "nested"))] == ["image", "1_k"]


@PACKAGES
def test_sequential_models_once_built(package):
    layers = [package.layers.Conv2D(2, 3), package.layers.Flatten(), package.layers.Dense(2)]
    with_input = package.Sequential([package.Input((8, 8, 1), name="pixels"), *layers])
    assert _interface(with_input) == [("pixels", (1, 8, 8, 1), "float32")]
    assert list(_outputs(_open(with_input)).values()) == [(1, 2)]
    called = package.Sequential([package.layers.Dense(2)])
    called(np.ones((5, 3), np.float32))
    assert [shape for _, shape, _ in _interface(called)] == [(1, 3)]
    assert list(_outputs(_open(called)).values()) == [(1, 2)]


def _subclass(package, kind: str):
    class Model(package.Model):
        def __init__(self):
            super().__init__(name="mine")
            self.dense = package.layers.Dense(2, name="inner_dense")

    class Single(Model):
        def call(self, picture):
            return self.dense(picture)

    class Listed(Model):
        def call(self, pair):
            return {"b": self.dense(pair[0]), "a": self.dense(pair[1])}

    class Keyed(Model):
        def call(self, inputs):
            return self.dense(inputs["left"]), self.dense(inputs["right"])

    class TwoArguments(Model):
        def build(self, left_shape, right_shape):
            self.dense.build(left_shape)

        def call(self, left, right):
            return self.dense(left) + self.dense(right)

    left, right = np.ones((4, 3), np.float32), np.ones((4, 3), np.float32)
    model = {"single": Single, "list": Listed, "dict": Keyed, "arguments": TwoArguments}[kind]()
    arguments = {
        "single": [left],
        "list": [[left, right]],
        "dict": [{"left": left, "right": right}],
        "arguments": [left, right],
    }[kind]
    return model, arguments


@pytest.mark.parametrize(
    ("kind", "names", "outputs"),
    [
        ("single", ["picture"], ["output"]),
        ("list", ["input_0", "input_1"], ["a", "b"]),
        ("dict", ["left", "right"], ["output_0", "output_1"]),
        ("arguments", ["left", "right"], ["output"]),
    ],
)
@PACKAGES
def test_subclassed_models_once_called(package, kind, names, outputs):
    if (package, kind) == (tf_keras, "arguments"):
        pytest.skip("tf_keras builds from one argument only")
    model, arguments = _subclass(package, kind)
    with pytest.raises(UnsupportedModelError, match=r"'mine' .*never been built.*Call it once"):
        open_source(model)
    model(*arguments)
    source = _open(model)
    if (package, kind) == (tf_keras, "list"):
        names = ["input_1", "input_2"]  # tf_keras names them itself
    assert [spec.name for spec in source.inputs] == names
    assert {spec.shape for spec in source.inputs} == {(1, 3)}
    result = _outputs(source)
    assert set(result.values()) == {(1, 2)}
    assert list(result) == outputs


def test_a_call_with_arguments_that_keras_did_not_record_is_refused():
    class Model(keras.Model):
        def call(self, left, right):
            return left + right

    model = Model(name="sum")
    model(np.ones((1, 3)), np.ones((1, 3)))
    with pytest.raises(UnsupportedModelError, match=r"takes left, right.*Wrap it"):
        open_source(model)
    tensors = [keras.Input((3,), name="a"), keras.Input((3,), name="b")]
    assert [name for name, _, _ in _interface(keras.Model(tensors, model(*tensors)))] == ["a", "b"]


@PACKAGES
def test_layers_of_nested_models_are_known(package):
    inner = package.Sequential([package.Input((3,)), package.layers.Dense(2, name="deep")])
    source = _open(package.Sequential([package.Input((3,)), inner]))
    assert "deep" in source.layer_names


@PACKAGES
def test_unknown_dimensions_are_refused_by_input_name(package):
    picture = package.Input((None, None, 3), name="picture")
    model = package.Model(picture, package.layers.Conv2D(2, 1)(picture))
    with pytest.raises(
        UnsupportedModelError, match=r"'picture' has the shape \(None, None, None, 3\).*axis 1, 2"
    ):
        open_source(model)


@PACKAGES
def test_another_fixed_batch_is_refused_and_a_batch_of_one_is_not(package):
    for batch in (1, 8):
        tensor = package.Input((3,), batch_size=batch, name="rows")
        model = package.Model(tensor, package.layers.Dense(2)(tensor))
        if batch == 1:
            assert _interface(model) == [("rows", (1, 3), "float32")]
        else:
            with pytest.raises(UnsupportedModelError, match=r"'rows'.*batch fixed to 8"):
                open_source(model)


def test_a_saved_model_of_either_package_is_read_by_its_signature(tmp_path):
    _two_inputs(keras).export(tmp_path / "three")
    _two_inputs(tf_keras).save(tmp_path / "two", save_format="tf")
    for name in ("two", "three"):
        source = _open(tmp_path / name)
        assert (source.kind, source.name) == ("saved_model", name)
        assert sorted((s.name, s.shape, s.dtype) for s in source.inputs) == [
            ("ids", (1, 3), "int32"),
            ("image", (1, 4, 4, 2), "float32"),
        ]
        assert sorted(_outputs(source).values()) == [(1, 2), (1, 3)]


def test_a_saved_model_needs_one_signature_that_can_be_told(tmp_path):
    import tensorflow as tf

    module = tf.Module()
    functions = {
        name: tf.function(lambda x: {"y": x + 1}).get_concrete_function(
            tf.TensorSpec((None, 3), tf.float32, name="x")
        )
        for name in ("one", "two")
    }
    tf.saved_model.save(module, str(tmp_path / "both"), signatures=functions)
    with pytest.raises(UnsupportedModelError, match=r"\['one', 'two'\].*serving_default"):
        open_source(tmp_path / "both")
    tf.saved_model.save(module, str(tmp_path / "one"), signatures={"one": functions["one"]})
    assert _interface(tmp_path / "one") == [("x", (1, 3), "float32")]
    tf.saved_model.save(module, str(tmp_path / "none"))
    with pytest.raises(UnsupportedModelError, match=r"signatures \[\]"):
        open_source(tmp_path / "none")


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@PACKAGES
def test_files_are_loaded_by_the_package_that_wrote_them(package, tmp_path):
    model = _two_inputs(package)
    for suffix in ("keras", "h5"):
        path = tmp_path / f"my net.{suffix}"
        model.save(path)
        source = _open(str(path))
        assert (source.kind, source.name) == (package.__name__, "my_net")
        assert [spec.name for spec in source.inputs] == ["image", "ids"]


def test_real_keras_2_files_are_loaded(data_folder):
    folder = data_folder / "models" / "mlperf_tiny"
    assert _open(folder / "pretrainedResnet.h5").inputs[0].shape == (1, 32, 32, 3)
    assert _open(folder / "ad01.h5").kind == "tf_keras"


def test_a_file_that_cannot_be_loaded_names_both_packages(tmp_path):
    for name in ("a.h5", "a.keras"):
        (tmp_path / name).write_bytes(b"no such format")
        with pytest.raises(InvalidModelError, match=rf"{name}.*neither keras nor tf_keras"):
            open_source(tmp_path / name)
    model = tf_keras.Sequential([tf_keras.Input((3,)), tf_keras.layers.Dense(2)])
    model.save(tmp_path / "b.keras")
    with zipfile.ZipFile(tmp_path / "b.keras") as archive:
        members = {part: archive.read(part) for part in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "b.keras", "w") as archive:
        for part in ("config.json", "metadata.json"):
            archive.writestr(part, members[part])
    with pytest.raises(InvalidModelError, match=r"(?s)b\.keras.*tf_keras: .*keras: "):
        open_source(tmp_path / "b.keras")
    weights = tmp_path / "only.weights.h5"
    _two_inputs(keras).save_weights(weights)
    with pytest.raises(InvalidModelError, match="weights only"):
        open_source(weights)


def test_a_damaged_saved_model_is_refused(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff\xff")
    with pytest.raises(InvalidModelError, match="cannot load the SavedModel"):
        open_source(tmp_path)


def test_tflite_is_taken_as_path_or_bytes(tmp_path):
    content = b"\x1c\0\0\0TFL3 and so on"
    path = tmp_path / "net.v1.tflite"
    path.write_bytes(content)
    assert open_source(path) == open_source(str(path)) == TFLiteContent("net.v1", content)
    assert (
        open_source(content) == open_source(bytearray(content)) == TFLiteContent("model", content)
    )


def test_every_converter_class_is_recognised(tmp_path):
    import tensorflow as tf

    class Mine(tf.lite.TFLiteConverter):
        pass

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)], name="small")
    model.export(tmp_path / "saved")
    function = tf.function(lambda x: model(x, training=False)).get_concrete_function(
        tf.TensorSpec((1, 3), tf.float32)
    )
    of_keras = tf.lite.TFLiteConverter.from_keras_model(model)
    assert open_source(of_keras) == ConfiguredConverter("small", of_keras)
    for converter in (
        Mine([function]),
        tf.lite.TFLiteConverter.from_concrete_functions([function]),
        tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved")),
        tf.compat.v1.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved")),
    ):
        assert isinstance(open_source(converter), ConfiguredConverter)


@pytest.mark.parametrize(
    "thing", [None, 3, [1], object(), keras.Model, keras.layers.Dense(3), np.ones(3)]
)
def test_anything_else_is_refused_with_a_list_of_what_is_accepted(thing):
    with pytest.raises(ArgumentError, match=r"keras\.Model.*SavedModel.*TFLiteConverter.*Received"):
        open_source(thing)


def test_paths_that_hold_no_model_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"no saved_model\.pb"):
        open_source(tmp_path)
    with pytest.raises(ArgumentError, match="does not exist"):
        open_source(tmp_path / "missing.tflite")
    (tmp_path / "notes.txt").write_text("hello, this is text")
    with pytest.raises(ArgumentError, match="no model that can be read"):
        open_source(tmp_path / "notes.txt")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ArgumentError, match="Pass the folder"):
        open_source(tmp_path / "saved" / "saved_model.pb")


def test_names_become_usable_as_file_names():
    assert file_stem("my net/v1.0") == "my_net_v1.0"
    assert file_stem("../..") == "model"


def test_long_messages_are_brought_to_their_point():
    keras_error = ValueError(
        "Exception encountered when calling Foo.call().\n\n\x1b[1mbad shape\x1b[0m\n\nArguments:"
    )
    assert gist(keras_error) == "Exception encountered when calling Foo.call(). bad shape"
    assert gist(ValueError("in user code:\n\n  File x\n\n  ValueError: why\n")) == "ValueError: why"
    both = f"in user code:\n\n  File x\n\n  ValueError: {keras_error}"
    assert gist(ValueError(both)) == f"ValueError: {gist(keras_error)}"
    assert gist(KeyError()) == "KeyError"
