"""Keras models, of Keras 3 and of tf_keras, as something that can be traced with batch 1."""

from __future__ import annotations

import importlib
import inspect
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from respect_tf._errors import InvalidModelError, UnsupportedModelError
from respect_tf.tflite._keras_catalogue import Catalogue, KerasKind
from respect_tf.tflite._keras_config import adapted, refusal
from respect_tf.tflite._keras_file import lay_out, write_config
from respect_tf.tflite._keras_numbers import float32_if_other, in_float32, refuse_other_numbers
from respect_tf.tflite._model_inputs import InputShape, make_inputs
from respect_tf.tflite._source import FloatModel, file_stem, gist
from respect_tf.tflite._structure import Leaf, leaf_names, leaves, map_leaves
from respect_tf.tflite._trust import Trust


def from_keras(
    model: Any,
    kind: KerasKind,
    *,
    name: str | None = None,
    input_shape: InputShape | None = None,
) -> FloatModel:
    """Wrap a Keras model: functional, sequential, or subclassed once it was built or called.

    Args:
        model: A `keras.Model` or `tf_keras.Model`.
        kind: Which of the two.
        name: What to call it instead of its own name.
        input_shape: See `open_source`.

    Raises:
        UnsupportedModelError: The model was never built, runs on another backend than TensorFlow,
            or has inputs that `make_inputs` refuses.
    """
    if kind == "keras":
        import keras

        backend = keras.backend.backend()
        if backend != "tensorflow":
            raise UnsupportedModelError(
                f"Keras runs on the backend '{backend}'. TFLite's converter needs 'tensorflow': "
                "save the model, set KERAS_BACKEND=tensorflow, and pass the .keras file."
            )
    refuse_other_numbers(model, kind)
    structure, by_keyword, any_batch = _call_structure(model, kind)
    structure = map_leaves(
        lambda leaf: replace(leaf, dtype=float32_if_other(leaf.dtype)), structure
    )
    inputs = make_inputs(structure, any_batch=any_batch, input_shape=input_shape)

    def call(*tensors: Any) -> list[tuple[str, Any]]:
        remaining = iter(tensors)
        packed = map_leaves(lambda _leaf: next(remaining), structure)
        args, kwargs = ((), packed) if by_keyword else ((packed,), {})
        with in_float32(model, kind):
            outputs = model(*args, **kwargs, training=False)
        return list(zip(_output_names(model, outputs), _tensors(outputs), strict=True))

    return FloatModel(
        kind,
        file_stem(name or model.name),
        inputs,
        call,
        tuple(sorted({str(getattr(model, "name", "")), *_layer_names(model)})),
        keras_model=model,
    )


def from_keras_file(
    path: Path, trust: Trust, *, input_shape: InputShape | None = None
) -> FloatModel:
    """Load a .keras or .h5 file with the package that wrote it, or else with the other one.

    Args:
        path: The file.
        trust: What it may need besides Keras.
        input_shape: See `open_source`.

    Raises:
        InvalidModelError: Neither package can load it.
        UnsupportedModelError: It may run code of its own, or needs classes that are not at hand;
            and as for `from_keras`.
    """
    model, kind = _load(path, trust)
    return from_keras(model, kind, name=path.stem, input_shape=input_shape)


def _call_structure(model: Any, kind: KerasKind) -> tuple[Any, bool, bool]:
    """What the model's call takes, as a nest of `Leaf`.

    Returns:
        The nest; whether its outermost dict holds keyword arguments rather than being the first
        argument; and whether the batch sizes are only those of an example call.
    """
    symbolic = getattr(model, "inputs", None)
    if symbolic:
        # A Sequential is called with the tensor itself, and has the batch of its first call.
        sequential = isinstance(model, importlib.import_module(kind).Sequential)
        structure = symbolic[0] if sequential else model.input
        return map_leaves(_symbolic_leaf, structure), False, sequential
    parameters = inspect.signature(model.call).parameters
    arguments: dict[str, Any] = {}
    if kind == "tf_keras":
        spec = model.save_spec()
        if spec is not None:
            args, kwargs = map_leaves(_symbolic_leaf, spec)
            arguments = {**dict(zip(parameters, args, strict=False)), **kwargs}
    elif model.built:
        config = model.get_build_config() or {}
        dtype = "float32" if "float" in str(model.input_dtype) else str(model.input_dtype)
        arguments = {
            key.removesuffix("_shape"): _shape_leaves(shape, dtype)
            for key, shape in (config.get("shapes_dict") or config).items()
            if shape is not None
        }
    if not arguments:
        raise UnsupportedModelError(
            f"The model '{model.name}' ({type(model).__name__}) has never been built, so its input "
            "shapes are unknown. Call it once on a sample, or build it, before converting it."
        )
    required = [
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    if len(required) > len(arguments):
        raise UnsupportedModelError(
            f"The call of '{model.name}' ({type(model).__name__}) takes {', '.join(required)}, and "
            f"Keras recorded shapes for {', '.join(arguments)} only. Wrap it: "
            "keras.Model([a, b], model(a, b)) with a keras.Input for each."
        )
    if len(arguments) > 1:
        return arguments, True, True
    (structure,) = arguments.values()
    if isinstance(structure, Leaf):
        structure = replace(structure, name=next(iter(parameters), None))
    return structure, False, True


def _symbolic_leaf(tensor: Any) -> Leaf:
    shape = tensor.shape
    if shape is not None and not isinstance(shape, tuple):
        shape = None if shape.rank is None else tuple(shape.as_list())
    dtype = tensor.dtype
    return Leaf(getattr(tensor, "name", None), shape, getattr(dtype, "name", None) or str(dtype))


def _shape_leaves(shape: Any, dtype: str) -> Any:
    """Replace each shape in a nest of shapes by a leaf."""
    if isinstance(shape, dict):
        return {key: _shape_leaves(value, dtype) for key, value in shape.items()}
    if all(size is None or isinstance(size, int) for size in shape):
        return Leaf(None, tuple(shape), dtype)
    return [_shape_leaves(value, dtype) for value in shape]


def _output_names(model: Any, outputs: Any) -> list[str]:
    """Keys of a dict of outputs, else the names that the model has for them, else numbers."""
    known = getattr(model, "output_names", None)
    flat = leaves(outputs)
    plain = not any(isinstance(key, str) for path, _ in flat for key in path)
    if plain and known and len(known) == len(flat):
        outputs = [Leaf(str(name), None, "") for name in known]
    return leaf_names(outputs, "output")


def _tensors(outputs: Any) -> list[Any]:
    return [leaf for _, leaf in leaves(outputs)]


def _layer_names(model: Any) -> set[str]:
    """Names of all layers, those inside nested models included."""
    names: set[str] = set()
    for layer in getattr(model, "layers", ()):
        names.add(layer.name)
        names |= _layer_names(layer)
    return names


def _load(path: Path, trust: Trust) -> tuple[Any, KerasKind]:
    """Check the file's configuration for a package, and let that package load it."""
    with _own_folder(path) as folder:
        file, copy = lay_out(path, Path(folder), trusted=trust.trusted)
        objects = adapted(file.config, trust.custom_objects, is_hdf5=file.is_hdf5)
        write_config(file, copy)
        order: list[KerasKind] = ["keras", "tf_keras"]
        if file.version.startswith(("1.", "2.")):
            order.reverse()
        failures: dict[KerasKind, Exception] = {}
        refusals: dict[KerasKind, str] = {}
        for package in order:
            if not trust.trusted:
                refused = refusal(file.config, Catalogue(package, objects), is_hdf5=file.is_hdf5)
                if refused is not None:
                    refusals[package] = refused
                    continue
            loader: Any = importlib.import_module(package)
            options: dict[str, Any] = {"safe_mode": not trust.trusted}
            if package == "tf_keras" and file.is_hdf5:
                options = {}  # there is no such argument for HDF5
            try:
                return loader.models.load_model(
                    copy, custom_objects=objects, compile=False, **options
                ), package
            except MemoryError:
                raise
            except Exception as error:
                failures[package] = error
    if order[0] in refusals:
        raise UnsupportedModelError(
            f"'{path}' is not loaded: {refusals[order[0]]}\nPass custom_objects={{'NAME': object}} "
            "with what is missing, or trusted=True if the file may run any code."
        )
    reasons = " ".join(
        f"{package}: {refusals[package] if package in refusals else gist(failures[package]) + '.'}"
        for package in order
    )
    raise InvalidModelError(
        f"Neither keras nor tf_keras can load '{path}' (written by Keras "
        f"{file.version or 'unknown'}). {reasons} If it needs more than custom_objects, load it "
        f"with {order[0]} yourself and pass the model."
    ) from failures[order[0]]


def _own_folder(path: Path) -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="respect_tf_model_")
    except OSError as error:
        raise InvalidModelError(
            f"'{path}' cannot be copied before it is loaded: there is no temporary folder "
            f"({error}). Set TMPDIR to a folder with room."
        ) from error
