"""TFLite metadata that a given model brings along."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from respect_tf._archive import Archive, ArchiveError
from respect_tf._errors import ArgumentError, InvalidModelError
from respect_tf.segmentation._metadata import Metadata
from respect_tf.segmentation._metadata_writer import (
    AXIS_LABELS,
    ENTRY,
    IDENTIFIER,
    NORMALIZATION,
)
from respect_tf.tflite import FlatBufferTable, read_model, text

# Of all label files of a model. The 21,843 classes of ImageNet-21k take 0.7 MB, with synonyms.
_MOST_LABEL_BYTES = 4 * 2**20


def read_metadata(
    content: bytes, inputs: Sequence[str], outputs: Sequence[str], *, unpacked: Any = None
) -> Metadata | None:
    """What a .tflite model says about normalisation and labels.

    Args:
        content: The model.
        inputs: Names of its inputs, in its order.
        outputs: Names of its outputs likewise.
        unpacked: The model as `read_model` gives it, where it is at hand.

    Returns:
        None if it says nothing.

    Raises:
        InvalidModelError: Its metadata is damaged.
    """
    if ENTRY.encode() not in content:
        return None  # without unpacking a large model
    model = read_model(content) if unpacked is None else unpacked
    entries = [entry for entry in model.metadata or [] if text(entry.name) == ENTRY]
    if not entries:
        return None
    packed = model.buffers[entries[0].buffer].data
    root = FlatBufferTable.root(
        bytes(packed if packed is not None else b""), "metadata", IDENTIFIER
    )
    subgraphs = root.tables(3, "metadata of a subgraph")
    if not subgraphs:
        return None
    described_inputs = subgraphs[0].tables(2, "metadata of an input")
    described_outputs = subgraphs[0].tables(3, "metadata of an output")
    numbers = {}
    for name, table in zip(inputs, described_inputs, strict=False):
        normalization = _normalization(table)
        if normalization is not None:
            numbers[name] = normalization
    files = {}
    for name, table in zip(outputs, described_outputs, strict=False):
        file = _labels_file(table)
        if file is not None:
            files[name] = file
    labels = _labels(content, files)
    if not numbers and not labels:
        return None
    try:
        return Metadata(
            mean={name: mean for name, (mean, _) in numbers.items()} or None,
            std={name: std for name, (_, std) in numbers.items()} or None,
            labels=labels or None,
        )
    except ArgumentError as error:
        raise InvalidModelError(f"The model's metadata is damaged. {error}") from error


def _normalization(
    table: FlatBufferTable,
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    for unit in table.tables(4, "process unit"):
        options = unit.table(1, "options of a process unit")
        if unit.uint8(0) == NORMALIZATION and options is not None:
            return options.float32s(0), options.float32s(1)
    return None


def _labels_file(table: FlatBufferTable) -> str | None:
    """The name of the file that holds the labels of an output."""
    for file in table.tables(6, "associated file"):
        if file.uint8(2) == AXIS_LABELS:
            return file.text(0)
    return None


def _labels(content: bytes, files: Mapping[str, str]) -> dict[str, list[str]]:
    """The lines of files in the archive behind the model: output -> labels."""
    if not files:
        return {}
    read: dict[str, list[str]] = {}
    left = _MOST_LABEL_BYTES
    try:
        archive = Archive(io.BytesIO(content))
        for file in dict.fromkeys(files.values()):
            unpacked = archive.read(file, limit=left)
            left -= len(unpacked)
            read[file] = unpacked.decode("utf-8", "replace").splitlines()
    except ArchiveError as error:
        raise InvalidModelError(
            f"The model's metadata names the files {sorted(set(files.values()))}, of which at most "
            f"{_MOST_LABEL_BYTES} bytes are read from the zip archive behind the model: {error}."
        ) from error
    return {output: read[file] for output, file in files.items()}
