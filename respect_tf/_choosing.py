"""What chooses the cut: arguments checked before there is a model, then a graph's schedule."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from respect_tf._errors import ArgumentError
from respect_tf._reporting import Verbosity, progress
from respect_tf.device import DeviceLike
from respect_tf.graph import OpGraph
from respect_tf.run import measure_on_cpu
from respect_tf.scheduling import (
    Constraints,
    MeasureLike,
    Objective,
    Schedule,
    ScheduleRequest,
    check_schedule,
)
from respect_tf.tflite import Int8Model

_DEFAULT_NUM_SEGMENTS = 4

Choice = ScheduleRequest | Schedule
"""What to ask of a scheduler, or the user's own schedule."""


def checked_choice(
    scheduler: str | Schedule,
    num_segments: int | None,
    *,
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
    if not isinstance(scheduler, Schedule):
        return ScheduleRequest(
            num_stages=_DEFAULT_NUM_SEGMENTS if num_segments is None else num_segments,
            scheduler=scheduler,
            objective="throughput" if objective is None else objective,
            device=device,
            constraints=constraints,
            time_limit=time_limit,
            seed=0 if seed is None else seed,
            measure=measure,
        )
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
    if num_segments not in (None, scheduler.num_stages):
        raise ArgumentError(
            f"The schedule has {scheduler.num_stages} stages. Expected num_segments="
            f"{num_segments!r} of them; pass num_segments={scheduler.num_stages}."
        )
    return scheduler


def with_times(choice: Choice, whole: Int8Model) -> Choice:
    """The same, where segments are timed on this CPU if `"profile"` has no other times."""
    if isinstance(choice, Schedule) or choice.scheduler != "profile" or choice.measure is not None:
        return choice
    return dataclasses.replace(choice, measure=measure_on_cpu(whole.content, seed=choice.seed))


def choose(
    choice: Choice,
    graph: OpGraph,
    rooms: Sequence[float] | None = None,
    *,
    verbose: Verbosity = "auto",
) -> Schedule:
    """The schedule of a graph.

    Args:
        choice: What chooses it.
        graph: The graph.
        rooms: The most parameter bytes of each stage, beside what the choice has to keep.
        verbose: 0 is silence.

    Raises:
        RespectError: As for `schedule`.
    """
    if isinstance(choice, Schedule):
        check_schedule(graph, choice)
        return choice
    if rooms is not None:
        kept = (choice.constraints or Constraints()).within(rooms)
        choice = dataclasses.replace(choice, constraints=kept)
    with progress(f"Scheduling {graph.num_ops} ops", verbose=verbose):
        return choice.solve(graph)


def can_choose_again(choice: Choice) -> bool:
    """Whether it can keep within the room that the compiler's log gives each stage."""
    return isinstance(choice, ScheduleRequest) and choice.takes_constraints
