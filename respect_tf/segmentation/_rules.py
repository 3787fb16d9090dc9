"""The rules of Coral's PipelinedModelRunner, checked on the segments' own bytes.

This shares nothing with the code that cuts: it reads every file again and looks at it as the runner
does. Breaking most of these rules makes the real runner abort the whole process; those about ops at
a segment's borders make it compute wrong results in silence.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal

from respect_tf._errors import SegmentError
from respect_tf.segmentation._border_rules import border_faults, kept_states
from respect_tf.segmentation._segment import Segment
from respect_tf.tflite import ints, read_model, tensor_type_names, text

_EDGE_TPU_TYPES = ("int8", "uint8")


def check_runner_rules(
    segments: Sequence[Segment], *, stale_borders: Literal["refuse", "warn"] = "refuse"
) -> tuple[str, ...]:
    """Check that the pipeline runner will take these segments, and compute right results.

    Args:
        segments: The segments. Of those that are compiled, the compiled model is looked at as well,
            which says what stayed on the CPU.
        stale_borders: Whether an op at a border of an uncompiled model, whose CPU kernel would go
            wrong there, is an error. Folders of earlier releases have such ops, and some of them
            run on the Edge TPU, where nothing goes wrong.

    Returns:
        Warnings: what the runner accepts, but a user may stumble over.

    Raises:
        SegmentError: A rule is broken; the message names segment, tensor and rule.
    """
    if not segments:
        raise SegmentError("Expected at least one segment. Received: none.")
    views = [_View(segment) for segment in segments]
    last = len(views) - 1
    readers: dict[str, int] = {}
    for view in views:
        for name in view.inputs:
            readers[name] = view.index
    available: dict[str, tuple[Any, ...]] = dict(views[0].inputs)
    for view in views:
        for name, kind in view.inputs.items():
            if name not in available:
                raise SegmentError(
                    f"{view.where}: input '{name}' is neither an input of segment 0 nor an output "
                    "of an earlier segment."
                )
            if available[name] != kind:
                raise SegmentError(
                    f"{view.where}: input '{name}' is {_shown(kind)}, but was made as "
                    f"{_shown(available[name])}."
                )
            if view.index > 0 and name in views[0].inputs:
                raise SegmentError(
                    f"{view.where}: reads the model input '{name}' directly; the runner would leak "
                    "its buffer. It has to pass through an op in segment 0."
                )
        for name, kind in view.outputs.items():
            if name in available:
                raise SegmentError(
                    f"{view.where}: output '{name}' was made before under this name."
                )
            available[name] = kind
            if view.index < last and readers.get(name, -1) <= view.index:
                raise SegmentError(f"{view.where}: no later segment reads output '{name}'.")
            if view.index == last and name in readers:
                raise SegmentError(f"{view.where}: final output '{name}' is also an input.")
            if not name.isascii():
                raise SegmentError(f"{view.where}: output name {name!r} is not ASCII.")
    for view, segment in zip(views, segments, strict=True):
        _check_interface(view, segment)
    stale = [fault for segment in segments for fault in _stale_borders(segment, stale_borders)]
    states = [
        told
        for segment in segments
        for told in kept_states(segment.content, f"segment {segment.index}")
    ]
    return (*stale, *states, *_wide_outputs(views[-1]))


class _View:
    """What the runner sees of a segment."""

    def __init__(self, segment: Segment) -> None:
        self.index = segment.index
        self.where = f"segment {segment.index}"
        model = read_model(segment.content)
        if len(model.subgraphs) != 1:
            raise SegmentError(f"{self.where}: has {len(model.subgraphs)} subgraphs, expected 1.")
        (subgraph,) = model.subgraphs
        inputs, outputs = ints(subgraph.inputs), ints(subgraph.outputs)
        self.inputs = self._named("input", subgraph, inputs)
        self.outputs = self._named("output", subgraph, outputs)
        both = self.inputs.keys() & self.outputs.keys()
        if both:
            raise SegmentError(f"{self.where}: '{min(both)}' is both input and output.")

    def _named(self, role: str, subgraph: Any, indices: list[int]) -> dict[str, tuple[Any, ...]]:
        named: dict[str, tuple[Any, ...]] = {}
        for index in indices:
            tensor = subgraph.tensors[index]
            name = text(tensor.name)
            if not name or name in named:
                raise SegmentError(f"{self.where}: {role} name '{name}' is not unique.")
            if min(ints(tensor.shapeSignature), default=0) < 0:
                raise SegmentError(f"{self.where}: {role} '{name}' has an unknown dimension.")
            shape = tuple(ints(tensor.shape))
            named[name] = (tensor_type_names()[tensor.type], shape, *_affine(tensor))
        return named


def _check_interface(view: _View, segment: Segment) -> None:
    """The file has the inputs and outputs that the segment says, in its order."""
    for role, specs in (("inputs", segment.inputs), ("outputs", segment.outputs)):
        found = [(name, kind[0], kind[1]) for name, kind in getattr(view, role).items()]
        expected = [(spec.name, spec.dtype, spec.shape) for spec in specs]
        for received, right in itertools.zip_longest(found, expected):
            if received != right:
                raise SegmentError(
                    f"{view.where}: its file does not have the {role} that it should. Expected: "
                    f"{right}. Received: {received}."
                )


def _affine(tensor: Any) -> tuple[Any, ...]:
    parameters = tensor.quantization
    if parameters is None or parameters.scale is None or len(parameters.scale) == 0:
        return ()
    return (tuple(parameters.scale.tolist()), tuple(ints(parameters.zeroPoint)))


def _shown(kind: tuple[Any, ...]) -> str:
    return f"{kind[0]} {list(kind[1])}"


def _stale_borders(segment: Segment, treatment: str) -> tuple[str, ...]:
    where = f"segment {segment.index}"
    faults = border_faults(segment.content, where)
    if faults and treatment == "refuse":
        raise SegmentError(
            f"{faults[0]} Expected a RESHAPE between that op and the border, as respect_tf.segment "
            "makes it. Cut the model again."
        )
    if segment.compiled is None:
        return tuple(f"{fault} Cut the model again." for fault in faults)
    # What was compiled says which ops stayed on the CPU; the others do no harm.
    return tuple(
        f"{fault} The compiler left it there: run this pipeline with another backend than pycoral, "
        "whose runner this is about, or cut elsewhere."
        for fault in border_faults(segment.compiled, f"{where}, compiled")
    )


def _wide_outputs(view: _View) -> list[str]:
    wide = [name for name, kind in view.outputs.items() if kind[0] not in _EDGE_TPU_TYPES]
    found = []
    for name in wide[:1]:
        dtype = view.outputs[name][0]
        remedy = (
            "convert with inference_output_type='int8'"
            if dtype == "float32"
            else "use another backend, or leave that op out of the model"
        )
        found.append(
            f"{view.where}: final output '{name}' is {dtype}. pycoral's pop() returns int8 and "
            f"uint8 only; {remedy}."
        )
    return found
