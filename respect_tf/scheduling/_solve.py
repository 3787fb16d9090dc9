"""`schedule()` and `ScheduleRequest`: from a graph to a checked `Schedule`."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf._reporting import Verbosity, progress
from respect_tf.device import DeviceLike
from respect_tf.graph import OpGraph
from respect_tf.scheduling._arguments import checked_count, deadline_after, resolve_objective
from respect_tf.scheduling._compiled_search import has_loops
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._device_objectives import Latency
from respect_tf.scheduling._host_schedule import host_split, schedule_with_host
from respect_tf.scheduling._measure import MeasuredTimes, MeasureLike, read_measure
from respect_tf.scheduling._objective import Objective
from respect_tf.scheduling._schedule import Schedule
from respect_tf.scheduling._solvers import SCHEDULERS, solve_on_edge_tpus
from respect_tf.scheduling._under_load import schedule_under_load

_UNCONSTRAINED = ("compiler", "profile")


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
        checked_count("num_stages", self.num_stages)
        if not isinstance(self.scheduler, str) or self.scheduler not in SCHEDULERS:
            raise ArgumentError(
                f"Unknown scheduler. Expected one of {', '.join(map(repr, SCHEDULERS))}; `convert` "
                f"takes a Schedule, too. Received: {self.scheduler!r}."
            )
        resolve_objective(self.objective, self.device)
        deadline_after(self.time_limit, 0.0)
        checked_count("seed", self.seed, 0)
        if self.constraints is not None and not isinstance(self.constraints, Constraints):
            raise ArgumentError(
                "constraints must be None or respect_tf.Constraints(...). "
                f"Received: {type(self.constraints).__name__}."
            )
        if self.constraints and not self.takes_constraints:
            others = [repr(name) for name in SCHEDULERS if name not in _UNCONSTRAINED]
            raise ArgumentError(
                f"constraints are for the schedulers {', '.join(others)}. "
                f"Received: scheduler={self.scheduler!r}."
            )
        measure = read_measure(self.measure, self.scheduler, self.device)
        object.__setattr__(self, "measure", measure)

    @property
    def takes_constraints(self) -> bool:
        """Whether the scheduler can keep any."""
        return self.scheduler not in _UNCONSTRAINED

    def solve(self, graph: OpGraph) -> Schedule:
        """Give each op of a graph a stage.

        Raises:
            RespectError: As for `schedule`.
        """
        has_loops()  # where they have to be compiled first, that is no solving
        started = time.perf_counter()
        constraints = self.constraints
        times = read_measure(self.measure, self.scheduler, self.device)
        measured = times.of(graph) if isinstance(times, MeasuredTimes) else times
        objective = resolve_objective(self.objective, self.device)
        if isinstance(objective, Latency) and objective.arrivals_per_second is not None:
            known = [
                dataclasses.replace(self, objective=simple, device=objective.device).solve(graph)
                for simple in ("throughput", "latency")
            ]
            return schedule_under_load(
                graph, objective, known, constraints, self.scheduler, started
            )
        deadline = deadline_after(self.time_limit, started)

        def solve(
            part: OpGraph, ops: npt.NDArray[np.int64], count: int, limits: Constraints | None
        ) -> Schedule:
            return solve_on_edge_tpus(
                part,
                count,
                self.scheduler,
                objective,
                constraints=limits,
                deadline=deadline,
                seed=self.seed,
                measure=None if measured is None else lambda some: measured(ops[some]),
            )

        split = host_split(graph, self.num_stages, constraints)
        if split is None:
            return solve(graph, np.arange(graph.num_ops), self.num_stages, constraints)
        made = schedule_with_host(
            split,
            self.num_stages,
            objective,
            constraints=constraints,
            solve=solve,
            scheduler=self.scheduler,
        )
        return dataclasses.replace(made, solve_seconds=time.perf_counter() - started)


def schedule(
    graph: OpGraph,
    num_stages: int,
    scheduler: str = "policy",
    *,
    objective: str | Objective = "throughput",
    device: DeviceLike = "usb3",
    constraints: Constraints | None = None,
    time_limit: float | None = None,
    seed: int = 0,
    measure: MeasureLike | None = None,
    verbose: Verbosity = "auto",
) -> Schedule:
    """Give each op of a graph a stage.

    Args:
        graph: The graph.
        num_stages: Number of stages, none of which stays empty.
        scheduler: `"policy"` proves the optimum where some hundredths of a second are enough, as
            for most vision models, and else searches around the orders that a trained network
            proposes; `"policy-greedy"` cuts the network's likeliest order, as well as it
            can be cut; `"policy+milp"` begins with `"policy"` and looks for something better with
            HiGHS within a stage of it, and with a time limit further and further away. `"exact"`
            proves the optimum where time and memory allow, and returns the best schedule known
            with its gap where they do not; `"milp"` solves a mixed-integer program with HiGHS and
            checks what it says; `"slicing"` cuts the file's own order of ops, as well as that order
            can be cut; `"compiler"` cuts as `edgetpu_compiler --num_segments` does; `"profile"`
            bisects on measured times.
        objective: `"throughput"`, the milliseconds between results of the full pipeline;
            `"latency"`, those from an input to its output; `"memory"`, the largest stage's
            parameter bytes; or an `Objective`.
        device: What throughput and latency are predicted for: a host (`device_presets`), an
            `EdgeTpu`, a file of constants, or a list of these; `"usb3"`, `"usb2"` and `"pcie"`
            stand for all hosts of that link. Of several, the schedule is the one whose worst cost,
            relative to each one's optimum, is least.
        constraints: What the schedule has to keep; not for `"compiler"` and `"profile"`.
        time_limit: Seconds after which the best schedule so far is returned, with its gap, or for
            `"profile"` no more is measured; `"compiler"` needs none. Without a limit, the others
            give up after a fixed amount of work, and the result is the same on every run.
        seed: For `"policy"` and `"policy+milp"`, which use chance.
        measure: For `"profile"`, and needed there: the CSV file that `run_pipeline.py --benchmark`
            wrote on the device, or its rows; or a function from the ops of a segment, int64
            [num_segment_ops], to milliseconds: `respect_tf.run.measure_on_cpu(model)` makes one.
        verbose: 0 is silence; else a search of more than two seconds says how far it is.

    Ops that stop the compilation of the whole file that holds them (GELU, versions above TensorFlow
    2.5's), and those of `Constraints.on_cpu`, get stages of their own, which run on the host:
    `Schedule.cpu_stages`. Where there are too few stages for that, blocking ops stay where they are
    (`predict(...).stages[i].blockers`).

    Returns:
        A valid schedule, checked by code of its own.

    Raises:
        ArgumentError: An argument is out of range, or no scheduler, objective or device has that
            name.
        ScheduleError: There are more stages than ops, or than groups of ops that share a stage;
            or no schedule keeps the constraints, or none was found: the message says which.
        SolverError: `"milp"`: what HiGHS says is wrong, in every attempt.
        PolicyFileError: The network's weights are missing or damaged.
    """
    request = ScheduleRequest(
        num_stages=num_stages,
        scheduler=scheduler,
        objective=objective,
        device=device,
        constraints=constraints,
        time_limit=time_limit,
        seed=seed,
        measure=measure,
    )
    with progress(f"Scheduling {graph.num_ops} ops", verbose=verbose):
        return request.solve(graph)
