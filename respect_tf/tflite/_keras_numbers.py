"""Keras models that compute in other numbers than float32, and what TFLite cannot take of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from respect_tf._errors import UnsupportedModelError
from respect_tf.tflite._keras_catalogue import KerasKind

_OTHER_FLOATS = ("float16", "bfloat16", "float64")


def refuse_other_numbers(model: Any, kind: KerasKind) -> None:
    """Refuse a model after Keras's `quantize`, and weights that cannot be had as float32.

    Raises:
        UnsupportedModelError: Layers are quantised, or keep weights in other floats (tf_keras).
    """
    for layer in _layers(model)[1:] if kind == "tf_keras" else ():
        kept = {weight.dtype.name for weight in layer.weights} & set(_OTHER_FLOATS)
        if kept:
            raise UnsupportedModelError(
                f"Layer '{layer.name}' keeps its weights in {', '.join(sorted(kept))}, which "
                "TFLite has no kernels for. Build the model with the policy 'float32' and load the "
                "weights into it; mixed_float16 and mixed_bfloat16 are taken as they are."
            )
    names = [
        layer.name
        for layer in _layers(model)
        if getattr(getattr(layer, "dtype_policy", None), "quantization_mode", None) is not None
    ]
    if names:
        named = ", ".join(map(repr, names[:4])) + (" and others" if len(names) > 4 else "")
        raise UnsupportedModelError(
            f"'{model.name}' was quantised by Keras (its quantize() changed layer {named}), in a "
            "way that TFLite does not know. Pass the model as it was before: it is quantised here."
        )


@contextlib.contextmanager
def in_float32(model: Any, kind: KerasKind) -> Iterator[None]:
    """Let all layers of a model compute in float32 inside the block.

    Mixed precision, bfloat16 and float64 are for training; what an Edge TPU runs is int8 anyway,
    and TFLite's kernels are float32.
    """
    with contextlib.ExitStack() as stack:
        for layer in _layers(model):
            if str(getattr(layer, "compute_dtype", "float32")) in _OTHER_FLOATS:
                stack.enter_context(_policy_set(layer, kind))
        if kind == "keras":
            stack.enter_context(_plain_argmax())
        yield


@contextlib.contextmanager
def _policy_set(layer: Any, kind: KerasKind) -> Iterator[None]:
    if kind == "keras":
        import keras

        before = layer.dtype_policy
        policy = keras.DTypePolicy("float32")
        # Where variables have another type than what is computed in, Keras casts them.
        policy._variable_dtype = before.variable_dtype
        layer.dtype_policy = policy
        try:
            yield
        finally:
            layer.dtype_policy = before
        return
    before = layer._dtype_policy
    layer._set_dtype_policy("float32")
    try:
        yield
    finally:
        layer._set_dtype_policy(before)


@contextlib.contextmanager
def _plain_argmax() -> Iterator[None]:
    """Keras 3 tells -0.0 from 0.0 in argmax and argmin, by bits, for which TFLite has no kernel."""
    import tensorflow as tf
    from keras.src.backend.tensorflow import numpy as backend

    originals = {name: getattr(backend, name, None) for name in ("argmax", "argmin")}

    def plain(function: Any) -> Any:
        def found(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
            x = tf.convert_to_tensor(x)
            if axis is None:
                x, place = tf.reshape(x, [-1]), 0
            else:
                place = axis
            y = function(x, axis=place, output_type=tf.int32)
            return tf.expand_dims(y, place) if keepdims and axis is not None else y

        return found

    for name, function in (("argmax", tf.argmax), ("argmin", tf.argmin)):
        if originals[name] is not None:
            setattr(backend, name, plain(function))
    try:
        yield
    finally:
        for name, original in originals.items():
            if original is not None:
                setattr(backend, name, original)


def float32_if_other(dtype: str) -> str:
    """The type that an input has here: float32 for every float type."""
    return "float32" if dtype in _OTHER_FLOATS else dtype


def _layers(model: Any) -> list[Any]:
    """A model and all its layers, nested ones too."""
    found = [model]
    for layer in getattr(model, "layers", ()):
        found += _layers(layer)
    inner = getattr(model, "_flatten_layers", None)
    if callable(inner):
        known = {id(layer) for layer in found}
        found += [layer for layer in inner() if id(layer) not in known]
    return found
