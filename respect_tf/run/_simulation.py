"""What a simulated pipeline did."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.device import StageTimes

Floats = npt.NDArray[np.float64]

PERCENTILES = (50, 90, 99)


@dataclasses.dataclass(frozen=True)
class GanttBar:
    """One inference of one stage.

    Attributes:
        stage: The stage.
        input: Which input it was.
        start_ms: When it began.
        end_ms: When it ended.
        replica: Which of the stage's devices it ran on, from 0.
    """

    stage: int
    input: int
    start_ms: float
    end_ms: float
    replica: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Simulation:
    """When every input was where; all times in ms from the start.

    The steady state is the second half of the results that came before the pipeline ran empty, in
    whole rounds: stages on several devices may give their results in bunches.

    Attributes:
        stages: The stages' times.
        arrival_ms: float64 [num_inputs], when an input was there to be pushed.
        enter_ms: float64 [num_inputs], when it entered the input queue.
        start_ms: float64 [num_inputs, num_stages], when each stage began with it.
        end_ms: float64 [num_inputs, num_stages], when each stage was done with it.
        result_ms: float64 [num_inputs], when its result was taken.
    """

    stages: tuple[StageTimes, ...]
    arrival_ms: Floats
    enter_ms: Floats
    start_ms: Floats
    end_ms: Floats
    result_ms: Floats

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self)[1:]:
            getattr(self, field.name).flags.writeable = False

    @property
    def num_inputs(self) -> int:
        """How many inputs went through."""
        return len(self.result_ms)

    @functools.cached_property
    def _steady(self) -> tuple[int, int]:
        """The first and the last result of the steady state."""
        # When the first stage begins with the last input, the pipeline begins to run empty.
        last = int(np.searchsorted(self.result_ms, self.start_ms[-1, 0], side="right")) - 1
        if last < 2:
            last = self.num_inputs - 1
        count = last - last // 2
        in_turn = math.lcm(*(int(stage.replicas) for stage in self.stages))
        if count > in_turn:
            count -= count % in_turn
        return last - count, last

    @property
    def interval_ms(self) -> float:
        """Mean time between results in the steady state; of one input, until its result."""
        first, last = self._steady
        if first == last:
            return float(self.result_ms[0] - self.arrival_ms[0])
        return float(self.result_ms[last] - self.result_ms[first]) / (last - first)

    @property
    def frames_per_second(self) -> float:
        """Results per second in the steady state; infinite if nothing takes time."""
        return 1000.0 / self.interval_ms if self.interval_ms else math.inf

    @functools.cached_property
    def latency_ms(self) -> Floats:
        """float64 [num_inputs], from an input's arrival until its result was taken."""
        return self.result_ms - self.arrival_ms

    def latency_percentile(self, percent: float) -> float:
        """Latency in ms that this part of the inputs in the steady state does not exceed.

        Args:
            percent: From 0 to 100.

        Raises:
            ArgumentError: Another number.
        """
        if not 0 <= percent <= 100:
            raise ArgumentError(f"percent must be from 0 to 100. Received: {percent!r}.")
        return float(np.percentile(self.latency_ms[self._steady[0] :], percent))

    @property
    def utilisation(self) -> tuple[float, ...]:
        """Part of the steady state that each stage's devices were busy, from 0 to 1."""
        busy = self.end_ms - self.start_ms  # [num_inputs, num_stages]
        if self.num_inputs == 1:
            done, span = busy[0], np.full(len(self.stages), self.interval_ms)
        else:
            # Each stage in its own time, from the middle input on until it begins with the last.
            first = self._steady[0]
            done = busy[first:-1].sum(axis=0)
            span = self.start_ms[-1] - self.start_ms[first]
        span = span * np.array([stage.replicas for stage in self.stages])
        parts = np.divide(done, span, out=np.zeros_like(done), where=span > 0)
        # Devices of a stage may begin together at both ends of that time.
        return tuple(np.minimum(parts, 1.0).tolist())

    @property
    def bus_utilisation(self) -> float:
        """Part of the steady state that the shared bus was busy."""
        return self._shared(math.fsum(stage.bus_ms for stage in self.stages))

    @property
    def host_utilisation(self) -> float:
        """Part of the steady state that the host was handing over, or all its cores were busy."""
        parts = [(stage.dispatch_ms, stage.cores_ms) for stage in self.stages]
        return self._shared(max(math.fsum(times) for times in zip(*parts, strict=True)))

    def _shared(self, ms: float) -> float:
        return ms / self.interval_ms if self.interval_ms else 0.0

    def gantt(self, first: int = 0, count: int = 20) -> tuple[GanttBar, ...]:
        """Bars of some inputs, for a chart with a row per stage.

        Args:
            first: The first input.
            count: How many inputs.
        """
        if first < 0 or count < 0:
            raise ArgumentError(
                f"first and count must be 0 or more. Received: {first!r}, {count!r}."
            )
        return tuple(
            GanttBar(
                stage,
                index,
                float(self.start_ms[index, stage]),
                float(end),
                index % self.stages[stage].replicas,
            )
            for index in range(first, min(first + count, self.num_inputs))
            for stage, end in enumerate(self.end_ms[index])
        )

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain values for JSON; every one is under `"simulated"`."""
        frames = self.frames_per_second
        return {
            "num_inputs": self.num_inputs,
            "simulated": {
                "frames_per_second": frames if math.isfinite(frames) else None,
                "interval_ms": self.interval_ms,
                "latency_ms": {
                    **{f"p{percent}": self.latency_percentile(percent) for percent in PERCENTILES},
                    "max": float(self.latency_ms.max()),
                },
                "first_result_ms": float(self.result_ms[0] - self.arrival_ms[0]),
                "stage_utilisation": list(self.utilisation),
                "bus_utilisation": self.bus_utilisation,
                "host_utilisation": self.host_utilisation,
            },
        }

    def __str__(self) -> str:
        figures = self.to_dict()["simulated"]
        latency = ", ".join(f"{name} {ms:.4g}" for name, ms in figures["latency_ms"].items())
        busy = ", ".join(f"{part:.0%}" for part in self.utilisation)
        return (
            f"{self.num_inputs:,} inputs, simulated\n"
            f"throughput   {self.frames_per_second:.4g} per second "
            f"(one in {self.interval_ms:.4g} ms)\n"
            f"latency      {latency} ms; the first {figures['first_result_ms']:.4g} ms\n"
            f"stages busy  {busy}\n"
            f"bus busy     {self.bus_utilisation:.0%}, host {self.host_utilisation:.0%}"
        )
