"""Pipelines from code that was written for `tf.lite.TFLiteConverter`."""

from __future__ import annotations

import contextlib
import contextvars
import copy
import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from respect_tf._convert import convert
from respect_tf._errors import ArgumentError, CalibrationDataError, ConversionError, RespectError
from respect_tf._manifest_schema import plain_name
from respect_tf._pipeline import Pipeline
from respect_tf._reporting import Verbosity, report
from respect_tf.tflite import (
    TFLiteContent,
    check_saved_model,
    converter_name,
    mark_made_here,
)

# Options of `convert`, but for the types of inputs and outputs, which TensorFlow's converter sets,
# and for those about files that are loaded: a converter has loaded its own.
_DEFAULTS = {"num_segments": None, **(convert.__kwdefaults__ or {})}
_FOR_FILES = ("custom_objects", "trusted")
_OPTIONS = tuple(
    name for name in _DEFAULTS if not name.startswith("inference_") and name not in _FOR_FILES
)


class TFLiteConverter:
    """`tf.lite.TFLiteConverter` whose `convert()` gives a `Pipeline`.

    Every attribute of TensorFlow's converter can be read and set here; it starts with settings for
    full-integer int8. The options of `respect_tf.convert` are attributes too: `num_segments`,
    `scheduler`, `objective` and so on.

    >>> converter = respect_tf.TFLiteConverter.from_saved_model("model")
    >>> converter.representative_dataset = samples
    >>> converter.num_segments = 4
    >>> pipeline = converter.convert()
    """

    def __init__(self, converter: Any) -> None:
        """Wrap a converter of TensorFlow; mostly, one of the class methods is called instead."""
        import tensorflow as tf

        object.__setattr__(self, "_converter", converter)
        object.__setattr__(self, "_options", {})
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        # The Edge TPU compiler dates from when dense weights had one scale per tensor.
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True

    @classmethod
    def from_keras_model(cls, model: Any) -> TFLiteConverter:
        """A converter of a Keras model."""
        import tensorflow as tf

        return cls(tf.lite.TFLiteConverter.from_keras_model(model))

    @classmethod
    def from_saved_model(
        cls,
        saved_model_dir: str,
        signature_keys: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
        *,
        trusted: bool = False,
    ) -> TFLiteConverter:
        """A converter of a SavedModel folder.

        Args:
            saved_model_dir: The folder.
            signature_keys: See TensorFlow.
            tags: See TensorFlow.
            trusted: See `respect_tf.convert`.

        Raises:
            InvalidModelError: The SavedModel is damaged.
            UnsupportedModelError: Its graphs do more than compute, and it is not trusted.
        """
        import tensorflow as tf

        if not trusted:
            check_saved_model(saved_model_dir)
        made = tf.lite.TFLiteConverter.from_saved_model(saved_model_dir, signature_keys, tags)
        return cls(made)

    @classmethod
    def from_concrete_functions(
        cls, funcs: Sequence[Any], trackable_obj: Any = None
    ) -> TFLiteConverter:
        """A converter of a concrete function."""
        import tensorflow as tf

        return cls(tf.lite.TFLiteConverter.from_concrete_functions(list(funcs), trackable_obj))

    def __getattr__(self, name: str) -> Any:
        options: dict[str, Any] = object.__getattribute__(self, "_options")
        if name in _OPTIONS:
            return options.get(name, _DEFAULTS[name])
        return getattr(object.__getattribute__(self, "_converter"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OPTIONS:
            self._options[name] = value
        elif hasattr(self._converter, name):
            setattr(self._converter, name, value)
        else:
            raise AttributeError(
                f"A converter has no attribute {name!r}. Expected one of TensorFlow's, or one of "
                f"{', '.join(_OPTIONS)}."
            )

    def convert(self) -> Pipeline:
        """Convert, cut and prove.

        Raises:
            RespectError: As for `respect_tf.convert`.
        """
        if self._converter.representative_dataset is None:
            raise CalibrationDataError(
                "The converter has no representative_dataset, which int8 needs. Set it to a "
                "function that yields lists of inputs."
            )
        return convert(self._converter, **self._options)


class Intercepted(Sequence[Pipeline]):
    """The pipelines of the conversions inside an `intercept` block, in their order.

    Attributes:
        errors: (name, error) of the conversions that gave no pipeline.
    """

    def __init__(self, folder: Path | None, data: Any, options: dict[str, Any]) -> None:
        self.errors: list[tuple[str, RespectError]] = []
        self._folder = folder
        self._data = data
        self._options = options
        self._pipelines: list[Pipeline] = []
        self._names: set[str] = set()

    def __len__(self) -> int:
        return len(self._pipelines)

    @overload
    def __getitem__(self, index: int) -> Pipeline: ...
    @overload
    def __getitem__(self, index: slice) -> list[Pipeline]: ...
    def __getitem__(self, index: int | slice) -> Pipeline | list[Pipeline]:
        return self._pipelines[index]

    @contextlib.contextmanager
    def _errors_kept(self, name: str) -> Iterator[None]:
        """Keep errors from the conversion that the user asked for, unexpected ones of ours, too."""
        try:
            yield
        except RespectError as error:
            self.errors.append((name, error))
        except Exception as error:
            unexpected = ConversionError(
                f"An error that respect_tf does not expect, {type(error).__name__}: {error}. The "
                "conversion itself was left alone. Please report it with its traceback."
            )
            unexpected.__cause__ = error
            self.errors.append((name, unexpected))

    def _quantising(self, converter: Any) -> Any:
        """A copy of a float converter that makes full-integer int8; None where none is asked for.

        A copy of a converter that has converted would not convert again.
        """
        if self._data is None or converter.representative_dataset is not None:
            return None
        copied = copy.copy(converter)
        copied.target_spec = copy.copy(converter.target_spec)
        TFLiteConverter(copied)  # sets it up
        copied.representative_dataset = self._data
        return copied

    def _add(self, model: Any, name: str) -> None:
        with self._errors_kept(name):
            pipeline = convert(model, **{"strict": False, **self._options})
            if self._folder is not None:
                pipeline.save(self._folder / self._unused(name), verbose=self._options["verbose"])
            self._pipelines.append(pipeline)

    def _unused(self, name: str) -> str:
        """A folder name that no other conversion of the block has."""
        number, unused = 1, (name := plain_name(name))
        while unused in self._names:
            number += 1
            unused = f"{name}_{number}"
        self._names.add(unused)
        return unused


_intercepted: contextvars.ContextVar[Intercepted | None] = contextvars.ContextVar(
    "respect_tf_intercepted", default=None
)
_lock = threading.Lock()
_originals: dict[type, Callable[..., bytes]] = {}
_blocks: list[Intercepted] = []  # that are open, in all threads


@contextlib.contextmanager
def intercept(
    num_segments: int | None = None,
    folder: str | os.PathLike[str] | None = None,
    *,
    representative_dataset: Callable[[], Any] | None = None,
    verbose: Verbosity = "auto",
    **options: Any,
) -> Iterator[Intercepted]:
    """Make a pipeline of whatever TensorFlow's converters convert inside the block.

    The code in the block gets what it would get without it: the same bytes, and the same errors.
    Each `convert()` of a converter of TensorFlow, however it was made, also gives a pipeline of
    those very bytes, batch 1. Conversions in other threads are left alone.

    Args:
        num_segments: Stages of each pipeline.
        folder: Where to save each pipeline, in a folder of its own named after the model.
        representative_dataset: A function that yields lists of inputs, for conversions without one
            of their own: their pipelines are int8 then, while their bytes stay what they are.
            Without it, such pipelines are float, and an Edge TPU will run nothing of them.
        verbose: 0 is silence.
        **options: As for `respect_tf.convert`; `strict` is False here where left out.

    Yields:
        The pipelines, as a sequence that grows.

    Raises:
        RespectError: At the end of the block, the first of those that kept a conversion from
            giving a pipeline.
        ArgumentError: Unknown options.
    """
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise ArgumentError(f"intercept() has no option {unknown[0]!r}. Expected: {_OPTIONS}.")
    options |= {"num_segments": num_segments, "verbose": verbose}
    seen = Intercepted(None if folder is None else Path(folder), representative_dataset, options)
    _install(seen)
    token = _intercepted.set(seen)
    try:
        yield seen
    finally:
        _intercepted.reset(token)
        _remove(seen)
    for name, error in seen.errors:
        report(f"'{name}' gave no pipeline: {error}", verbose=verbose)
    if seen.errors:
        raise seen.errors[0][1]


def export(
    model: Any,
    folder: str | os.PathLike[str],
    representative_dataset: Any = None,
    *,
    num_segments: int | None = None,
    overwrite: bool = False,
    verbose: Verbosity = "auto",
    **options: Any,
) -> Pipeline:
    """Convert a model and save its pipeline, as `keras.Model.export` saves a model.

    Args:
        model: See `respect_tf.convert`.
        folder: The folder to make.
        representative_dataset: Samples to calibrate with.
        num_segments: Stages of the pipeline.
        overwrite: Whether a pipeline that is saved there may be replaced.
        verbose: 0 is silence.
        **options: As for `respect_tf.convert`.

    Returns:
        The pipeline.

    Raises:
        RespectError: As for `respect_tf.convert` and `Pipeline.save`.
    """
    from respect_tf._folder import check_writable_target

    check_writable_target(folder, overwrite=overwrite)  # before the long part
    pipeline = convert(model, num_segments, representative_dataset, verbose=verbose, **options)
    pipeline.save(folder, overwrite=overwrite, verbose=verbose)
    return pipeline


def _install(block: Intercepted) -> None:
    """Wrap `convert` of all of TensorFlow's converter classes, and of classes derived from them."""
    import tensorflow as tf

    with _lock:
        _blocks.append(block)
        if len(_blocks) > 1:
            return
        mro = tf.lite.TFLiteConverter.__mro__
        base = next(cls for cls in reversed(mro) if cls.__module__ == mro[0].__module__)
        for cls in {base, *_derived(base)}:
            if "convert" in vars(cls):
                _originals[cls] = vars(cls)["convert"]
                cls.convert = _wrapped(vars(cls)["convert"])


def _remove(block: Intercepted) -> None:
    with _lock:
        del _blocks[next(i for i, open_block in enumerate(_blocks) if open_block is block)]
        if not _blocks:
            for cls, original in _originals.items():
                cls.convert = original  # type: ignore[attr-defined]
            _originals.clear()


def _derived(cls: type) -> Iterator[type]:
    subclasses: list[type] = cls.__subclasses__()
    for subclass in subclasses:
        yield subclass
        yield from _derived(subclass)


def _wrapped(original: Callable[..., bytes]) -> Callable[..., bytes]:
    @functools.wraps(original)
    def converted(self: Any, *args: Any, **kwargs: Any) -> bytes:
        seen = _intercepted.get()
        if seen is None:
            return original(self, *args, **kwargs)
        # Before the conversion, which changes the converter.
        name, quantising = "model", None
        with seen._errors_kept(name):
            name = converter_name(self)
            quantising = seen._quantising(self)
        # One class calls another's convert, and making a pipeline may convert too.
        token = _intercepted.set(None)
        try:
            content = original(self, *args, **kwargs)
            mark_made_here(content)
            seen._add(quantising or TFLiteContent(name, content), name)
        finally:
            _intercepted.reset(token)
        return content

    return converted
