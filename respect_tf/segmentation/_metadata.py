"""What users of a model have to know of its inputs and outputs: normalisation and labels.

The first segment's file describes the model's inputs and the last one's its outputs, where TFLite's
libraries look for it; those between say nothing about the model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from respect_tf._errors import ArgumentError

PerTensor = float | Sequence[float] | Mapping[str, float | Sequence[float]]
Labels = Sequence[str] | Mapping[str, Sequence[str]]
Shapes = Mapping[str, tuple[int, ...]]


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

    def of_segment(self, index: int, num_segments: int) -> Interface:
        """What one of the segments says: the first of the inputs, the last of the outputs."""
        return Interface(
            self.inputs if index == 0 else (), self.outputs if index == num_segments - 1 else ()
        )


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

    Raises:
        ArgumentError: There is a mean without a std, a number is not finite, or a label is no
            string of one line.
    """

    mean: PerTensor | None = None
    std: PerTensor | None = None
    labels: Labels | None = None

    def __post_init__(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise ArgumentError("Expected both mean and std, or neither. Received: one of them.")
        for what, given in (("mean", self.mean), ("std", self.std)):
            for where, numbers in _entries(what, given, "input"):
                _check_numbers(where, numbers, above=0.0 if what == "std" else -np.inf)
        for where, labels in _entries("labels", self.labels, "output"):
            _check_labels(where, labels)

    def describe(self, inputs: Shapes, outputs: Shapes) -> Interface:
        """Check it against a model's inputs and outputs.

        Args:
            inputs: Shapes of the model's inputs, by the names of its signature.
            outputs: Those of its outputs likewise.

        Raises:
            ArgumentError: A name is unknown, or there are more or fewer numbers or labels than
                channels.
        """
        means, stds = _by_name("mean", self.mean, inputs), _by_name("std", self.std, inputs)
        if means.keys() != stds.keys():
            raise ArgumentError(
                f"mean is for {list(means)}, std for {list(stds)}. Expected the same."
            )
        if self.labels is not None and not isinstance(self.labels, Mapping) and len(outputs) != 1:
            raise ArgumentError(
                f"The model has the outputs {list(outputs)}. Expected labels as a dict by output "
                f"name. Received: {type(self.labels).__name__}."
            )
        labels = _by_name("labels", self.labels, outputs)
        return Interface(
            inputs=tuple(
                TensorDescription(
                    name,
                    mean=_per_channel("mean", name, means.get(name), shape),
                    std=_per_channel("std", name, stds.get(name), shape),
                )
                for name, shape in inputs.items()
            ),
            outputs=tuple(
                TensorDescription(name, labels=_per_class(name, labels.get(name), shape))
                for name, shape in outputs.items()
            ),
        )


def _entries(what: str, given: Any, kind: str) -> list[tuple[str, Any]]:
    """What messages call each thing that is given, and the thing."""
    if given is None:
        return []
    if isinstance(given, Mapping):
        return [(f"{what} of {kind} '{name}'", one) for name, one in given.items()]
    return [(what, given)]


def _check_numbers(where: str, given: Any, *, above: float) -> None:
    try:
        values = np.atleast_1d(np.asarray(given))
    except ValueError:  # lists of different lengths
        values = np.array([None])
    if values.dtype.kind not in "iuf" or values.ndim != 1:
        raise ArgumentError(
            f"{where} must be a number or one per channel. Received: {_shown(given)}."
        )
    if not np.isfinite(values).all() or not (values > above).all():
        limit = " above 0" if above == 0 else ""
        raise ArgumentError(f"{where} must be finite{limit}. Received: {_shown(given)}.")


def _check_labels(where: str, given: Any) -> None:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ArgumentError(f"{where} must be a list of strings. Received: {_shown(given)}.")
    for label in given:
        if not isinstance(label, str) or label.splitlines() != [label]:
            raise ArgumentError(f"{where} must be strings of one line. Received: {_shown(label)}.")


def _shown(given: Any) -> str:
    return f"{given!r:.100}"


def _by_name(what: str, given: Any, shapes: Shapes) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        return dict.fromkeys(shapes, given)
    unknown = [name for name in given if name not in shapes]
    if unknown:
        raise ArgumentError(f"{what} names {unknown}. Expected some of {list(shapes)}.")
    return dict(given)


def _per_channel(what: str, name: str, given: Any, shape: tuple[int, ...]) -> tuple[float, ...]:
    if given is None:
        return ()
    values = np.atleast_1d(np.asarray(given))
    channels = shape[-1] if shape else 1
    if len(values) not in (1, channels):
        raise ArgumentError(
            f"{what} of input '{name}' must be a number or one per channel, {channels}. "
            f"Received: {len(values)} numbers."
        )
    return tuple(float(value) for value in values)


def _per_class(name: str, given: Sequence[str] | None, shape: tuple[int, ...]) -> tuple[str, ...]:
    classes = shape[-1] if shape else 1
    if given is not None and len(given) != classes:
        raise ArgumentError(
            f"labels of output '{name}' must be {classes} strings, one per class. "
            f"Received: {len(given)}."
        )
    return tuple(given or ())
