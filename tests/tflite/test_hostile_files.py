"""Nothing that a Keras file names is imported, called, read or written, unless the user says so.

Each attack leaves a marker, and each is tried on files of both packages and in both formats.
"""

import json
import sys
import types
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tf_keras
from click.testing import CliRunner
from hostile_files import edit, layers_of, shell, write_zip

import respect_tf
from respect_tf._errors import InvalidModelError, RespectError, UnsupportedModelError
from respect_tf.cli import main
from respect_tf.tflite._keras_catalogue import Catalogue
from respect_tf.tflite._keras_config import refusal
from respect_tf.tflite._keras_file import read_keras_file
from respect_tf.tflite._source import open_source
from respect_tf.tflite._trust import Trust

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
    # tf_keras of a Lambda whose module it does not know.
    pytest.mark.filterwarnings("ignore:.*is not loaded, but a Lambda layer uses it"),
]

PACKAGES = pytest.mark.parametrize("package", [keras, tf_keras], ids=["keras", "tf_keras"])
SUFFIXES = pytest.mark.parametrize("suffix", ["keras", "h5"])
TRUSTED = Trust(trusted=True)


@pytest.fixture
def marker(tmp_path):
    """What an attack would make."""
    return tmp_path / "marker"


def _model(package):
    return package.Sequential(
        [
            package.Input((3,)),
            package.layers.Dense(4, activation="relu", kernel_regularizer="l2"),
            package.layers.Dense(2),
        ]
    )


_plain_files: dict[tuple[str, str], bytes] = {}


def _saved(package, suffix, tmp_path, model=None):
    """A model's file; the plain one is made once."""
    path = tmp_path / f"model.{suffix}"
    if model is not None:
        model.save(path)
        return path
    key = package.__name__, suffix
    if key not in _plain_files:
        _model(package).save(path)
        _plain_files[key] = path.read_bytes()
    path.write_bytes(_plain_files[key])
    return path


def _refused(path, marker, match, trust=None):
    with pytest.raises(UnsupportedModelError, match=match) as caught:
        open_source(path, trust or Trust())
    message = str(caught.value)
    assert len(message.splitlines()) == 2
    assert "custom_objects" in message
    assert "trusted=True" in message
    assert not marker.exists()
    return message


def _lambda_model(package, marker):
    source = f"lambda x: (open({str(marker)!r}, 'w').close(), x)[1]"
    function = eval(source)
    options = {"output_shape": (3,)} if package is keras else {}
    layer = package.layers.Lambda(lambda x: x, name="innocent", **options)
    model = package.Sequential([package.Input((3,)), layer])
    layer.function = function  # so that making the model leaves no marker
    return model


@SUFFIXES
@PACKAGES
def test_lambdas_run_for_those_who_trust_them_alone(package, suffix, tmp_path, marker):
    path = _saved(package, suffix, tmp_path, _lambda_model(package, marker))
    _refused(path, marker, "Lambda")
    result = CliRunner().invoke(main, ["convert", str(path), "-o", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "Lambda" in result.output
    assert not marker.exists()
    open_source(path, TRUSTED).call(np.ones((1, 3), np.float32))
    assert marker.exists()


@SUFFIXES
@PACKAGES
def test_a_lambda_inside_an_inner_model_or_wrapper_is_found(package, suffix, tmp_path, marker):
    inner = _lambda_model(package, marker)
    path = _saved(package, suffix, tmp_path, package.Sequential([package.Input((3,)), inner]))
    marker.unlink(missing_ok=True)  # tf_keras calls the layer when it is put into the other model
    _refused(path, marker, "Lambda")

    def wrap(config):
        layers_of(config)[1]["config"] = {
            "name": "wrapped",
            "layer": layers_of(layers_of(config)[1])[1],
        }
        layers_of(config)[1].update(class_name="TimeDistributed", module="keras.layers")

    _refused(edit(path, wrap), marker, "Lambda")


@SUFFIXES
@PACKAGES
def test_a_lambda_under_a_name_of_ones_own_replaces_it(package, suffix, tmp_path, marker):
    class Harmless(package.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(name=kwargs.get("name"))

        def call(self, x):
            return x + 1.0

        @classmethod
        def from_config(cls, config):
            return cls(name=config["name"])

    path = _saved(package, suffix, tmp_path, _lambda_model(package, marker))
    trust = Trust({"Lambda": Harmless})
    source = open_source(path, trust)
    [(_, tensor)] = source.call(np.ones((1, 3), np.float32))
    np.testing.assert_array_equal(tensor, [[2.0, 2.0, 2.0]])
    assert not marker.exists()


@PACKAGES
def test_a_lambda_that_loaders_would_not_replace_is_checked(package, tmp_path, marker):
    """Keras goes by an empty registered_name in HDF5 files, and makes its own Lambda."""

    def change(config):
        layers_of(config)[1].update(
            module="keras.layers",
            class_name="Lambda",
            registered_name=None,
            config={
                "name": "innocent",
                "function": {
                    "module": "pydoc",
                    "class_name": "function",
                    "config": "pipepager",
                    "registered_name": "pipepager",
                },
            },
        )

    path = edit(_saved(package, "h5", tmp_path), change)
    catalogue = Catalogue("keras", {"Lambda": keras.layers.Dense})
    found = refusal(read_keras_file(path).config, catalogue, is_hdf5=True)
    assert found is not None
    assert "pipepager" in found


def _as_function(module, name, argument):
    """CVE-2025-1550: a layer whose activation is any function, called with any argument."""

    def change(config):
        layers_of(config)[1]["config"]["activation"] = {
            "module": module,
            "class_name": "function",
            "config": name,
            "registered_name": name,
        }
        layers_of(config)[1]["build_config"] = {"input_shape": argument}

    return change


def _as_class(module, name, argument):
    """The same as a class that is made with any arguments."""

    def change(config):
        layers_of(config)[1].update(
            module=module, class_name=name, registered_name=None, config={"command": argument}
        )

    return change


def _as_inner_class(module, name, argument):
    def change(config):
        layers_of(config)[1]["config"]["kernel_initializer"] = {
            "module": module,
            "class_name": name,
            "config": {"text": "x", "cmd": argument},
            "registered_name": None,
        }

    return change


FOREIGN = [
    ("pydoc", "pipepager"),
    ("os", "system"),
    ("subprocess", "Popen"),
    ("builtins", "exec"),
    ("builtins", "eval"),
    ("keras.utils", "get_file"),
    ("keras", "utils.get_file"),
    ("keras.src.utils.file_utils", "get_file"),
    ("keras.src.saving.saving_lib", "load_model"),
    ("keras.config", "enable_unsafe_deserialization"),
    ("keras.src.utils.python_utils", "func_load"),
    ("tensorflow", "load_library"),
    ("tensorflow.python.ops.io_ops", "write_file"),
    ("numpy", "load"),
    ("keras.src.activations.numpy", "load"),
    ("respect_tf._errors", "RespectError"),
    ("Keras.layers", "Dense2"),
]


@pytest.mark.parametrize("make", [_as_function, _as_class, _as_inner_class])
@pytest.mark.parametrize(("module", "name"), FOREIGN)
@SUFFIXES
@PACKAGES
def test_foreign_modules_are_refused_by_name(package, suffix, module, name, make, tmp_path, marker):
    path = edit(_saved(package, suffix, tmp_path), make(module, name, shell(marker)))
    message = _refused(path, marker, "needs the (class|function)")
    assert name in message


@SUFFIXES
@PACKAGES
def test_a_module_that_lies_beside_is_not_imported(package, suffix, tmp_path, marker, monkeypatch):
    (tmp_path / "innocent_module.py").write_text(
        f"open({str(marker)!r}, 'w').close()\nclass Dense: pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("Dense", "Layer"):
        change = _as_class("innocent_module", name, "")
        _refused(edit(_saved(package, suffix, tmp_path), change), marker, "innocent_module")


@SUFFIXES
@PACKAGES
def test_another_registered_name_is_no_way_around(package, suffix, tmp_path, marker):
    """A registered name covers a class only where loaders go by it."""

    @package.saving.register_keras_serializable("mine", "Handed")
    class Handed(package.layers.Layer):
        pass

    def change(config):
        layers_of(config)[1].update(
            module="pydoc",
            class_name="mine>Handed" if suffix == "keras" else "pipepager",
            registered_name=None if suffix == "keras" else "mine>Handed",
        )

    path = edit(_saved(package, suffix, tmp_path), change)
    with pytest.raises(RespectError):
        open_source(path)
    assert not marker.exists()


@pytest.mark.parametrize("with_module", [True, False])
@SUFFIXES
@PACKAGES
def test_a_registered_name_covers_no_class_of_keras(package, suffix, with_module, tmp_path, marker):
    """Loaders that go by class_name would make the latter."""

    @package.saving.register_keras_serializable("mine", "Cover")
    class Cover(package.layers.Layer):
        pass

    assert Cover is not None

    def cover(name, **arguments):
        def change(config):
            layer = layers_of(config)[1]
            layer.update(class_name=name, registered_name="mine>Cover")
            layer["config"] = {"name": "covered", **arguments}
            if not with_module:
                layer.pop("module", None)

        return change

    path = _saved(package, suffix, tmp_path)
    _refused(
        edit(path, cover("StringLookup", vocabulary="/etc/hostname")), marker, "reads the file"
    )
    if package is tf_keras:
        _refused(edit(path, cover("TFOpLambda", function="io.write_file")), marker, "io.write_file")
        code = ["", None, None]
        change = cover("ResidualWrapper", residual_fn=code, residual_fn_type="lambda")
        _refused(edit(path, change), marker, "Python code")


@pytest.mark.parametrize(
    "name",
    ["TypeSpec", "TensorShape", "__tuple__", "__slice__", "__ellipsis__", "__keras_tensor__"],
)
@SUFFIXES
@PACKAGES
def test_data_has_no_module(package, suffix, name, tmp_path, marker, monkeypatch):
    """Loaders that know no such data would import it."""
    (tmp_path / "innocent_module.py").write_text(f"open({str(marker)!r}, 'w').close()")
    monkeypatch.syspath_prepend(tmp_path)

    def change(config):
        layers_of(config)[1]["config"]["kernel_constraint"] = {
            "module": "innocent_module",
            "class_name": name,
            "config": {},
            "registered_name": None,
            "items": [],
            "type_spec": "tf.TensorSpec",
            "serialized": [],
        }

    _refused(edit(_saved(package, suffix, tmp_path), change), marker, "innocent_module")


@pytest.mark.parametrize("value", [3, None, ["Dense"], {"class_name": "Dense"}])
@SUFFIXES
@PACKAGES
def test_names_that_are_no_texts_are_refused(package, suffix, value, tmp_path, marker):
    def change(config):
        layers_of(config)[1]["class_name"] = value

    _refused(edit(_saved(package, suffix, tmp_path), change), marker, "no text")


@pytest.mark.parametrize("name", ["StringLookup", "IntegerLookup", "TextVectorization"])
@SUFFIXES
@PACKAGES
def test_vocabularies_in_other_files_are_not_read(package, suffix, name, tmp_path, marker):
    """CVE-2025-12058."""

    def change(config):
        layers_of(config)[1].update(
            class_name=name, config={"name": "lookup", "vocabulary": "/etc/hostname"}
        )

    path = edit(_saved(package, suffix, tmp_path), change)
    assert "/etc/hostname" in _refused(path, marker, "reads the file")


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("TFSMLayer", {"filepath": "/some/model"}),
        ("TorchModuleWrapper", {"module": {"class_name": "__bytes__", "config": {"value": "x"}}}),
        ("JaxLayer", {"call_fn": "f"}),
        ("FlaxLayer", {"module": "f"}),
    ],
)
@SUFFIXES
def test_layers_that_hold_other_programs_are_refused(suffix, name, config, tmp_path, marker):
    def change(whole):
        layers_of(whole)[1].update(class_name=name, config={"name": "holder", **config})

    _refused(edit(_saved(keras, suffix, tmp_path), change), marker, rf"'holder'.*{name}")


@SUFFIXES
def test_ops_of_tensorflow_that_do_more_than_compute_are_refused(suffix, tmp_path, marker):
    import tensorflow as tf

    tensor = tf_keras.Input((3,))
    model = tf_keras.Model(tensor, tf.nn.relu(tensor))

    def call(symbol):
        def change(config):
            layers_of(config)[1]["config"]["function"] = symbol

        return change

    for symbol in (
        *("io.write_file", "io.read_file", "py_function", "numpy_function", "load_library"),
        *("load_op_library", "keras.utils.get_file", "raw_ops.WriteFile", "compat.v1.py_func"),
        *("print", "math.add.__globals__", "_add", "keras.backend.set_floatx", "saved_model.load"),
    ):
        path = edit(_saved(tf_keras, suffix, tmp_path, model), call(symbol))
        assert symbol in _refused(path, marker, "may do more than compute")
    path = edit(_saved(tf_keras, suffix, tmp_path, model), call("math.abs"))
    assert open_source(path).kind == "tf_keras"


@pytest.mark.parametrize(
    ("name", "argument"),
    [("ResidualWrapper", "residual_fn"), ("DropoutWrapper", "dropout_fn")],
)
@pytest.mark.parametrize("legacy", ["", "legacy_"])
@SUFFIXES
def test_wrappers_of_cells_that_hold_code_are_refused(
    suffix, legacy, name, argument, tmp_path, marker
):
    from tf_keras.src.utils import generic_utils

    function = eval(f"lambda *x: (open({str(marker)!r}, 'w').close(), x)[1][1]")
    model = tf_keras.Sequential(
        [tf_keras.Input((2, 3)), tf_keras.layers.RNN(tf_keras.layers.LSTMCell(3))]
    )

    def change(config):
        layer = layers_of(config)[1]["config"]
        layer["cell"] = {
            "module": f"keras.src.layers.rnn.{legacy}cell_wrappers",
            "class_name": name,
            "registered_name": None,
            "config": {
                "cell": layer["cell"],
                argument: generic_utils.func_dump(function),
                f"{argument}_type": "lambda",
                f"{argument}_module": "builtins",
            },
        }

    path = edit(_saved(tf_keras, suffix, tmp_path, model), change)
    _refused(path, marker, "Python code|needs the class")


def test_an_op_layer_of_old_files_may_only_compute(tmp_path, marker):
    def change(op):
        def to_op_layer(config):
            layers_of(config)[1].update(
                class_name="TensorFlowOpLayer",
                config={
                    "name": "op",
                    "node_def": {"name": "Op", "op": op, "input": ["x"]},
                    "constants": {},
                },
            )

        return to_op_layer

    path = _saved(tf_keras, "h5", tmp_path)
    for op in ("WriteFile", "ReadFile", "PyFunc", "NoSuchOp"):
        _refused(edit(path, change(op)), marker, f"'{op}'")
    with pytest.raises(RespectError) as caught:
        open_source(edit(path, change("Relu")))
    assert "may do more" not in str(caught.value)


@PACKAGES
def test_pickled_weights_are_refused(package, tmp_path, marker):
    class Payload:
        def __reduce__(self):
            return open, (str(marker), "w")

    path = _saved(package, "keras", tmp_path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    del members["model.weights.h5"]
    npz = tmp_path / "w.npz"
    np.savez(npz, **{"__root__": np.array([Payload()], dtype=object)})
    members["model.weights.npz"] = npz.read_bytes()
    write_zip(path, members)
    with pytest.raises(InvalidModelError, match="pickled"):
        open_source(path)
    assert not marker.exists()


@SUFFIXES
@PACKAGES
def test_the_file_may_change_while_it_is_checked(package, suffix, tmp_path, marker, monkeypatch):
    """What is loaded are the bytes that were checked."""
    from respect_tf.tflite import _keras_source

    (tmp_path / "bad").mkdir()
    bad = _saved(package, suffix, tmp_path / "bad", _lambda_model(package, marker)).read_bytes()
    path = _saved(package, suffix, tmp_path)
    check = _keras_source.refusal

    def swap_then_check(*args, **kwargs):
        path.write_bytes(bad)
        return check(*args, **kwargs)

    monkeypatch.setattr(_keras_source, "refusal", swap_then_check)
    assert open_source(path).inputs[0].shape == (1, 3)
    assert not marker.exists()


@PACKAGES
def test_what_an_optimizer_was_made_of_does_not_matter(package, tmp_path, marker):
    path = _saved(package, "keras", tmp_path)

    def change(config):
        config["compile_config"] = {
            "optimizer": {"module": "pydoc", "class_name": "pipepager", "config": {}}
        }

    assert open_source(edit(path, change)).kind == package.__name__
    assert not marker.exists()

    def change_inner(config):
        layers_of(config)[1]["compile_config"] = {
            "optimizer": {"module": "pydoc", "class_name": "pipepager", "config": {}}
        }

    _refused(edit(path, change_inner), marker, "pipepager")


@PACKAGES
def test_an_imported_hub_counts_as_handed_over(package, tmp_path, marker, monkeypatch):
    path = _saved(package, "keras", tmp_path)

    def change(config):
        layers_of(config)[1].update(module="keras_hub.fake", class_name="HubDense")

    _refused(edit(path, change), marker, "HubDense")

    class HubDense(package.layers.Dense):
        pass

    hub = types.ModuleType("keras_hub")
    fake = types.ModuleType("keras_hub.fake")
    fake.HubDense, fake.get_file = HubDense, keras.utils.get_file
    monkeypatch.setitem(sys.modules, "keras_hub", hub)
    monkeypatch.setitem(sys.modules, "keras_hub.fake", fake)
    catalogue = Catalogue(package.__name__, {})
    assert refusal(read_keras_file(path).config, catalogue, is_hdf5=False) is None
    _refused(edit(path, _as_class("keras_hub.fake", "get_file", "")), marker, "get_file")


def test_export_refuses_what_convert_refuses(tmp_path, marker):
    path = _saved(keras, "keras", tmp_path, _lambda_model(keras, marker))
    with pytest.raises(UnsupportedModelError, match="Lambda"):
        respect_tf.export(path, tmp_path / "out", representative_dataset=np.ones((2, 3)))
    assert not (tmp_path / "out").exists()
    assert not marker.exists()


def test_the_arguments_are_checked(tmp_path):
    path = _saved(keras, "keras", tmp_path)
    for bad in ([], {"a": 3}, {1: keras.layers.Dense}):
        with pytest.raises(respect_tf.ArgumentError, match="custom_objects must be"):
            respect_tf.convert(path, custom_objects=bad)
    with pytest.raises(respect_tf.ArgumentError, match="trusted must be"):
        respect_tf.convert(path, trusted="yes")


def test_the_command_line_trusts_on_demand(tmp_path, marker):
    path = _saved(keras, "keras", tmp_path, _lambda_model(keras, marker))
    samples = tmp_path / "samples.npy"
    np.save(samples, np.ones((2, 3), np.float32))
    arguments = ["convert", str(path), "-n", "1", "-r", str(samples), "-q", "--compile", "no"]
    result = CliRunner().invoke(main, [*arguments, "--json", "-o", str(tmp_path / "no")])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["type"] == "UnsupportedModelError"
    assert not (tmp_path / "no").exists()
    assert not marker.exists()
    CliRunner().invoke(main, [*arguments, "--trusted", "-o", str(tmp_path / "yes")])
    assert marker.exists()


def _deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000 + b"]" * 100_000,
        b"{" * 5,
        b"\xff\xfe",
        b"[1]",
        b"",
        b'"\\ud800"',
        json.dumps({"class_name": "Sequential", "config": _deep(200)}).encode(),
        b"1" * 10_000,
        json.dumps({"class_name": "\x1b[2J\ud800\0", "config": {}}).encode(),
    ],
)
@SUFFIXES
def test_configurations_that_are_none_end_in_our_errors(suffix, content, tmp_path):
    path = _saved(keras, suffix, tmp_path)
    if suffix == "keras":
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        write_zip(path, {**members, "config.json": content})
    else:
        with h5py.File(path, "r+") as file:
            del file.attrs["model_config"]
            file.attrs["model_config"] = content
    with pytest.raises(RespectError) as caught:
        open_source(path)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_long_configuration_is_not_in_the_message(tmp_path):
    def change(config):
        layers_of(config)[1]["config"].update(units="many", unknown=["x" * 100] * 1000)

    with pytest.raises(RespectError) as caught:
        open_source(edit(_saved(keras, "keras", tmp_path), change))
    assert len(str(caught.value)) < 2000


@SUFFIXES
def test_names_and_versions_do_not_reach_the_terminal_raw(suffix, tmp_path):
    path = _saved(keras, suffix, tmp_path)

    def change(config):
        layers_of(config)[1]["config"].update(name="\x1b[2J", units="\x1b[2J" + "x" * 9999)

    edit(path, change)
    version = "\x1b[2J" + "3" * 9999
    if suffix == "keras":
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        metadata = json.dumps({"keras_version": version}).encode()
        write_zip(path, {**members, "metadata.json": metadata})
    else:
        with h5py.File(path, "r+") as file:
            file.attrs["keras_version"] = version
    with pytest.raises(InvalidModelError) as caught:
        open_source(path)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 2000
