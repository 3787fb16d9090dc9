"""What a saved folder holds, and values between real and stored."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

MANIFEST_NAME = "pipeline.json"
REFERENCE = "reference.npz"


class Failure(Exception):
    """Something that the user can mend."""


class SavedFolder:
    """A saved pipeline."""

    def __init__(self, path: Path) -> None:
        """Read the manifest.

        Raises:
            Failure: It cannot be read.
        """
        self.path = path
        try:
            manifest = json.loads((path / MANIFEST_NAME).read_bytes())
            self.inputs: list[dict[str, Any]] = manifest["inputs"]
            self.outputs: list[dict[str, Any]] = manifest["outputs"]
            self.segments: list[dict[str, Any]] = manifest["segments"]
            self.files: dict[str, str] = manifest["files"]
            self.replicas = list(manifest.get("replicas") or [1] * len(self.segments))
        except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
            raise Failure(
                f"{path / MANIFEST_NAME} cannot be read ({error}). Copy the folder again."
            ) from error

    def on_cpu(self, index: int) -> bool:
        """Whether a segment runs on the host in any case."""
        return bool(self.segments[index].get("on_cpu"))

    def borders(self, index: int, side: str) -> list[tuple[str, str, tuple[int, ...]]]:
        """Name, type and shape of what a segment reads or makes."""
        return [(t["name"], t["dtype"], tuple(t["shape"])) for t in self.segments[index][side]]

    def model(self, index: int, *, compiled: bool) -> bytes:
        """A segment's model.

        Raises:
            Failure: It is missing, or was changed after it was saved.
        """
        segment = self.segments[index]
        if not compiled:
            return self.file(segment["file"])
        name = segment["compiled_file"]
        if name is None:  # compiled elsewhere, after the folder was saved
            name = f"{segment['name']}_edgetpu.tflite"
        try:
            return self.file(name)
        except FileNotFoundError:
            raise Failure(
                f"{name} is missing: compile {segment['file']} with edgetpu_compiler on an x86-64 "
                "Linux machine ('respect-tf compile FOLDER' does that for all segments). --cpu "
                "runs the folder without it."
            ) from None

    def file(self, name: str) -> bytes:
        """A file of the folder, unchanged where the manifest has its hash.

        Raises:
            Failure: It is outside of the folder, cannot be read, or was changed.
            FileNotFoundError: There is none.
        """
        if Path(name).name != name:
            raise Failure(f"{MANIFEST_NAME} names {name!r}, outside the folder: copy it again")
        try:
            content = (self.path / name).read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Failure(f"{name} cannot be read: {error}") from error
        expected = self.files.get(name)
        if expected is not None and hashlib.sha256(content).hexdigest() != expected:
            raise Failure(f"{name} was changed after it was saved: copy the folder again")
        return content


def quantized(values: Any, spec: Mapping[str, Any]) -> Any:
    """Real numbers to stored ones: rounded half away from zero, and clipped."""
    if spec["scale"] is None:
        return values.astype(spec["dtype"])
    scaled = (values.astype(np.float32) / np.float32(spec["scale"][0])).astype(np.float64)
    rounded = np.trunc(scaled + np.copysign(0.5, scaled))
    limits = np.iinfo(spec["dtype"])
    stored = rounded + spec["zero_point"][0]
    return np.clip(stored, limits.min, limits.max).astype(spec["dtype"])


def dequantized(values: Any, spec: Mapping[str, Any]) -> Any:
    """Stored numbers to real ones, float32."""
    if spec["scale"] is None:
        return values.astype(np.float32)
    shifted = values.astype(np.float32) - np.float32(spec["zero_point"][0])
    return shifted * np.float32(spec["scale"][0])


def fitting(array: Any, spec: Mapping[str, Any]) -> Any:
    """One sample as the model takes it: its type, its shape, contiguous.

    Raises:
        Failure: Shape, type or values do not fit.
    """
    shape = tuple(spec["shape"])
    if array.shape != shape and not (shape[:1] == (1,) and array.shape == shape[1:]):
        raise Failure(
            f"Input '{spec['name']}' must have the shape {list(shape)}. "
            f"Received: {list(array.shape)}."
        )
    if array.dtype != np.dtype(spec["dtype"]):
        takes_floats = spec["scale"] is not None or np.dtype(spec["dtype"]).kind == "f"
        if array.dtype.kind != "f" or not takes_floats or not np.isfinite(array).all():
            raise Failure(
                f"Input '{spec['name']}' must be {spec['dtype']} or finite floats. "
                f"Received: {array.dtype}."
            )
        array = quantized(array, spec)
    return np.ascontiguousarray(array.reshape(shape))


def results_of(
    specs: Sequence[Mapping[str, Any]], result: Mapping[str, Any], *, real: bool
) -> dict[str, Any]:
    """One result by the outputs' own names; real numbers where they are asked for."""
    found = {}
    for spec in specs:
        values = result[spec["runner_name"]]
        found[spec["name"]] = dequantized(values, spec) if real else values
    return found


def write_whole(target: Path, content: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        Failure: It cannot be written.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(target)
    except OSError as error:
        raise Failure(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        if partial.exists():
            partial.unlink()
    print(f"written: {printable(str(target))}")


def printable(text: str) -> str:
    """A text without what a terminal obeys: control characters, as names may have, are escaped."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )
