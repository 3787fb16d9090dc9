"""The bars of a simulated pipeline in a stretch of time."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from respect_tf._errors import ArgumentError
from respect_tf.device import PipelinePrediction
from respect_tf.run import GanttBar, Simulation, simulate

BUS = -1  # the row of the bus, as a stage


class Row(NamedTuple):
    """A row of the chart: a device of a stage."""

    stage: int
    replica: int


@dataclasses.dataclass(frozen=True, eq=False)
class Gantt:
    """What is busy when, for a chart with a row for each device of a stage.

    Attributes:
        bars: What each stage does in the stretch; the bus is `BUS`, and has bars only where it is
            the bottleneck.
        start_ms: Where the stretch begins.
        end_ms: Where it ends.
        highlighted: The input to follow.
        simulation: Where the bars come from.
        bottleneck: "stage 2", "bus" or "host".
    """

    bars: tuple[GanttBar, ...]
    start_ms: float
    end_ms: float
    highlighted: int
    simulation: Simulation
    bottleneck: str

    @property
    def rows(self) -> tuple[Row, ...]:
        """The devices of all stages from top to bottom, `BUS` last where it has a row."""
        stages = self.simulation.stages
        rows = [Row(at, replica) for at, stage in enumerate(stages)
                for replica in range(stage.replicas)]  # fmt: skip
        return (*rows, *([Row(BUS, 0)] if self.bottleneck == "bus" else []))

    def label(self, stage: int) -> str:
        """What a stage is called."""
        return "bus" if stage == BUS else f"stage {stage}"

    def row_label(self, row: Row) -> str:
        """What a row is called."""
        label = self.label(row.stage)
        if row.stage == BUS or self.simulation.stages[row.stage].replicas == 1:
            return label
        return f"{label}, TPU {row.replica + 1}"

    def is_bottleneck(self, row: Row) -> bool:
        """Whether a row is what limits the pipeline."""
        return self.label(row.stage) == self.bottleneck

    @property
    def title(self) -> str:
        """How fast the pipeline is, and why."""
        simulation = self.simulation
        limit = {"bus": "the bus", "host": "the host's hand-overs"}.get(
            self.bottleneck, self.bottleneck
        )
        return (
            f"one result every {simulation.interval_ms:.4g} ms "
            f"({simulation.frames_per_second:.4g} per second), limited by {limit}"
        )


def draw_gantt(
    prediction: PipelinePrediction, *, first: int | None = None, num_inputs: int | None = None
) -> Gantt:
    """Simulate a pipeline that always has inputs, and take a stretch of it.

    Args:
        prediction: What the device model predicts.
        first: The input that the stretch begins with: 0 shows how devices are loaded and the
            pipeline fills. Left out, the pipeline is in its steady state.
        num_inputs: How many inputs the stretch is about; left out, as many as it takes to see one
            pass through all stages.

    Raises:
        ArgumentError: A number is out of its range.
    """
    num_stages = sum(prediction.replicas)  # each device is like a stage more
    count = max(6, num_stages + 3) if num_inputs is None else num_inputs
    for name, value, least in (("first", first or 0, 0), ("num_inputs", count, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ArgumentError(
                f"{name} must be a whole number, {least} or more. Received: {value!r}."
            )
    # Long enough for the loading of the devices to be forgotten, and never running empty.
    begin = 20 + 4 * num_stages if first is None else first
    simulation = simulate(prediction, begin + count + 3 * num_stages + 2)
    start = float(simulation.start_ms[begin, 0])
    if first is None:
        end = start + count * simulation.interval_ms
    else:
        end = float(simulation.end_ms[begin + count - 1, -1])
    if end <= start:  # a device that takes no time at all
        end = start + 1.0
    limit = prediction.bottleneck
    bars = list(simulation.gantt(0, simulation.num_inputs))
    if limit == "bus":
        bars += bus_bars(simulation)
    return Gantt(
        bars=tuple(bar for bar in bars if bar.start_ms < end and bar.end_ms > start),
        start_ms=start,
        end_ms=end,
        highlighted=begin + (1 if count > 1 else 0),
        simulation=simulation,
        bottleneck=limit,
    )


def bus_bars(simulation: Simulation) -> list[GanttBar]:
    """When the bus that all stages share was busy, for which input.

    As in the simulator, transfers take it in the order in which inferences begin, later stages
    first where they begin at the same time.
    """
    free = 0.0
    bars = []
    for bar in sorted(
        simulation.gantt(0, simulation.num_inputs), key=lambda bar: (bar.start_ms, -bar.stage)
    ):
        start = max(free, bar.start_ms)
        free = start + simulation.stages[bar.stage].bus_ms
        bars.append(GanttBar(BUS, bar.input, start, free))
    return bars
