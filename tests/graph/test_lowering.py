"""What lowering says of an architecture is what converting it makes."""

import collections

import keras
import numpy as np
import pytest
import tf_keras
from keras import layers, ops

from respect_tf import OpGraph, UnsupportedModelError
from respect_tf.graph.lowering import UnknownLayerError, lower
from respect_tf.tflite import to_int8

IMAGE = (16, 16, 8)


def _chain(shape, *chained, package=keras):
    tensor = start = package.Input(shape)
    for layer in chained:
        tensor = layer(tensor)
    return package.Model(start, tensor)


def _squeezed(package=keras):
    """Squeeze and excitation as MobileNetV3 has it, with sums and products by numbers."""
    layer = package.layers
    start = package.Input(IMAGE)
    tensor = layer.Conv2D(8, 1)(start)
    small = layer.GlobalAveragePooling2D(keepdims=True)(tensor)
    small = layer.Conv2D(8, 1)(layer.Conv2D(4, 1, activation="relu")(small))
    small = layer.ReLU(6.0)(small + 3.0) * (1.0 / 6.0)
    return package.Model(start, layer.Multiply()([tensor, small]))


def _branches():
    start = keras.Input(IMAGE)
    first = layers.Conv2D(8, 1)(start)
    second = layers.Conv2D(8, 1)(layers.ReLU()(first))
    third = layers.Conv2D(8, 3, padding="same")(layers.ReLU()(first))
    joined = layers.Concatenate()([second, third, layers.MaxPooling2D(3, 1, "same")(first)])
    summed = layers.ReLU()(layers.Add()([first, second, third]))
    return keras.Model(
        start, [layers.Conv2D(3, 1)(joined), summed, layers.Average()([first, third])]
    )


def _nested():
    inner = _chain(IMAGE, layers.Conv2D(8, 3, padding="same"), layers.ReLU())
    start = keras.Input(IMAGE)
    tensor = inner(keras.Sequential([layers.Conv2D(8, 1), layers.BatchNormalization()])(start))
    return keras.Model(start, layers.Dense(3)(layers.Flatten()(inner(tensor))))


def _padded():
    start = keras.Input(IMAGE)
    tensor = layers.Rescaling(0.5)(start)
    tensor = layers.ZeroPadding2D(((0, 1), (0, 1)))(tensor)
    first = layers.Conv2D(4, 3, 2)(tensor)
    second = layers.MaxPooling2D(3, 2)(tensor)
    return keras.Model(start, [first, second])


def _sliced():
    start = keras.Input(IMAGE)
    left, right = ops.split(layers.Conv2D(16, 1)(start), 2, axis=-1)
    shuffled = layers.Reshape((16, 16, 2, 8))(layers.Concatenate()([right, left]))
    shuffled = layers.Reshape((16, 16, 16))(layers.Permute((1, 2, 4, 3))(shuffled))
    pieces = [shuffled[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    cropped = layers.CenterCrop(4, 4)(layers.Concatenate()(pieces))
    return keras.Model(start, layers.Conv2D(4, 1)(cropped[..., ::-1]))


def _pixel_shuffle():
    start = keras.Input(IMAGE)
    tensor = layers.Reshape((16, 16, 2, 2, 3))(layers.Conv2D(12, 3, padding="same")(start))
    tensor = layers.Reshape((32, 32, 3))(layers.Permute((1, 3, 2, 4, 5))(tensor))
    return keras.Model(start, layers.Conv2D(2, 1)(tensor))


def _reduced():
    start = keras.Input(IMAGE)
    tensor = layers.Conv2D(6, 3)(start)
    gate = layers.Conv2D(1, 3, padding="same")(
        layers.Concatenate()(
            [ops.mean(tensor, axis=-1, keepdims=True), ops.max(tensor, axis=-1, keepdims=True)]
        )
    )
    tensor = ops.abs(tensor) * ops.sigmoid(gate)
    tensor = layers.ReLU(3.0)(tensor - ops.mean(tensor, axis=(1, 2, 3), keepdims=True))
    return keras.Model(start, layers.Dense(2)(ops.sum(tensor, axis=(1, 2))))


def _attention():
    start = keras.Input((6, 8))
    tensor = layers.RMSNormalization()(start)
    tensor = start + layers.MultiHeadAttention(2, 4)(tensor, tensor)
    token = layers.UnitNormalization()(layers.Dense(8)(tensor)[:, 0])
    apart = ops.sqrt(ops.square(layers.Dense(8)(start)) + ops.square(layers.Dense(8)(start)) + 1.0)
    pooled = ops.sum(apart * layers.Softmax(axis=1)(layers.Dense(1)(start)), axis=1)
    return keras.Model(start, [layers.Dot(1)([token, pooled]), ops.square(token - pooled)])


def _shared():
    first, second = keras.Input(IMAGE), keras.Input(IMAGE)
    net = _chain(IMAGE, layers.Conv2D(4, 3, activation="mish"))
    apart = ops.abs(net(first) - net(second))
    joined = layers.Concatenate()([net(first), net(second), apart])
    return keras.Model([first, second], layers.Conv2D(2, 3, activation="selu")(joined))


# Built anew for each test: conversions of one model would share its state.
MODELS = {
    "sliced": _sliced,
    "pixel_shuffle": _pixel_shuffle,
    "reduced": _reduced,
    "attention": _attention,
    "shared": _shared,
    "folding": lambda: _chain(
        IMAGE, layers.Conv2D(4, 3, padding="same", use_bias=False), layers.BatchNormalization(),
        layers.ReLU(), layers.MaxPooling2D(2), layers.ReLU(), layers.AveragePooling2D(2),
        layers.BatchNormalization(), layers.ReLU(6.0), layers.Conv2D(4, 3),
    ),
    "dense": lambda: _chain(
        (8,), layers.Dense(4), layers.BatchNormalization(), layers.ReLU(), layers.Dropout(0.1),
        layers.Dense(4, use_bias=False), layers.Activation("tanh"), layers.BatchNormalization(),
        layers.Dense(3, activation="softmax"),
    ),
    "separable": lambda: _chain(
        IMAGE, layers.DepthwiseConv2D(3, depth_multiplier=2, dilation_rate=2),
        layers.SeparableConv2D(4, 3, strides=2, activation="relu"), layers.BatchNormalization(),
        layers.Conv2DTranspose(4, 3, strides=2, padding="same"), layers.BatchNormalization(),
        layers.ReLU(), layers.Conv2D(4, 1, groups=2), layers.GlobalMaxPooling2D(),
    ),
    "activations": lambda: _chain(
        IMAGE, layers.Conv2D(4, 1, activation="swish"), layers.Conv2D(4, 1, activation="relu6"),
        layers.Conv2D(4, 1, activation="hard_sigmoid"), layers.Conv2D(4, 1, activation="sigmoid"),
        layers.PReLU(shared_axes=None), layers.MaxPooling2D(3, 2, "same"),
    ),
    "rewritten": lambda: _chain(
        IMAGE, layers.Dense(8, activation="relu"), layers.LayerNormalization(),
        layers.UpSampling2D(16), layers.Conv2D(8, 3, 8), layers.LeakyReLU(),
        layers.Activation("hard_swish"), layers.Conv2D(4, 1), layers.ELU(), layers.Conv2D(4, 1),
        layers.GlobalAveragePooling2D(), layers.Dense(8), layers.RepeatVector(4),
        layers.Dense(8, activation="relu"), layers.Dense(4),
    ),
    "groups": lambda: _chain(
        IMAGE, layers.Conv2D(96, 3, groups=2, padding="same"), layers.BatchNormalization(),
        layers.ReLU(), layers.Conv2D(96, 3, groups=6, activation="relu"),
        layers.Conv2D(96, 3, groups=96), layers.Conv2D(4, 1),
    ),
    "shapes": lambda: _chain(
        IMAGE, layers.ZeroPadding2D(1), layers.MaxPooling2D(3, 1), layers.Cropping2D(1),
        layers.UpSampling2D(2, interpolation="bilinear"), layers.Permute((3, 1, 2)),
        layers.Reshape((8, -1)), layers.Reshape((8, 14, 56)), layers.Resizing(7, 28),
        layers.Flatten(), layers.Dense(3),
    ),
    "one_dimension": lambda: _chain(
        (32, 4), layers.Conv1D(8, 3, padding="same"), layers.BatchNormalization(), layers.ReLU(),
        layers.MaxPooling1D(2), layers.Conv1D(8, 3, dilation_rate=2, padding="causal"),
        layers.AveragePooling1D(2), layers.GlobalAveragePooling1D(), layers.Dense(3),
    ),
    "preprocessing": lambda: _chain(
        IMAGE, layers.Rescaling(1 / 127.5, offset=-1.0),
        layers.Normalization(mean=[0.5] * 8, variance=[2.0] * 8),
        layers.Conv2D(4, 3, padding="same"),
    ),
    "numbers_go_into_weights": lambda: _chain(
        IMAGE, layers.Rescaling(0.5, offset=-1.0), layers.DepthwiseConv2D(3), layers.ReLU(),
        layers.Rescaling(0.25), layers.Conv2D(4, 1),
    ),
    "squeeze_and_excite": _squeezed,
    "squeeze_and_excite_of_tf_keras": lambda: _chain(
        IMAGE, tf_keras.layers.Conv2D(4, 3, use_bias=False), tf_keras.layers.BatchNormalization(),
        tf_keras.layers.ReLU(), tf_keras.layers.GlobalAveragePooling2D(),
        tf_keras.layers.Dense(3, activation="softmax"), package=tf_keras,
    ),
    "branches": _branches,
    "nested_and_shared": _nested,
    "padding_of_two": _padded,
}  # fmt: skip


def _converted(model, *, fresh=False):
    generator = np.random.default_rng(0)
    for weight in (
        () if fresh else model.weights
    ):  # so that no bias is zero, and no channel equals another
        values = np.abs(generator.standard_normal(weight.shape)) * 0.3 + 0.1
        weight.assign(values)
    data = [generator.standard_normal((1, *t.shape[1:])).astype("float32") for t in model.inputs]
    content = to_int8(model, lambda: iter([data, data]), strict=False, verbose=0).content
    return OpGraph.from_tflite(content)


def _ops(graph):
    """The ops of a graph, counted. Versions are left out: those of some ops depend on scales."""
    found = []
    for op in range(graph.num_ops):
        attributes = graph.op_attributes[op]
        read = [t for t in graph.inputs_of(op) if not graph.is_constant[t]]
        found.append(
            (
                graph.op_types[op],
                tuple(graph.tensor_shapes[t] for t in read),
                tuple(graph.tensor_shapes[t] for t in graph.outputs_of(op)),
                int(graph.parameter_bytes[op]),
                int(graph.macs[op]),
                attributes.fused_activation,
                attributes.padding,
                attributes.strides,
                attributes.dilation,
                attributes.window,
            )
        )
    return collections.Counter(found)


@pytest.mark.parametrize("name", MODELS)
def test_an_architecture_has_the_ops_that_converting_it_makes(name):
    keras.utils.clear_session()
    model = MODELS[name]()
    lowered = lower(model)
    converted = _converted(model)
    assert _ops(lowered) - _ops(converted) == collections.Counter()
    assert _ops(converted) - _ops(lowered) == collections.Counter()
    assert len(lowered.edges) == len(converted.edges)
    assert len(lowered.model_inputs) == len(converted.model_inputs)
    assert len(lowered.model_outputs) == len(converted.model_outputs)


@pytest.mark.parametrize("name", ["folding", "dense", "one_dimension"])
def test_zeros_of_a_fresh_model_are_removed_as_a_conversion_does(name):
    keras.utils.clear_session()
    model = MODELS[name]()
    converted = _converted(model, fresh=True)
    assert _ops(lower(model, trained=False)) == _ops(converted)
    assert _ops(lower(model)) != _ops(converted)


def test_ops_are_named_after_layers():
    model = _chain(IMAGE, layers.Conv2D(4, 3, name="stem"), layers.MaxPooling2D(2, name="pool"))
    assert lower(model).op_names == ("stem/CONV_2D", "pool/MAX_POOL_2D")


class Doubled(layers.Layer):
    def call(self, inputs):
        return inputs * 2.0


class Conv2D(layers.Layer):
    """Shares its name with a layer of Keras's, and no more."""

    def call(self, inputs):
        return inputs + 1.0


@pytest.mark.parametrize(
    "layer", [Doubled(name="mine"), Conv2D(name="mine"), layers.Lambda(abs, name="mine")]
)
def test_a_layer_that_is_not_known_is_named(layer):
    with pytest.raises(UnknownLayerError, match=f"'mine', a {type(layer).__name__}"):
        lower(_chain(IMAGE, layer))


def test_a_subclassed_model_and_open_sizes_are_refused_with_the_remedy():
    class Mine(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(UnsupportedModelError, match=r"by code of its own.*convert it"):
        lower(Mine(name="mine"))
    with pytest.raises(UnsupportedModelError, match="Only the batch may be unknown"):
        lower(_chain((None, None, 3), layers.Conv2D(4, 3)))
    with pytest.raises(UnsupportedModelError, match="no ops"):
        lower(_chain(IMAGE, layers.Dropout(0.5)))
