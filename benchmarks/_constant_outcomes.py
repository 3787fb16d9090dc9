"""What a case of the benchmark of constants is, and what it comes to."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from respect_tf import OpGraph, PeakMemory, predict
from respect_tf.scheduling import Schedule, stage_costs


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a case came to.

    Attributes:
        costs: What is minimised: of each schedule, and of those for several hosts on each host.
        optima: What each is relative to, as known at the time; 1 where it is not.
        num_proved: Schedules that are proved optimal.
        gap: Mean of cost / lower bound - 1.
        crossing: Bytes that cross between stages.
    """

    costs: tuple[tuple[float, ...], ...]
    optima: tuple[tuple[float, ...], ...]
    num_proved: int
    gap: float
    crossing: float


@dataclasses.dataclass(frozen=True)
class Case:
    """Something to schedule.

    Attributes:
        name: What it is.
        run: Does it, on a graph that nothing is known about yet.
        is_limited: Whether it ends by the clock.
        only: What it is for, as a pattern for keys of constants, where others are reached sooner.
        unseen: A pattern for keys of those that it reads where tracing sees nothing, in functions
            that TensorFlow compiles.
    """

    name: str
    run: Callable[[], Outcome]
    is_limited: bool = False
    only: str = ""
    unseen: str = ""


def outcome(graph: OpGraph, found: Schedule, objective: Any) -> Outcome:
    """Of one schedule."""
    costs, optima = (float(found.cost or 0.0),), (1.0,)
    if found.optima is not None:
        hosts = predict(graph, found, found.device or "usb3").by_host
        name = "latency_ms" if objective == "latency" else "interval_ms"
        costs = tuple(float(getattr(one, name)) for one in hosts.values())
        optima = tuple(float(one) for one in found.optima)
    gap = found.gap if found.gap is not None and math.isfinite(found.gap) else 1.0
    moved = sum(stage_costs(graph, found, PeakMemory(1.0)))
    moved -= sum(stage_costs(graph, found, PeakMemory(0.0)))
    proved = int(found.status.startswith("optimal"))
    return Outcome((costs,), (optima,), proved, float(gap), float(moved))


def joined(parts: Iterable[Outcome]) -> Outcome:
    """Of several graphs as one case."""
    found = list(parts)
    return Outcome(
        tuple(cost for part in found for cost in part.costs),
        tuple(optimum for part in found for optimum in part.optima),
        sum(part.num_proved for part in found),
        float(np.mean([part.gap for part in found])),
        sum(part.crossing for part in found),
    )


def planned(found: Any) -> Outcome:
    """The best of a plan's rows of each kind for each number of devices."""
    worst = 10 * found.best.interval_ms  # where there is none
    costs = [
        min((row.interval_ms for row in rows if row.num_devices <= count), default=worst)
        for rows in (found.rows[1:], found.copies, found.pipelines)
        for count in range(1, found.rows[-1].num_devices + 1)
    ]
    return alone(costs, found.is_proved)


def alone(costs: Sequence[float], is_proved: bool = False) -> Outcome:
    """Costs that are relative to nothing."""
    each = tuple((float(cost),) for cost in costs)
    return Outcome(each, ((1.0,),) * len(each), int(is_proved), 0.0, 0.0)
