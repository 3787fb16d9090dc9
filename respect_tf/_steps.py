"""The steps of `convert` behind the schedule: cutting, compiling, and the proof."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._choosing import (
    Choice,
    Chosen,
    can_choose_again,
    choose_again,
    chosen_again,
)
from respect_tf._errors import ArgumentError
from respect_tf._host_ops import host_remarks, ops_on_host
from respect_tf._manifest_schema import plain_name
from respect_tf._reporting import Verbosity, progress, report
from respect_tf.compile import Compiler, compile_cut
from respect_tf.device import EdgeTpu, Hosts, blocking_remarks
from respect_tf.graph import OpGraph
from respect_tf.scheduling import Schedule
from respect_tf.segmentation import (
    NUM_INPUTS,
    Interface,
    Metadata,
    ParityReport,
    Segment,
    check_runner_rules,
    cut,
    quantize,
    random_inputs,
)
from respect_tf.segmentation import verify as verify_segments
from respect_tf.tflite import (
    Int8Model,
    is_made_here,
    mark_made_here,
)

# Of the inputs that the segments are proved on, those that the model was made for; the rest are
# random, over the full range of the stored numbers.
_NUM_CALIBRATION_INPUTS = 2


def check_metadata(metadata: Any) -> None:
    """Refuse what is no `Metadata`, before the model is touched."""
    if metadata is not None and not isinstance(metadata, Metadata):
        raise ArgumentError(
            "metadata must be None or respect_tf.Metadata(...). "
            f"Received: {type(metadata).__name__}."
        )


def all_warnings(
    whole: Int8Model,
    graph: OpGraph,
    schedule: Schedule,
    segments: Sequence[Segment],
    *,
    verbose: Verbosity,
) -> tuple[str, ...]:
    """Report what a user may stumble over; returns all but what the report says of a schedule."""
    remarks = (*whole.remarks, *check_runner_rules(segments), *host_remarks(graph, schedule, whole))
    warn(remarks, verbose=verbose)
    on_host = ops_on_host(schedule)
    warn(blocking_remarks(graph, range(graph.num_ops), on_cpu=on_host), verbose=verbose)
    return remarks


def warn(warnings: Sequence[str], *, verbose: Verbosity) -> tuple[str, ...]:
    """Report warnings."""
    for warning in warnings:
        report(f"warning: {warning}", verbose=verbose)
    return tuple(warnings)


def cut_and_compile(
    whole: Int8Model,
    graph: OpGraph,
    choice: Choice,
    chosen: Chosen,
    interface: Interface,
    *,
    compiler: Compiler | None,
    must_compile: bool,
    device: EdgeTpu | Hosts,
    verbose: Verbosity,
) -> tuple[Chosen, tuple[Segment, ...], tuple[str, ...]]:
    """Cut and compile, again where the compiler's log asks for it; a line for each cut."""
    cut_by = functools.partial(_cut, whole, graph, interface)
    schedule = chosen.schedule
    if compiler is None:
        return chosen, cut_by(schedule), ()
    again = functools.partial(choose_again, choice, graph, device, chosen, verbose=verbose)
    compiled = compile_cut(
        graph,
        schedule,
        cut_by,
        compiler=compiler,
        strict=must_compile,
        reschedule=again if can_choose_again(choice) else None,
        device=device,
        verbose=verbose,
    )
    chosen = chosen_again(chosen, compiled.schedule, graph, device)
    return chosen, compiled.compilation.segments, compiled.describe()


def _cut(
    whole: Int8Model, graph: OpGraph, interface: Interface, schedule: Schedule
) -> tuple[Segment, ...]:
    segments = cut(
        whole.unpacked,
        graph,
        schedule.stages,
        name=plain_name(whole.name),
        cpu_stages=schedule.cpu_stages,
        interface=interface,
    )
    if is_made_here(whole.content):
        for segment in segments:
            mark_made_here(segment.content)
    return segments


def prove(
    content: bytes,
    segments: Sequence[Segment],
    inputs: Sequence[Sequence[npt.NDArray[Any]]] | None,
    graph: OpGraph,
    *,
    verbose: Verbosity,
) -> ParityReport | None:
    """Prove the segments, where there are inputs for it."""
    if inputs is None:
        return None
    with progress("Proving the segments bit for bit", verbose=verbose):
        return verify_segments(content, segments, inputs, graph=graph)


def proving_inputs(whole: Int8Model, graph: OpGraph, *, seed: int) -> list[list[npt.NDArray[Any]]]:
    """Some of the calibration samples, and random inputs over the full range."""
    inputs = _stored_samples(whole, graph, _NUM_CALIBRATION_INPUTS)
    return inputs + random_inputs(graph, NUM_INPUTS - len(inputs), seed=seed)


def _stored_samples(whole: Int8Model, graph: OpGraph, count: int) -> list[list[npt.NDArray[Any]]]:
    """The first calibration samples as the int8 model takes them, in its own order of inputs."""
    names = graph.signature_names
    tensors = graph.model_inputs.tolist()
    samples = []
    for sample in whole.samples[:count]:
        if any(names.get(tensor) not in sample for tensor in tensors):
            return []
        samples.append(
            [
                quantize(
                    np.asarray(sample[names[tensor]]),
                    graph.tensor_dtypes[tensor],
                    graph.tensor_quantization[tensor],
                )
                for tensor in tensors
            ]
        )
    return samples
