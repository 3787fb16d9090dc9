"""Inputs in a pipeline as discrete events: queues, stages on several devices, the bus, the host."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf._loops.twins import loop
from respect_tf._reals import is_real
from respect_tf.device._prediction import HOST_CORES, PipelinePrediction

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageTimes:
    """The times of one stage, in ms for each inference.

    Attributes:
        busy_ms: Its device is busy, while other inputs are in the pipeline.
        alone_ms: Its device is busy, with nothing else in the pipeline.
        dispatch_ms: The host hands an input over to it.
        bus_ms: Its transfers fill the bus that all stages share; part of the time it is busy.
        cores_ms: Its work on the host fills all of its cores; part of the time it is busy.
        load_ms: What its first inference takes longer, on each of its devices.
        replicas: Number of its devices, to which inputs are dealt out in turn.

    Raises:
        ArgumentError: A time is negative or not finite, or there is no device.
    """

    busy_ms: float
    alone_ms: float
    dispatch_ms: float = 0.0
    bus_ms: float = 0.0
    cores_ms: float = 0.0
    load_ms: float = 0.0
    replicas: int = 1

    def __post_init__(self) -> None:
        if (
            isinstance(self.replicas, bool)
            or not isinstance(self.replicas, int | np.integer)
            or self.replicas < 1
        ):
            raise ArgumentError(
                "A stage's replicas must be a whole number, 1 or more. Received: "
                f"{self.replicas!r}."
            )
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not is_real(value) or not (math.isfinite(value) and value >= 0):
                raise ArgumentError(
                    f"A stage's {field.name} must be a finite number of ms, 0 or more. "
                    f"Received: {value!r}."
                )


@dataclasses.dataclass(frozen=True, eq=False)
class Played:
    """What became of inputs; all times in ms.

    Attributes:
        enter_ms: When each entered the queue before the first stage. float64 [num_inputs].
        start_ms: When each stage began with it. float64 [num_stages, num_inputs].
        end_ms: When each stage was done with it, likewise.
    """

    enter_ms: Floats
    start_ms: Floats
    end_ms: Floats


def stage_times(prediction: PipelinePrediction) -> tuple[StageTimes, ...]:
    """What the simulator needs of each stage that a device model predicts."""
    device, num_stages = prediction.device, len(prediction.stages)
    slowdown = device.slowdown(prediction.num_devices)
    dispatch = prediction.dispatch_ms / num_stages
    moved: list[float] = []
    for stage in prediction.stages:
        moved.append(stage.cost.moved_bytes)
    bus = prediction.bus_ms / sum(moved) if sum(moved) else 0.0
    times = []
    parts = zip(prediction.stages, moved, prediction.replicas, strict=True)
    for stage, size, replicas in parts:
        cost = stage.cost
        transfers = cost.input_ms + cost.output_ms
        times.append(
            StageTimes(
                busy_ms=cost.total_ms,
                alone_ms=cost.total_ms - transfers + transfers / slowdown,
                dispatch_ms=dispatch,
                bus_ms=bus * size,
                cores_ms=cost.total_ms / HOST_CORES if stage.on_cpu else 0.0,
                load_ms=stage.load_ms,
                replicas=replicas,
            )
        )
    return tuple(times)


def play(stages: Sequence[StageTimes], arrival_ms: Floats, limits: Sequence[int]) -> Played:
    """Send inputs through stages.

    Args:
        stages: The stages, in order.
        arrival_ms: float64 [num_inputs], when each input wants to enter, ascending.
        limits: How many may wait before each stage.
    """
    columns = (
        np.array([getattr(stage, name) for stage in stages], np.float64)
        for name in ("busy_ms", "alone_ms", "bus_ms", "dispatch_ms", "load_ms", "cores_ms")
    )
    count = len(arrival_ms)
    sizes = np.array([stage.replicas for stage in stages], np.int64)
    rooms = np.minimum(np.array(limits, object), count).astype(np.int64)
    enter, start, end = np.empty(count), *(np.empty((len(stages), count)) for _ in range(2))
    loop(run_events)(*columns, sizes, rooms, np.ascontiguousarray(arrival_ms), enter, start, end)
    return Played(enter, start, end)


def run_events(  # noqa: PLR0915 - one loop over many events, where every call costs
    busy: Floats,
    alone: Floats,
    bus: Floats,
    dispatch: Floats,
    extra: Floats,
    cores: Floats,
    sizes: Ints,
    limits: Ints,
    arrivals: Floats,
    enter_ms: Floats,
    start_ms: Floats,
    end_ms: Floats,
) -> None:
    """Fill in the events of servers in a row; see `StageTimes` and `Played`."""
    servers = range(len(busy))
    busy, alone, bus, dispatch, extra, cores, sizes, limits, arrivals = (
        part.tolist()
        for part in (busy, alone, bus, dispatch, extra, cores, sizes, limits, arrivals)
    )
    num_servers, last = len(servers), len(servers) - 1
    entered: list[float] = []
    starts: list[list[float]] = [[] for _ in servers]
    ends: list[list[float]] = [[] for _ in servers]
    ready: list[deque[float]] = [deque() for _ in servers]  # when the host hands each item over
    held = [0] * num_servers  # places taken in the queue before each server
    at_work: list[deque[float]] = [deque() for _ in servers]  # when each item of a server ends
    blocked = [False] * num_servers
    host_free = bus_free = cores_free = 0.0
    num_left = 0
    # When each server, the last one first, ends the first item that it is at, and when it begins
    # with the next one; and when the next input arrives. Of events at the same time the first in
    # this list is next, so that room is made before it is asked for.
    times = [math.inf] * (2 * num_servers) + [arrivals[0]]

    def look(server: int) -> None:
        """Note what a server does next."""
        items, place = at_work[server], 2 * (last - server)
        times[place] = items[0] if items and not blocked[server] else math.inf
        free = len(items) < sizes[server] and ready[server]
        times[place + 1] = max(now, ready[server][0]) if free else math.inf

    def hand_over(server: int) -> None:
        """An item takes a place in a server's queue, and the host brings it there."""
        nonlocal host_free
        held[server] += 1
        given = now
        if dispatch[server]:
            host_free = given = max(host_free, now) + dispatch[server]
        ready[server].append(given)
        look(server)

    def leave(server: int) -> None:
        """A server is rid of its first item."""
        at_work[server].popleft()
        items = at_work[server]
        if items and items[0] < now:  # it was done before, and waited for its turn
            items[0] = now
        look(server)

    while (now := min(times)) < math.inf:
        event = times.index(now)
        server = last - event // 2 if event < 2 * num_servers else -1
        if server >= 0 and event % 2 == 0:
            if server == last:
                num_left += 1
                leave(server)
            elif held[server + 1] < limits[server + 1]:
                hand_over(server + 1)
                leave(server)
            else:
                blocked[server] = True
                look(server)
            continue
        if server >= 0:
            ready[server].popleft()
            held[server] -= 1
            crowded = len(entered) - num_left > 1
            end = now + (busy if crowded else alone)[server]
            if len(starts[server]) < sizes[server]:
                end += extra[server]
            if bus[server]:
                bus_free = max(bus_free, now) + bus[server]
                end = max(end, bus_free) if crowded else end
            if cores[server]:
                cores_free = max(cores_free, now) + cores[server]
                end = max(end, cores_free) if crowded else end
            if at_work[server]:  # results keep their order
                end = max(end, at_work[server][-1])
            starts[server].append(now)
            ends[server].append(end)
            at_work[server].append(end)
            look(server)
            if server and blocked[server - 1]:
                blocked[server - 1] = False
                hand_over(server)
                leave(server - 1)
        if server <= 0:
            while len(entered) < len(arrivals) and held[0] < limits[0]:
                if arrivals[len(entered)] > now:
                    times[-1] = arrivals[len(entered)]
                    break
                entered.append(now)
                hand_over(0)
            else:
                times[-1] = math.inf
    enter_ms[:], start_ms[:], end_ms[:] = entered, starts, ends
