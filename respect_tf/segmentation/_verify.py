"""Proving that the segments compute what the whole model computes, byte for byte."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import (
    ArgumentError,
    InterpreterError,
    ParityError,
    UnsupportedModelError,
)
from respect_tf.graph import OpGraph
from respect_tf.segmentation._copies import ops_of_file
from respect_tf.segmentation._segment import Segment, TensorSpec
from respect_tf.segmentation._unknown_ops import provable
from respect_tf.tflite import Interpreter, read_content, read_model

Array = npt.NDArray[Any]

# Inputs that segments are proved on where nobody gives any.
NUM_INPUTS = 3

_NOT_IN_NUMPY = ("int4", "bfloat16")  # of the types of fixed size that TFLite has

# A file of a few hundred bytes can declare inputs of any size. A picture of 3840 x 2160 in float32
# has 95 MiB.
_MOST_INPUT_BYTES = 2**28


@dataclasses.dataclass(frozen=True)
class ParityReport:
    """What a successful verification compared.

    Attributes:
        num_inputs: Inputs that both were run on.
        num_tensors: Distinct tensors compared: all that cross a cut, and the model's outputs.
        num_bytes: Bytes compared, over all inputs.
    """

    num_inputs: int
    num_tensors: int
    num_bytes: int


def verify(
    model: bytes | str | os.PathLike[str],
    segments: Sequence[Segment],
    inputs: Sequence[Sequence[Array]] | None = None,
    *,
    seed: int = 0,
    graph: OpGraph | None = None,
) -> ParityReport:
    """Run the whole model and the chain of segments, and compare every tensor between segments.

    Both sides use TFLite's builtin kernels. The chain hands tensors on by name, as the pipeline
    runner does. From the first segment on that holds a custom op of another runtime, such as
    PoseNet's decoder, nothing can be run here.

    Args:
        model: Bytes or path of the whole model.
        segments: Its segments.
        inputs: For each run one array per model input, in the model's order, with its exact shape
            and dtype; three random ones if left out.
        seed: Seed of the random inputs.
        graph: The whole model's op graph, where it is at hand; else it is read again.

    Raises:
        ParityError: A tensor differs; the message names segment, op, tensor and first index.
        ArgumentError: An input does not fit the model, or there is no such file.
        InterpreterError: TFLite cannot run one of the models, or crashes on it.
    """
    content = read_content(model)
    graph = graph or OpGraph.from_tflite(content)
    content, segments = provable(content, segments, graph)
    if inputs is None:
        inputs = random_inputs(graph, NUM_INPUTS, seed=seed)
    for sample in inputs:
        _check_input(graph, sample)
    crossing = {spec.tensor for segment in segments for spec in segment.outputs}
    num_bytes = 0

    def expected_from(sample: Sequence[Array]) -> dict[int, Array]:
        whole.run(sample)
        return {tensor: whole.tensor(tensor) for tensor in crossing}

    # TFLite lets other threads run while it computes: whole model and segments run side by side.
    # The models are closed before the thread is waited for, so that none of them is at work then.
    with concurrent.futures.ThreadPoolExecutor(1) as beside, contextlib.ExitStack() as opened:
        whole = opened.enter_context(
            Interpreter(content, keep_inner_tensors=True, label=_label_of_whole(segments))
        )
        chain = [opened.enter_context(Interpreter(s.content, label=s.label)) for s in segments]
        expectations = beside.map(expected_from, inputs)
        for number, sample in enumerate(inputs):
            steps, failure = [], None
            try:
                for step in _steps(segments, chain, sample):
                    steps.append(step)
            except InterpreterError as error:
                failure = error  # perhaps because a tensor before it is wrong
            expected = next(expectations)
            for segment, given, spec, made in steps:
                right = expected[spec.tensor]
                if not _same_bytes(made, right):
                    beside.shutdown(cancel_futures=True)
                    whole.run(sample)  # for the tensors between the cuts
                    raise ParityError(
                        _describe(graph, whole, segment, given, spec, made, right, number)
                    )
                num_bytes += made.nbytes
            if failure is not None:
                raise failure
        # Nothing is proved by models that write where they should not.
        for model_or_segment in (whole, *chain):
            model_or_segment.finish()
    return ParityReport(num_inputs=len(inputs), num_tensors=len(crossing), num_bytes=num_bytes)


def _label_of_whole(segments: Sequence[Segment]) -> str:
    """How messages name the whole model."""
    name = segments[0].name.rpartition("_segment_")[0] if segments else ""
    return f"the whole model '{name}'" if name else "the whole model"


def _steps(
    segments: Sequence[Segment], chain: Sequence[Interpreter], sample: Sequence[Array]
) -> Iterator[tuple[Segment, list[Array], TensorSpec, Array]]:
    """Run the segments one after another: each one's inputs, and each tensor that it makes."""
    values = dict(zip((spec.name for spec in segments[0].inputs), sample, strict=True))
    for segment, interpreter in zip(segments, chain, strict=True):
        given = [values[spec.name] for spec in segment.inputs]
        for spec, made in zip(segment.outputs, interpreter.run(given), strict=True):
            values[spec.name] = made
            yield segment, given, spec, made


def random_inputs(graph: OpGraph, count: int, *, seed: int = 0) -> list[list[Array]]:
    """Random inputs that exercise the full range of 8- and 16-bit tensors.

    Floats are uniform in [-1, 1). 32- and 64-bit integers may be indices and are 0 or 1.

    Raises:
        UnsupportedModelError: A set of them takes more than 256 MiB, or numpy has no such type.
    """
    for tensor in graph.model_inputs.tolist():
        if graph.tensor_dtypes[tensor] in _NOT_IN_NUMPY:
            raise UnsupportedModelError(
                f"Input '{graph.tensor_names[tensor]}' is {graph.tensor_dtypes[tensor]}. Expected "
                "a type that numpy has, such as int8: no input can be made here to run the model."
            )
    size = int(graph.tensor_bytes[graph.model_inputs].sum())
    if size > _MOST_INPUT_BYTES:
        raise UnsupportedModelError(
            f"The model's inputs take {size:,} bytes. Expected at most {_MOST_INPUT_BYTES:,} where "
            "random ones are made of them, to prove or to measure segments. Give inputs of your "
            "own, or pass verify=False."
        )
    generator = np.random.default_rng(seed)
    return [
        [
            _random(generator, graph.tensor_dtypes[tensor], graph.tensor_shapes[tensor])
            for tensor in graph.model_inputs.tolist()
        ]
        for _ in range(count)
    ]


def _random(generator: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> Array:
    kind = np.dtype(dtype)
    if kind.kind in "iu" and kind.itemsize <= 2:
        limits = np.iinfo(kind)
        return generator.integers(limits.min, limits.max, shape, kind, endpoint=True)
    if kind.kind in "iub":
        return generator.integers(0, 2, shape).astype(kind)
    return generator.uniform(-1, 1, shape).astype(kind)


def _check_input(graph: OpGraph, sample: Sequence[Array]) -> None:
    expected = graph.model_inputs.tolist()
    if len(sample) != len(expected):
        raise ArgumentError(
            f"The model has {len(expected)} inputs. Received: {len(sample)} arrays."
        )
    for tensor, value in zip(expected, sample, strict=True):
        shape, dtype = graph.tensor_shapes[tensor], graph.tensor_dtypes[tensor]
        if value.shape != shape or value.dtype.name != dtype:
            raise ArgumentError(
                f"Input '{graph.tensor_names[tensor]}' must be {dtype} {list(shape)}. "
                f"Received: {value.dtype.name} {list(value.shape)}."
            )


def _same_bytes(left: Array, right: Array) -> bool:
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    # Compared as bytes: NaN equals itself, and 0.0 differs from -0.0.
    return bool(np.array_equal(_bytes(left), _bytes(right)))


def _bytes(array: Array) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _describe(
    graph: OpGraph,
    whole: Interpreter,
    segment: Segment,
    given: list[Array],
    spec: TensorSpec,
    made: Array,
    expected: Array,
    number: int,
) -> str:
    """Name the first op that computes something else."""
    tensor, op = spec.tensor, int(graph.producer[spec.tensor])
    inner = _first_difference(graph, whole, segment, given)
    if inner is not None:
        op, tensor, made, expected = inner
    where = graph.describe_op(op) if op >= 0 else "the op that carries a model input"
    name = graph.tensor_names[tensor]
    if made.dtype != expected.dtype or made.shape != expected.shape:
        difference = (
            f"it is {made.dtype} {list(made.shape)}, expected {expected.dtype} "
            f"{list(expected.shape)}"
        )
    else:
        size = made.dtype.itemsize
        first = int(np.argmax(_bytes(made) != _bytes(expected))) // size
        index = tuple(int(i) for i in np.unravel_index(first, made.shape))
        count = int(np.any((_bytes(made) != _bytes(expected)).reshape(-1, size), axis=1).sum())
        difference = (
            f"first difference at index {index}: {made[index]}, expected {expected[index]}; "
            f"{count} of {made.size} values differ"
        )
    return (
        f"segment {segment.index}, {where}, tensor {tensor} '{name}', input {number}: "
        f"{difference}. The segment does not compute what the whole model computes; cut the model "
        "again, and report this if it stays."
    )


def _first_difference(
    graph: OpGraph, whole: Interpreter, segment: Segment, given: list[Array]
) -> tuple[int, int, Array, Array] | None:
    """The first op of a segment whose result differs, when its ops can still be matched."""
    part = read_model(segment.content)
    operators = part.subgraphs[0].operators
    with Interpreter(segment.content, keep_inner_tensors=True, label=segment.label) as interpreter:
        interpreter.run(given)
        for op, operator in zip(ops_of_file(part, segment.ops), operators, strict=True):
            if op is None:
                continue
            for tensor, inner in zip(graph.outputs_of(op).tolist(), operator.outputs, strict=False):
                made, expected = interpreter.tensor(int(inner)), whole.tensor(tensor)
                if not _same_bytes(made, expected):
                    return op, tensor, made, expected
    return None
