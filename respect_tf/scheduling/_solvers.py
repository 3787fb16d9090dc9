"""The schedulers by their names, for graphs all of whose stages are on Edge TPUs."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from respect_tf.device import DeviceLike
from respect_tf.graph import OpGraph
from respect_tf.scheduling._answers import Answer, checked_schedule, unsearched
from respect_tf.scheduling._arguments import resolve_objective
from respect_tf.scheduling._compiler import solve_compiler, solve_profile
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._exact import solve_exact
from respect_tf.scheduling._measure import Measure
from respect_tf.scheduling._milp import solve_milp
from respect_tf.scheduling._objective import Objective
from respect_tf.scheduling._optima import prepare, with_better_optima
from respect_tf.scheduling._problem import Problem, build_problem
from respect_tf.scheduling._proposals import solve_policy_greedy
from respect_tf.scheduling._schedule import Schedule
from respect_tf.scheduling._schedulers import solve_policy, solve_with_milp
from respect_tf.scheduling._slicing import slice_items

Solver = Callable[[Problem, float], Answer]
"""Takes when to give up, on `time.perf_counter()`'s clock in seconds."""


def solve_on_edge_tpus(
    graph: OpGraph,
    num_stages: int,
    scheduler: str,
    objective: Objective,
    *,
    constraints: Constraints | None,
    deadline: float,
    seed: int,
    measure: Measure | None,
) -> Schedule:
    """A schedule all of whose stages are on Edge TPUs; arguments are as for `schedule`."""
    started = time.perf_counter()
    prepared = prepare(objective, graph, num_stages, constraints, deadline)
    problem = build_problem(graph, num_stages, prepared.objective, constraints)
    answer = _solver(scheduler, seed, measure)(problem, deadline)
    if not scheduler.startswith("policy"):  # "exact" may have asked for a proposal, too
        answer = dataclasses.replace(answer, proposal=None)
    problem, chain = with_better_optima(problem, answer.chain, prepared)
    answer = prepared.reported(dataclasses.replace(answer, chain=chain), problem)
    return checked_schedule(problem, answer, scheduler, started)


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
    answer = prepared.reported(Answer(chain, problem.lower_bound()), problem)
    return checked_schedule(problem, answer, "slicing", started)


def _solve_slicing(problem: Problem, deadline: float) -> Answer:
    order = problem.item_order(problem.graph.topological_order)
    return unsearched(problem, slice_items(problem, order, deadline))


_SOLVERS: dict[str, Callable[..., Answer]] = {
    "compiler": solve_compiler,
    "policy": solve_policy,
    "policy-greedy": solve_policy_greedy,
    "policy+milp": solve_with_milp,
    "exact": solve_exact,
    "milp": solve_milp,
    "profile": solve_profile,
    "slicing": _solve_slicing,
}

SCHEDULERS = tuple(sorted(_SOLVERS))
"""The names that `schedule` takes, sorted."""


def _solver(scheduler: str, seed: int, measure: Measure | None) -> Solver:
    solve = _SOLVERS[scheduler]
    if scheduler in ("policy", "policy+milp"):
        return functools.partial(solve, seed=seed)
    return functools.partial(solve, measure=measure) if scheduler == "profile" else solve
