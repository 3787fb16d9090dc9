"""The op graph of whatever a user calls a model, with as little work as that takes."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf._reporting import Verbosity, progress, report
from respect_tf.graph import OpGraph
from respect_tf.graph.lowering import UnknownLayerError, lower
from respect_tf.tflite import (
    FloatModel,
    TFLiteContent,
    Trust,
    open_source,
    silenced,
    to_int8,
)

Origin = Literal["graph", "pipeline", "tflite", "architecture", "conversion"]

_NUM_SAMPLES = 2


@dataclasses.dataclass(frozen=True)
class Architecture:
    """The op graph of a model.

    Attributes:
        graph: The graph.
        name: What to call the model.
        origin: Where the graph comes from: given, of a pipeline, read from a .tflite file, derived
            from the layers of a Keras model, or of a conversion with random data.
        note: Why a Keras model had to be converted; empty for the others.
    """

    graph: OpGraph
    name: str
    origin: Origin
    note: str = ""


def architecture_of(
    model: Any,
    *,
    trained: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
    trusted: bool = False,
    verbose: Verbosity = "auto",
) -> Architecture:
    """The op graph of a model that need not be trained, quantised or converted.

    A Keras model's graph is derived from its layers. One with a layer of which it is not known what
    TFLite makes of it is converted, with random data: sizes and ops do not depend on the data.

    Args:
        model: An `OpGraph`, a `Pipeline`, a saved pipeline's folder, or what `respect_tf.convert`
            takes, but for a configured converter.
        trained: Whether weights of a Keras model that are still zero count as trained: TFLite
            removes sums with zeros, so a fresh model has fewer ops than the trained one.
        custom_objects: See `respect_tf.convert`.
        trusted: See `respect_tf.convert`.
        verbose: See `respect_tf.convert`.

    Raises:
        ArgumentError: Nothing of that kind.
        ConversionError: TensorFlow cannot convert the model.
        InvalidModelError: A file is damaged.
        UnsupportedModelError: See `respect_tf.convert`.
    """
    if isinstance(model, OpGraph):
        return Architecture(model, "graph", "graph")
    graph = getattr(model, "graph", None)
    if isinstance(graph, OpGraph):
        return Architecture(graph, str(getattr(model, "name", "pipeline")), "pipeline")
    if isinstance(model, (str, os.PathLike)) and (Path(model) / "pipeline.json").is_file():
        from respect_tf._convert import load

        pipeline = load(model)
        return Architecture(pipeline.graph, pipeline.name, "pipeline")
    with silenced(verbose=verbose):
        source = open_source(model, Trust.of(custom_objects, trusted))
    if isinstance(source, TFLiteContent):
        return Architecture(OpGraph.from_tflite(source.content), source.name, "tflite")
    if not isinstance(source, FloatModel):
        raise ArgumentError(
            f"A {type(model).__name__} brings options of its own. Expected a model, its path, or "
            "an OpGraph: pass what the converter was made from."
        )
    note = f"'{source.name}' is no Keras model"
    if source.keras_model is not None:
        try:
            return Architecture(
                lower(source.keras_model, trained=trained), source.name, "architecture"
            )
        except UnknownLayerError as error:
            note = f"{error.what}, is not known before a conversion"
    report(f"{note}: the model is converted, with random data.", verbose=verbose)
    disturbed = trained and source.keras_model is not None
    weights = trained_looking_weights(source.keras_model) if disturbed else nullcontext()
    with progress(f"Converting {source.name}", verbose=verbose), weights:
        converted = to_int8(
            model if source.keras_model is None else source.keras_model,
            random_samples(source),
            strict=False,
            custom_objects=custom_objects,
            trusted=trusted,
            verbose=0,
        )
    return Architecture(OpGraph.from_tflite(converted.content), source.name, "conversion", note)


def random_samples(source: FloatModel) -> dict[str, npt.NDArray[Any]]:
    """Calibration data that any model accepts. Name -> [num_samples, ...]."""
    random = np.random.default_rng(0)
    samples: dict[str, npt.NDArray[Any]] = {}
    for spec in source.inputs:
        shape = (_NUM_SAMPLES, *spec.shape[1:])
        if spec.dtype.startswith("float"):
            samples[spec.name] = random.standard_normal(shape).astype(spec.dtype)
        else:
            samples[spec.name] = np.zeros(shape, spec.dtype)  # an index that every table has
    return samples


@contextlib.contextmanager
def trained_looking_weights(model: Any) -> Iterator[None]:
    """Disturb weights that are all alike inside the block.

    TensorFlow folds away a scale that is still 1 and an offset that is still 0, so a fresh model
    has fewer ops than the one that training makes of it.
    """
    random = np.random.default_rng(0)
    saved = []
    try:
        for weight in model.weights:
            value = np.array(weight.numpy())
            if value.dtype.kind == "f" and value.size and (value == value.flat[0]).all():
                saved.append((weight, value))
                disturbance = np.asarray(random.uniform(0.01, 0.1, value.shape), value.dtype)
                weight.assign(value + disturbance)
        yield
    finally:
        for weight, value in saved:
            weight.assign(value)
