"""Files that Keras writes itself load without `trusted`, whatever they are made of."""

import importlib
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from respect_tf._errors import UnsupportedModelError
from respect_tf.tflite._keras_catalogue import Catalogue
from respect_tf.tflite._keras_config import refusal
from respect_tf.tflite._keras_file import read_keras_file
from respect_tf.tflite._source import FloatModel, open_source
from respect_tf.tflite._trust import Trust

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
]

PACKAGES = pytest.mark.parametrize("package", [keras, tf_keras], ids=["keras", "tf_keras"])
SUFFIXES = pytest.mark.parametrize("suffix", ["keras", "h5"])


def _functional(package):
    layers = package.layers
    image = package.Input((8, 8, 3), name="image")
    other = package.Input((4,), name="other")
    shared = layers.Dense(4, activation="relu", kernel_regularizer=package.regularizers.L2(0.1))
    inner_input = package.Input((4,))
    inner = package.Model(inner_input, layers.Dense(4, activation="tanh")(inner_input))
    outer = package.Sequential([package.Input((4,)), inner, layers.Dropout(0.1)])
    flat = layers.GlobalAveragePooling2D()(
        layers.Conv2D(4, 3, kernel_initializer=package.initializers.HeNormal(seed=1))(image)
    )
    # A model that was used before, so that its calls here have other numbers.
    inner(package.Input((4,)))
    joined = layers.Concatenate()([outer(shared(flat)), shared(other)])
    return package.Model([image, other], layers.Dense(2, activation="softmax")(joined))


def _sequential(package):
    layers = package.layers
    model = package.Sequential(
        [
            package.Input((8, 8, 3)),
            layers.Rescaling(1 / 255),
            layers.RandomFlip("horizontal"),
            layers.Resizing(6, 6),
            layers.Normalization(mean=0.5, variance=2.0),
            layers.SeparableConv2D(4, 3, depthwise_constraint="max_norm"),
            layers.BatchNormalization(beta_regularizer="l2"),
            layers.LeakyReLU(),
            layers.TimeDistributed(layers.GlobalAveragePooling1D()),
            layers.Bidirectional(layers.GRU(3, return_sequences=True)),
            layers.Activation(package.activations.swish),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )

    def own_loss(y_true, y_pred):
        return package.backend.mean(y_pred - y_true) if package is tf_keras else y_pred - y_true

    model.compile(package.optimizers.Adam(package.optimizers.schedules.CosineDecay(0.1, 9)))
    model.compile("sgd", own_loss, metrics=["accuracy"])
    return model


def _attention(package):
    tensor = package.Input((5, 4))
    attended = package.layers.MultiHeadAttention(1, 2)(tensor, tensor)
    return package.Model(tensor, package.layers.LayerNormalization()(attended + tensor))


def _mixed_precision(package):
    policy = package.mixed_precision.Policy if package is tf_keras else package.DTypePolicy
    tensor = package.Input((5,))
    hidden = package.layers.Dense(4, dtype=policy("mixed_float16"))(tensor)
    return package.Model(tensor, package.layers.Dense(2, dtype="float32")(hidden))


def _ops(package):
    tensor = package.Input((6, 6, 2))
    if package is keras:
        hidden = keras.ops.relu(keras.ops.transpose(tensor, (0, 2, 1, 3)) * 2.0 + 1.0)
        hidden = keras.ops.concatenate([hidden[:, 1:5], hidden[:, :4]], axis=-1)
        hidden = keras.ops.image.resize(hidden, (8, 8))
    else:
        hidden = tf.nn.relu(tf.transpose(tensor, (0, 2, 1, 3)) * 2.0 + 1.0)
        hidden = tf.concat([hidden[:, 1:5], hidden[:, :4]], axis=-1)
        hidden = tf_keras.backend.clip(tf.image.resize(hidden, (8, 8)), 0.0, 1.0)
    return package.Model(tensor, package.layers.Conv2D(2, 3)(hidden))


def _application(package):
    return package.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=3)


MODELS = {
    "functional": _functional,
    "sequential": _sequential,
    "attention": _attention,
    "mixed_precision": _mixed_precision,
    "ops": _ops,
    "application": _application,
}


def _results(source: FloatModel) -> list[np.ndarray]:
    arrays = [np.full(spec.shape, 0.5, spec.dtype) for spec in source.inputs]
    return [np.asarray(tensor) for _, tensor in source.call(*arrays)]


@pytest.mark.parametrize("kind", MODELS)
@SUFFIXES
@PACKAGES
def test_a_saved_model_computes_what_it_did(package, suffix, kind, tmp_path):
    if (package, suffix) == (keras, "h5") and kind in ("attention", "ops"):
        pytest.skip("Keras 3 does not load such .h5 files of its own")
    model = MODELS[kind](package)
    path = tmp_path / f"model.{suffix}"
    model.save(path)
    source = open_source(path)
    assert isinstance(source, FloatModel)
    assert source.kind == package.__name__
    for found, expected in zip(_results(source), _results(open_source(model)), strict=True):
        np.testing.assert_array_equal(found, expected)


@PACKAGES
def test_preprocessing_with_vocabularies_of_its_own_is_no_obstacle(package, tmp_path):
    layers = package.layers
    words = package.Input((), dtype="string")
    vectors = layers.TextVectorization(output_sequence_length=3, vocabulary=["a", "b"])(words)
    numbers = package.Input((1,), dtype="int64")
    looked_up = layers.IntegerLookup(vocabulary=[3, 4, 5])(numbers)
    text = layers.StringLookup(vocabulary=["x", "y"])(package.layers.Reshape((1,))(words))
    path = tmp_path / "model.keras"
    package.Model([words, numbers], [vectors, looked_up, text]).save(path)
    with pytest.raises(UnsupportedModelError, match=r"has the shape|has the dtype string"):
        open_source(path)  # it was loaded, and an Edge TPU takes no strings


def _registered(package, name):
    @package.saving.register_keras_serializable(package="mine", name=name)
    class Scaled(package.layers.Layer):
        def __init__(self, factor=2.0, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def call(self, x):
            return x * self.factor

        def get_config(self):
            return {**super().get_config(), "factor": self.factor}

    return Scaled


@SUFFIXES
@PACKAGES
def test_a_registered_class_counts_as_handed_over(package, suffix, tmp_path):
    layer = _registered(package, f"Scaled{suffix}")
    path = tmp_path / f"model.{suffix}"
    package.Sequential([package.Input((3,)), layer(3.0)]).save(path)
    np.testing.assert_array_equal(_results(open_source(path)), [[[1.5, 1.5, 1.5]]])


@PACKAGES
def test_a_subclassed_model_of_a_registered_class_loads(package, tmp_path):
    @package.saving.register_keras_serializable(package="mine", name=f"Net_{package.__name__}")
    class Net(package.Model):
        def __init__(self, units=2, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.dense = package.layers.Dense(units)

        def call(self, x):
            return self.dense(x)

        def get_config(self):
            return {"units": self.units, "name": self.name}

    model = Net()
    model(np.ones((1, 3), np.float32))
    path = tmp_path / "model.keras"
    model.save(path)
    if package is tf_keras:  # which keeps no shapes of such models
        with pytest.raises(UnsupportedModelError, match=r"\(Net\) has never been built"):
            open_source(path)
    else:
        assert [spec.shape for spec in open_source(path).inputs] == [(1, 3)]


def _unregistered(package):
    class Scaled(package.layers.Layer):
        def call(self, x):
            return x * 2.0

    return Scaled


@SUFFIXES
@PACKAGES
def test_a_class_of_ones_own_is_handed_over_by_its_plain_name(package, suffix, tmp_path):
    layer = _unregistered(package)
    path = tmp_path / f"model.{suffix}"
    package.Sequential([package.Input((3,)), layer(name="doubling")]).save(path)
    with pytest.raises(UnsupportedModelError, match=r"class .*Scaled.*'doubling'") as caught:
        open_source(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert "custom_objects" in lines[1]
    assert "trusted=True" in lines[1]
    assert max(map(len, lines)) < 400
    source = open_source(path, Trust({"Scaled": layer}))
    np.testing.assert_array_equal(_results(source), [[[1.0, 1.0, 1.0]]])


@SUFFIXES
@PACKAGES
def test_the_plain_name_does_where_the_file_has_a_package_before_it(package, suffix, tmp_path):
    layer = _registered(package, "Passing")
    path = tmp_path / f"model.{suffix}"
    package.Sequential([package.Input((3,)), layer(3.0)]).save(path)
    package.saving.get_custom_objects().pop("mine>Passing")
    custom_objects = {"Passing": layer, "Scaled": layer}
    np.testing.assert_array_equal(
        _results(open_source(path, Trust(custom_objects))), [[[1.5, 1.5, 1.5]]]
    )


def test_a_lambda_with_a_named_function_takes_it_from_the_user(tmp_path):
    def twice(x):
        return x * 2.0

    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Lambda(twice, (3,))]).save(path)
    with pytest.raises(UnsupportedModelError, match=r"Lambda|twice"):
        open_source(path)
    np.testing.assert_array_equal(
        _results(open_source(path, Trust({"twice": twice}))), [[[1.0, 1.0, 1.0]]]
    )


def test_functions_of_ones_own_are_handed_over_too(tmp_path):
    @keras.saving.register_keras_serializable("mine", "halved")
    def halved(x):
        return x / 2.0

    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Activation(halved)]).save(path)
    np.testing.assert_array_equal(_results(open_source(path)), [[[0.25, 0.25, 0.25]]])
    keras.saving.get_custom_objects().pop("mine>halved")
    with pytest.raises(UnsupportedModelError, match=r"the function 'mine>halved'"):
        open_source(path)
    source = open_source(path, Trust({"halved": halved}))
    np.testing.assert_array_equal(_results(source), [[[0.25, 0.25, 0.25]]])


def test_configurations_are_read_without_loading_anything(tmp_path):
    path = tmp_path / "model.keras"
    _functional(keras).save(path)
    file = read_keras_file(path)
    assert (file.is_hdf5, file.version) == (False, keras.__version__)
    assert file.config["class_name"] == "Functional"


# tf_keras of its own EfficientNets.
@pytest.mark.filterwarnings("ignore:The `keras.initializers.serialize")
@pytest.mark.parametrize("name", ["MobileNetV3Small", "EfficientNetV2B0"])
@PACKAGES
def test_the_applications_are_made_of_nothing_foreign(package, name):
    model = getattr(package.applications, name)(weights=None)
    catalogue = Catalogue(package.__name__, {})
    assert refusal(json.loads(model.to_json()), catalogue, is_hdf5=False) is None


def test_the_catalogue_holds_every_public_layer():
    for package in ("keras", "tf_keras"):
        catalogue = Catalogue(package, {})
        public = vars(importlib.import_module(package).layers)
        names = [name for name, value in public.items() if isinstance(value, type)]
        missing = {name for name in names if catalogue.find_class("keras.layers", name) is None}
        # What is no layer, and what takes code or files.
        assert missing <= {
            *("InputSpec", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
        }
