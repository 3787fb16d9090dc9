"""`QuantizationGap`: what int8 costs in accuracy, while the model is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import respect_tf
from keras_callbacks._callback import Logs, check_count
from keras_callbacks._converting import ConvertingCallback, OnError, opened
from respect_tf import ArgumentError
from respect_tf._reporting import Verbosity

if TYPE_CHECKING:
    from respect_tf.tflite import FloatModel

Array = npt.NDArray[Any]
Outputs = Array | dict[str, Array]
Metric = Callable[[Any, Any], Any]

_BATCH = 128


class QuantizationGap(ConvertingCallback):
    """Put the accuracy of the float and of the int8 model on a sample into `logs`.

    The metrics, with `NAME` that of the metric:

    * `float_NAME`: of the model as it is.
    * `int8_NAME`: of the model converted to int8.
    * `quantization_gap`: the first minus the second.

    As with Keras's own `validation_freq`, epochs without a measurement lack them.

    >>> gap = QuantizationGap(x, y)
    >>> history = model.fit(x, y, epochs=1, callbacks=[gap], verbose=0)
    >>> sorted(set(history.history) - {"loss"})
    ['float_accuracy', 'int8_accuracy', 'quantization_gap']

    Attributes:
        errors: (number of finished epochs, error) of each measurement that failed.
        last_error: The latest of them, or None.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        representative_dataset: Any = None,
        *,
        metric: str | Metric = "accuracy",
        name: str | None = None,
        every: int = 1,
        strict: bool = True,
        on_error: OnError = "warn",
        verbose: Verbosity = "auto",
    ) -> None:
        """Check the arguments.

        Args:
            x: Samples of a validation set: an array [num_samples, ...], or a list (in the model's
                order) or dict (by name) of them for several inputs. Some hundreds: the int8 model
                runs one by one.
            y: What the metric compares with; for `"accuracy"` classes or one-hot rows.
            representative_dataset: Samples to calibrate with; `x` if left out.
            metric: `"accuracy"`; or a function of `y` and the model's output (a dict by name for
                several outputs) that gives a number, or an array whose mean counts; or a Keras
                metric.
            name: What to call the metric; its own name if left out.
            every: Epochs between measurements.
            strict: Whether a model whose ops do not all become 8 bit is a failure.
            on_error: `"warn"` or `"raise"`.
            verbose: `"auto"` reports failures, 0 nothing.

        Raises:
            ArgumentError: An argument does not fit.
        """
        self._prepare(on_error, verbose)
        check_count("every", every)
        if metric != "accuracy" and not callable(metric):
            raise ArgumentError(
                f'metric must be "accuracy", a function of y and outputs, or a Keras metric. '
                f"Received: {metric!r}."
            )
        self.x, self.y, self.representative_dataset = x, y, representative_dataset
        self.metric, self.name, self.every, self.strict = metric, name, every, strict

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Measure, and add the metrics to the logs."""
        if (epoch + 1) % self.every:
            return
        with self._failures_kept(epoch + 1, "Measuring the int8 model"):
            self._log(epoch, logs, self._measure())

    def _measure(self) -> dict[str, float]:
        from respect_tf.tflite import fitting_arrays

        source = opened(self.model)
        samples = {
            spec.name: array.astype(spec.dtype, copy=False)
            for spec, array in zip(
                source.inputs,
                fitting_arrays(self.x, source.inputs, "x", single_allowed=False).values(),
                strict=True,
            )
        }
        pipeline = respect_tf.convert(
            self.model,
            1,
            samples if self.representative_dataset is None else self.representative_dataset,
            scheduler="slicing",
            inference_output_type="float32",
            compile=False,
            strict=self.strict,
            verify=False,
            verbose=self._verbose_conversion,
        )
        name = self.name or _name_of(self.metric)
        of_float = self._value(_float_outputs(source, samples))
        of_int8 = self._value(pipeline.predict(samples))
        return {
            f"float_{name}": of_float,
            f"int8_{name}": of_int8,
            "quantization_gap": of_float - of_int8,
        }

    def _value(self, outputs: Outputs) -> float:
        if self.metric == "accuracy":
            return accuracy(self.y, outputs)
        metric: Any = self.metric
        if hasattr(metric, "reset_state"):
            metric.reset_state()
        return float(np.mean(np.asarray(metric(self.y, outputs))))


def accuracy(y: Any, outputs: Outputs) -> float:
    """The share of samples, or of pixels, whose class is right.

    Args:
        y: Classes [num_samples, ...] or [num_samples, ..., 1], or one-hot rows
            [num_samples, ..., num_classes].
        outputs: Scores [num_samples, ..., num_classes]; for [num_samples, ..., 1] probabilities of
            class 1.

    Raises:
        ArgumentError: There are several outputs, or the shapes do not fit.
    """
    if isinstance(outputs, Mapping):
        raise ArgumentError(
            f"The model has the outputs {list(outputs)}. Expected a single one; pass as metric a "
            "function of y and a dict of outputs by name."
        )
    labels = np.asarray(y)
    if outputs.shape[-1] == 1:
        chosen = outputs[..., 0] > 0.5
    else:
        chosen = outputs.argmax(axis=-1)
        if labels.shape == outputs.shape:
            labels = labels.argmax(axis=-1)
    if labels.shape == (*chosen.shape, 1):
        labels = labels[..., 0]
    if labels.shape != chosen.shape:
        raise ArgumentError(
            f"y has the shape {list(labels.shape)}, the model's output {list(outputs.shape)}. "
            f"Expected classes {list(chosen.shape)} or one-hot rows of the output's shape."
        )
    return float(np.mean(chosen == labels))


def _float_outputs(source: FloatModel, samples: Mapping[str, Array]) -> Outputs:
    """The float model's outputs, as `Pipeline.predict` gives those of the int8 model."""
    columns: dict[str, list[Array]] = {}
    for batch in _batches(samples):
        for name, tensor in source.call(*batch):
            columns.setdefault(name, []).append(np.asarray(tensor))
    outputs = {name: np.concatenate(arrays) for name, arrays in columns.items()}
    return outputs if len(outputs) > 1 else next(iter(outputs.values()))


def _batches(samples: Mapping[str, Array]) -> Iterator[list[Any]]:
    import tensorflow as tf

    num_samples = len(next(iter(samples.values())))
    for start in range(0, num_samples, _BATCH):
        yield [tf.constant(array[start : start + _BATCH]) for array in samples.values()]


def _name_of(metric: str | Metric) -> str:
    if isinstance(metric, str):
        return metric
    name = getattr(metric, "name", None) or getattr(metric, "__name__", None)
    return str(name or type(metric).__name__).strip("<>")
