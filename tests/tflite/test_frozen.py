from __future__ import annotations

import sys

import keras
import pytest
import tensorflow as tf
from tensorflow.python.framework import convert_to_constants

from respect_tf.tflite import _memory
from respect_tf.tflite._frozen import freeze_without_a_function
from respect_tf.tflite._memory import give_freed_memory_back


@pytest.fixture
def model():
    """Two inputs in another order than their names, a shared weight, two outputs."""
    left = keras.Input((4, 4, 2), name="z")
    right = keras.Input((4, 4, 2), name="a")
    shared = keras.layers.Conv2D(3, 3, name="shared")
    made = keras.layers.Add()([shared(left), shared(right)])
    made = keras.layers.BatchNormalization()(made)
    return keras.Model([left, right], [made * 0.5, keras.layers.Flatten()(right)])


@pytest.fixture
def function(model):
    """The model with a constant before it; it refers to the model's variables weakly."""
    constant = tf.constant([[[[1.0, 2.0]]]])

    @tf.function
    def traced(left, right):
        return model([left + constant, right], training=False)

    specs = [tf.TensorSpec((1, 4, 4, 2), name=f"input_{number}") for number in range(2)]
    return traced.get_concrete_function(*specs)


def _described(tensors):
    return [(tensor.name, tensor.shape, tensor.dtype) for tensor in tensors]


def test_the_frozen_graph_is_the_one_of_tensorflow(function):
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    graph, inputs, outputs, _ = converter._freeze_concrete_function()
    freeze_without_a_function(converter, function)
    lean_graph, lean_inputs, lean_outputs, lean_function = converter._freeze_concrete_function()
    assert lean_function is None
    assert lean_graph == graph
    assert _described(lean_inputs) == _described(inputs)
    assert _described(lean_outputs) == _described(outputs)
    assert len(lean_inputs) == len(lean_outputs) == 2


def test_the_model_is_the_one_of_tensorflow(function):
    contents = []
    for lean in (False, True):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
        if lean:
            freeze_without_a_function(converter, function)
        contents.append(converter.convert())
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    "name", ["_FunctionConverterDataInEager", "_replace_variables_by_constants"]
)
def test_a_tensorflow_that_freezes_in_another_way_does_so(function, monkeypatch, name):
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    before = converter._freeze_concrete_function
    monkeypatch.delattr(convert_to_constants, name)
    freeze_without_a_function(converter, function)
    assert converter._freeze_concrete_function == before


def test_a_converter_without_that_step_is_left_alone(function):
    other = object()
    freeze_without_a_function(other, function)


def test_memory_is_given_back_where_the_library_can(monkeypatch):
    calls = []

    class Library:
        def __init__(self, name):
            assert name is None

        def malloc_trim(self, pad):
            calls.append(pad)

    class Without:
        def __init__(self, name): ...

    monkeypatch.setattr(_memory.ctypes, "CDLL", Library)
    monkeypatch.setattr(sys, "platform", "linux")
    give_freed_memory_back()
    assert calls == [0]
    monkeypatch.setattr(_memory.ctypes, "CDLL", Without)  # musl
    give_freed_memory_back()
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(_memory.ctypes, "CDLL", Library)
    give_freed_memory_back()
    assert calls == [0]
