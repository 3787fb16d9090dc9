"""Whether arrays fit a model's inputs: names, shapes, counts, dtypes, finite values.

The one place that checks what users hand over as inputs: to calibrate with, to predict, to push.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from respect_tf._errors import CalibrationDataError, RespectError
from respect_tf.tflite._model_inputs import ModelInput

Array = npt.NDArray[Any]
Sample = dict[str, Array]  # input name -> [1, ...]


class InputShape(Protocol):
    """Of an input, what its arrays are checked against."""

    @property
    def shape(self) -> tuple[int, ...]:
        """All dimensions; a first one of 1 is the batch."""


def arrays_by_input(
    value: Any,
    inputs: Mapping[str, InputShape],
    where: str,
    *,
    single_allowed: bool,
    error: type[RespectError],
) -> dict[str, Array]:
    """Data for all inputs as arrays [n, ...] by input name, the same n for every input.

    Args:
        value: A dict by input name, a list or tuple in the order of the inputs, or one array.
        inputs: The model's inputs by name.
        where: What `value` is, for messages.
        single_allowed: Whether an array without a batch dimension is one sample.
        error: What to raise.

    Raises:
        RespectError: Inputs are missing or unknown, or an array does not fit its input.
    """
    given = _by_name(value, inputs, where, error)
    arrays = {
        name: _batch(given[name], name, spec, where, single_allowed, error)
        for name, spec in inputs.items()
    }
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        listing = ", ".join(f"'{name}' {count}" for name, count in counts.items())
        raise error(
            f"The arrays in {where} hold different numbers of samples: {listing}. "
            "Expected the same number for every input."
        )
    return arrays


def fitting_arrays(
    value: Any, inputs: Sequence[ModelInput], where: str, *, single_allowed: bool
) -> Sample:
    """The same for calibration data, whose dtypes can be cast to the inputs'.

    Raises:
        CalibrationDataError: Inputs are missing or unknown, or an array does not fit its input.
    """
    arrays = arrays_by_input(
        value,
        {spec.name: spec for spec in inputs},
        where,
        single_allowed=single_allowed,
        error=CalibrationDataError,
    )
    for spec in inputs:
        wanted, given = np.dtype(spec.dtype), arrays[spec.name].dtype
        numbers = "iuf" if wanted.kind == "f" else "iu" if wanted.kind in "iu" else wanted.kind
        if given.kind not in numbers:
            raise CalibrationDataError(
                f"The data for input '{spec.name}' in {where} has the dtype {given}. Expected "
                f"{wanted}{', or integers or other floats.' if wanted.kind == 'f' else '.'}"
            )
    return arrays


def _by_name(
    value: Any, inputs: Mapping[str, InputShape], where: str, error: type[RespectError]
) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        missing = [name for name in inputs if name not in value]
        unknown = sorted(str(key) for key in value if key not in inputs)
        if missing or unknown:
            problems = [f"lacks {_quoted(missing)}"] if missing else []
            problems += [f"has the unknown {_quoted(unknown)}"] if unknown else []
            raise error(
                f"The dict in {where} {' and '.join(problems)}. "
                f"Expected the model's inputs: {_expected(inputs)}."
            )
        return value
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if len(values) != len(inputs):
        hint = (
            " If these are samples and not inputs, stack them: np.stack(samples)."
            if len(inputs) == 1
            else ""
        )
        raise error(
            f"Received {len(values)} array{'s' if len(values) != 1 else ''} in {where}, expected "
            f"{len(inputs)}, one per model input: {_expected(inputs)}.{hint}"
        )
    return dict(zip(inputs, values, strict=True))


def _batch(
    value: Any,
    name: str,
    spec: InputShape,
    where: str,
    single_allowed: bool,
    error: type[RespectError],
) -> Array:
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as reason:
        raise error(f"The data for input '{name}' in {where} is no array: {reason}") from reason
    sample_shape = _sample_shape(spec)
    if single_allowed and array.shape == sample_shape:
        array = array[np.newaxis]
    if array.shape[1:] != sample_shape or array.ndim != len(sample_shape) + 1:
        hint = ""
        if array.shape == sample_shape:
            hint = " It looks like one sample: add a batch dimension, data[np.newaxis]."
        elif sorted(array.shape[1:]) == sorted(sample_shape):
            hint = " The dimensions seem to be in another order."
        raise error(
            f"The data for input '{name}' in {where} has the shape {array.shape}. "
            f"Expected {_batch_shape(spec)}.{hint}"
        )
    return array


def _sample_shape(spec: InputShape) -> tuple[int, ...]:
    return spec.shape[1:] if spec.shape[:1] == (1,) else spec.shape


def check_values(sample: Sample, inputs: Sequence[ModelInput], number: int) -> None:
    """Check that a sample can be cast to the model's dtypes without NaN, infinity or overflow.

    Raises:
        CalibrationDataError: It cannot.
    """
    for spec in inputs:
        array = sample[spec.name]
        wanted = np.dtype(spec.dtype)
        where = f"sample {number} of the representative dataset, input '{spec.name}'"
        if wanted.kind == "f" and array.dtype.kind == "f":
            with np.errstate(over="ignore"):
                finite = np.isfinite(array.astype(wanted, copy=False))
            if not finite.all():
                bad = array.size - int(finite.sum())
                raise CalibrationDataError(
                    f"{where}, holds {bad} values that are NaN, infinite or too large for "
                    f"{wanted}. Expected finite values; check the preprocessing."
                )
        elif wanted.kind in "iu":
            limits = np.iinfo(wanted)
            low, high = int(array.min()), int(array.max())
            if low < limits.min or high > limits.max:
                raise CalibrationDataError(
                    f"{where}, holds values from {low} to {high}. Expected {limits.min} to "
                    f"{limits.max}, the range of {wanted}."
                )


def snippet(inputs: Sequence[ModelInput]) -> str:
    """An argument to pass, as an example in a message."""
    if len(inputs) == 1:
        return f"    representative_dataset=x_train[:200]  # {_batch_shape(inputs[0])}"
    lines = [f'        "{spec.name}": ...,  # {_batch_shape(spec)} {spec.dtype}' for spec in inputs]
    return "\n".join(["    representative_dataset={", *lines, "    }"])


def _expected(inputs: Mapping[str, InputShape]) -> str:
    return ", ".join(f"'{name}' {_batch_shape(spec)}" for name, spec in inputs.items())


def _batch_shape(spec: InputShape) -> str:
    return f"({', '.join(['n', *map(str, _sample_shape(spec))])})"


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
