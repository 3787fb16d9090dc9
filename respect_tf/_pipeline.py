"""`Pipeline`: what `convert` returns and `load` reads back."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from respect_tf._at_hand import replicas_at_hand
from respect_tf._choosing import frames_told
from respect_tf._folder import write_folder
from respect_tf._manifest import pipeline_files
from respect_tf._predicted_pipeline import PredictedPipeline
from respect_tf._reporting import Verbosity, counted, progress
from respect_tf.compile import compile_segments, require_compiler
from respect_tf.device import EdgeTpu, Hosts, resolve_device
from respect_tf.graph import OpGraph
from respect_tf.planning import DeviceCount
from respect_tf.report import (
    Comparison,
    compare_speed,
)
from respect_tf.run import (
    PipelineRunner,
    PycoralRunner,
    RunnerBackend,
    RunnerDevice,
    SegmentChain,
    create_runner,
    stream,
)
from respect_tf.scheduling import Schedule
from respect_tf.segmentation import (
    Array,
    Inputs,
    Interface,
    ParityReport,
    Segment,
    TensorSpec,
    check_runner_rules,
    named_specs,
    split_samples,
    stack_results,
    verify,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Pipeline(PredictedPipeline):
    """A model cut into segments for several Edge TPUs.

    Attributes:
        name: The model's name; its files are named after it.
        model: Bytes of the whole int8 .tflite model.
        segments: The stages of the pipeline, in order.
        schedule: The stage of every op, and how good the cut is.
        graph: The op graph of the whole model.
        device: What memory and time are predicted for: of several, figures are the first one's.
        replicas: Number of Edge TPUs that run each segment; 1 for CPU stages, which have none.
        choice: What a plan chose and why; empty where the user chose.
        frames: What other numbers of Edge TPUs would give; empty where nobody looked.
        parity: What was compared when the segments were proved equal to the whole model; None
            where that has not been done.
        warnings: What the pipeline runner accepts, but a user may stumble over.
        interface: What the user said about inputs and outputs (`respect_tf.Metadata`).
        recuts: A line for each cut that was compiled, where the compiler's log led to another one.
        rewritten: A line for each kind of op that was rewritten before the model was quantised.
        conversion_seconds: How long TensorFlow's own conversion took; None where there was none.
        made: When the pipeline was made, with which versions and options, in words.
        comparison: What the report compares its speed with; None where nobody looked, see
            `compared`.
    """

    name: str
    model: bytes = dataclasses.field(repr=False)
    segments: tuple[Segment, ...] = dataclasses.field(repr=False)
    schedule: Schedule
    graph: OpGraph = dataclasses.field(repr=False)
    device: EdgeTpu | Hosts = dataclasses.field(
        default_factory=lambda: resolve_device("usb3"), repr=False
    )
    replicas: tuple[int, ...] = ()
    choice: str = ""
    frames: tuple[DeviceCount, ...] = dataclasses.field(default=(), repr=False)
    parity: ParityReport | None = None
    warnings: tuple[str, ...] = ()
    interface: Interface = dataclasses.field(default_factory=Interface)
    recuts: tuple[str, ...] = ()
    rewritten: tuple[str, ...] = ()
    conversion_seconds: float | None = None
    made: str = ""
    comparison: Comparison | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.replicas:
            object.__setattr__(self, "replicas", (1,) * len(self.segments))

    def __getstate__(self) -> dict[str, Any]:
        """All but interpreters, which no other process can take over."""
        return {name: value for name, value in self.__dict__.items() if name != "_chain"}

    @functools.cached_property
    def inputs(self) -> dict[str, TensorSpec]:
        """The model's inputs by the names its signature gives them, in the model's order."""
        return named_specs(self.graph, self.segments[0].inputs)

    @functools.cached_property
    def outputs(self) -> dict[str, TensorSpec]:
        """The model's outputs by the names its signature gives them, in the model's order."""
        return named_specs(self.graph, self.segments[-1].outputs)

    def compared(self) -> Pipeline:
        """The same pipeline, whose report says how fast other ways to run the model would be.

        That is one Edge TPU, the compiler's own cut, and other numbers of Edge TPUs. It takes two
        schedulers, and `convert` has done it for the device that it was given.
        """
        return dataclasses.replace(
            self,
            comparison=compare_speed(self.graph, self.schedule, self.device),
            frames=frames_told(self.graph, self.device),
        )

    def predict(
        self,
        x: Inputs,
        *,
        runner: PipelineRunner | PycoralRunner | None = None,
        reset_states: bool = True,
    ) -> Array | dict[str, Array]:
        """Run the segments one after another on the CPU, or in a runner.

        Any number of threads may call it; each segment runs one sample at a time.

        Args:
            x: An array [num_samples, ...]; for several inputs a list of them in the model's order,
                or a dict by input name. Floats are quantised, and so are integers of another type
                than the input's; arrays that already have the input's integer type are taken as
                they are.
            runner: A fresh one from `Pipeline.runner`; its stream ends with these samples.
            reset_states: Whether recurrent ops (LSTM) begin each sample with a fresh state, as in a
                model that Keras calls stateless. With False they go on from the state that the
                sample before has left, in this call and from call to call: Coral's pipeline runner
                does that with those that stay on the CPU. A runner does as it does.

        Returns:
            The output [num_samples, ...], or a dict of them by name where there are several.
            float32 if any input was given as values, else the model's own types.

        Raises:
            ArgumentError: Names, shapes or types do not fit the model.
            InterpreterError: A segment fails on a sample: an op does, or its process crashes or
                takes longer or more memory than it may. Later calls may follow.
            RunnerError: A segment has failed in the runner.
        """
        samples, real = split_samples(x, self.inputs)
        if runner is None:
            counting = counted("running", samples, len(samples), unit="samples")
            rows = [self._chain.run(sample, reset_states=reset_states) for sample in counting]
            return stack_results(rows, self.outputs, real=real)
        names = [spec.name for spec in self.segments[0].inputs]
        pushed = (dict(zip(names, sample, strict=True)) for sample in samples)
        rows = [list(result.values()) for result in stream(runner, pushed)]
        return stack_results(rows, self.outputs, real=real)

    def verify(
        self, x: Inputs | None = None, *, seed: int = 0, verbose: Verbosity = "auto"
    ) -> ParityReport:
        """Prove on the CPU that the segments compute what the whole model computes.

        Args:
            x: Inputs as for `predict`; three random ones over the full range if left out.
            seed: Seed of the random inputs.
            verbose: 0 is silence.

        Raises:
            ParityError: A tensor differs; the message names segment, op, tensor and first index.
        """
        inputs = None if x is None else split_samples(x, self.inputs)[0]
        with progress(f"Proving {self.name}", verbose=verbose):
            return verify(self.model, self.segments, inputs, seed=seed, graph=self.graph)

    def compile(
        self,
        compiler: str | os.PathLike[str] | None = None,
        *,
        timeout: float = 180.0,
        retries: int = 3,
        verbose: Verbosity = "auto",
    ) -> Pipeline:
        """Compile the segments for the Edge TPU, each by itself; see `respect_tf.compile`.

        Args:
            compiler: Google's `edgetpu_compiler`. If left out, the environment variable
                `EDGETPU_COMPILER` names it, or it is looked for in `PATH`.
            timeout: Seconds for each attempt to compile a segment.
            retries: Further attempts after failures that come and go: internal errors and crashes.
            verbose: 0 is silence.

        Returns:
            The same pipeline with the compiled models in its segments.

        Raises:
            ArgumentError: A number is out of range.
            CompilerError: There is no compiler, or a segment could not be compiled; the message
                names the ops that it fails on.
        """
        compilation = compile_segments(
            self.segments,
            require_compiler(compiler),
            timeout=timeout,
            retries=retries,
            verbose=verbose,
        )
        compilation.check()
        return self.with_compiled(compilation.segments)

    def with_compiled(self, segments: Sequence[Segment]) -> Pipeline:
        """The same pipeline with segments that have been compiled.

        Its warnings say what the compiled models show: an op that was left on the CPU at a border
        where the pipeline runner computes it wrongly.

        Args:
            segments: The same segments, with compiled models in them.

        Raises:
            SegmentError: They break a rule of the pipeline runner.
        """
        found = check_runner_rules(segments, stale_borders="warn")
        warnings = tuple(dict.fromkeys([*self.warnings, *found]))
        return dataclasses.replace(self, segments=tuple(segments), warnings=warnings)

    def runner(
        self,
        device: RunnerDevice = "auto",
        backend: RunnerBackend = "auto",
        *,
        devices: Sequence[str] | None = None,
        replicas: Sequence[int] | None = None,
        rebalance: bool = False,
        share_devices: bool = False,
        driver_options: Mapping[str, Any] | None = None,
        timeout: float | None = 60.0,
        reattach: float = 5.0,
        reset_states: bool = True,
        input_queue_size: int | None = None,
        output_queue_size: int | None = None,
        verbose: Verbosity = "auto",
    ) -> PipelineRunner | PycoralRunner:
        """Start the pipeline; used like pycoral's PipelinedModelRunner.

        Args:
            device: `"edgetpu"`, `"cpu"`, or `"auto"`: Edge TPUs if everything they need is there,
                else the CPU, with a message that says why.
            backend: What runs segments on Edge TPUs: `"litert"` (the package ai_edge_litert),
                `"tflite"` (tflite_runtime), `"tensorflow"`, each with threads of our own; or
                `"pycoral"`, Google's PipelinedModelRunner. `"auto"` takes the first of these that
                is installed. `"cpu"` is the same as `device="cpu"`.
            devices: Names of the Edge TPUs in the segments' order, replicas of one segment side by
                side, for example `"usb:0"`; chosen if left out.
            replicas: On how many devices each segment runs; if left out, `Pipeline.replicas`, or as
                many of them as there are Edge TPUs for, and one each for pycoral's runner and where
                states go on. Inputs are dealt out to them, and results put back in order.
            rebalance: Whether a device of a segment with several moves to the slowest segment,
                where that makes the pipeline faster.
            share_devices: Whether segments take turns where there are fewer Edge TPUs than they
                need. Every turn loads a segment's parameters anew.
            driver_options: Options of libedgetpu by name: `Performance` ("Low", "Medium", "High",
                "Max"), `Usb.AlwaysDfu`, `Usb.MaxBulkInQueueLength` (0 to 255).
            timeout: Seconds that one inference of one segment may take; None for any.
            reattach: Seconds for which an Edge TPU that has failed, as one that was unplugged, is
                looked for before the pipeline fails.
            reset_states: Whether recurrent ops (LSTM) begin each input with a fresh state, as in
                `predict`; else they go on, as they always do in pycoral's runner.
            input_queue_size: Inputs that may wait before `push` does; None for any number.
            output_queue_size: Results that may wait before the last segment does; None for any
                number.
            verbose: 0 is silence.

        Returns:
            A runner with `push` and `pop`, to be used in a `with` statement or closed. Inputs are
            known by the names of `Pipeline.inputs` and by those in segment 0's file, results by
            those in the last segment's file.

        Raises:
            ArgumentError: An argument does not fit.
            DeviceError: Something that `"edgetpu"` needs is missing; the message is a checklist.
        """
        return create_runner(
            self.segments,
            device=device,
            backend=backend,
            devices=devices,
            replicas=replicas_at_hand(self, device, backend, devices, reset_states=reset_states)
            if replicas is None
            else replicas,
            rebalance=rebalance,
            share_devices=share_devices,
            driver_options=driver_options,
            timeout=timeout,
            reattach=reattach,
            reset_states=reset_states,
            input_names={name: spec.name for name, spec in self.inputs.items()},
            input_queue_size=input_queue_size,
            output_queue_size=output_queue_size,
            verbose=verbose,
        )

    def save(
        self,
        folder: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        verbose: Verbosity = "auto",
    ) -> Path:
        """Write the pipeline into a folder, whole or not at all.

        Args:
            folder: The folder to make.
            overwrite: Whether a pipeline that is saved there may be replaced. Nothing but the
                files that its manifest lists is; other files in it are named and stay, and folders
                are a reason to refuse.
            verbose: 0 is silence.

        Returns:
            The folder's absolute path.

        Raises:
            SavedPipelineError: The folder exists, cannot be written, is being written by another
                process, or holds what must not be replaced.
            SegmentError: The segments break a rule of the pipeline runner.
        """
        with progress(f"Saving {self.name}", verbose=verbose):
            return write_folder(folder, pipeline_files(self), overwrite=overwrite, verbose=verbose)

    @functools.cached_property
    def _chain(self) -> SegmentChain:
        return SegmentChain(self.segments)
