"""`convert()`: the way from a model to a proved pipeline, and `load()`."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from respect_tf._choosing import (
    checked_choice,
    checked_num_devices,
    choose,
    frames_told,
    with_times,
)
from respect_tf._host_ops import with_host_ops
from respect_tf._manifest_reading import read_pipeline
from respect_tf._manifest_schema import plain_name
from respect_tf._pipeline import Pipeline
from respect_tf._provenance import provenance
from respect_tf._reporting import Verbosity, progress, tell
from respect_tf._steps import (
    all_warnings,
    check_metadata,
    cut_and_compile,
    prove,
    proving_inputs,
    warn,
)
from respect_tf.compile import CompileMode, resolve_compiler
from respect_tf.device import DeviceLike, resolve_device
from respect_tf.graph import op_graph_of
from respect_tf.report import compare_speed
from respect_tf.scheduling import Constraints, MeasureLike, Objective, Schedule
from respect_tf.segmentation import (
    NUM_INPUTS,
    Metadata,
    check_runner_rules,
    cut,
    interface_of,
    random_inputs,
    schedule_of,
)
from respect_tf.tflite import (
    InputShape,
    RewriteMode,
    describe_rewritten,
    read_content,
    read_model,
    to_int8,
)

IoType = Literal["int8", "uint8", "float32"]


class ConvertOptions(TypedDict, total=False):
    """What `convert` takes by keyword alone, for functions that hand it on; see there."""

    num_devices: int | Literal["attached"] | None
    scheduler: str | Schedule
    objective: str | Objective | None
    device: DeviceLike
    constraints: Constraints | None
    rewrite: RewriteMode
    input_shape: InputShape | None
    inference_input_type: IoType
    inference_output_type: IoType
    compile: CompileMode
    custom_objects: Mapping[str, Any] | None
    trusted: bool
    metadata: Metadata | None
    measure: MeasureLike | None
    strict: bool
    verify: bool
    time_limit: float | None
    seed: int | None


def convert(
    model: Any,
    num_segments: int | Literal["auto"] | None = "auto",
    representative_dataset: Any = None,
    *,
    num_devices: int | Literal["attached"] | None = None,
    scheduler: str | Schedule = "policy",
    objective: str | Objective | None = None,
    device: DeviceLike = "usb3",
    constraints: Constraints | None = None,
    rewrite: RewriteMode = "safe",
    input_shape: InputShape | None = None,
    inference_input_type: IoType = "int8",
    inference_output_type: IoType = "int8",
    compile: CompileMode = "auto",
    custom_objects: Mapping[str, Any] | None = None,
    trusted: bool = False,
    metadata: Metadata | None = None,
    measure: MeasureLike | None = None,
    strict: bool = True,
    verify: bool = True,
    time_limit: float | None = None,
    seed: int | None = None,
    verbose: Verbosity = "auto",
) -> Pipeline:
    """Quantise a model to int8, cut it into segments, and prove that nothing changed.

    Args:
        model: A Keras 3 or tf_keras model, a SavedModel folder, the path of a `.keras`, `.h5` or
            `.tflite` file, the bytes of a .tflite model, or a configured TensorFlow Lite converter.
        num_segments: Stages of the pipeline; `"auto"`, or None, for what is fastest with
            `num_devices` Edge TPUs (see `respect_tf.plan`), be it copies of the whole model, a
            pipeline, or one whose slow segments run on several; or for as many as a given
            `Schedule` has. With objective="memory", one on each.
        representative_dataset: Samples to calibrate with: an array [num_samples, ...], a list of
            arrays (one per input, in the model's order) or a dict of them by input name, a
            generator function, or a `tf.data.Dataset`. Not needed for a .tflite model.
        num_devices: Edge TPUs to use at most, replicas of segments included: a number, or
            `"attached"` for those of this machine. If left out, up to 4, or one for each segment
            where their number is given.
        scheduler: What chooses the cut: `"policy"`, `"exact"` or another one of
            `respect_tf.schedule`; or a `Schedule` of one's own, beside which `objective`,
            `constraints`, `time_limit`, `seed` and `measure` are refused.
        objective: What the cut minimises: `"throughput"` (milliseconds between results; where
            left out), `"latency"` (milliseconds from end to end), `"memory"` (parameter bytes of
            the fullest stage) or an `Objective`.
        device: What memory and time are predicted for: a host (`respect_tf.device_presets`), an
            `EdgeTpu` with your own constants, a file of them, or a list of these. `"usb3"`,
            `"usb2"` and `"pcie"` stand for all hosts of that link: the cut is the one whose worst
            cost, relative to each host's own optimum, is least.
        constraints: What the cut has to keep, see `respect_tf.Constraints`; not for `"compiler"`
            and `"profile"`.
        rewrite: What becomes of ops that an Edge TPU does not run and that have another form that
            it runs: `"safe"` rewrites them where the form is equal, `"all"` also where it is an
            approximation, `"off"` leaves them. Not for models that are quantised already.
        input_shape: Sizes for inputs that leave some open, without the batch: one shape such as
            (224, 224, 3), or a dict of them by input name.
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
        strict: Whether ops on tensors that are not 8 bit, and ops that Google's compiler refuses,
            have to be in CPU stages, and are an error where they cannot. Without it, what cannot be
            in a CPU stage is a warning.
        verify: Whether to prove the segments bit for bit on the CPU.
        time_limit: Seconds that the scheduler may take; None for no limit.
        measure: For `"profile"`: the CSV file that `run_pipeline.py --benchmark` wrote on the
            device, its rows, or a function from a segment's ops to milliseconds. Segments are
            measured on this CPU if left out.
        seed: Seed of everything random; 0 if left out. The same seed gives the same bytes.
        verbose: 0 is silence, 2 also shows what TensorFlow prints.

    Returns:
        The pipeline, ready to `save`.

    Raises:
        RespectError: One of its subclasses; the message says what, where, and what to do.
    """
    device = resolve_device(device)
    num_devices = checked_num_devices(num_devices)
    choice = checked_choice(
        scheduler,
        num_segments,
        num_devices=num_devices,
        objective=objective,
        device=device,
        constraints=constraints,
        time_limit=time_limit,
        seed=seed,
        measure=measure,
    )
    check_metadata(metadata)
    compiler = resolve_compiler(compile, verbose=0)  # an error before any work
    with progress(f"Converting {_called(model)}", verbose=verbose):
        whole = to_int8(
            model,
            representative_dataset,
            inference_input_type=inference_input_type,
            inference_output_type=inference_output_type,
            rewrite=rewrite,
            input_shape=input_shape,
            strict=None,
            custom_objects=custom_objects,
            trusted=trusted,
            check_interface=None if metadata is None else metadata.describe,
            verbose=verbose,
        )
        graph = op_graph_of(whole.unpacked)
        interface = interface_of(whole.content, whole.unpacked, graph, metadata, verbose=verbose)
        choice = with_times(
            with_host_ops(choice, graph, whole, strict=strict, verbose=verbose), whole
        )
        chosen = choose(choice, graph, num_devices, device, verbose=verbose)
        chosen, segments, recuts = cut_and_compile(
            whole,
            graph,
            choice,
            chosen,
            interface,
            compiler=compiler,
            must_compile=compile is True,
            device=device,
            verbose=verbose,
        )
        warnings = all_warnings(whole, graph, chosen.schedule, segments, verbose=verbose)
        inputs = proving_inputs(whole, graph, seed=seed or 0) if verify else None
        parity = prove(whole.content, segments, inputs, graph, verbose=verbose)
        tell("comparing with other numbers of Edge TPUs")
        frames = frames_told(graph, device)
        comparison = compare_speed(graph, chosen.schedule, device)
    if compiler is None:
        resolve_compiler(compile, verbose=verbose)  # says so, now that nothing else is wrong
    return Pipeline(
        name=plain_name(whole.name),
        model=whole.content,
        segments=segments,
        schedule=chosen.schedule,
        graph=graph,
        device=device,
        replicas=chosen.replicas,
        choice=chosen.reason,
        frames=frames,
        parity=parity,
        warnings=warnings,
        interface=interface,
        recuts=recuts,
        conversion_seconds=whole.seconds,
        rewritten=describe_rewritten(whole.rewritten),
        made=provenance(
            {
                "num_segments": num_segments,
                "num_devices": num_devices,
                "scheduler": scheduler,
                "objective": objective,
                "device": device,
                "constraints": constraints,
                "rewrite": rewrite,
                "inference_input_type": inference_input_type,
                "inference_output_type": inference_output_type,
                "strict": strict,
                "time_limit": time_limit,
                "seed": seed,
            },
            _DEFAULTS,
        ),
        comparison=comparison,
    )


_DEFAULTS = {name: one.default for name, one in inspect.signature(convert).parameters.items()}


def _called(model: Any) -> str:
    """What progress calls a model that has not been looked at yet."""
    if isinstance(model, str | os.PathLike):
        return Path(model).name or str(model)
    return str(getattr(model, "name", None) or "the model")


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
    segments = cut(unpacked, graph, chosen.stages, name=name, cpu_stages=chosen.cpu_stages)
    warnings = warn(check_runner_rules(segments), verbose=verbose)
    inputs = random_inputs(graph, NUM_INPUTS, seed=seed) if verify else None
    return Pipeline(
        name=name,
        model=content,
        segments=segments,
        schedule=chosen,
        graph=graph,
        device=resolve_device(device),
        parity=prove(content, segments, inputs, graph, verbose=verbose),
        warnings=warnings,
    ).compared()


def load(folder: str | os.PathLike[str]) -> Pipeline:
    """Read a pipeline that was saved with `Pipeline.save`.

    Raises:
        SavedPipelineError: There is none, or a file was changed, is missing or damaged.
        SegmentError: The segments break a rule of the pipeline runner.
    """
    return read_pipeline(folder)
