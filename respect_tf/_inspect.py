"""`inspect()`: what is in a model of any kind, or in a saved pipeline."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from respect_tf._reporting import printable
from respect_tf.report import (
    Inspection,
    ModelInspection,
    format_bytes,
    inspect_model,
    inspect_tflite,
    table,
)


@dataclasses.dataclass(frozen=True)
class PipelineInspection:
    """A saved pipeline, file by file. `str(inspection)` is a table.

    Attributes:
        name: The model's name.
        whole: The whole model.
        segments: One entry per segment: what Google's compiler made of it where it is compiled,
            and the segment itself where it is not.
        files: Names of the segments' files, in the same order.
        replicas: Number of Edge TPUs that run each segment, likewise; 0 for CPU stages.
        verified: Whether the segments were proved when the pipeline was made.
    """

    name: str
    whole: Inspection
    segments: tuple[Inspection, ...]
    files: tuple[str, ...]
    replicas: tuple[int, ...]
    verified: bool

    def to_dict(self) -> dict[str, Any]:
        """The inspection as plain dicts, lists and numbers."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return plain | {
            "whole": self.whole.to_dict(),
            "segments": [segment.to_dict() for segment in self.segments],
            "files": list(self.files),
            "replicas": list(self.replicas),
        }

    def __str__(self) -> str:
        columns = ["file", "Edge TPUs", "size", "ops", "parameters", "cached", "streamed"]
        rows = []
        for segment, file, count in zip(self.segments, self.files, self.replicas, strict=True):
            compiled = segment.compiled
            memory = (
                ["not compiled", ""]
                if compiled is None
                else [format_bytes(compiled.cached_bytes), format_bytes(compiled.streamed_bytes)]
            )
            sizes = [format_bytes(segment.num_bytes), segment.num_ops]
            parameters = "" if compiled else format_bytes(segment.parameter_bytes)
            rows.append([file, count or "CPU", *sizes, parameters, *memory])
        proof = "bit-exact when it was made" if self.verified else "not verified"
        title = f"saved pipeline {self.name}: {len(self.segments)} segments, {proof}"
        return printable(f"{table(columns, rows, title=title)}\n\nthe whole model\n{self.whole}")


def inspect(
    model: Any,
    *,
    custom_objects: Mapping[str, Any] | None = None,
    trusted: bool = False,
) -> Inspection | ModelInspection | PipelineInspection:
    """Say what is in a .tflite file or a saved pipeline, or what converting a model will give.

    Args:
        model: Bytes or path of a .tflite file, compiled or not; the folder of a saved pipeline; or
            a Keras model, the path of a `.keras` or `.h5` file or a SavedModel folder, for which it
            is said before any conversion what will map, what will be rewritten, what stays on the
            CPU and what stops the compiler.
        custom_objects: Classes and functions by name that a Keras file needs besides Keras's own.
        trusted: Whether a model file may run code of its own when it is loaded.

    Returns:
        An `Inspection` of a .tflite file, a `PipelineInspection` of a saved pipeline, a
        `ModelInspection` of anything else.

    Raises:
        ArgumentError: There is no such file.
        InvalidModelError: It is no valid .tflite file, or its part for the Edge TPU is damaged.
        SavedPipelineError: A file of a saved pipeline was changed, is missing or damaged.
        RespectError: A model cannot be loaded or converted, as for `respect_tf.convert`.
    """
    if _is_tflite(model):
        return inspect_tflite(model)
    if not _is_pipeline(model):
        return inspect_model(model, custom_objects=custom_objects, trusted=trusted)
    from respect_tf._convert import load

    pipeline = load(model)
    return PipelineInspection(
        name=pipeline.name,
        whole=inspect_tflite(pipeline.model),
        segments=tuple(
            inspect_tflite(segment.content if segment.compiled is None else segment.compiled)
            for segment in pipeline.segments
        ),
        files=tuple(
            f"{segment.name}.tflite" if segment.compiled is None else segment.compiled_file
            for segment in pipeline.segments
        ),
        replicas=tuple(
            0 if segment.on_cpu else count
            for segment, count in zip(pipeline.segments, pipeline.replicas, strict=True)
        ),
        verified=pipeline.parity is not None,
    )


def _is_pipeline(model: Any) -> bool:
    if not isinstance(model, str | os.PathLike):
        return False
    try:
        return (Path(model) / "pipeline.json").is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _is_tflite(model: Any) -> bool:
    """Whether a model is given as a .tflite file: bytes, or a path of no other kind."""
    if isinstance(model, bytes | bytearray | memoryview):
        return True
    if not isinstance(model, str | os.PathLike):
        return False
    path = Path(model)
    try:
        is_folder = path.is_dir()
    except OSError:  # a name that no file can have: reading it says what is wrong
        is_folder = False
    return not is_folder and path.suffix not in (".keras", ".h5", ".hdf5")
