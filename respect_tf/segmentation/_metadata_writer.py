"""TFLite's metadata, written with `flatbuffers`.

Against the public `metadata_schema.fbs` 1.0 of tflite-support, whose own writers need a library for
USB microphones and an old protobuf.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from respect_tf.segmentation._metadata import Interface, TensorDescription
from respect_tf.segmentation._segment import TensorSpec
from respect_tf.tflite import schema, text, write_model

ENTRY = "TFLITE_METADATA"  # the name under which TFLite's libraries look for it
IDENTIFIER = b"M001"
_PARSER_VERSION = "1.0.0"  # all that is used here was there in the first version

# Members of the schema's unions and enums.
_FEATURE, _IMAGE = 1, 2  # ContentProperties
_RGB = 1  # ColorSpaceType
NORMALIZATION = 1  # ProcessUnitOptions
AXIS_LABELS = 2  # AssociatedFileType


def write_with_metadata(
    model: Any,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    interface: Interface,
    *,
    name: str,
) -> bytes:
    """Pack a model, and what is known of its inputs and outputs.

    Args:
        model: The schema's `ModelT`; it is changed where something is known.
        inputs: Its inputs.
        outputs: Its outputs.
        interface: One description per input and one per output, or none of either.
        name: What the metadata call the model.
    """
    if not interface.inputs and not interface.outputs:
        return write_model(model)
    described = [
        list(zip(known or [TensorDescription(spec.name) for spec in specs], specs, strict=True))
        for known, specs in ((interface.inputs, inputs), (interface.outputs, outputs))
    ]
    files = {
        f"labels_{index}.txt": "".join(f"{label}\n" for label in given.labels)
        for index, (given, _) in enumerate(described[1])
        if given.labels
    }
    writer = MetadataWriter()
    packed = writer.model(
        name,
        [
            writer.tensor(given.name, spec, mean=given.mean, std=given.std)
            for given, spec in described[0]
        ],
        [
            writer.tensor(
                given.name, spec, labels_file=f"labels_{index}.txt" if given.labels else None
            )
            for index, (given, spec) in enumerate(described[1])
        ],
    )
    kept = [entry for entry in model.metadata or [] if text(entry.name) != ENTRY]
    buffer = schema().BufferT()
    buffer.data = np.frombuffer(packed, np.uint8)
    entry = schema().MetadataT()
    entry.name, entry.buffer = ENTRY, len(model.buffers)
    model.buffers = [*model.buffers, buffer]
    model.metadata = [*kept, entry]
    return _with_files(write_model(model), files)


def _with_files(content: bytes, files: Mapping[str, str]) -> bytes:
    """A model with files behind it, as a zip archive: readers of either find their own."""
    if not files:
        return content
    stream = io.BytesIO(content)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for name, written in files.items():
            archive.writestr(zipfile.ZipInfo(name), written)  # dated 1980, so bytes stay the same
    return stream.getvalue()


class MetadataWriter:
    """The tables of the metadata schema; each method writes one and returns where it is."""

    def __init__(self) -> None:
        import flatbuffers

        self._builder: Any = flatbuffers.Builder(1024)

    def model(self, name: str, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """ModelMetadata with one subgraph, finished."""
        subgraph = self._table(
            7, {2: self._offsets(inputs), 3: self._offsets(outputs)}
        )  # SubGraphMetadata
        root = self._table(
            8,
            {
                0: self._builder.CreateString(name),
                3: self._offsets([subgraph]),
                7: self._builder.CreateString(_PARSER_VERSION),
            },
        )
        self._builder.Finish(root, file_identifier=IDENTIFIER)
        return bytes(self._builder.Output())

    def tensor(
        self,
        name: str,
        spec: TensorSpec,
        *,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        labels_file: str | None = None,
    ) -> int:
        """TensorMetadata."""
        fields = {0: self._builder.CreateString(name), 3: self._content(spec)}
        if mean:
            options = self._table(2, {0: self._floats(mean), 1: self._floats(std)})
            unit = self._table(2, {1: options}, {0: NORMALIZATION})
            fields[4] = self._offsets([unit])
        limits = _real_range(spec)
        if limits:
            fields[5] = self._table(2, {0: self._floats(limits[1:]), 1: self._floats(limits[:1])})
        if labels_file:
            file = self._builder.CreateString(labels_file)
            fields[6] = self._offsets([self._table(4, {0: file}, {2: AXIS_LABELS})])
        return self._table(7, fields)

    def _content(self, spec: TensorSpec) -> int:
        is_image = len(spec.shape) == 4 and spec.shape[3] == 3
        properties = self._table(2, {}, {0: _RGB}) if is_image else self._table(0, {})
        return self._table(3, {1: properties}, {0: _IMAGE if is_image else _FEATURE})

    def _table(
        self, num_fields: int, offsets: Mapping[int, int], small: Mapping[int, int] | None = None
    ) -> int:
        """A table of offsets and of numbers of one byte, by field."""
        self._builder.StartObject(num_fields)
        for field, offset in offsets.items():
            self._builder.PrependUOffsetTRelativeSlot(field, offset, 0)
        for field, number in (small or {}).items():
            self._builder.PrependUint8Slot(field, number, 0)
        written: int = self._builder.EndObject()
        return written

    def _offsets(self, offsets: Sequence[int]) -> int:
        self._builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        written: int = self._builder.EndVector()
        return written

    def _floats(self, values: Sequence[float]) -> int:
        written: int = self._builder.CreateNumpyVector(np.array(values, np.float32))
        return written


def _real_range(spec: TensorSpec) -> tuple[float, float] | None:
    """The least and the greatest real number that an integer tensor stands for."""
    if spec.quantization is None or np.dtype(spec.dtype).kind == "f":
        return None
    limits = np.iinfo(spec.dtype)
    scale, zero_point = spec.quantization.scale[0], spec.quantization.zero_point[0]
    return scale * (limits.min - zero_point), scale * (limits.max - zero_point)
