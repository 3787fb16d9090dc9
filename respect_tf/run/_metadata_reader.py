"""TFLite metadata that a given model brings along."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence

from respect_tf._errors import InvalidModelError
from respect_tf.run._metadata import ENTRY, Metadata
from respect_tf.run._metadata_writer import AXIS_LABELS, IDENTIFIER, NORMALIZATION
from respect_tf.tflite import FlatBufferTable, read_model, text


def read_metadata(content: bytes, inputs: Sequence[str], outputs: Sequence[str]) -> Metadata | None:
    """What a .tflite model says about normalisation and labels.

    Args:
        content: The model.
        inputs: Names of its inputs, in its order.
        outputs: Names of its outputs likewise.

    Returns:
        None if it says nothing.

    Raises:
        InvalidModelError: Its metadata is damaged.
    """
    if ENTRY.encode() not in content:
        return None  # without unpacking a large model
    model = read_model(content)
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
    numbers, labels = {}, {}
    for name, table in zip(inputs, described_inputs, strict=False):
        normalization = _normalization(table)
        if normalization is not None:
            numbers[name] = normalization
    for name, table in zip(outputs, described_outputs, strict=False):
        names = _labels(content, table)
        if names is not None:
            labels[name] = names
    if not numbers and not labels:
        return None
    return Metadata(
        mean={name: mean for name, (mean, _) in numbers.items()} or None,
        std={name: std for name, (_, std) in numbers.items()} or None,
        labels=labels or None,
    )


def _normalization(
    table: FlatBufferTable,
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    for unit in table.tables(4, "process unit"):
        options = unit.table(1, "options of a process unit")
        if unit.uint8(0) == NORMALIZATION and options is not None:
            return options.float32s(0), options.float32s(1)
    return None


def _labels(content: bytes, table: FlatBufferTable) -> list[str] | None:
    for file in table.tables(6, "associated file"):
        if file.uint8(2) == AXIS_LABELS:
            return _file(content, file.text(0)).decode("utf-8", "replace").splitlines()
    return None


def _file(content: bytes, name: str) -> bytes:
    """A file from the archive behind the model."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, OSError, RuntimeError) as error:
        raise InvalidModelError(
            f"The model's metadata names the file '{name}', which cannot be read: {error}. "
            "Expected it in a zip archive behind the model."
        ) from error
