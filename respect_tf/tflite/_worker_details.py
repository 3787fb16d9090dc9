"""What TensorFlow's interpreter says of a model's inputs and outputs, for one in a worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


class Details:
    """What TensorFlow's interpreter says of a model's inputs and outputs, for one in a worker."""

    def __init__(self, description: Mapping[str, Any]) -> None:
        self._description = description

    def get_input_details(self) -> list[dict[str, Any]]:
        """As `tf.lite.Interpreter.get_input_details`."""
        return [_details(entry) for entry in self._description["inputs"]]

    def get_output_details(self) -> list[dict[str, Any]]:
        """As `tf.lite.Interpreter.get_output_details`."""
        return [_details(entry) for entry in self._description["outputs"]]


def _details(entry: Mapping[str, Any]) -> dict[str, Any]:
    scales = np.array(entry["scales"], np.float32)
    points = np.array(entry["zero_points"], np.int32)
    per_tensor = len(scales) == 1 and len(points) == 1
    return {
        "name": entry["name"],
        "index": entry["index"],
        "shape": np.array(entry["shape"], np.int32),
        "shape_signature": np.array(entry["shape_signature"], np.int32),
        "dtype": np.dtype(entry["dtype"]).type,
        "quantization": (float(scales[0]), int(points[0])) if per_tensor else (0.0, 0),
        "quantization_parameters": {
            "scales": scales,
            "zero_points": points,
            **entry["numbers"],
        },
        "sparsity_parameters": {},
    }
