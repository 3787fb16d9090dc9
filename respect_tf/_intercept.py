"""`intercept`: pipelines of what a script's own converters convert."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from respect_tf._convert import ConvertOptions, convert
from respect_tf._errors import ArgumentError, ConversionError, RespectError
from respect_tf._hook import OPTIONS, TFLiteConverter
from respect_tf._manifest_schema import plain_name
from respect_tf._pipeline import Pipeline
from respect_tf._reporting import Verbosity, report, speaking
from respect_tf._words import converter_words
from respect_tf.report import inspect_tflite
from respect_tf.tflite import (
    TFLiteContent,
    converter_name,
    mark_made_here,
    rewritten_if_quantised,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack


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
            error.args = (converter_words(str(error)), *error.args[1:])
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
        copied = _copy_of(converter)
        copied.target_spec = _copy_of(converter.target_spec)
        TFLiteConverter(copied)  # sets it up
        copied.representative_dataset = self._data
        return copied

    def _copied(self, converter: Any) -> Any:
        """A copy of a converter that quantises, to convert once more; None for others."""
        return None if converter.representative_dataset is None else _copy_of(converter)

    def _seen(self, converter: Any) -> contextlib.AbstractContextManager[list[bool]]:
        """Look at whether the float model of a conversion inside would be rewritten."""
        mode = self._options.get("rewrite", "safe")
        if mode == "off" or converter.representative_dataset is None:
            return contextlib.nullcontext([])
        return rewritten_if_quantised(converter, mode)

    def _add(self, model: Any, name: str) -> None:
        with self._errors_kept(name), speaking(converter_words):
            if isinstance(model, TFLiteContent) and not _is_quantised(model.content):
                report(
                    f"'{name}' is converted in float, and left alone: no pipeline is made of it. "
                    "For int8, set converter.optimizations = [tf.lite.Optimize.DEFAULT] and "
                    "converter.representative_dataset, or pass intercept(representative_dataset=f)",
                    verbose=self._options["verbose"],
                )
                return
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


def _is_quantised(content: bytes) -> bool:
    """Whether any tensor but constants is 8 bit: of float models, weights alone may be."""
    return bool({"int8", "uint8"} & {*inspect_tflite(content).dtype_counts})


_intercepted: contextvars.ContextVar[Intercepted | None] = contextvars.ContextVar(
    "respect_tf_intercepted", default=None
)
_lock = threading.Lock()
_originals: dict[type, Callable[..., bytes]] = {}
_blocks: list[Intercepted] = []  # that are open, in all threads


@contextlib.contextmanager
def intercept(
    num_segments: int | Literal["auto"] | None = "auto",
    representative_dataset: Callable[[], Any] | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    verbose: Verbosity = "auto",
    **options: Unpack[ConvertOptions],
) -> Iterator[Intercepted]:
    """Make a pipeline of whatever TensorFlow's converters convert inside the block.

    The code in the block gets what it would get without it: the same bytes, and the same errors.
    Each `convert()` of a converter of TensorFlow, however it was made, also gives a pipeline of
    those very bytes, batch 1; where ops can be rewritten for an Edge TPU, the pipeline is that of
    one more conversion with them rewritten, unless `rewrite="off"`. Conversions to float, of which
    an Edge TPU would run nothing, are left alone, with a line that says so; and so are conversions
    in other threads.

    Args:
        num_segments: Segments of each pipeline, as for `respect_tf.convert`.
        representative_dataset: A function that yields lists of inputs, for conversions without one
            of their own: they give int8 pipelines then, while their bytes stay what they are.
        folder: Where to save each pipeline, in a folder of its own named after the model.
        verbose: 0 is silence.
        **options: As for `respect_tf.convert`; `strict` is False here where left out.

    Yields:
        The pipelines, as a sequence that grows.

    Raises:
        RespectError: At the end of the block, the first of those that kept a conversion from
            giving a pipeline.
        ArgumentError: Unknown options.
    """
    unknown = sorted({*options} - {*OPTIONS})
    if unknown:
        raise ArgumentError(f"intercept() has no option {unknown[0]!r}. Expected: {OPTIONS}.")
    if representative_dataset is not None and not callable(representative_dataset):
        raise ArgumentError(
            "representative_dataset must be a function that yields lists of inputs. Received: "
            f"{type(representative_dataset).__name__}."
        )
    given = {**options, "num_segments": num_segments, "verbose": verbose}
    seen = Intercepted(None if folder is None else Path(folder), representative_dataset, given)
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


def _copy_of(value: Any) -> Any:
    """What `copy.copy` makes, which would leave a note of its own on TensorFlow's class."""
    copied = object.__new__(type(value))
    vars(copied).update(vars(value))
    return copied


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
        name, quantising, copied = "model", None, None
        with seen._errors_kept(name):
            name = converter_name(self)
            quantising = seen._quantising(self)
            copied = seen._copied(self)
        # One class calls another's convert, and making a pipeline may convert too.
        token = _intercepted.set(None)
        try:
            with seen._seen(self) as is_rewritten:
                content = original(self, *args, **kwargs)
            mark_made_here(content)
            again = copied if is_rewritten else None
            seen._add(quantising or again or TFLiteContent(name, content), name)
        finally:
            _intercepted.reset(token)
        return content

    return converted
