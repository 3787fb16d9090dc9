"""A pipeline as discrete events: what queues, a shared bus and the host make of the stages' times.

The model, in the terms of the closed form of `respect_tf.device.predict`:

* An input waits in the input queue, is worked on by one stage after another, in order, and its
  result waits in the output queue until it is taken.
* A stage that is done hands its tensors on when the next queue has room, and works on nothing
  before. The host needs `dispatch_ms` for each hand-over and serves one stage at a time, in the
  order in which they ask.
* An inference keeps its device busy for the stage's time. A stage on several devices works on as
  many inputs at a time, and hands them on in their order.
* While other inputs are in the pipeline, transfers are slowed as the device model says, and an
  inference ends no earlier than its transfers, which go over the shared bus one after the other in
  the order in which inferences begin.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections import deque
from collections.abc import Sequence
from typing import Literal

import numpy as np

from respect_tf._errors import ArgumentError
from respect_tf.device import PipelinePrediction
from respect_tf.run._simulation import Floats, Simulation, StageTimes


def simulate(
    stages: PipelinePrediction | Sequence[StageTimes | float],
    num_inputs: int = 1000,
    *,
    arrival_rate: float | None = None,
    arrivals: Literal["regular", "poisson"] = "regular",
    input_queue_size: int | None = None,
    inner_queue_size: int = 1,
    output_queue_size: int | None = None,
    pop_ms: float = 0.0,
    seed: int = 0,
) -> Simulation:
    """Send inputs through a pipeline.

    Args:
        stages: What `predict` predicts, or the stages' times in order: `StageTimes`, or
            ms that a stage takes where nothing is shared.
        num_inputs: How many inputs.
        arrival_rate: Inputs per second; left out, the next is pushed as soon as the input queue
            has room.
        arrivals: Whether they come at equal intervals or at random, independently of each other.
        input_queue_size: Inputs that may wait before the first stage; None for any number, or for
            1 where there is no `arrival_rate`.
        inner_queue_size: What may wait between two stages; libcoral's runner has room for 1.
        output_queue_size: Results that may wait; None for any number.
        pop_ms: Time for which whoever takes the results is busy with each.
        seed: Seed of random arrivals.

    Raises:
        ArgumentError: A number is out of its range.
    """
    times = _checked_stages(stages)
    limits = [
        _checked_size(name, size)
        for name, size in (
            ("num_inputs", num_inputs),
            ("input_queue_size", input_queue_size),
            ("inner_queue_size", inner_queue_size),
            ("output_queue_size", output_queue_size),
        )
    ]
    StageTimes(busy_ms=pop_ms, alone_ms=0.0)  # the same check
    if arrivals not in ("regular", "poisson"):
        raise ArgumentError(f'arrivals must be "regular" or "poisson". Received: {arrivals!r}.')
    if arrival_rate is None:
        arrival_ms: Floats = np.zeros(num_inputs)
        limits[1] = 1 if input_queue_size is None else input_queue_size
    elif not 0 < arrival_rate < math.inf:
        raise ArgumentError(
            f"arrival_rate must be inputs per second, above 0. Received: {arrival_rate!r}."
        )
    elif arrivals == "regular":
        arrival_ms = np.arange(num_inputs, dtype=np.float64) * (1000.0 / arrival_rate)
    else:
        random = np.random.default_rng(seed)
        arrival_ms = np.cumsum(random.exponential(1000.0 / arrival_rate, num_inputs))
    simulation = _run_events(
        times,
        arrival_ms,
        input_queue_size=limits[1],
        inner_queue_size=limits[2],
        output_queue_size=limits[3],
        pop_ms=float(pop_ms),
    )
    if arrival_rate is None:
        return dataclasses.replace(simulation, arrival_ms=simulation.enter_ms)
    return simulation


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
                load_ms=stage.load_ms,
                replicas=replicas,
            )
        )
    return tuple(times)


def _run_events(
    stages: Sequence[StageTimes],
    arrival_ms: Floats,
    *,
    input_queue_size: int,
    inner_queue_size: int,
    output_queue_size: int,
    pop_ms: float,
) -> Simulation:
    """Play all events.

    Args:
        stages: The stages, in order.
        arrival_ms: float64 [num_inputs], when each input wants to enter, ascending. It enters when
            the input queue has room.
        input_queue_size: Inputs that may wait before the first stage.
        inner_queue_size: Hand-overs that may wait before each other stage.
        output_queue_size: Results that may wait after the last stage.
        pop_ms: Time of whoever takes the results, for each.
    """
    servers = list(stages)
    limits = [input_queue_size, *[inner_queue_size] * (len(stages) - 1)]
    if pop_ms or output_queue_size < len(arrival_ms):
        # Whoever takes the results is one more server, with a queue before it.
        servers.append(StageTimes(busy_ms=pop_ms, alone_ms=pop_ms))
        limits.append(output_queue_size)
    entered, starts, ends = _play(servers, arrival_ms.tolist(), limits)
    num_stages = len(stages)
    return Simulation(
        stages=tuple(stages),
        arrival_ms=arrival_ms,
        enter_ms=np.array(entered),
        start_ms=np.array(starts[:num_stages]).T,
        end_ms=np.array(ends[:num_stages]).T,
        result_ms=np.array(starts[-1] if len(servers) > num_stages else ends[-1]),
    )


def _play(  # noqa: PLR0915 - one loop over millions of events, where every call costs
    servers: Sequence[StageTimes], arrivals: Sequence[float], limits: Sequence[int]
) -> tuple[list[float], list[list[float]], list[list[float]]]:
    """The events of servers in a row.

    Returns:
        When each input entered, and for each server when it began and ended with each input.
    """
    num_servers, last = len(servers), len(servers) - 1
    busy, alone = [s.busy_ms for s in servers], [s.alone_ms for s in servers]
    bus, dispatch = [s.bus_ms for s in servers], [s.dispatch_ms for s in servers]
    extra, sizes = [s.load_ms for s in servers], [s.replicas for s in servers]
    entered: list[float] = []
    starts: list[list[float]] = [[] for _ in servers]
    ends: list[list[float]] = [[] for _ in servers]
    ready: list[deque[float]] = [deque() for _ in servers]  # when the host hands each item over
    held = [0] * num_servers  # places taken in the queue before each server
    at_work: list[deque[float]] = [deque() for _ in servers]  # when each item of a server ends
    blocked = [False] * num_servers
    host_free = bus_free = 0.0
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
    return entered, starts, ends


def _checked_stages(
    stages: PipelinePrediction | Sequence[StageTimes | float],
) -> tuple[StageTimes, ...]:
    if isinstance(stages, PipelinePrediction):
        return stage_times(stages)
    times = tuple(
        one if isinstance(one, StageTimes) else StageTimes(busy_ms=one, alone_ms=one)
        for one in stages
    )
    if not times:
        raise ArgumentError("Expected at least one stage. Received: none.")
    return times


def _checked_size(name: str, size: int | None) -> int:
    if size is None and name != "num_inputs":
        return sys.maxsize
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ArgumentError(f"{name} must be a whole number, 1 or more. Received: {size!r}.")
    return size
