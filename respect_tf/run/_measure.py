"""Timing segments on the CPU, where no Edge TPU is at hand."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.graph import OpGraph, op_graph_of
from respect_tf.scheduling import stages_around
from respect_tf.segmentation import cut, random_inputs
from respect_tf.tflite import (
    Interpreter,
    is_made_here,
    mark_made_here,
    read_content,
    read_model,
)


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
        be one of them; and `InterpreterError` where TFLite fails or crashes on the segment.

    Raises:
        ArgumentError: `num_runs` is below 1.
        InvalidModelError: The model is damaged.
        UnsupportedModelError: The model cannot be cut into a pipeline.
    """
    if isinstance(num_runs, bool) or not isinstance(num_runs, int) or num_runs < 1:
        raise ArgumentError(f"num_runs must be a whole number, 1 or more. Received: {num_runs!r}.")
    content = read_content(model)
    unpacked = read_model(content)
    graph = op_graph_of(unpacked)
    made_here = is_made_here(content)

    def measure(segment_ops: npt.NDArray[np.int64]) -> float:
        stages, place = stages_around(graph, segment_ops)
        part = cut(unpacked, graph, stages, name="measured")[place].content
        label = f"the segment of the ops {np.asarray(segment_ops)[:8].tolist()}"
        if made_here:
            mark_made_here(part)
        (inputs,) = random_inputs(OpGraph.from_tflite(part), 1, seed=seed)
        times = []
        with Interpreter(part, label=label) as part_model:
            part_model.run(inputs)
            for _ in range(num_runs):
                part_model.run(inputs)
                times.append(part_model.run_seconds)
        return 1000 * statistics.median(times)

    return measure
