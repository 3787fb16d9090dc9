"""What a plan says: rows of figures, one for each number of devices."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from respect_tf._errors import ArgumentError
from respect_tf.device import EdgeTpu, Hosts
from respect_tf.scheduling import Schedule

Kind = Literal["plan", "copies", "pipeline", "cpu"]


@dataclasses.dataclass(frozen=True)
class PlanRow:
    """A way to use some devices, in figures that are predicted for the first host.

    Attributes:
        kind: `"plan"` for the best way of all, `"copies"` of the whole model, `"pipeline"` without
            replicas, or `"cpu"`, the host's own.
        num_devices: Number of Edge TPUs that may be used; 0 for the CPU.
        replicas: Number of those that run each segment, 1 for CPU stages; fewer in all where more
            do not help.
        interval_ms: Time between results.
        latency_ms: From an input to its result; under load, the mean where inputs arrive as the
            objective says.
        first_ms: The first result, loading of parameters included.
        streamed_bytes: Bytes of parameters that are brought from the host at every inference.
        limited_by: What sets the interval: `"stage N"`, `"bus"`, `"host"` or `"cpu"`.
        schedule: The cut; `None` for the CPU.
        interval_ms_by_host: The interval on each host that it may be, by name.
        latency_percentiles_ms: Of latency under load, by percent; empty without arrivals.
    """

    kind: Kind
    num_devices: int
    replicas: tuple[int, ...]
    interval_ms: float
    latency_ms: float
    first_ms: float
    streamed_bytes: int
    limited_by: str
    schedule: Schedule | None
    interval_ms_by_host: dict[str, float]
    latency_percentiles_ms: dict[int, float] = dataclasses.field(default_factory=dict)

    @property
    def num_segments(self) -> int:
        """Number of segments; 1 on the CPU."""
        return max(1, len(self.replicas))

    @property
    def num_used(self) -> int:
        """Number of Edge TPUs that are used."""
        return sum(self.replicas) - (len(self.schedule.cpu_stages) if self.schedule else 0)

    @property
    def frames_per_second(self) -> float:
        """Results per second."""
        return 1000.0 / self.interval_ms if self.interval_ms else math.inf

    @property
    def frames_per_second_range(self) -> tuple[float, float]:
        """Least and most frames per second over the hosts that it may be."""
        frames = [1000.0 / ms if ms else math.inf for ms in self.interval_ms_by_host.values()]
        return min(frames), max(frames)


@dataclasses.dataclass(frozen=True)
class SmallerPicture:
    """One way to give a model less to look at. Sizes are in pixels.

    Attributes:
        height: Of the model's input.
        width: Of the model's input.
        tiles: How many of these make one picture; 1 where the picture itself is made smaller.
        overlap: Height and width that neighbouring tiles share, so that their inner parts equal
            those of the whole picture's result.
        best: The best way to use the devices for inputs of this size.
    """

    height: int
    width: int
    tiles: int
    overlap: tuple[int, int]
    best: PlanRow

    @property
    def pictures_per_second(self) -> float:
        """Whole pictures per second, all their tiles looked at."""
        return self.best.frames_per_second / self.tiles

    def __str__(self) -> str:
        speed = f"{self.pictures_per_second:,.1f} pictures/s"
        if self.tiles == 1:
            return f"an input of {self.height}x{self.width}: {speed}"
        shared = f"{self.overlap[0]}x{self.overlap[1]}"
        return f"{self.tiles} tiles of {self.height}x{self.width} that share {shared}: {speed}"


@dataclasses.dataclass(frozen=True)
class TooLarge:
    """Why a model's pictures are too large, and what else to do.

    Attributes:
        height: Of its pictures, in pixels.
        width: Of its pictures, in pixels.
        reason: What does not fit.
        ways: What fits, the largest input first; none where the model takes no other size.
        note: Why there are no tiles, or no ways at all; empty where there are.
    """

    height: int
    width: int
    reason: str
    ways: tuple[SmallerPicture, ...]
    note: str


@dataclasses.dataclass(frozen=True, repr=False)
class DevicePlan:
    """What a graph gains from each number of devices.

    Attributes:
        device: The host, or those that it may be.
        objective: What is minimised.
        rows: The host's own CPU, then the best way for up to 1, 2, ... devices.
        copies: Copies of the whole model, for each number of devices; none where an op of it keeps
            the model from being compiled as a whole.
        pipelines: The best pipeline without replicas, for up to so many devices.
        is_proved: Whether no way to use the devices is better, by the predictions.
        too_large: What to do where the model's pictures are too large; None where they are not.
    """

    device: EdgeTpu | Hosts
    objective: str
    rows: tuple[PlanRow, ...]
    copies: tuple[PlanRow, ...]
    pipelines: tuple[PlanRow, ...]
    is_proved: bool
    too_large: TooLarge | None = None

    def __repr__(self) -> str:
        best = self.best
        return (
            f"{type(self).__name__}(up to {best.num_devices} devices on {self.device.name}: "
            f"{best.num_segments} segments, replicas {best.replicas}, "
            f"{best.frames_per_second:.1f} frames/s)"
        )

    @property
    def best(self) -> PlanRow:
        """The best way to use up to all devices."""
        return self.rows[-1]

    @property
    def cpu(self) -> PlanRow:
        """The whole model on the host's own CPU."""
        return self.rows[0]

    @property
    def num_devices(self) -> int:
        """Number of devices that may be used."""
        return self.best.num_devices

    @property
    def is_best_on_cpu(self) -> bool:
        """Whether the host's own CPU is predicted to be faster than all devices together."""
        return self.cpu.interval_ms < self.best.interval_ms

    def row(self, num_devices: int) -> PlanRow:
        """The best way for up to so many devices; 0 is the CPU.

        Raises:
            ArgumentError: There are not so many.
        """
        if isinstance(num_devices, bool) or num_devices not in range(len(self.rows)):
            raise ArgumentError(
                f"num_devices must be 0 to {self.num_devices}. Received: {num_devices!r}."
            )
        return self.rows[num_devices]

    def devices_for(self, frames_per_second: float) -> int | None:
        """The fewest devices that give so many frames per second; None if all do not.

        0 says that the host's own CPU does.
        """
        for row in self.rows:
            if row.frames_per_second >= frames_per_second:
                return row.num_used
        return None


@dataclasses.dataclass(frozen=True)
class DeviceCount:
    """What a number of Edge TPUs would give, by the predictions for the first host.

    Attributes:
        num_devices: Number of Edge TPUs that may be used; 0 for the host's own CPU.
        replicas: Number of those that run each segment in the best way; empty for the CPU.
        frames_per_second: Results per second.
    """

    num_devices: int
    replicas: tuple[int, ...]
    frames_per_second: float
