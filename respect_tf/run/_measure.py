"""Timing segments on the CPU, where no Edge TPU is at hand."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.graph import OpGraph, op_graph_of
from respect_tf.segment import cut, random_inputs
from respect_tf.tflite import Interpreter, probe, read_content, read_model


def measure_on_cpu(
    model: bytes | str | os.PathLike[str], *, num_runs: int = 5, seed: int = 0
) -> Callable[[npt.NDArray[np.int64]], float]:
    """A `measure` for `schedule(..., scheduler="profile")` that needs no hardware.

    A segment is cut out of the model and run by TFLite's builtin kernels on one thread, on random
    inputs: once to warm up, then `num_runs` times, of which the median counts. CPU times are no
    Edge TPU times, but they see what the bytes do not: compute.

    Args:
        model: Bytes or path of the whole model.
        num_runs: 1 or more.
        seed: Seed of the random inputs.

    Returns:
        A function from the ops of a segment, int [num_segment_ops], to milliseconds. It raises
        `ArgumentError` for ops that form no segment: each op on a path between two of them has to
        be one of them.

    Raises:
        ArgumentError: `num_runs` is below 1.
        InvalidModelError: The model is damaged.
        UnsupportedModelError: The model cannot be cut into a pipeline.
        InterpreterError: TFLite cannot run the model, or crashes on it.
    """
    if isinstance(num_runs, bool) or not isinstance(num_runs, int) or num_runs < 1:
        raise ArgumentError(f"num_runs must be a whole number, 1 or more. Received: {num_runs!r}.")
    content = read_content(model)
    unpacked = read_model(content)
    graph = op_graph_of(unpacked)
    probe(content)

    def measure(segment_ops: npt.NDArray[np.int64]) -> float:
        stages, place = stages_around(graph, segment_ops)
        part = cut(unpacked, graph, stages, name="measured")[place].content
        interpreter = Interpreter(part, num_threads=1, label=f"ops {_shown(segment_ops)}")
        (inputs,) = random_inputs(OpGraph.from_tflite(part), 1, seed=seed)
        interpreter.run(inputs)
        times = []
        for _ in range(num_runs):
            started = time.perf_counter()
            interpreter.run(inputs)
            times.append(time.perf_counter() - started)
        return 1000 * statistics.median(times)

    return measure


def stages_around(
    graph: OpGraph, segment_ops: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int32], int]:
    """A schedule that has some ops as a stage: what they need goes before, the rest behind.

    Returns:
        int32 [num_ops], and which stage it is.
    """
    ops = np.asarray(segment_ops)
    if ops.ndim != 1 or len(ops) == 0 or ops.dtype.kind not in "iu":
        raise ArgumentError(
            "segment_ops must be integers of the shape [num_segment_ops]. "
            f"Received: {ops.dtype} {list(ops.shape)}."
        )
    if ops.min() < 0 or ops.max() >= graph.num_ops:
        raise ArgumentError(
            f"segment_ops must be from 0 to {graph.num_ops - 1}. Received: {_shown(ops)}."
        )
    position = np.empty(graph.num_ops, np.int64)
    position[graph.topological_order] = np.arange(graph.num_ops)
    edges = graph.edges[np.argsort(-position[graph.edges[:, 1]], kind="stable")]
    stages = np.full(graph.num_ops, 2, np.int32)
    stages[ops] = 1
    for maker, reader in edges.tolist():
        # Readers come in reverse order, so what a reader needs is known before its makers' turn.
        if stages[reader] < 2 and stages[maker] == 2:
            stages[maker] = 0
        if stages[reader] == 0 and stages[maker] == 1:
            raise ArgumentError(
                f"{graph.describe_op(reader)} lies between ops of the segment {_shown(ops)} and is "
                "not one of them. Expected ops without a gap."
            )
    present = np.unique(stages)
    return np.searchsorted(present, stages).astype(np.int32), int(np.searchsorted(present, 1))


def _shown(ops: npt.NDArray[np.int64]) -> str:
    values = np.asarray(ops)[:8].tolist()
    return f"{values[0]} to {values[-1]}" if len(values) == 1 else str(values)
