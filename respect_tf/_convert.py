"""`convert()`: the way from a model to a proved pipeline, and `load()`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError, RespectError
from respect_tf._manifest_reading import read_pipeline
from respect_tf._manifest_schema import plain_name
from respect_tf._pipeline import Pipeline
from respect_tf._reporting import Verbosity, progress, report
from respect_tf._samples import named_specs
from respect_tf.compile import CompileMode, compile_cut, resolve_compiler
from respect_tf.device import (
    DeviceLike,
    EdgeTpu,
    Hosts,
    blocking_remarks,
    first_device,
    resolve_device,
)
from respect_tf.graph import OpGraph, op_graph_of
from respect_tf.run import (
    Interface,
    Metadata,
    measure_from_csv,
    measure_on_cpu,
    quantize,
    read_metadata,
    write_metadata,
)
from respect_tf.scheduling import (
    Constraints,
    Measure,
    Objective,
    Schedule,
    check_request,
    check_schedule,
)
from respect_tf.scheduling import schedule as choose_schedule
from respect_tf.segmentation import (
    NUM_INPUTS,
    Segment,
    check_runner_rules,
    cut,
    random_inputs,
    schedule_of,
)
from respect_tf.segmentation import verify as verify_segments
from respect_tf.tflite import (
    Int8Model,
    RewriteMode,
    describe_rewritten,
    is_made_here,
    mark_made_here,
    read_content,
    read_model,
    signature_names,
    to_int8,
)

_DEFAULT_NUM_SEGMENTS = 4

# Of the inputs that the segments are proved on, those that the model was made for; the rest are
# random, over the full range of the stored numbers.
_NUM_CALIBRATION_INPUTS = 2

# Schedulers that cannot keep within the room that the compiler's log gives each stage.
_UNCONSTRAINED = ("compiler", "profile")


def convert(
    model: Any,
    num_segments: int | None = None,
    representative_dataset: Any = None,
    *,
    scheduler: str | Schedule = "policy",
    objective: str | Objective = "throughput",
    device: DeviceLike = "usb3",
    rewrite: RewriteMode = "safe",
    inference_input_type: Literal["int8", "uint8", "float32"] = "int8",
    inference_output_type: Literal["int8", "uint8", "float32"] = "int8",
    compile: CompileMode = "auto",
    custom_objects: Mapping[str, Any] | None = None,
    trusted: bool = False,
    metadata: Metadata | None = None,
    strict: bool = True,
    verify: bool = True,
    time_limit: float | None = None,
    measure: Measure | str | os.PathLike[str] | None = None,
    seed: int = 0,
    verbose: Verbosity = "auto",
) -> Pipeline:
    """Quantise a model to int8, cut it into segments, and prove that nothing changed.

    Args:
        model: A Keras 3 or tf_keras model, a SavedModel folder, the path of a `.keras`, `.h5` or
            `.tflite` file, the bytes of a .tflite model, or a configured TensorFlow Lite converter.
        num_segments: Stages of the pipeline, one per Edge TPU; 4 if left out, or as many as a
            given `Schedule` has.
        representative_dataset: Samples to calibrate with: an array [num_samples, ...], a list of
            arrays (one per input, in the model's order) or a dict of them by input name, a
            generator function, or a `tf.data.Dataset`. Not needed for a .tflite model.
        scheduler: What chooses the cut: `"policy"`, `"exact"` or another one of
            `respect_tf.schedule`, or a `Schedule` of one's own.
        objective: What the cut minimises: `"throughput"` (milliseconds between results),
            `"latency"` (milliseconds from end to end), `"memory"` (parameter bytes of the fullest
            stage) or an `Objective`.
        device: What memory and time are predicted for: a host (`respect_tf.device_presets`), an
            `EdgeTpu` with your own constants, a file of them, or a list of these. `"usb3"`,
            `"usb2"` and `"pcie"` stand for all hosts of that link: the cut is the one whose worst
            cost, relative to each host's own optimum, is least.
        rewrite: What becomes of ops that an Edge TPU does not run and that have another form that
            it runs: `"safe"` rewrites them where the form is equal, `"all"` also where it is an
            approximation, `"off"` leaves them. Not for models that are quantised already.
        inference_input_type: Type of the model's inputs.
        inference_output_type: Type of the model's outputs. pycoral returns 8-bit outputs only.
        compile: Whether to compile the segments with Google's `edgetpu_compiler`: `"auto"` if it is
            found, True or fail, False. Where its log says that a stage has less room for parameters
            than predicted, the model is cut again.
        custom_objects: Classes and functions by name that a Keras file needs besides Keras's own,
            as `keras.models.load_model` takes them. What this process has registered with
            `keras.saving.register_keras_serializable` is known already.
        trusted: Whether a model file may run code of its own when it is loaded: Lambda layers,
            classes of any module that it names, ops that read and write files. Only for files
            whose makers may run code on this machine.
        metadata: Normalisation of raw inputs and labels of outputs, for the segments' files and the
            manifest; if left out, what a given .tflite model says of them.
        strict: Whether a tensor that is not 8 bit is an error.
        verify: Whether to prove the segments bit for bit on the CPU.
        time_limit: Seconds that the scheduler may take; None for no limit.
        measure: For `"profile"`: the CSV file that `run_pipeline.py --benchmark` wrote on the
            device, or a function from a segment's ops to milliseconds. Segments are measured on
            this CPU if left out.
        seed: Seed of everything random. The same seed gives the same bytes.
        verbose: 0 is silence, 2 also shows what TensorFlow prints.

    Returns:
        The pipeline, ready to `save`.

    Raises:
        RespectError: One of its subclasses; the message says what, where, and what to do.
    """
    if num_segments is None:
        num_segments = (
            scheduler.num_stages if isinstance(scheduler, Schedule) else _DEFAULT_NUM_SEGMENTS
        )
    check_request(num_segments, scheduler, objective, time_limit)
    device = resolve_device(device)
    compiler = resolve_compiler(compile, verbose=verbose)
    whole = to_int8(
        model,
        representative_dataset,
        inference_input_type=inference_input_type,
        inference_output_type=inference_output_type,
        rewrite=rewrite,
        strict=strict,
        custom_objects=custom_objects,
        trusted=trusted,
        verbose=verbose,
    )
    whole = dataclasses.replace(whole, name=plain_name(whole.name))
    made_here = is_made_here(whole.content)
    unpacked = read_model(whole.content)
    graph = op_graph_of(unpacked)

    for blocker in blocking_remarks(graph, range(graph.num_ops)):
        report(f"warning: {blocker}", verbose=verbose)
    times: Measure | None
    if isinstance(measure, str | os.PathLike):
        times = measure_from_csv(measure, graph, device=first_device(device))
    elif measure is None and scheduler == "profile":
        times = measure_on_cpu(whole.content, seed=seed)
    else:
        times = measure

    def choose(constraints: Constraints | None = None) -> Schedule:
        if isinstance(scheduler, Schedule):
            return _given(graph, scheduler, num_segments)
        with progress(f"Scheduling {graph.num_ops} ops", verbose=verbose):
            return choose_schedule(
                graph,
                num_segments,
                scheduler,
                objective=objective,
                device=device,
                constraints=constraints,
                time_limit=time_limit,
                seed=seed,
                measure=times,
            )

    interface: Interface | None = None

    def cut_by(schedule: Schedule) -> tuple[Segment, ...]:
        nonlocal interface
        segments = cut(
            unpacked, graph, schedule.stages, name=whole.name, cpu_stages=schedule.cpu_stages
        )
        if interface is None:
            interface = _interface(whole.content, segments, metadata, verbose=verbose)
        segments = write_metadata(segments, interface.inputs, interface.outputs, name=whole.name)
        if made_here:
            for segment in segments:
                mark_made_here(segment.content)
        return segments

    chosen = choose()
    recuts: tuple[str, ...] = ()
    if compiler is None:
        segments = cut_by(chosen)
    else:
        compiled = compile_cut(
            graph,
            chosen,
            cut_by,
            compiler=compiler,
            strict=compile is True,
            reschedule=choose if _takes_constraints(scheduler) else None,
            device=device,
            verbose=verbose,
        )
        chosen, segments = compiled.schedule, compiled.compilation.segments
        recuts = compiled.describe()
    pipeline = _proved(
        whole.content,
        graph,
        segments,
        schedule=chosen,
        device=device,
        name=whole.name,
        inputs=_inputs(whole, graph, seed=seed) if verify else None,
        verbose=verbose,
    )
    return dataclasses.replace(
        pipeline,
        interface=interface or Interface(),
        recuts=recuts,
        conversion_seconds=whole.seconds,
        rewritten=describe_rewritten(whole.rewritten),
    )


def _takes_constraints(scheduler: str | Schedule) -> bool:
    return isinstance(scheduler, str) and scheduler not in _UNCONSTRAINED


def _interface(
    content: bytes,
    segments: Sequence[Segment],
    metadata: Metadata | None,
    *,
    verbose: Verbosity,
) -> Interface:
    """What the user, or else the given model, says about its inputs and outputs, checked."""
    inputs = named_specs(content, segments[0].inputs)
    outputs = named_specs(content, segments[-1].outputs)
    if metadata is not None:
        return metadata.describe(inputs, outputs)
    try:
        given = read_metadata(content, list(inputs), list(outputs))
        return Interface() if given is None else given.describe(inputs, outputs)
    except RespectError as error:
        report(f"warning: the model's own metadata is left out: {error}", verbose=verbose)
        return Interface()


def _given(graph: OpGraph, schedule: Schedule, num_segments: int) -> Schedule:
    """The user's own schedule, checked."""
    check_schedule(graph, schedule)
    if schedule.num_stages != num_segments:
        raise ArgumentError(
            f"The schedule has {schedule.num_stages} stages. Expected num_segments="
            f"{num_segments} of them; pass num_segments={schedule.num_stages}."
        )
    return schedule


def segment_at(
    model: bytes | str | os.PathLike[str],
    *,
    stages: Sequence[int] | None = None,
    cuts: Sequence[str | Sequence[str]] | None = None,
    device: DeviceLike = "usb3",
    verify: bool = True,
    seed: int = 0,
    verbose: Verbosity = "auto",
) -> Pipeline:
    """Make a pipeline of a .tflite model, cut where the caller says.

    Args:
        model: Path or bytes of the model.
        stages: int [num_ops], the stage of every op; or
        cuts: the names of the layers or tensors to cut after, see `respect_tf.segment`.
        device: What memory and time are predicted for.
        verify: Whether to prove the segments.
        seed: Seed of the inputs they are proved on.
        verbose: 0 is silence.
    """
    content = read_content(model)
    name = "model" if isinstance(model, bytes) else plain_name(Path(model).stem)
    unpacked = read_model(content)
    graph = op_graph_of(unpacked)
    chosen = schedule_of(graph, stages, cuts=cuts)
    return _proved(
        content,
        graph,
        cut(unpacked, graph, chosen.stages, name=name, cpu_stages=chosen.cpu_stages),
        schedule=chosen,
        device=resolve_device(device),
        name=name,
        inputs=random_inputs(graph, NUM_INPUTS, seed=seed) if verify else None,
        verbose=verbose,
    )


def _proved(
    content: bytes,
    graph: OpGraph,
    segments: tuple[Segment, ...],
    *,
    schedule: Schedule,
    device: EdgeTpu | Hosts,
    name: str,
    inputs: Sequence[Sequence[npt.NDArray[Any]]] | None,
    verbose: Verbosity,
) -> Pipeline:
    """Check the segments by the runner's rules, and prove them where there are inputs for it."""
    warnings = check_runner_rules(segments)
    for warning in warnings:
        report(f"warning: {warning}", verbose=verbose)
    parity = None
    if inputs is not None:
        with progress("Proving the segments bit for bit", verbose=verbose):
            parity = verify_segments(content, segments, inputs, graph=graph)
    return Pipeline(
        name=name,
        model=content,
        segments=segments,
        schedule=schedule,
        device=device,
        parity=parity,
        warnings=warnings,
    )


def _inputs(whole: Int8Model, graph: OpGraph, *, seed: int) -> list[list[npt.NDArray[Any]]]:
    """Some of the calibration samples, and random inputs over the full range."""
    inputs = _stored_samples(whole, graph, _NUM_CALIBRATION_INPUTS)
    return inputs + random_inputs(graph, NUM_INPUTS - len(inputs), seed=seed)


def _stored_samples(whole: Int8Model, graph: OpGraph, count: int) -> list[list[npt.NDArray[Any]]]:
    """The first calibration samples as the int8 model takes them, in its own order of inputs."""
    names = signature_names(whole.content)
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


def load(folder: str | os.PathLike[str]) -> Pipeline:
    """Read a pipeline that was saved with `Pipeline.save`.

    Raises:
        SavedPipelineError: There is none, or a file was changed, is missing or damaged.
        SegmentError: The segments break a rule of the pipeline runner.
    """
    return read_pipeline(folder)
