"""TFLite metadata: how to prepare inputs and read outputs, inside the segments' files.

The first segment describes the model's inputs and the last one its outputs; those between say
nothing about the model.
"""

from __future__ import annotations

import dataclasses
import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from respect_tf._errors import ArgumentError
from respect_tf.run._metadata_writer import MetadataWriter
from respect_tf.segmentation import Segment, TensorSpec
from respect_tf.tflite import read_model, schema, text, write_model

ENTRY = "TFLITE_METADATA"  # the name under which TFLite's libraries look for it

PerTensor = float | Sequence[float] | Mapping[str, float | Sequence[float]]
Labels = Sequence[str] | Mapping[str, Sequence[str]]


@dataclasses.dataclass(frozen=True)
class TensorDescription:
    """What a user of the model has to know of an input or output.

    Attributes:
        name: Its name in the model's signature.
        mean: What to subtract from raw values, once or per channel; empty if nothing is known.
        std: What to divide them by then, as many.
        labels: Names of the classes along the last axis.
    """

    name: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What is known, for the manifest."""
        known: dict[str, Any] = {}
        if self.mean:
            known["normalization"] = {"mean": list(self.mean), "std": list(self.std)}
        if self.labels:
            known["labels"] = list(self.labels)
        return known

    @classmethod
    def from_dict(cls, known: Mapping[str, Any]) -> TensorDescription:
        """From the manifest's entry for an input or output, which also has its name."""
        normalization = known.get("normalization", {"mean": (), "std": ()})
        return cls(
            name=str(known["name"]),
            mean=tuple(map(float, normalization["mean"])),
            std=tuple(map(float, normalization["std"])),
            labels=tuple(map(str, known.get("labels", ()))),
        )


@dataclasses.dataclass(frozen=True)
class Interface:
    """What is known of a model's inputs and outputs, in its order; empty where nothing is.

    Attributes:
        inputs: One description per input.
        outputs: One per output.
    """

    inputs: tuple[TensorDescription, ...] = ()
    outputs: tuple[TensorDescription, ...] = ()

    @classmethod
    def from_dicts(
        cls, inputs: Iterable[Mapping[str, Any]], outputs: Iterable[Mapping[str, Any]]
    ) -> Interface:
        """From the manifest's entries for the inputs and outputs."""
        sides = [tuple(map(TensorDescription.from_dict, side)) for side in (inputs, outputs)]
        return cls(*sides) if any(one.to_dict() for side in sides for one in side) else cls()


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What the users of a model should know; `respect_tf.convert(..., metadata=...)` takes it.

    It goes into the first and the last segment, where TFLite's libraries look for it, and into the
    manifest. It says what to do with raw values, pixels for example, before they are the model's
    real input, `(raw - mean) / std`; nothing here does that.

    Attributes:
        mean: A number or one per channel, for all inputs; or a dict of them by input name.
        std: Likewise, above 0.
        labels: Names of the classes of the only output, or a dict of them by output name.
    """

    mean: PerTensor | None = None
    std: PerTensor | None = None
    labels: Labels | None = None

    def describe(
        self, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]
    ) -> Interface:
        """Check it against a model's inputs and outputs by the names of its signature.

        Raises:
            ArgumentError: See `describe_interface`.
        """
        described = describe_interface(
            inputs, outputs, mean=self.mean, std=self.std, labels=self.labels
        )
        return Interface(*described)


def describe_interface(
    inputs: Mapping[str, TensorSpec],
    outputs: Mapping[str, TensorSpec],
    *,
    mean: PerTensor | None = None,
    std: PerTensor | None = None,
    labels: Labels | None = None,
) -> tuple[tuple[TensorDescription, ...], tuple[TensorDescription, ...]]:
    """Check what a user says about inputs and outputs.

    Raw values, pixels for example, become the model's real input by `(raw - mean) / std`.

    Args:
        inputs: The model's inputs by the names of its signature.
        outputs: The model's outputs likewise.
        mean: A number or one per channel, for all inputs; or a dict of them by input name.
        std: Likewise, above 0.
        labels: Names of the classes of the only output, or a dict of them by output name.

    Raises:
        ArgumentError: A name is unknown, a number is missing or not finite, or there are more or
            fewer numbers or labels than channels.
    """
    if (mean is None) != (std is None):
        raise ArgumentError("Expected both mean and std, or neither. Received: one of them.")
    means = _by_name("mean", mean, inputs)
    stds = _by_name("std", std, inputs)
    if means.keys() != stds.keys():
        raise ArgumentError(f"mean is for {list(means)}, std for {list(stds)}. Expected the same.")
    if labels is not None and not isinstance(labels, Mapping):
        if len(outputs) != 1:
            raise ArgumentError(
                f"The model has the outputs {list(outputs)}. Expected labels as a dict by output "
                f"name. Received: {type(labels).__name__}."
            )
        labels = {next(iter(outputs)): labels}
    _check_known("labels", labels or {}, outputs)
    described_inputs = [
        TensorDescription(
            name,
            mean=_numbers("mean", name, means[name], spec) if name in means else (),
            std=_numbers("std", name, stds[name], spec) if name in stds else (),
        )
        for name, spec in inputs.items()
    ]
    described_outputs = [
        TensorDescription(name, labels=_label_names(name, (labels or {}).get(name), spec))
        for name, spec in outputs.items()
    ]
    return tuple(described_inputs), tuple(described_outputs)


def write_metadata(
    segments: Sequence[Segment],
    inputs: Sequence[TensorDescription],
    outputs: Sequence[TensorDescription],
    *,
    name: str,
) -> tuple[Segment, ...]:
    """Segments of which the first describes the model's inputs and the last its outputs.

    Ops and tensors stay as they are. Compiled models are left alone: compile the result.

    Args:
        segments: The segments, in order.
        inputs: One description per input of segment 0, in its order.
        outputs: One description per output of the last segment, in its order.
        name: The model's name.
    """
    last = len(segments) - 1
    written = []
    for segment in segments:
        first_tensors = inputs if segment.index == 0 else ()
        last_tensors = outputs if segment.index == last else ()
        if not first_tensors and not last_tensors:
            written.append(segment)
            continue
        content = _with_metadata(
            segment.content,
            segment,
            first_tensors or [TensorDescription(spec.name) for spec in segment.inputs],
            last_tensors or [TensorDescription(spec.name) for spec in segment.outputs],
            name=name,
        )
        written.append(dataclasses.replace(segment, content=content))
    return tuple(written)


def _with_metadata(
    content: bytes,
    segment: Segment,
    inputs: Sequence[TensorDescription],
    outputs: Sequence[TensorDescription],
    *,
    name: str,
) -> bytes:
    files = {
        f"labels_{index}.txt": "".join(f"{label}\n" for label in output.labels)
        for index, output in enumerate(outputs)
        if output.labels
    }
    writer = MetadataWriter()
    packed = writer.model(
        name,
        [
            writer.tensor(given.name, spec, mean=given.mean, std=given.std)
            for given, spec in zip(inputs, segment.inputs, strict=True)
        ],
        [
            writer.tensor(
                given.name, spec, labels_file=f"labels_{index}.txt" if given.labels else None
            )
            for index, (given, spec) in enumerate(zip(outputs, segment.outputs, strict=True))
        ],
    )
    model = read_model(content)
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


def _by_name(
    what: str, given: PerTensor | None, inputs: Mapping[str, TensorSpec]
) -> dict[str, float | Sequence[float]]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        return dict.fromkeys(inputs, given)
    _check_known(what, given, inputs)
    return dict(given)


def _check_known(what: str, given: Mapping[str, Any], known: Mapping[str, TensorSpec]) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ArgumentError(f"{what} names {unknown}. Expected some of {list(known)}.")


def _numbers(
    what: str, name: str, given: float | Sequence[float], spec: TensorSpec
) -> tuple[float, ...]:
    values = np.atleast_1d(np.asarray(given))
    channels = spec.shape[-1] if spec.shape else 1
    if values.dtype.kind not in "iuf" or values.ndim != 1 or len(values) not in (1, channels):
        raise ArgumentError(
            f"{what} of input '{name}' must be a number or one per channel, {channels}. "
            f"Received: {given!r}."
        )
    if not np.isfinite(values).all() or (what == "std" and not (values > 0).all()):
        above = " above 0" if what == "std" else ""
        raise ArgumentError(f"{what} of input '{name}' must be finite{above}. Received: {given!r}.")
    return tuple(float(value) for value in values)


def _label_names(name: str, given: Sequence[str] | None, spec: TensorSpec) -> tuple[str, ...]:
    if given is None:
        return ()
    classes = spec.shape[-1] if spec.shape else 1
    good = not isinstance(given, str) and all(
        isinstance(label, str) and label.splitlines() == [label] for label in given
    )
    if not good or len(given) != classes:
        raise ArgumentError(
            f"labels of output '{name}' must be {classes} strings of one line, one per class. "
            f"Received: {len(given)} of {type(given).__name__}."
        )
    return tuple(given)
