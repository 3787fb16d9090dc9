"""What a user hands to a model and gets from it: batches, against one sample after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.segmentation import TensorSpec, dequantize, quantize

Array = npt.NDArray[Any]
Inputs = npt.ArrayLike | Sequence[npt.ArrayLike] | Mapping[str, npt.ArrayLike]


def split_samples(x: Inputs, specs: Mapping[str, TensorSpec]) -> tuple[list[list[Array]], bool]:
    """Single inputs of a model, from what a user gives for all of them together.

    Args:
        x: See `Pipeline.predict`.
        specs: The model's inputs by name.

    Returns:
        For each sample one array per input, in the model's own types, and whether any was given as
        floats.

    Raises:
        ArgumentError: Names, shapes or types do not fit the model.
    """
    arrays = _by_input(x, specs)
    real = False
    columns = []
    for (name, spec), given in zip(specs.items(), arrays, strict=True):
        array = np.asarray(given)
        sample_shape = spec.shape[1:] if spec.shape[:1] == (1,) else spec.shape
        if array.shape[1:] != sample_shape or array.ndim != len(sample_shape) + 1:
            raise ArgumentError(
                f"Input '{name}' must have the shape [num_samples, "
                f"{', '.join(map(str, sample_shape))}]. Received: {list(array.shape)}."
            )
        if array.dtype.name != spec.dtype:
            if array.dtype.kind != "f" or not np.isfinite(array).all():
                raise ArgumentError(
                    f"Input '{name}' must be finite floats, or {spec.dtype}, the type of the "
                    f"model's input. Received: {array.dtype.name}."
                )
            array = quantize(array, spec.dtype, spec.quantization)
            real = True
        elif array.dtype.kind == "f":
            real = True
        columns.append(array.reshape(-1, *spec.shape))
    lengths = {len(column) for column in columns}
    if len(lengths) > 1:
        raise ArgumentError(f"All inputs need equally many samples. Received: {lengths}.")
    if lengths == {0}:
        raise ArgumentError("Expected at least one sample. Received: none.")
    return [list(row) for row in zip(*columns, strict=True)], real


def stack_results(
    rows: Sequence[Sequence[Array]], specs: Mapping[str, TensorSpec], *, real: bool
) -> Array | dict[str, Array]:
    """The results of several samples, as `Pipeline.predict` returns them.

    Args:
        rows: For each sample one array per output.
        specs: The model's outputs by name.
        real: Whether to return floats.
    """
    results = {}
    for position, (name, spec) in enumerate(specs.items()):
        # A segment's output keeps its batch dimension of 1, which becomes the sample's.
        column = [row[position] for row in rows]
        stacked = np.concatenate(column) if spec.shape[:1] == (1,) else np.stack(column)
        results[name] = dequantize(stacked, spec.quantization) if real else stacked
    return results if len(results) > 1 else next(iter(results.values()))


def _by_input(x: Inputs, specs: Mapping[str, TensorSpec]) -> list[npt.ArrayLike]:
    """One array per input, in the model's order."""
    if isinstance(x, Mapping):
        unknown = [name for name in x if name not in specs]
        missing = [name for name in specs if name not in x]
        if unknown or missing:
            raise ArgumentError(f"The model's inputs are {list(specs)}. Received: {list(x)}.")
        return [x[name] for name in specs]
    if len(specs) == 1:
        return [x]  # type: ignore[list-item]  # an array, or nested lists of numbers
    if not isinstance(x, (list, tuple)) or len(x) != len(specs):
        raise ArgumentError(
            f"The model has {len(specs)} inputs, {list(specs)}. Expected a dict of arrays by name, "
            f"or a list of {len(specs)} arrays. Received: {type(x).__name__}."
        )
    return list(x)
