"""Models of a fleet in queues before their devices, simulated input by input."""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Mapping
from typing import Literal

import numpy as np

from respect_tf._errors import ArgumentError

Arrivals = Literal["regular", "poisson"]
_PERCENTS = (50, 90, 99)


@dataclasses.dataclass(frozen=True)
class Station:
    """Devices that serve some models, one input each at a time, first come, first served.

    Attributes:
        num_devices: Number of devices.
        service_ms: What an inference of each model takes.
    """

    num_devices: int
    service_ms: dict[str, float]


@dataclasses.dataclass(frozen=True)
class FleetSimulation:
    """What a simulated fleet did.

    Attributes:
        seconds: Time simulated, from the first arrival to the last.
        completed: Number of results of each model.
        latency_ms: Percentiles of the time from arrival to result: model -> percent -> ms.
        busy: Share of the time that the devices of each station worked, until the last arrival.
    """

    seconds: float
    completed: dict[str, int]
    latency_ms: dict[str, dict[int, float]]
    busy: tuple[float, ...]

    def __str__(self) -> str:
        """A line per model and one for the devices."""
        lines = [
            f"{name}: {count:,} results, latency "
            + ", ".join(f"{ms:.2f} ms ({p} %)" for p, ms in self.latency_ms[name].items())
            for name, count in self.completed.items()
        ]
        return "\n".join([*lines, "busy: " + ", ".join(f"{share:.0%}" for share in self.busy)])


def simulate_fleet(
    stations: tuple[Station, ...],
    routes: Mapping[str, tuple[int, ...]],
    rates: Mapping[str, float],
    *,
    seconds: float = 60.0,
    arrivals: Arrivals = "poisson",
    seed: int = 0,
) -> FleetSimulation:
    """Send inputs of all models through their stations.

    Queues are as long as they need be, and a model's inputs keep their order. The bus and the
    host's own work are not simulated: `FleetPlan.bus_load` and `host_load` say what they take.

    Args:
        stations: The stations.
        routes: Stations of each model, in order.
        rates: Inputs per second of each model.
        seconds: Time during which inputs arrive.
        arrivals: `"regular"`, or `"poisson"`: at random at that rate.
        seed: Of what is random.

    Raises:
        ArgumentError: `seconds` is not above 0, or `arrivals` unknown.
    """
    if not (isinstance(seconds, (int, float)) and 0 < seconds < float("inf")):
        raise ArgumentError(f"seconds must be a number above 0. Received: {seconds!r}.")
    if arrivals not in ("regular", "poisson"):
        raise ArgumentError(f'arrivals must be "regular" or "poisson". Received: {arrivals!r}.')
    random = np.random.default_rng(seed)
    events: list[tuple[float, int, str, int, float]] = []
    for name in routes:
        gap = 1000.0 / rates[name]
        count = max(1, int(seconds * rates[name]))
        times = np.arange(count) * gap
        if arrivals == "poisson":
            times = np.cumsum(random.exponential(gap, count))
        events += [(float(at), 0, name, 0, float(at)) for at in times]
    end = max(event[0] for event in events)
    events = [(at, n, name, step, born) for n, (at, _, name, step, born) in enumerate(events)]
    heapq.heapify(events)
    number = len(events)
    free = [[0.0] * station.num_devices for station in stations]
    worked = [0.0] * len(stations)
    latencies: dict[str, list[float]] = {name: [] for name in routes}
    while events:
        at, _, name, step, born = heapq.heappop(events)
        if step == len(routes[name]):
            latencies[name].append(at - born)
            continue
        place = routes[name][step]
        start = max(at, heapq.heappop(free[place]))
        done = start + stations[place].service_ms[name]
        heapq.heappush(free[place], done)
        worked[place] += max(0.0, min(done, end) - min(start, end))
        number += 1
        heapq.heappush(events, (done, number, name, step + 1, born))
    return FleetSimulation(
        seconds=end / 1000.0,
        completed={name: len(found) for name, found in latencies.items()},
        latency_ms={
            name: {p: float(np.percentile(found, p)) for p in _PERCENTS}
            for name, found in latencies.items()
        },
        busy=tuple(
            work / (end * station.num_devices) if end else 0.0
            for work, station in zip(worked, stations, strict=True)
        ),
    )
