"""`compare()`: an int8 pipeline against the float model that it was made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from respect_tf._errors import ArgumentError
from respect_tf._pipeline import Pipeline
from respect_tf._reporting import Verbosity, progress
from respect_tf.report import FloatComparison
from respect_tf.tflite import (
    calibration_samples,
    cast_sample,
    compare_layers,
    compare_outputs,
    float_outputs,
    float_tflite,
    read_model,
)

_MOST_SAMPLES = 16


def compare(
    model: Any,
    pipeline: Pipeline,
    samples: Any,
    *,
    custom_objects: Mapping[str, Any] | None = None,
    trusted: bool = False,
    verbose: Verbosity = "auto",
) -> FloatComparison:
    """Compare an int8 pipeline with its float model, output by output and layer by layer.

    The segments are equal to the whole int8 model (`Pipeline.verify`), which is what is run. Layers
    are matched by the names of their tensors; what was rewritten inside a layer is compared where
    its result has kept its name.

    Args:
        model: The Keras model, SavedModel or file that the pipeline was converted from.
        pipeline: The pipeline.
        samples: As `representative_dataset` of `convert`; 16 are used at most.
        custom_objects: Classes and functions by name that a Keras file needs besides Keras's own.
        trusted: Whether a model file may run code of its own.
        verbose: 0 is silence.

    Returns:
        The errors; `str()` is a table, `.plot()` a picture.

    Raises:
        ArgumentError: `pipeline` is none, or is not one of this model.
        CalibrationDataError: The samples do not fit the model.
        RespectError: The model cannot be loaded or converted, as for `convert`.
    """
    if not isinstance(pipeline, Pipeline):
        raise ArgumentError(
            f"pipeline must be a respect_tf.Pipeline. Received: {type(pipeline).__name__}."
        )
    with progress(f"Comparing {pipeline.name} with its float model", verbose=verbose):
        exact = float_tflite(model, custom_objects=custom_objects, trusted=trusted, verbose=verbose)
        stored = read_model(pipeline.model)
        _check_interface(exact.output_names, exact.inputs, pipeline)
        taken = calibration_samples(samples, exact.inputs, limit=_MOST_SAMPLES, verbose=0)
        arrays = [list(cast_sample(sample, exact.inputs).values()) for sample in taken]
        expected = float_outputs(exact.content, arrays, float("inf"))
        accuracy = compare_outputs(stored, pipeline.model, arrays, expected, exact.output_names)
        layers = compare_layers(
            exact.content, pipeline.model, arrays, layer_names=exact.layer_names
        )
    return FloatComparison(pipeline.name, dataclasses.replace(accuracy, layers=layers))


def _check_interface(output_names: Any, inputs: Any, pipeline: Pipeline) -> None:
    """Refuse a pipeline of another model."""
    ours = [spec.shape for spec in inputs]
    theirs = [tuple(spec.shape) for spec in pipeline.inputs.values()]
    if ours != theirs or len(output_names) != len(pipeline.outputs):
        raise ArgumentError(
            f"'{pipeline.name}' is no pipeline of this model: its inputs have the shapes {theirs} "
            f"and it has {len(pipeline.outputs)} outputs. Expected {ours} and {len(output_names)}."
        )
