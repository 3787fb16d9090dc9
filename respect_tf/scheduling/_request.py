"""`ScheduleRequest`: what `schedule` is asked for, refused before work is spent on it."""

from __future__ import annotations

import dataclasses

from respect_tf.device import DeviceLike
from respect_tf.graph import OpGraph
from respect_tf.scheduling._arguments import checked_count, deadline_after
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._measure import MeasureLike, read_measure
from respect_tf.scheduling._objective import Objective
from respect_tf.scheduling._resolve import resolve_objective
from respect_tf.scheduling._schedule import Schedule
from respect_tf.scheduling._solve import (
    UNCONSTRAINED,
    check_constraints,
    check_scheduler,
    schedule,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScheduleRequest:
    """The arguments of `schedule` without the graph, checked as far as they can be without one.

    Attributes are as for `schedule`, but for:
        measure: For `"profile"`, None means that whoever solves it has to provide one.

    Raises:
        ArgumentError: A type or value is wrong, no scheduler, objective or device has that name,
            or `measure` is a file that cannot be read.
    """

    num_stages: int
    scheduler: str = "policy"
    objective: str | Objective = "throughput"
    device: DeviceLike = "usb3"
    constraints: Constraints | None = None
    time_limit: float | None = None
    seed: int = 0
    measure: MeasureLike | None = None

    def __post_init__(self) -> None:
        checked_count("num_segments", self.num_stages)
        check_scheduler(self.scheduler, also=", or a Schedule")
        resolve_objective(self.objective, self.device)
        deadline_after(self.time_limit, 0.0)
        checked_count("seed", self.seed, 0)
        check_constraints(self.constraints, self.scheduler)
        measure = read_measure(self.measure, self.scheduler, self.device)
        object.__setattr__(self, "measure", measure)

    @property
    def takes_constraints(self) -> bool:
        """Whether the scheduler can keep any."""
        return self.scheduler not in UNCONSTRAINED

    def solve(self, graph: OpGraph) -> Schedule:
        """Give each op of a graph a stage.

        Raises:
            RespectError: As for `schedule`.
        """
        arguments = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return schedule(graph, **arguments)
