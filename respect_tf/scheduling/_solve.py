"""`schedule()`: from a graph to a checked `Schedule`."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf._reporting import Verbosity, progress
from respect_tf.device import DeviceLike
from respect_tf.graph import OpGraph
from respect_tf.scheduling._answers import Answer, answer_of
from respect_tf.scheduling._arguments import checked_count, deadline_after
from respect_tf.scheduling._compiled_search import has_loops
from respect_tf.scheduling._compiler import solve_compiler
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._device_objectives import Latency
from respect_tf.scheduling._exact import solve_exact
from respect_tf.scheduling._host_schedule import host_split, schedule_with_host
from respect_tf.scheduling._measure import Measure, MeasuredTimes, MeasureLike, read_measure
from respect_tf.scheduling._milp import solve_milp
from respect_tf.scheduling._objective import Objective
from respect_tf.scheduling._optima import prepare, solve_latency, with_better_optima
from respect_tf.scheduling._problem import Problem, build_problem
from respect_tf.scheduling._profile import solve_profile
from respect_tf.scheduling._proposals import solve_policy_greedy
from respect_tf.scheduling._resolve import resolve_objective
from respect_tf.scheduling._result import checked_schedule
from respect_tf.scheduling._schedule import Schedule
from respect_tf.scheduling._schedulers import solve_policy, solve_with_milp
from respect_tf.scheduling._slicing import slice_items
from respect_tf.scheduling._under_load import schedule_under_load


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
    with progress(f"Scheduling {graph.num_ops} ops", verbose=verbose):
        has_loops()  # where they have to be compiled first, that is no solving
        started = time.perf_counter()
        check_scheduler(scheduler)
        deadline = deadline_after(time_limit, started)
        checked_count("seed", seed, 0)
        check_constraints(constraints, scheduler)
        times = read_measure(measure, scheduler, device)
        measured = times.of(graph) if isinstance(times, MeasuredTimes) else times
        resolved = resolve_objective(objective, device)
        if isinstance(resolved, Latency) and resolved.arrivals_per_second is not None:
            known = [
                schedule(
                    graph,
                    num_stages,
                    scheduler,
                    objective=simple,
                    device=resolved.device,
                    constraints=constraints,
                    time_limit=time_limit,
                    seed=seed,
                    measure=measure,
                )
                for simple in ("throughput", "latency")
            ]
            return schedule_under_load(graph, resolved, known, constraints, scheduler, started)

        def solve(
            part: OpGraph, ops: npt.NDArray[np.int64], count: int, limits: Constraints | None
        ) -> Schedule:
            of_part = None if measured is None else lambda some: measured(ops[some])
            return _on_edge_tpus(part, count, scheduler, resolved, limits, deadline, seed, of_part)

        split = host_split(graph, num_stages, constraints)
        if split is None:
            return _on_edge_tpus(
                graph, num_stages, scheduler, resolved, constraints, deadline, seed, measured
            )
        made = schedule_with_host(
            split, num_stages, resolved, constraints=constraints, solve=solve, scheduler=scheduler
        )
        return made.with_seconds(time.perf_counter() - started)


def _on_edge_tpus(
    graph: OpGraph,
    num_stages: int,
    scheduler: str,
    objective: Objective,
    constraints: Constraints | None,
    deadline: float,
    seed: int,
    measure: Measure | None,
) -> Schedule:
    """A schedule all of whose stages are on Edge TPUs."""
    started = time.perf_counter()
    prepared = prepare(objective, graph, num_stages, constraints, deadline)
    problem = build_problem(graph, num_stages, prepared.objective, constraints)
    if scheduler == "profile":
        answer = solve_profile(problem, deadline, measure)
    elif isinstance(prepared.objective, Latency) and prepared.objective.optima is not None:
        answer = _least_worst_latency(problem, _solver(scheduler, seed), deadline)
    else:
        answer = _solver(scheduler, seed)(problem, deadline)
    if not scheduler.startswith("policy"):  # "exact" may have asked for a proposal, too
        answer = dataclasses.replace(answer, proposal=None)
    problem, chain = with_better_optima(problem, answer.chain, prepared)
    answer = dataclasses.replace(answer, chain=chain)
    return checked_schedule(problem, prepared.bounded(answer, problem), scheduler, started)


def _least_worst_latency(
    problem: Problem, solve: Callable[[Problem, float], Answer], deadline: float
) -> Answer:
    proposals: list[npt.NDArray[np.int64]] = []

    def solve_mean(mean: Problem) -> tuple[npt.NDArray[np.int64], float]:
        answer = solve(mean, deadline)
        if answer.proposal is not None:
            proposals.append(answer.proposal)
        return answer.chain.stages, answer.lower_bound

    stages, cost, low = solve_latency(problem, solve_mean)
    chain = dataclasses.replace(answer_of(problem, stages).chain, cost=cost)
    return Answer(chain, low, proposals[0] if proposals else None)


def schedule_by_program(
    graph: OpGraph,
    num_stages: int,
    objective: Objective,
    *,
    run: Callable[..., Any],
) -> Schedule:
    """What `"milp"` does, with another program that runs the solver, for labels.

    Args:
        graph: The graph.
        num_stages: Number of stages.
        objective: The objective.
        run: Called like `run_highs`, and returns a `MilpClaim`.

    Raises:
        SolverError: What the solver says is wrong, in every attempt.
    """
    started = time.perf_counter()
    problem = build_problem(graph, num_stages, objective)
    answer = solve_milp(problem, math.inf, run=run)
    return checked_schedule(problem, answer, "milp", started)


def slice_order(
    graph: OpGraph,
    order: npt.ArrayLike,
    num_stages: int,
    objective: str | Objective = "throughput",
    *,
    device: DeviceLike = "usb3",
    constraints: Constraints | None = None,
) -> Schedule:
    """Cut a topological order of ops into stages, as well as it can be cut.

    Ops that must share a stage are first moved together, to the place of the first of them where
    the edges allow it.

    Args:
        graph: The graph.
        order: int [num_ops], the ops in the order in which they are to run.
        num_stages: Number of stages.
        objective: See `schedule`.
        device: See `schedule`.
        constraints: What the schedule has to keep.

    Returns:
        A valid schedule, checked by code of its own. No cut of that order costs less; the lower
        bound is one for all schedules.

    Raises:
        ArgumentError: See `schedule`.
        ScheduleError: See `schedule`; or the order is no topological order of the ops, or no cut
            of it keeps the constraints.
    """
    started = time.perf_counter()
    prepared = prepare(resolve_objective(objective, device), graph, num_stages, constraints)
    problem = build_problem(graph, num_stages, prepared.objective, constraints)
    chain = slice_items(problem, problem.item_order(order))
    answer = prepared.bounded(Answer(chain, problem.lower_bound()), problem)
    return checked_schedule(problem, answer, "slicing", started)


def _solve_slicing(problem: Problem, deadline: float) -> Answer:
    order = problem.item_order(problem.graph.topological_order)
    chain = slice_items(problem, order, deadline)
    return Answer(chain, min(problem.lower_bound(), chain.cost))


_SOLVERS: dict[str, Callable[[Problem, float], Answer]] = {
    "compiler": solve_compiler,
    "policy-greedy": solve_policy_greedy,
    "exact": solve_exact,
    "milp": solve_milp,
    "profile": solve_profile,
    "slicing": _solve_slicing,
}

_SEEDED: dict[str, Callable[[Problem, float, int], Answer]] = {
    "policy": solve_policy,
    "policy+milp": solve_with_milp,
}

UNCONSTRAINED = ("compiler", "profile")


def _solver(scheduler: str, seed: int) -> Callable[[Problem, float], Answer]:
    seeded = _SEEDED.get(scheduler)
    if seeded is None:
        return _SOLVERS[scheduler]
    return lambda problem, deadline: seeded(problem, deadline, seed)


def scheduler_names() -> tuple[str, ...]:
    """The names that `schedule` takes, sorted."""
    return tuple(sorted({*_SOLVERS, *_SEEDED}))


def check_scheduler(scheduler: Any, also: str = "") -> None:
    """Check the name of a scheduler.

    Args:
        scheduler: The name.
        also: What else is allowed, for the message.

    Raises:
        ArgumentError: No scheduler has it.
    """
    if not isinstance(scheduler, str) or scheduler not in scheduler_names():
        raise ArgumentError(
            f"Unknown scheduler. Expected one of {', '.join(map(repr, scheduler_names()))}{also}. "
            f"Received: {scheduler!r}."
        )


def check_constraints(constraints: Any, scheduler: str) -> None:
    """Check that constraints are some, and for a scheduler that can keep them.

    Raises:
        ArgumentError: They are not.
    """
    if constraints is not None and not isinstance(constraints, Constraints):
        raise ArgumentError(
            "constraints must be None or respect_tf.Constraints(...). "
            f"Received: {type(constraints).__name__}."
        )
    if constraints and scheduler in UNCONSTRAINED:
        others = [name for name in scheduler_names() if name not in UNCONSTRAINED]
        raise ArgumentError(
            f"constraints are for the schedulers {', '.join(map(repr, others))}. "
            f"Received: scheduler={scheduler!r}."
        )
