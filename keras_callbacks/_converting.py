"""Callbacks that convert the model while it is trained, and what they owe the training."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, Literal

import respect_tf
from keras_callbacks._callback import KerasCallback, Logs
from respect_tf import ArgumentError, ConversionError, RespectError
from respect_tf._reporting import Verbosity, report

if TYPE_CHECKING:
    from respect_tf.tflite import FloatModel

OnError = Literal["warn", "raise"]


class ConvertingCallback(KerasCallback):
    """A callback whose work may fail, which must not end hours of training.

    Attributes:
        on_error: `"warn"`: a failure is reported once, and kept; `"raise"`: it ends the training.
        verbose: 0 for silence.
        errors: (number of finished epochs, error) of each failure in the current training.
    """

    on_error: OnError
    verbose: Verbosity

    def _prepare(self, on_error: OnError, verbose: Verbosity) -> None:
        if on_error not in ("warn", "raise"):
            raise ArgumentError(f'on_error must be "warn" or "raise". Received: {on_error!r}.')
        if verbose not in ("auto", 0, 1, 2):
            raise ArgumentError(f'verbose must be "auto", 0, 1 or 2. Received: {verbose!r}.')
        self.on_error, self.verbose = on_error, verbose
        self.errors: list[tuple[int, Exception]] = []
        self._reported: set[str] = set()

    @property
    def last_error(self) -> Exception | None:
        """The latest failure in the current training."""
        return self.errors[-1][1] if self.errors else None

    @property
    def _verbose_conversion(self) -> Verbosity:
        """What a conversion may say: progress and advice would break up the progress bar."""
        return 0 if self.verbose == "auto" else self.verbose

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget the failures of an earlier training."""
        self.errors = []
        self._reported = set()

    @contextlib.contextmanager
    def _failures_kept(self, num_epochs: int, purpose: str) -> Iterator[None]:
        """Keep what the block raises, whatever it is, or pass it on as a `RespectError`.

        Args:
            num_epochs: Epochs finished so far.
            purpose: What the block does, for messages: `"Exporting the model"`.
        """
        epochs = f"{num_epochs} epoch{'' if num_epochs == 1 else 's'}"
        failure = f"{type(self).__name__}: {purpose} after {epochs} failed"
        try:
            yield
        except Exception as error:
            self.errors.append((num_epochs, error))
            if self.on_error == "raise":
                if isinstance(error, RespectError):
                    raise
                raise ConversionError(
                    f"{failure} with an unexpected {type(error).__name__}: {error}. Pass "
                    'on_error="warn" to train on without it.'
                ) from error
            if str(error) not in self._reported:
                self._reported.add(str(error))
                report(f"warning: {failure}: {error}", verbose=self.verbose)


def checked_options(options: Collection[str], taken: Collection[str], name: str) -> None:
    """Refuse options that `respect_tf.convert` does not know, before training starts.

    Args:
        options: Names of keyword arguments for `respect_tf.convert`.
        taken: Those that the callback sets itself.
        name: The callback's.

    Raises:
        ArgumentError: There is an unknown one.
    """
    known = [key for key in respect_tf.ConvertOptions.__annotations__ if key not in taken]
    for option in options:
        if option not in known:
            raise ArgumentError(
                f"{name} has no option {option!r}. Expected those of respect_tf.convert: "
                f"{', '.join(known)}."
            )


def opened(model: Any) -> FloatModel:
    """What a Keras model takes and computes.

    Raises:
        UnsupportedModelError: The model is not built, or no pipeline can be made of it.
    """
    from respect_tf.tflite import FloatModel, open_source

    source = open_source(model)
    if not isinstance(source, FloatModel):
        raise ArgumentError(f"Expected a Keras model. Received: {type(model).__name__}.")
    return source
