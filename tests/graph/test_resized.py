"""Graphs for pictures of another size, and how far outputs look."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from respect_tf import OpGraph, UnsupportedModelError
from respect_tf.graph import picture_size, receptive_field, resized
from respect_tf.graph.lowering import lower


def encoder_decoder(height: int = 64, width: int = 64, channels: int = 4) -> keras.Model:
    """Convolutions, pools, a skip connection, and two ways up."""
    image = keras.Input((height, width, 3))
    first = layers.Conv2D(channels, 3, padding="same", activation="relu")(image)
    x = layers.MaxPooling2D()(first)
    x = layers.DepthwiseConv2D(3, padding="same", dilation_rate=2)(x)
    x = layers.Conv2D(channels, 3, strides=2, padding="same")(x)
    x = layers.UpSampling2D()(x)
    x = layers.Conv2DTranspose(channels, 2, strides=2)(x)
    x = layers.Concatenate()([x, first])
    return keras.Model(image, layers.Conv2D(2, 1)(x))


def detector(height: int, width: int) -> keras.Model:
    image = keras.Input((height, width, 3))
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(image)
    x = layers.Conv2D(8, 3, strides=2)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU(6.0)(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Multiply()([x, layers.Conv2D(8, 1, activation="sigmoid")(gate)])
    small = layers.Conv2D(8, 3, strides=2, padding="same")(x)
    heads = [
        layers.Reshape((-1, 4))(layers.Conv2D(8, 3, padding="same")(level)) for level in (x, small)
    ]
    flat = layers.Dense(5)(layers.GlobalAveragePooling2D()(small))
    return keras.Model(image, [layers.Concatenate(axis=1)(heads), flat])


@pytest.mark.parametrize("build", [encoder_decoder, detector])
def test_is_the_graph_of_the_architecture_at_that_size(build):
    found, expected = resized(lower(build(64, 64)), 32, 96), lower(build(32, 96))
    assert found.op_types == expected.op_types
    assert found.tensor_shapes == expected.tensor_shapes
    assert found.op_attributes == expected.op_attributes
    for figure in ("macs", "tensor_bytes", "parameter_bytes"):
        assert np.array_equal(getattr(found, figure), getattr(expected, figure))


def test_there_and_back_is_the_same_graph():
    graph = lower(detector(64, 64))
    back = resized(resized(graph, 128, 64), *picture_size(graph))
    assert back.tensor_shapes == graph.tensor_shapes
    assert np.array_equal(back.macs, graph.macs)


def test_a_dense_layer_over_all_pixels_is_named():
    image = keras.Input((8, 8, 3))
    flat = layers.Flatten()(layers.Conv2D(4, 3)(image))
    graph = lower(keras.Model(image, layers.Dense(2, name="classes")(flat)))
    with pytest.raises(UnsupportedModelError, match=r"FULLY_CONNECTED 'classes.*for 144 values"):
        resized(graph, 16, 16)


def test_tensors_that_no_longer_fit_are_named():
    graph = lower(encoder_decoder())
    with pytest.raises(UnsupportedModelError, match="CONCATENATION"):
        resized(graph, 62, 64)


def test_nothing_is_left_of_a_picture_that_is_too_small():
    image = keras.Input((16, 16, 1))
    graph = lower(keras.Model(image, layers.Conv2D(2, 9)(image)))
    with pytest.raises(UnsupportedModelError, match="nothing is left"):
        resized(graph, 8, 8)


def test_graphs_without_pictures_or_attributes_are_refused():
    vector = keras.Input((4,))
    with pytest.raises(UnsupportedModelError, match="0 sizes of pictures"):
        resized(lower(keras.Model(vector, layers.Dense(2)(vector))), 8, 8)
    with pytest.raises(UnsupportedModelError, match="no attributes"):
        resized(OpGraph.from_arrays([1, 1], [1, 1], [[0, 1]]), 8, 8)


def test_the_field_holds_all_pixels_that_an_output_depends_on():
    import tensorflow as tf

    model = encoder_decoder()
    found = receptive_field(lower(model))
    image = tf.Variable(tf.random.stateless_normal((1, 64, 64, 3), (0, 1)))
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(model(image)[:, 32:36, 32:36])
    seen = np.nonzero(np.abs(tape.gradient(value, image).numpy()).sum((0, 2, 3)))[0]
    # Four outputs side by side look three pixels farther than one.
    assert seen.max() - seen.min() + 1 - 3 <= found.field[0]
    assert found.step == (4, 4)
    assert found.is_local


def test_means_over_places_and_dense_layers_look_at_everything():
    assert not receptive_field(lower(detector(32, 32))).is_local


def test_means_over_channels_look_at_their_place():
    image = keras.Input((16, 16, 3))
    graph = lower(keras.Model(image, layers.Conv2D(2, 5)(layers.LayerNormalization()(image))))
    assert receptive_field(graph).field == (5, 5)
