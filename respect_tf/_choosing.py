"""What chooses the cut: arguments checked before there is a model, then a graph's schedule."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from respect_tf._errors import ArgumentError, DeviceError
from respect_tf._reporting import Verbosity, progress, report
from respect_tf.device import DeviceLike, EdgeTpu, Hosts, predict
from respect_tf.graph import OpGraph
from respect_tf.planning import (
    DeviceCount,
    checked_devices,
    cut_within,
    frames_by_devices,
    judged_proposal,
    plan_devices,
    share_out,
)
from respect_tf.report import choice as plan_choice
from respect_tf.run import list_edge_tpus, measure_on_cpu
from respect_tf.scheduling import (
    Constraints,
    MeasureLike,
    Objective,
    Schedule,
    ScheduleRequest,
    check_schedule,
    with_islands,
)
from respect_tf.tflite import Int8Model

# What `num_devices` is if left out: as many as a USB hub has ports for.
_DEFAULT_NUM_DEVICES = 4

# The report tells what up to so many devices would give.
_MOST_TOLD = 8

# Schedulers that a plan stands for: it proves the optimum, or searches as they do.
_PLANNED = ("policy", "exact")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """`num_segments="auto"`: segments and replicas are what a plan says.

    Attributes:
        num_devices: Number of Edge TPUs at most, replicas included.
        request: What to ask of a scheduler, but for the number of stages.
    """

    num_devices: int
    request: ScheduleRequest


Choice = PlanRequest | ScheduleRequest | Schedule
"""What to ask of a plan or a scheduler, or the user's own schedule."""


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What was chosen.

    Attributes:
        schedule: The cut.
        replicas: Number of Edge TPUs of each segment; 1 for CPU stages.
        reason: What a plan chose and why; empty where the user did.
    """

    schedule: Schedule
    replicas: tuple[int, ...]
    reason: str = ""


def checked_choice(
    scheduler: str | Schedule,
    num_segments: int | Literal["auto"] | None,
    *,
    num_devices: int | None,
    objective: str | Objective | None,
    device: DeviceLike,
    constraints: Constraints | None,
    time_limit: float | None,
    seed: int | None,
    measure: MeasureLike | None,
) -> Choice:
    """Check the arguments of `convert` that are about the cut, as far as they can be by now.

    Raises:
        ArgumentError: One of them is out of range or unknown, `measure` cannot be read, or
            something is asked for that a given schedule has no use for.
    """
    if num_segments is None:
        num_segments = "auto"
    is_number = isinstance(num_segments, int | np.integer) and not isinstance(num_segments, bool)
    is_count = is_number and num_segments >= 1  # type: ignore[operator]
    if not is_count and not (isinstance(num_segments, str) and num_segments == "auto"):
        is_plain = isinstance(num_segments, str | int | float)
        raise ArgumentError(
            'num_segments must be a whole number, 1 or more, or "auto". Received: '
            f"{repr(num_segments) if is_plain else type(num_segments).__name__}. Samples to "
            "calibrate with are representative_dataset."
        )
    if not isinstance(scheduler, Schedule):
        request = ScheduleRequest(
            num_stages=1 if num_segments == "auto" else num_segments,
            scheduler=scheduler,
            objective="throughput" if objective is None else objective,
            device=device,
            constraints=constraints,
            time_limit=time_limit,
            seed=0 if seed is None else seed,
            measure=measure,
        )
        if num_segments != "auto":
            return request
        count = _DEFAULT_NUM_DEVICES if num_devices is None else num_devices
        return PlanRequest(num_devices=count, request=request)
    useless: dict[str, Any] = {
        "objective": objective,
        "constraints": constraints,
        "time_limit": time_limit,
        "seed": seed,
        "measure": measure,
    }
    for name, value in useless.items():
        if value is not None:
            raise ArgumentError(
                f"{name}={value!r} is for a scheduler that is to choose the cut, and scheduler is "
                "a Schedule, which stands. Expected one of them: leave the other out."
            )
    if num_segments not in ("auto", scheduler.num_stages):
        raise ArgumentError(
            f"The schedule has {scheduler.num_stages} stages. Expected num_segments="
            f"{num_segments!r} of them; pass num_segments={scheduler.num_stages}."
        )
    return scheduler


def checked_num_devices(num_devices: int | Literal["attached"] | None) -> int | None:
    """A number of Edge TPUs, or None; see `counted_devices`."""
    return None if num_devices is None else counted_devices(num_devices)


def counted_devices(num_devices: int | Literal["attached"]) -> int:
    """A number of Edge TPUs; `"attached"` asks this machine.

    Raises:
        ArgumentError: It is none.
        DeviceError: None is attached, or nothing here can tell.
    """
    if isinstance(num_devices, str) and num_devices == "attached":
        num_devices = len(list_edge_tpus())
        if num_devices == 0:
            raise DeviceError(
                "No Edge TPU is attached to this machine. Plug one in, or say how many there will "
                "be: num_devices=4. Received: num_devices='attached'."
            )
    elif isinstance(num_devices, str):
        raise ArgumentError(
            'num_devices must be a whole number, 1 or more, or "attached". Received: '
            f"{num_devices!r}."
        )
    return checked_devices(num_devices)


def with_times(choice: Choice, whole: Int8Model) -> Choice:
    """The same, where segments are timed on this CPU if `"profile"` has no other times."""
    if isinstance(choice, PlanRequest):
        return dataclasses.replace(choice, request=_timed(choice.request, whole))
    return choice if isinstance(choice, Schedule) else _timed(choice, whole)


def _timed(request: ScheduleRequest, whole: Int8Model) -> ScheduleRequest:
    if request.scheduler != "profile" or request.measure is not None:
        return request
    return dataclasses.replace(request, measure=measure_on_cpu(whole.content, seed=request.seed))


def choose(
    choice: Choice,
    graph: OpGraph,
    num_devices: int | None,
    device: EdgeTpu | Hosts,
    *,
    verbose: Verbosity = "auto",
) -> Chosen:
    """The schedule of a graph, and the devices of its segments.

    Args:
        choice: What chooses it.
        graph: The graph.
        num_devices: Number of Edge TPUs at most; one for each segment where it is None and the
            number of segments is given.
        device: What they are like.
        verbose: 0 is silence.

    Raises:
        RespectError: As for `schedule`.
    """
    if isinstance(choice, PlanRequest):
        chosen = _planned(choice, graph, verbose=verbose)
        report(chosen.reason, verbose=verbose)
        return chosen
    schedule = _chosen(choice, graph, verbose=verbose)
    return Chosen(schedule, _shared_out(graph, device, schedule, num_devices))


def _shared_out(
    graph: OpGraph, device: EdgeTpu | Hosts, schedule: Schedule, num_devices: int | None
) -> tuple[int, ...]:
    """Devices of each stage of a cut, where there may be more than stages."""
    needed = schedule.num_stages - len(schedule.cpu_stages)
    if num_devices is None:
        return (1,) * schedule.num_stages
    if num_devices < needed:
        raise ArgumentError(
            f"{needed} segments need as many Edge TPUs, one each. Received: num_devices="
            f'{num_devices}; ask for num_segments={num_devices}, or "auto".'
        )
    return share_out(graph, device, schedule, num_devices)


def _planned(choice: PlanRequest, graph: OpGraph, *, verbose: Verbosity) -> Chosen:
    request = choice.request
    with progress(f"Planning {graph.num_ops} ops for {choice.num_devices} Edge TPUs",
                  verbose=verbose):  # fmt: skip
        plan = plan_devices(
            graph,
            choice.num_devices,
            device=request.device,
            objective=request.objective,
            scheduler=request.scheduler,
            constraints=request.constraints,
            time_limit=request.time_limit,
            seed=request.seed,
        )
        best = plan.best
        schedule, replicas = best.schedule, best.replicas
        if schedule is None or (request.scheduler not in _PLANNED and schedule.scheduler == "plan"):
            asked = dataclasses.replace(request, num_stages=best.num_segments)
            schedule = asked.solve(graph)
            replicas = share_out(graph, plan.device, schedule, best.num_used)
        elif request.scheduler == "policy":
            schedule = judged_proposal(graph, best, plan.device, seed=request.seed) or schedule
        if not schedule.cpu_stages:
            schedule = with_islands(graph, schedule, request.constraints)
            if schedule.cpu_stages:
                replicas = share_out(graph, plan.device, schedule, best.num_used)
    return Chosen(schedule, replicas, reason=plan_choice(plan))


def choose_again(
    choice: Choice,
    graph: OpGraph,
    device: EdgeTpu | Hosts,
    chosen: Chosen,
    rooms: Sequence[float],
    *,
    verbose: Verbosity = "auto",
) -> Schedule:
    """Another cut into as many stages, which a compiler's log has led to.

    Args:
        choice: What chose the cut.
        graph: The graph.
        device: What its devices are like.
        chosen: The cut, and the devices of its stages.
        rooms: The most parameter bytes of each stage, beside what the choice has to keep.
        verbose: 0 is silence.

    Raises:
        ScheduleError: No cut keeps within them.
    """
    first = chosen.schedule
    if isinstance(choice, PlanRequest):
        is_fast = (first.objective or "").startswith("throughput")
        if is_fast and choice.request.constraints is None and not first.cpu_stages:
            with progress(f"Scheduling {graph.num_ops} ops", verbose=verbose):
                return cut_within(graph, first, device, replicas=chosen.replicas, rooms=rooms)
        choice = dataclasses.replace(choice.request, num_stages=first.num_stages)
    return _chosen(choice, graph, rooms, verbose=verbose)


def chosen_again(
    chosen: Chosen, schedule: Schedule, graph: OpGraph, device: EdgeTpu | Hosts
) -> Chosen:
    """The same number of devices for another cut, where they are best or where they were."""
    if schedule is chosen.schedule:
        return chosen
    count = sum(chosen.replicas) - len(chosen.schedule.cpu_stages)
    ways = [share_out(graph, device, schedule, count)]
    if schedule.cpu_stages == chosen.schedule.cpu_stages:
        ways.append(chosen.replicas)
    replicas = min(ways, key=lambda way: predict(graph, schedule, device, replicas=way).interval_ms)
    return dataclasses.replace(chosen, schedule=schedule, replicas=replicas)


def _chosen(
    choice: ScheduleRequest | Schedule,
    graph: OpGraph,
    rooms: Sequence[float] | None = None,
    *,
    verbose: Verbosity,
) -> Schedule:
    """A user's schedule, or what a scheduler makes, within so many parameter bytes of stages."""
    if isinstance(choice, Schedule):
        check_schedule(graph, choice)
        return choice
    if rooms is not None:
        kept = (choice.constraints or Constraints()).within(rooms)
        choice = dataclasses.replace(choice, constraints=kept)
    with progress(f"Scheduling {graph.num_ops} ops", verbose=verbose):
        return with_islands(graph, choice.solve(graph), choice.constraints)


def can_choose_again(choice: Choice) -> bool:
    """Whether it can keep within the room that the compiler's log gives each stage."""
    if isinstance(choice, PlanRequest):
        choice = choice.request
    return isinstance(choice, ScheduleRequest) and choice.takes_constraints


def frames_told(graph: OpGraph, device: EdgeTpu | Hosts) -> tuple[DeviceCount, ...]:
    """What the report says of other numbers of devices."""
    return frames_by_devices(graph, device, _MOST_TOLD)
