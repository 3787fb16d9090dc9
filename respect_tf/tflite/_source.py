"""What a user may hand over as a model, brought to one of three forms.

A Keras model or a SavedModel becomes a `FloatModel`, which can be traced with any batch size. A
.tflite file becomes its bytes. A configured `tf.lite.TFLiteConverter` stays as it is, because its
options are the user's.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from respect_tf._errors import (
    ArgumentError,
    InvalidModelError,
    RespectError,
    UnsupportedModelError,
)
from respect_tf.tflite._flatbuffer import read_content
from respect_tf.tflite._model_inputs import InputShape, ModelInput, make_inputs
from respect_tf.tflite._saved_model import checked_saved_model, is_saved_model
from respect_tf.tflite._structure import Leaf, map_leaves
from respect_tf.tflite._trust import Trust

SourceKind = Literal["keras", "tf_keras", "saved_model", "tflite", "converter"]

_ACCEPTED = (
    "a keras.Model, a tf_keras.Model, the path of a SavedModel folder, of a .keras, .h5 or .tflite "
    "file, the bytes of a .tflite file, or a configured tf.lite.TFLiteConverter"
)
_NO_TRUST = Trust()
# Keras puts whole configurations into its messages.
_MAX_GIST = 300
_DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class FloatModel:
    """A model that TensorFlow can trace.

    Attributes:
        kind: Where it came from.
        name: Usable as a file name.
        inputs: In Keras order, or in the order of the signature.
        call: Takes one tensor per input and returns (name, tensor) pairs, one per output.
        layer_names: Names of the Keras model and of its layers, nested ones included; empty where
            unknown.
        keras_model: The Keras model; None for others.
    """

    kind: SourceKind
    name: str
    inputs: tuple[ModelInput, ...]
    call: Callable[..., list[tuple[str, Any]]]
    layer_names: tuple[str, ...] = ()
    keras_model: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class TFLiteContent:
    """The bytes of a .tflite file."""

    name: str
    content: bytes


@dataclass(frozen=True)
class ConfiguredConverter:
    """A `tf.lite.TFLiteConverter` of any class, with the user's options."""

    name: str
    converter: Any


Source = FloatModel | TFLiteContent | ConfiguredConverter


def open_source(
    model: Any, trust: Trust = _NO_TRUST, *, input_shape: InputShape | None = None
) -> Source:
    """Find out what `model` is and bring it into a form that can be converted.

    Args:
        model: See `respect_tf.convert`.
        trust: What a file may need besides Keras and TensorFlow, and whether it may run code.
        input_shape: Sizes for inputs that leave some open, without the batch: one shape, or a dict
            of them by input name.

    Raises:
        ArgumentError: Not one of the accepted kinds, or no such file.
        InvalidModelError: A file or folder that cannot be loaded.
        UnsupportedModelError: Dimensions other than the batch are unknown, the batch is fixed to
            something else than 1, the model has never been built, or a file may run code of its
            own and is not trusted.
    """
    if isinstance(model, TFLiteContent):
        return model
    if isinstance(model, (bytes, bytearray, memoryview)):
        return TFLiteContent("model", bytes(model))
    if isinstance(model, (str, os.PathLike)):
        return _open_path(Path(model), trust, input_shape)
    if _is_converter(model):
        return ConfiguredConverter(converter_name(model), model)
    kind = keras_kind(model)
    if kind is not None:
        from respect_tf.tflite._keras_source import from_keras

        return from_keras(model, kind, input_shape=input_shape)
    raise ArgumentError(f"A model must be {_ACCEPTED}. Received: {_describe(model)}.")


def keras_kind(model: object) -> Literal["keras", "tf_keras"] | None:
    """Which package made a Keras model; None if it is none. Imports nothing."""
    for package in ("keras", "tf_keras"):
        module = sys.modules.get(package)
        model_class = getattr(module, "Model", None)
        if isinstance(model_class, type) and isinstance(model, model_class):
            # With an old `keras` package, Keras 2 goes by that name too.
            version = str(getattr(module, "__version__", "3"))
            return "keras" if package == "keras" and not version.startswith("2.") else "tf_keras"
    return None


def file_stem(name: str) -> str:
    """`name` with everything that is awkward in a file name replaced."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._") or "model"


def gist(error: BaseException) -> str:
    """What an exception of TensorFlow or Keras is about, in one short printable line."""
    plain = re.sub(r"\x1b\[\d*m", "", str(error))
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    start = 0
    if lines[0].startswith("in user code"):  # AutoGraph: a traceback, the cause comes last
        causes = [n for n, line in enumerate(lines) if re.match(r"[\w.]+(Error|Exception): ", line)]
        start = causes[-1] if causes else len(lines) - 1
    if "Exception encountered when calling" in lines[start]:  # Keras: the cause comes next
        return _clipped(" ".join(lines[start : start + 2]))
    return _clipped(lines[start])


def _clipped(text: str) -> str:
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text if len(text) <= _MAX_GIST else text[:_MAX_GIST] + " ..."


def _open_path(path: Path, trust: Trust, input_shape: InputShape | None) -> Source:
    if path.is_dir():
        if is_saved_model(path):
            return _from_saved_model(path, trust, input_shape)
        raise ArgumentError(
            f"The folder '{path}' holds no saved_model.pb, so it is no SavedModel. "
            f"Expected {_ACCEPTED}."
        )
    if not path.exists():
        raise ArgumentError(f"The model '{path}' does not exist. Expected {_ACCEPTED}.")
    if path.suffix in (".keras", ".h5", ".hdf5"):
        from respect_tf.tflite._keras_source import from_keras_file

        return from_keras_file(path, trust, input_shape=input_shape)
    if path.name == "saved_model.pb":
        raise ArgumentError(f"Pass the folder of the SavedModel, '{path.parent}', not '{path}'.")
    content = read_content(path)
    if content[4:8] != b"TFL3" and path.suffix != ".tflite":
        raise ArgumentError(f"'{path}' is no model that can be read here. Expected {_ACCEPTED}.")
    return TFLiteContent(file_stem(path.stem), content)


def _from_saved_model(path: Path, trust: Trust, input_shape: InputShape | None) -> FloatModel:
    import tensorflow as tf

    try:
        with checked_saved_model(path, trust) as folder:
            loaded = tf.saved_model.load(str(folder))
    except (MemoryError, RespectError):
        raise
    except Exception as error:
        raise InvalidModelError(
            f"TensorFlow cannot load the SavedModel '{path}': {gist(error)}"
        ) from error
    keys = sorted(loaded.signatures)
    key = (
        _DEFAULT_SIGNATURE if _DEFAULT_SIGNATURE in keys else (keys[0] if len(keys) == 1 else None)
    )
    if key is None:
        raise UnsupportedModelError(
            f"The SavedModel '{path}' has the signatures {keys}. Expected '{_DEFAULT_SIGNATURE}' "
            "or exactly one. Save it again with signatures={'serving_default': ...}."
        )
    signature = loaded.signatures[key]
    specs = signature.structured_input_signature[1]
    structure = {
        name: Leaf(None, _static_shape(spec.shape), spec.dtype.name) for name, spec in specs.items()
    }

    # `loaded` owns the variables, and is kept alive by what calls its signature.
    def call(*tensors: Any, _owner: Any = loaded) -> list[tuple[str, Any]]:
        remaining = iter(tensors)
        outputs = signature(**map_leaves(lambda _leaf: next(remaining), structure))
        return sorted(outputs.items())

    inputs = make_inputs(structure, input_shape=input_shape)
    return FloatModel("saved_model", file_stem(path.resolve().name), inputs, call)


def _is_converter(model: object) -> bool:
    """Whether it is any of TensorFlow's seven converter classes, or of a class derived from one."""
    ours = any(cls.__module__ == "tensorflow.lite.python.lite" for cls in type(model).__mro__)
    return ours and callable(getattr(model, "convert", None))


def converter_name(converter: Any) -> str:
    """A name for what a converter converts, best effort: only a label and a file name."""
    name = getattr(getattr(converter, "_keras_model", None), "name", None)
    folder = getattr(converter, "saved_model_dir", None)
    if isinstance(name, str):
        return file_stem(name)
    return file_stem(Path(folder).name) if isinstance(folder, str) else "model"


def _static_shape(shape: Any) -> tuple[int | None, ...] | None:
    return None if shape.rank is None else tuple(shape.as_list())


def _describe(model: object) -> str:
    cls = type(model)
    text = f"{cls.__module__}.{cls.__qualname__}"
    return f"the class {model!r}" if isinstance(model, type) else f"an object of type {text}"
