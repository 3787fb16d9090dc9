"""What a user pushes into a pipeline, as its first segment takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.segmentation import TensorSpec, stored
from respect_tf.tflite import arrays_by_input

Array = npt.NDArray[Any]


class InputPreparer:
    """Checks one set of inputs and brings it into the order, type and layout of the segment.

    Real runners copy an array's memory as it lies, in the order it is given: what is wrong there
    is wrong without an error, so nothing is left to them.
    """

    def __init__(
        self, specs: Sequence[TensorSpec], input_names: Mapping[str, str] | None = None
    ) -> None:
        """Take note of the inputs.

        Args:
            specs: The inputs of segment 0, in its order.
            input_names: Further names for them: such a name -> the name in the segment's file.
        """
        self._specs = tuple(specs)
        known = {spec.name for spec in specs}
        self._other = {
            name: own
            for name, own in (input_names or {}).items()
            if name not in known and own in known
        }

    def __call__(self, tensors: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
        """Fresh arrays, contiguous, in the segment's order.

        Args:
            tensors: One array per input by name, in any order, with the input's shape (a leading 1
                may be left out). Floats are quantised; other types have to fit.

        Raises:
            ArgumentError: Names, shapes or types do not fit.
        """
        if not isinstance(tensors, Mapping):
            raise ArgumentError(
                f"Expected a dict of arrays by input name, {self._names()}. "
                f"Received: {type(tensors).__name__}."
            )
        given = {self._other.get(name, name): value for name, value in tensors.items()}
        if len(given) != len(tensors) or given.keys() != {spec.name for spec in self._specs}:
            raise ArgumentError(
                f"The pipeline's inputs are {self._names()}. Received: {list(tensors)}."
            )
        specs = {spec.name: spec for spec in self._specs}
        arrays = arrays_by_input(
            given, specs, "what is pushed", single_allowed=True, error=ArgumentError
        )
        prepared = {}
        for name, spec in specs.items():
            if len(arrays[name]) != 1:
                raise ArgumentError(
                    f"Input '{name}' must have the shape {list(spec.shape)}, one sample at a time. "
                    f"Received: {list(arrays[name].shape)}."
                )
            values = stored(arrays[name].reshape(spec.shape), spec, name)
            prepared[name] = np.array(values, order="C")  # a copy, whatever the caller does next
        return prepared

    def _names(self) -> list[str]:
        shown = {own: name for name, own in self._other.items()}
        return [shown.get(spec.name, spec.name) for spec in self._specs]
