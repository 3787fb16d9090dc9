"""What the device model says of a pipeline: predictions, reports, simulations, pictures."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any, Literal

from respect_tf._files import write_file
from respect_tf.compile import sent_instructions
from respect_tf.device import DeviceLike, EdgeTpu, Hosts, PipelinePrediction
from respect_tf.device import predict as predict_pipeline
from respect_tf.graph import OpGraph
from respect_tf.planning import DeviceCount
from respect_tf.report import (
    Comparison,
    PlacedGraph,
    Report,
    build_report,
    chrome_trace,
    draw_figure,
    draw_gantt,
    memory_picture,
    model_explorer_overlays,
    pipeline_picture,
    schedule_picture,
    stages_on_device,
)
from respect_tf.run import (
    Simulation,
    simulate,
)
from respect_tf.scheduling import Schedule
from respect_tf.segmentation import (
    ParityReport,
    Segment,
)


class PredictedPipeline:
    """The part of a `Pipeline` that is predicted and drawn; nothing here is measured."""

    name: str
    segments: tuple[Segment, ...]
    schedule: Schedule
    graph: OpGraph
    device: EdgeTpu | Hosts
    parity: ParityReport | None
    warnings: tuple[str, ...]
    recuts: tuple[str, ...]
    rewritten: tuple[str, ...]
    comparison: Comparison | None
    choice: str
    made: str
    frames: tuple[DeviceCount, ...]
    replicas: tuple[int, ...]

    @property
    def prediction(self) -> PipelinePrediction:
        """Memory and time that the device model predicts."""
        return self._placed.prediction

    @functools.cached_property
    def report(self) -> Report:
        """Bytes and milliseconds per stage, speed, cost and bound. `str(report)` is a table."""
        return build_report(
            self._placed,
            self.schedule,
            self.segments,
            name=self.name,
            parity=self.parity,
            warnings=self.warnings,
            recuts=self.recuts,
            rewritten=self.rewritten,
            comparison=self.comparison,
            choice=self.choice,
            made=self.made,
            frames=self.frames,
        )

    def simulate(
        self,
        num_inputs: int = 1000,
        *,
        device: DeviceLike | None = None,
        arrival_rate: float | None = None,
        arrivals: Literal["regular", "poisson"] = "regular",
        input_queue_size: int | None = None,
        inner_queue_size: int = 1,
        output_queue_size: int | None = None,
        pop_ms: float = 0.0,
        seed: int = 0,
    ) -> Simulation:
        """Send inputs through the pipeline that the device model predicts.

        Args:
            num_inputs: How many inputs.
            device: What the Edge TPUs are like; `Pipeline.device` if left out.
            arrival_rate: Inputs per second; left out, the next is pushed as soon as the input queue
                has room.
            arrivals: Whether they come at equal intervals or at random.
            input_queue_size: Inputs that may wait before the first stage; None for any number, or
                for 1 where there is no `arrival_rate`.
            inner_queue_size: What may wait between two stages.
            output_queue_size: Results that may wait; None for any number.
            pop_ms: Time for which whoever takes the results is busy with each.
            seed: Seed of random arrivals.

        Raises:
            ArgumentError: A number is out of its range, or there is no such device.
        """
        predicted = self.prediction
        if device is not None:
            predicted = predict_pipeline(
                self.graph,
                self.schedule,
                device,
                replicas=self.replicas,
                instruction_bytes=self._instruction_bytes,
            )
        return simulate(
            predicted,
            num_inputs,
            arrival_rate=arrival_rate,
            arrivals=arrivals,
            input_queue_size=input_queue_size,
            inner_queue_size=inner_queue_size,
            output_queue_size=output_queue_size,
            pop_ms=pop_ms,
            seed=seed,
        )

    def plot_schedule(self, *, ax: Any = None, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw the op graph, coloured by stage.

        Args:
            ax: matplotlib axes to draw into; a new figure if left out.
            path: A file to write (.png, .svg, .pdf).

        Returns:
            The `matplotlib.figure.Figure`.

        Raises:
            DependencyError: matplotlib is not installed.
        """
        picture = schedule_picture(self._placed)
        return draw_figure(picture, title=self.name, ax=ax, path=path)

    def plot_memory(self, *, ax: Any = None, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw what each stage caches, streams and computes with, against the room on its chip.

        `ax`, `path`, result and errors are those of `plot_schedule`.
        """
        placed = self._placed
        stages = stages_on_device(placed.prediction, self.segments)
        picture = memory_picture(stages, placed.room_bytes)
        return draw_figure(picture, title=self.name, ax=ax, path=path)

    def plot_pipeline(
        self,
        first: int | None = None,
        num_inputs: int | None = None,
        *,
        ax: Any = None,
        path: str | os.PathLike[str] | None = None,
    ) -> Any:
        """Draw which stage of the simulated pipeline works on which input when.

        Args:
            first: The input to begin with: 0 shows how the pipeline fills. Left out, it is in its
                steady state.
            num_inputs: How many inputs to show; left out, enough to see one pass through.
            ax: As for `plot_schedule`, and so are `path`, result and errors.
            path: See `ax`.

        Raises:
            ArgumentError: A number is out of its range.
        """
        gantt = draw_gantt(self._placed.prediction, first=first, num_inputs=num_inputs)
        return draw_figure(pipeline_picture(gantt), title=self.name, ax=ax, path=path)

    def to_chrome_trace(self, path: str | os.PathLike[str], num_inputs: int = 50) -> Path:
        """Write the simulated pipeline as a trace for https://ui.perfetto.dev or chrome://tracing.

        Each inference is a bar, and the parts that the device model predicts for its stage are bars
        within it: waiting, input, instructions, streaming, compute, ops on the CPU, output,
        overhead. They are as long as the inference together.

        Args:
            path: The file to write (.json).
            num_inputs: How many inputs to send through.

        Returns:
            The file's absolute path.

        Raises:
            ArgumentError: `num_inputs` is no number from 1.
            SavedPipelineError: The file cannot be written.
        """
        trace = chrome_trace(self.simulate(num_inputs), self.prediction, name=self.name)
        return write_file(path, trace.encode())

    def to_model_explorer(self, path: str | os.PathLike[str]) -> dict[str, Path]:
        """Write overlays for Google's Model Explorer (PyPI: ai-edge-model-explorer).

        To look at them: `model-explorer MODEL.tflite --node_data_paths=FILE,FILE`, with the whole
        model that `save` writes.

        Args:
            path: A file to write the stages into, `NAME.json`; the others go beside it, as
                `NAME_ms.json`, `NAME_bytes.json` and `NAME_device.json`. A path without that
                ending is a folder for all four.

        Returns:
            The absolute paths by overlay: "stage", "ms", "bytes", "device" (CPU or TPU).

        Raises:
            SavedPipelineError: A file cannot be written.
        """
        target = Path(path)
        if target.suffix != ".json":
            target = target / f"{self.name}.json"
        return {
            overlay: write_file(
                target if overlay == "stage" else target.with_name(f"{target.stem}_{overlay}.json"),
                content.encode(),
            )
            for overlay, content in model_explorer_overlays(self._placed).items()
        }

    def _repr_html_(self) -> str:
        return self.report._repr_html_()

    @functools.cached_property
    def _placed(self) -> PlacedGraph:
        return PlacedGraph.of(
            self.graph,
            self.schedule,
            self.device,
            replicas=self.replicas,
            instruction_bytes=self._instruction_bytes,
        )

    @functools.cached_property
    def _instruction_bytes(self) -> list[int | None]:
        """What compiled segments send at every inference, which need not be predicted."""
        return [
            None if one.compiled is None else sent_instructions(one.compiled)
            for one in self.segments
        ]
