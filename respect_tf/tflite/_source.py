"""What a user may hand over as a model, brought to one of three forms.

A Keras model or a SavedModel becomes a `FloatModel`, which can be traced with any batch size. A
.tflite file becomes its bytes. A configured `tf.lite.TFLiteConverter` stays as it is, because its
options are the user's.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
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
from respect_tf.tflite._saved_model import checked_saved_model, is_saved_model
from respect_tf.tflite._structure import Leaf, leaf_names, leaves, map_leaves
from respect_tf.tflite._trust import Trust

InputShape = Sequence[int] | Mapping[str, Sequence[int]]
"""Sizes of an input without the batch, or a dict of them by input name."""

SourceKind = Literal["keras", "tf_keras", "saved_model", "tflite", "converter"]

_ACCEPTED = (
    "a keras.Model, a tf_keras.Model, the path of a SavedModel folder, of a .keras, .h5 or .tflite "
    "file, the bytes of a .tflite file, or a configured tf.lite.TFLiteConverter"
)
_INPUT_TYPES = (
    *("float16", "float32", "float64", "bool"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)
_NO_TRUST = Trust()
# Keras puts whole configurations into its messages.
_MAX_GIST = 300
_DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class ModelInput:
    """One input of a model, batch fixed to 1.

    Attributes:
        name: The name that users know: the Keras input's, or the signature's.
        shape: All dimensions, the first one is 1.
        dtype: numpy's name of the element type.
        cast: The type that the model itself takes, where it is an 8-bit integer: here such an
            input is float32, so that it can be quantised; None elsewhere.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    cast: str | None = None


@dataclass(frozen=True)
class FloatModel:
    """A model that TensorFlow can trace.

    Attributes:
        kind: Where it came from.
        name: Usable as a file name.
        inputs: In Keras order, or in the order of the signature.
        call: Takes one tensor per input and returns (name, tensor) pairs, one per output.
        layer_names: Names of the Keras layers, nested ones included; empty where unknown.
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


def make_inputs(
    structure: Any, *, any_batch: bool = False, input_shape: InputShape | None = None
) -> tuple[ModelInput, ...]:
    """Turn a nest of `Leaf` into inputs, batch fixed to 1.

    Args:
        structure: Dicts, lists and tuples with `Leaf` in them.
        any_batch: Whether the batch size is only that of an example.
        input_shape: See `open_source`.

    Raises:
        UnsupportedModelError: An input has unknown dimensions, or another fixed batch.
    """
    flat = leaves(structure)
    inputs = []
    for name, (_, leaf) in zip(leaf_names(structure, "input"), flat, strict=True):
        shape = _completed(leaf.shape, name, len(flat), input_shape)
        if shape is None or len(shape) == 0 or 0 in shape[1:]:
            raise UnsupportedModelError(
                f"Input '{name}' has the shape {_shape_text(shape)}. Expected a batch dimension "
                "and sizes above 0. Build the model with keras.Input(shape=...)."
            )
        if leaf.dtype not in _INPUT_TYPES:
            raise UnsupportedModelError(
                f"Input '{name}' has the dtype {leaf.dtype}. Expected numbers: leave preprocessing "
                "such as text vectorisation out of the model."
            )
        unknown = [axis for axis, size in enumerate(shape[1:], 1) if size is None]
        if unknown:
            example = tuple(224 if size is None else size for size in shape[1:])
            raise UnsupportedModelError(
                f"Input '{name}' has the shape {_shape_text(shape)}, so the size of axis "
                f"{', '.join(map(str, unknown))} is unknown. An Edge TPU needs every size fixed. "
                f"Pass input_shape={example} or other sizes, or build the model with fixed ones."
            )
        if shape[0] not in (None, 1) and not any_batch:
            raise UnsupportedModelError(
                f"Input '{name}' has the shape {_shape_text(shape)}, a batch fixed to {shape[0]}. "
                "A pipeline takes one sample at a time: build the model with a batch of 1 or None."
            )
        sizes = tuple(int(size) for size in shape[1:] if size is not None)
        eight_bit = leaf.dtype in ("int8", "uint8")
        inputs.append(
            ModelInput(
                name,
                (1, *sizes),
                "float32" if eight_bit else leaf.dtype,
                leaf.dtype if eight_bit else None,
            )
        )
    if not inputs:
        raise UnsupportedModelError("The model has no inputs. Expected at least one tensor.")
    return tuple(inputs)


def _completed(
    shape: tuple[int | None, ...] | None,
    name: str,
    count: int,
    input_shape: InputShape | None,
) -> tuple[int | None, ...] | None:
    """An input's shape with the sizes that the user gave for it.

    Raises:
        ArgumentError: They contradict the model, or it is not clear which input they are for.
    """
    if input_shape is None or shape is None:
        return shape
    if isinstance(input_shape, Mapping):
        if name not in input_shape:
            return shape
        given = input_shape[name]
    elif count > 1:
        raise ArgumentError(
            f"The model has {count} inputs, and input_shape is one shape. Expected a dict by "
            f"input name, for example {{'{name}': (224, 224, 3)}}."
        )
    else:
        given = input_shape
    try:
        sizes = tuple(int(size) for size in given)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"input_shape must be sizes, such as (224, 224, 3). Received: {given!r}."
        ) from error
    fits = len(sizes) == len(shape) - 1 and all(
        size > 0 and known in (None, size) for size, known in zip(sizes, shape[1:], strict=False)
    )
    if not fits:
        raise ArgumentError(
            f"input_shape={sizes} does not fit input '{name}' of the shape {_shape_text(shape)}. "
            f"Expected {len(shape) - 1} sizes, without the batch, equal to those that are known."
        )
    return (shape[0], *sizes)


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


def _shape_text(shape: tuple[int | None, ...] | None) -> str:
    return "unknown" if shape is None else f"({', '.join(map(str, shape))})"


def _describe(model: object) -> str:
    cls = type(model)
    text = f"{cls.__module__}.{cls.__qualname__}"
    return f"the class {model!r}" if isinstance(model, type) else f"an object of type {text}"
