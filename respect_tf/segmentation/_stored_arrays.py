"""What a user hands to a model and gets from it: batches, against one sample after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.segmentation._quantize import dequantize, quantize
from respect_tf.segmentation._segment import TensorSpec
from respect_tf.tflite import arrays_by_input

Array = npt.NDArray[Any]
Inputs = npt.ArrayLike | Sequence[npt.ArrayLike] | Mapping[str, npt.ArrayLike]


def split_samples(x: Inputs, specs: Mapping[str, TensorSpec]) -> tuple[list[list[Array]], bool]:
    """Single inputs of a model, from what a user gives for all of them together.

    Args:
        x: See `Pipeline.predict`.
        specs: The model's inputs by name.

    Returns:
        For each sample one array per input, in the model's own types, and whether any was given as
        values: floats, integers of another type than the stored one, or for an input without scale.

    Raises:
        ArgumentError: Names, shapes or types do not fit the model.
    """
    arrays = arrays_by_input(
        _named(x, specs), specs, "x", single_allowed=False, error=ArgumentError
    )
    columns = [
        stored(arrays[name], spec, name, as_values=True).reshape(-1, *spec.shape)
        for name, spec in specs.items()
    ]
    if not len(columns[0]):
        raise ArgumentError("Expected at least one sample. Received: none.")
    real = any(
        arrays[name].dtype.name != spec.dtype or spec.quantization is None
        for name, spec in specs.items()
    )
    return [list(row) for row in zip(*columns, strict=True)], real


def stored(array: Array, spec: TensorSpec, name: str, *, as_values: bool = False) -> Array:
    """An input's values as the model stores them: as they are, or quantised.

    Args:
        array: Values of any shape.
        spec: The input.
        name: What messages call it.
        as_values: Whether integers of another type than the stored one are values, as floats are.

    Raises:
        ArgumentError: They have another type, and are no finite floats that can be quantised.
    """
    if array.dtype.name == spec.dtype:
        return array
    if as_values and spec.quantization is not None and array.dtype.kind in "iu":
        return quantize(array.astype(np.float32), spec.dtype, spec.quantization)
    if as_values and spec.quantization is None and _holds(spec.dtype, array):
        return array.astype(spec.dtype)
    takes_floats = spec.dtype.startswith("float") or spec.quantization is not None
    if array.dtype.kind != "f" or not takes_floats or not np.isfinite(array).all():
        also = ", or finite floats, which are quantised" if takes_floats else ""
        raise ArgumentError(
            f"Input '{name}' must be {spec.dtype}{also}. Received: {array.dtype.name}"
            f"{', NaN or infinity among it' if array.dtype.kind == 'f' else ''}."
        )
    return quantize(array, spec.dtype, spec.quantization)


def _holds(dtype: str, array: Array) -> bool:
    """Whether integers of one type are integers of another one, too."""
    kind = np.dtype(dtype)
    if kind.kind not in "iu" or array.dtype.kind not in "iu":
        return False
    limits = np.iinfo(kind)
    return not array.size or bool(array.min() >= limits.min and array.max() <= limits.max)


def _named(x: Inputs, specs: Mapping[str, TensorSpec]) -> Inputs:
    """Nested lists of numbers, and lists of samples, are the array of a model's only input."""
    if len(specs) > 1 or not isinstance(x, (list, tuple)):
        return x
    ((name, spec),) = specs.items()
    rank = len(spec.shape) + (spec.shape[:1] != (1,))  # of an array of samples
    try:
        is_input = len(x) == 1 and np.ndim(x[0]) == rank
    except ValueError:  # lists of different lengths
        is_input = False
    return x if is_input else {name: x}


def stack_results(
    rows: Sequence[Sequence[Array]], specs: Mapping[str, TensorSpec], *, real: bool
) -> Array | dict[str, Array]:
    """The results of several samples, as `Pipeline.predict` returns them.

    Args:
        rows: For each sample one array per output.
        specs: The model's outputs by name.
        real: Whether to return floats; integers without a scale are what they are.
    """
    results = {}
    for position, (name, spec) in enumerate(specs.items()):
        # A segment's output keeps its batch dimension of 1, which becomes the sample's.
        column = [row[position] for row in rows]
        stacked = np.concatenate(column) if spec.shape[:1] == (1,) else np.stack(column)
        is_count = spec.quantization is None and stacked.dtype.kind in "iub"  # such as a class
        results[name] = dequantize(stacked, spec.quantization) if real and not is_count else stacked
    return results if len(results) > 1 else next(iter(results.values()))
