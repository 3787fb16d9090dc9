"""`plan_devices`: what a graph gains from each number of Edge TPUs, and how to use them best."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time

import numpy as np

from respect_tf._errors import ArgumentError, ScheduleError
from respect_tf.device import (
    DeviceCosts,
    DeviceLike,
    EdgeTpu,
    Hosts,
    devices_of,
    first_device,
    predict,
    resolve_device,
)
from respect_tf.graph import OpGraph
from respect_tf.planning._load import ways_under_load
from respect_tf.planning._rows import DeviceCount, DevicePlan, Kind, PlanRow
from respect_tf.planning._search import Cut, PlanSearch
from respect_tf.planning._ways import Way, share_out, ways_by_scheduler
from respect_tf.scheduling import (
    Constraints,
    Latency,
    Objective,
    Schedule,
    Throughput,
    blocked_ops,
    resolve_objective,
)
from respect_tf.scheduling import (
    schedule as choose_schedule,
)
from respect_tf.scheduling.parts import (
    BudgetExceededError,
    ReplicatedThroughput,
    checked_count,
    deadline_after,
)

# The name of the scheduler that schedules of plans say.
PLANNER = "plan"

# No machine has so many.
_MOST_DEVICES = 64


def plan_devices(
    graph: OpGraph,
    num_devices: int,
    *,
    device: DeviceLike = "usb3",
    objective: str | Objective = "throughput",
    scheduler: str = "policy",
    constraints: Constraints | None = None,
    time_limit: float | None = None,
    seed: int = 0,
) -> DevicePlan:
    """The best way to use up to so many devices, and what fewer would give.

    For throughput, cut and replicas are chosen together: of all ways, the one with the least time
    between results. Of several hosts, that is the one whose interval on a host divided by the least
    that as many devices can have there is least where it is largest.

    Args:
        graph: The graph.
        num_devices: Number of Edge TPUs at most, replicas included.
        device: See `schedule`.
        objective: See `schedule`. With `"memory"` a plan uses one segment per device; with other
            objectives than throughput, no segment has replicas.
        scheduler: What cuts where the objective is another one, or there are constraints.
        constraints: What cuts have to keep.
        time_limit: Seconds after which the best known way counts; None for no limit.
        seed: See `schedule`.

    Raises:
        ArgumentError: An argument is out of range.
        ScheduleError: No cut keeps the constraints.
    """
    num_devices = checked_devices(num_devices)
    deadline = deadline_after(time_limit, time.perf_counter())
    resolved = resolve_device(device)
    chosen = resolve_objective(objective, resolved)
    if isinstance(chosen, Throughput | Latency):
        resolved = chosen.device
    # Ops that no Edge TPU takes need stages of their own, which schedulers make.
    special = constraints is not None or bool(blocked_ops(graph))
    if isinstance(chosen, Throughput) and not special:
        with contextlib.suppress(BudgetExceededError):  # schedulers find something in no time
            return _plan_throughput(graph, num_devices, resolved, deadline, seed)
    if isinstance(chosen, Latency) and chosen.arrivals_per_second is not None and not special:
        return _plan_under_load(graph, num_devices, chosen)
    ways = ways_by_scheduler(
        graph,
        num_devices,
        device=resolved,
        objective=chosen,
        scheduler=scheduler,
        constraints=constraints,
        deadline=deadline,
        seed=seed,
    )
    return _plan_of_ways(graph, resolved, chosen, ways)


def checked_devices(num_devices: int) -> int:
    """A number of devices that a plan can be made for.

    Raises:
        ArgumentError: It is none.
    """
    if num_devices == 0 and not isinstance(num_devices, bool):
        raise ArgumentError(
            "num_devices must be a whole number, 1 or more: without an Edge TPU there is nothing "
            "to plan, and the model runs on the host's own CPU, which a plan for one device "
            "compares it with. Received: 0."
        )
    count = checked_count("num_devices", num_devices)
    if count > _MOST_DEVICES:
        raise ArgumentError(f"num_devices must be at most {_MOST_DEVICES}. Received: {count}.")
    return count


def _plan_throughput(
    graph: OpGraph, num_devices: int, device: EdgeTpu | Hosts, deadline: float, seed: int
) -> DevicePlan:
    started = time.perf_counter()

    def lead() -> list[Schedule]:
        """Pipelines that the scheduler finds, whose orders of ops are worth a look."""
        found = []
        for count in range(2, min(num_devices, graph.num_ops) + 1):
            left = max(0.0, (deadline - time.perf_counter()) / (num_devices - count + 2))
            limit = left if math.isfinite(left) else None
            try:
                made = choose_schedule(graph, count, device=device, seed=seed, time_limit=limit)
            except ScheduleError:  # more stages than groups of ops that share one
                break
            found.append(made)
        return found

    search = PlanSearch(graph, device, num_devices, deadline, lead)
    rows: list[PlanRow] = []
    pipelines: list[PlanRow] = []
    proved = True
    for count in range(1, num_devices + 1):
        ways: tuple[tuple[Kind, int | None], ...] = (("plan", None), ("pipeline", 1))
        for kind, most_replicas in ways:
            found = search.best(count, most_replicas)
            made = _schedule(found, device, time.perf_counter() - started)
            row = _row(kind, graph, count, device, made, found.replicas)
            (rows if kind == "plan" else pipelines).append(row)
            proved &= kind == "pipeline" or made.status == "optimal"
    return DevicePlan(
        device=device,
        objective="throughput",
        rows=(cpu_row(graph, device), *rows),
        copies=_copies(graph, num_devices, device),
        pipelines=tuple(pipelines),
        is_proved=proved,
    )


def judged_proposal(
    graph: OpGraph, row: PlanRow, device: EdgeTpu | Hosts, *, seed: int = 0
) -> Schedule | None:
    """A row's schedule, with what the policy's proposal for as many stages would have cost.

    The proposal gets as many devices as the row, its further ones where they help it most.

    Args:
        graph: The graph.
        row: A row of a plan for throughput.
        device: The plan's device.
        seed: See `schedule`.
    """
    schedule = row.schedule
    if schedule is None or schedule.scheduler != PLANNER or schedule.num_stages == 1:
        return schedule
    alone = choose_schedule(graph, schedule.num_stages, "policy-greedy", device=device, seed=seed)
    replicas = share_out(graph, device, alone, row.num_used)
    times = ReplicatedThroughput(device, replicas).times(graph, alone)
    cost = (times / np.array(schedule.optima or (1.0,))).max()
    return dataclasses.replace(schedule, proposal_cost=float(cost))


def _plan_under_load(graph: OpGraph, num_devices: int, objective: Latency) -> DevicePlan:
    device = objective.device
    rows = []
    for count, way in enumerate(ways_under_load(graph, objective, num_devices), 1):
        row = _row("plan", graph, count, device, way.schedule, way.replicas)
        rows.append(
            dataclasses.replace(
                row,
                latency_ms=way.load.mean_ms,
                latency_percentiles_ms=dict(way.load.percentiles_ms),
            )
        )
    return DevicePlan(
        device=device,
        objective=objective.name,
        rows=(cpu_row(graph, device), *rows),
        copies=_copies(graph, num_devices, device),
        pipelines=(),
        is_proved=False,
    )


def _schedule(cut: Cut, device: EdgeTpu | Hosts, seconds: float) -> Schedule:
    objective = ReplicatedThroughput(device, cut.replicas)
    is_proved = cut.lower_bound >= cut.cost * (1 - 1e-8)
    return Schedule(
        cut.stages,
        len(cut.replicas),
        cost=cut.cost,
        lower_bound=cut.cost if is_proved else cut.lower_bound,
        status="optimal" if is_proved else "feasible",
        objective=objective.name,
        device=device,
        optima=cut.optima,
        scheduler=PLANNER,
        solve_seconds=seconds,
    )


def _copies(graph: OpGraph, num_devices: int, device: EdgeTpu | Hosts) -> tuple[PlanRow, ...]:
    whole = Schedule(np.zeros(graph.num_ops, np.int64))
    counts = range(1, num_devices + 1)
    return tuple(_row("copies", graph, count, device, whole, (count,)) for count in counts)


def _row(
    kind: Kind,
    graph: OpGraph,
    num_devices: int,
    device: EdgeTpu | Hosts,
    schedule: Schedule,
    replicas: tuple[int, ...],
) -> PlanRow:
    prediction = predict(graph, schedule, device, replicas=replicas)
    return PlanRow(
        kind=kind,
        num_devices=num_devices,
        replicas=replicas,
        interval_ms=prediction.interval_ms,
        latency_ms=prediction.latency_ms,
        first_ms=prediction.first_ms,
        streamed_bytes=prediction.streamed_bytes,
        limited_by=prediction.bottleneck,
        schedule=schedule,
        interval_ms_by_host={name: one.interval_ms for name, one in prediction.by_host.items()},
    )


def cpu_row(graph: OpGraph, device: EdgeTpu | Hosts) -> PlanRow:
    """The whole model on the host's own CPU."""
    times = {one.name: float(DeviceCosts.of(graph, one).cpu_ms.sum()) for one in devices_of(device)}
    ms = times[first_device(device).name]
    return PlanRow("cpu", 0, (), ms, ms, ms, 0, "cpu", None, times)


def _plan_of_ways(
    graph: OpGraph, device: EdgeTpu | Hosts, objective: Objective, ways: list[Way]
) -> DevicePlan:
    num_devices = ways[-1].num_devices
    rows = []
    for way in ways:
        row = _row("plan", graph, way.num_devices, device, way.schedule, way.replicas)
        rows.append(row)
    return DevicePlan(
        device=device,
        objective=objective.name,
        rows=(cpu_row(graph, device), *rows),
        copies=() if blocked_ops(graph) else _copies(graph, num_devices, device),
        pipelines=(),
        is_proved=False,
    )


def frames_by_devices(
    graph: OpGraph, device: EdgeTpu | Hosts, num_devices: int, deadline: float = math.inf
) -> tuple[DeviceCount, ...]:
    """What the host's own CPU and up to so many devices give, on the first of several hosts.

    Args:
        graph: The graph.
        device: The device.
        num_devices: Number of devices at most.
        deadline: See `PlanSearch`.

    Returns:
        The CPU and 1, 2, ... devices; nothing for a model with ops that need stages on the host.
    """
    if blocked_ops(graph):
        return ()
    first = first_device(device)
    counts = [DeviceCount(0, (), cpu_row(graph, first).frames_per_second)]
    search = PlanSearch(graph, first, num_devices, deadline)
    for count in range(1, num_devices + 1):
        cut = search.best(count)
        frames = 1000.0 / cut.cost if cut.cost else math.inf
        counts.append(DeviceCount(count, cut.replicas, frames))
    return tuple(counts)
