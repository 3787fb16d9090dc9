"""Ways to use devices that schedulers find, one number of segments after the other."""

from __future__ import annotations

import dataclasses
import math
import time

import numpy as np

from respect_tf._errors import ArgumentError, RespectError, ScheduleError
from respect_tf.device import EdgeTpu, Hosts, predict
from respect_tf.graph import OpGraph
from respect_tf.scheduling import (
    Constraints,
    HostSplit,
    Objective,
    PeakMemory,
    Schedule,
    Throughput,
    blocked_ops,
)
from respect_tf.scheduling import (
    schedule as choose_schedule,
)
from respect_tf.scheduling.parts import DeviceObjective, ReplicatedThroughput


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to use up to some devices.

    Attributes:
        num_devices: Number of devices at most.
        schedule: The cut.
        replicas: Number of devices of each stage.
    """

    num_devices: int
    schedule: Schedule
    replicas: tuple[int, ...]


def ways_by_scheduler(
    graph: OpGraph,
    num_devices: int,
    *,
    device: EdgeTpu | Hosts,
    objective: Objective,
    scheduler: str,
    constraints: Constraints | None,
    deadline: float,
    seed: int,
) -> list[Way]:
    """The best way for up to 1, 2, ... devices, of the cuts that a scheduler makes.

    Raises:
        ScheduleError: There is no cut that keeps the constraints.
        ArgumentError: They name what is not there.
    """
    cuts: list[Schedule] = []
    failed: RespectError | None = None
    counts = _numbers_of_stages(graph, num_devices, constraints)
    for count in counts:
        if cuts and time.perf_counter() > deadline:
            break
        left = max(0.0, (deadline - time.perf_counter()) / (counts[-1] - count + 1))
        try:
            cuts.append(
                choose_schedule(
                    graph,
                    count,
                    scheduler,
                    objective=objective,
                    constraints=constraints,
                    time_limit=left if math.isfinite(left) else None,
                    seed=seed,
                )
            )
        except (ScheduleError, ArgumentError) as error:
            # Too many stages, too little room in few, or constraints that name later ones.
            failed = failed or error
    if not cuts:
        raise failed or ScheduleError("No cut was found.")
    return [
        _best(graph, device, objective, cuts, count)
        for count in range(1, num_devices + 1)
        if any(_needed(cut) <= count for cut in cuts)
    ]


def _numbers_of_stages(
    graph: OpGraph, num_devices: int, constraints: Constraints | None
) -> list[int]:
    """Numbers of stages to try: those on the host come on top of the devices."""
    host_ops = {*blocked_ops(graph), *(() if constraints is None else constraints.on_cpu)}
    if not host_ops:
        return list(range(1, num_devices + 1))
    split = HostSplit.of(graph, host_ops)
    turns = max(sum(phase.on_host for phase in phases) for phases in split.layerings)
    return list(range(max(1, split.least_stages), num_devices + turns + 1))


def _best(
    graph: OpGraph,
    device: EdgeTpu | Hosts,
    objective: Objective,
    cuts: list[Schedule],
    num_devices: int,
) -> Way:
    possible = [cut for cut in cuts if _needed(cut) <= num_devices]
    if any(cut.cpu_stages for cut in possible):  # without, a segment would not compile
        possible = [cut for cut in possible if cut.cpu_stages]
    if isinstance(objective, PeakMemory):  # more segments never hold more
        last = possible[-1]
        return Way(num_devices, last, (1,) * last.num_stages)
    if isinstance(objective, Throughput):
        ways = [
            Way(num_devices, cut, share_out(graph, device, cut, num_devices)) for cut in possible
        ]
        judges = [ReplicatedThroughput(device, way.replicas) for way in ways]
        times = np.array(
            [judge.times(graph, way.schedule) for judge, way in zip(judges, ways, strict=True)]
        )
    else:
        ways = [Way(num_devices, cut, (1,) * cut.num_stages) for cut in possible]
        if isinstance(objective, DeviceObjective):
            times = np.array([objective.times(graph, way.schedule) for way in ways])
        else:
            times = np.array([[float(cut.cost or 0.0)] for cut in possible])
    # On several hosts, the worst ratio to the best of these ways there.
    least = np.maximum(times.min(axis=0), math.ulp(0.0))
    worst = (times / least).max(axis=1)
    return ways[int(np.argmin(np.round(worst, 9)))]


def _needed(cut: Schedule) -> int:
    """Edge TPUs that a cut needs, one for each stage that is on one; 1 at least."""
    return max(1, cut.num_stages - len(cut.cpu_stages))


def share_out(
    graph: OpGraph, device: EdgeTpu | Hosts, schedule: Schedule, num_devices: int
) -> tuple[int, ...]:
    """Replicas of a cut's stages: each further device goes to the stage that takes longest.

    No other distribution of as many devices has a faster slowest stage. Devices that change nothing
    are left out.

    Args:
        graph: The graph.
        device: The device.
        schedule: The cut.
        num_devices: Number of devices at most.
    """
    replicas = [1] * schedule.num_stages
    best, best_ms = tuple(replicas), math.inf
    while True:
        found = predict(graph, schedule, device, replicas=replicas)
        if found.interval_ms < best_ms * (1 - 1e-9):
            best, best_ms = tuple(replicas), found.interval_ms
        if sum(replicas) - len(schedule.cpu_stages) >= num_devices:
            return best
        parts = zip(found.stages, replicas, strict=True)
        shares = [
            0.0 if number in schedule.cpu_stages else stage.total_ms / count
            for number, (stage, count) in enumerate(parts)
        ]
        if not any(shares):  # all is on the host
            return best
        replicas[int(np.argmax(shares))] += 1
