"""`ExportSegments`: a saved pipeline from the model that is trained."""

from __future__ import annotations

import math
import os
import string
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import respect_tf
from keras_callbacks._callback import Logs, check_count
from keras_callbacks._converting import ConvertingCallback, OnError, checked_options
from respect_tf import ArgumentError
from respect_tf._folder_target import check_writable_target
from respect_tf._reporting import Verbosity, report

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from respect_tf import ConvertOptions, Pipeline

Mode = Literal["auto", "min", "max"]

_GREATER_IS_BETTER = ("acc", "auc", "precision", "recall", "f1", "fmeasure", "iou", "balance")
_LESS_IS_BETTER = (
    "loss",
    "error",
    "mae",
    "mse",
    "mape",
    "msle",
    "gap",
    "perplexity",
    "_ms",
    "_bytes",
)


class ExportSegments(ConvertingCallback):
    """Convert the model to a pipeline of int8 segments and save it, as `ModelCheckpoint` saves it.

    At the end of training; with `every`, after every so many epochs; with `monitor`, whenever that
    metric is the best so far. A folder is written whole or not at all. A failure does not end the
    training: it is reported once and kept in `errors`.

    Put it behind callbacks whose metrics it monitors, and behind
    `EarlyStopping(restore_best_weights=True)`, which restores at the end of training.

    >>> export = ExportSegments("digits", 2, x, monitor="loss")
    >>> history = model.fit(x, y, epochs=2, callbacks=[export], verbose=0)
    >>> [segment.name for segment in respect_tf.load("digits").segments]
    ['digits_segment_0_of_2', 'digits_segment_1_of_2']

    Attributes:
        result: The latest `respect_tf.Pipeline`; None before the first.
        paths: Folders written in the current training.
        best: The best value of the monitored metric; None before the first.
        errors: (number of finished epochs, error) of each export that failed.
        last_error: The latest of them, or None.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        num_segments: int | Literal["auto"] = "auto",
        representative_dataset: Any = None,
        *,
        every: int | None = None,
        monitor: str | None = None,
        mode: Mode = "auto",
        initial_value_threshold: float | None = None,
        overwrite: bool = True,
        on_error: OnError = "warn",
        verbose: Verbosity = "auto",
        **options: Unpack[ConvertOptions],
    ) -> None:
        """Check the arguments.

        Args:
            folder: The folder to write. `"runs/{epoch:02d}-{val_loss:.2f}"` is filled in from the
                number of finished epochs and the epoch's metrics.
            num_segments: Stages of the pipeline, as for `respect_tf.convert`.
            representative_dataset: Samples to calibrate with, as for `respect_tf.convert`; a
                generator function, not a generator, where there is more than one export.
            every: Epochs between exports; with `monitor`, between looks at it.
            monitor: The metric whose best values are exported, for example `"val_accuracy"`.
            mode: Whether the least or the greatest value is the best; `"auto"` knows by the name.
            initial_value_threshold: The value that the first export has to beat.
            overwrite: Whether a pipeline that was saved there before training may be replaced; the
                callback's own are. Nothing but a saved pipeline ever is.
            on_error: `"warn"` or `"raise"`.
            verbose: `"auto"` reports failures, 1 also exports, 0 nothing.
            **options: As for `respect_tf.convert`: `scheduler`, `device`, `compile` and so on.

        Raises:
            ArgumentError: An argument does not fit.
        """
        self._prepare(on_error, verbose)
        if num_segments != "auto":
            check_count("num_segments", num_segments, alternative='"auto"')
        check_count("every", every, optional=True)
        checked_options(options, (), "ExportSegments")
        self.folder = _checked_template(folder)
        self.num_segments, self.representative_dataset = num_segments, representative_dataset
        self.every, self.monitor, self.mode = every, monitor, mode
        self.initial_value_threshold = initial_value_threshold
        self.overwrite, self.options = overwrite, options
        self._sign = _sign(monitor, mode)
        self.best: float | None = initial_value_threshold
        self.result: Pipeline | None = None
        self.paths: list[Path] = []
        self._num_epochs: int | None = None  # finished; None before the first of a training
        self._last_logs: Logs = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start anew, and say at once if the folder cannot be written."""
        super().on_train_begin(logs)
        self.paths, self.result = [], None
        self._num_epochs, self._last_logs = None, {}
        if "{" not in self.folder:
            with self._failures_kept(0, "Checking the folder"):
                check_writable_target(self.folder, overwrite=self.overwrite)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Start anew with the best value, unless an earlier training goes on."""
        if self._num_epochs is None:
            self._num_epochs = epoch
            if epoch == 0:
                self.best = self.initial_value_threshold

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Export if it is time to, or the model is better than before."""
        self._num_epochs = num_epochs = epoch + 1
        self._last_logs = dict(logs or {})
        if num_epochs % (self.every or 1) or (self.every is None and self.monitor is None):
            return
        if self.monitor is None:
            self._export(num_epochs)
            return
        value = math.nan
        with self._failures_kept(num_epochs, f"Reading '{self.monitor}'"):
            value = _metric(self._last_logs, self.monitor)
        if math.isnan(value):
            return
        is_better = self.best is None or self._sign * (value - self.best) > 0
        if is_better and self._export(num_epochs):
            self.best = value

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Export if nothing else says when."""
        if self.every is None and self.monitor is None:
            self._export(self._num_epochs or 0)

    def _export(self, num_epochs: int) -> bool:
        """Convert and save; whether it worked."""
        with self._failures_kept(num_epochs, "Exporting the model"):
            folder = self._filled_in(num_epochs)
            overwrite = self.overwrite or folder in self.paths
            check_writable_target(folder, overwrite=overwrite)  # before the long part
            pipeline = respect_tf.convert(
                self.model,
                self.num_segments,
                self.representative_dataset,
                verbose=self._verbose_conversion,
                **self.options,
            )
            pipeline.save(folder, overwrite=overwrite, verbose=self._verbose_conversion)
            self.result = pipeline
            if folder not in self.paths:
                self.paths.append(folder)
            report(
                f"Exported '{folder}' after {num_epochs} epochs", verbose=self._verbose_conversion
            )
            return True
        return False

    def _filled_in(self, num_epochs: int) -> Path:
        values = {**self._last_logs, "epoch": num_epochs}
        try:
            return Path(self.folder.format(**values)).resolve()
        except (KeyError, ValueError, TypeError) as error:
            raise ArgumentError(
                f"The folder '{self.folder}' cannot be filled in ({type(error).__name__}: {error})"
                f". Known after {num_epochs} epochs: {', '.join(values)}."
            ) from error


def _checked_template(folder: str | os.PathLike[str]) -> str:
    template = os.fspath(folder)
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(template)]
    except ValueError as error:
        raise ArgumentError(
            f"The folder '{template}' is no template: {error}. Write single braces twice."
        ) from error
    if "" in fields:
        raise ArgumentError(
            f"The folder '{template}' has braces without a name. Expected {{epoch}} or a metric."
        )
    return template


def _sign(monitor: str | None, mode: Mode) -> int:
    """1 where greater is better, -1 where less is."""
    if mode not in ("auto", "min", "max"):
        raise ArgumentError(f'mode must be "auto", "min" or "max". Received: {mode!r}.')
    if monitor is None or mode != "auto":
        return 1 if mode == "max" else -1
    if any(part in monitor for part in _LESS_IS_BETTER):
        return -1
    if any(part in monitor for part in _GREATER_IS_BETTER):
        return 1
    raise ArgumentError(
        f"It is not known whether '{monitor}' is to be small or great. Pass mode=\"min\" or "
        'mode="max".'
    )


def _metric(logs: Logs, name: str) -> float:
    if name not in logs:
        raise ArgumentError(
            f"There is no metric '{name}' to monitor. Expected one of: {', '.join(logs)}. Put the "
            "callback that computes it before this one."
        )
    return float(logs[name])
