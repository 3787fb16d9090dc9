"""How labels are found: a search, and the exact methods where it does not prove its result."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from typing import Any

from respect_tf._errors import ArgumentError, DependencyError, SolverError, TrainingError
from respect_tf.graph import Ints
from respect_tf.scheduling import (
    MilpClaim,
    Schedule,
    check_agreement,
    claim_of,
    highs_options,
    schedule,
    schedule_by_program,
    search,
)
from respect_tf.training._labels import Label, LabelTask

# Moves per op for labels that need no proof: on graphs of 30-120 ops a median of 0 % and a mean of
# 0.03 % above ten times as many.
# benchmarks constants: half the same; twice -0.02 % cost, 1.18 times the time.
_FEW_MOVES = 60
# Nodes of HiGHS's search tree: work, not time, so that every machine gives the same label. Of the
# first 500 tasks four are left to it, which take 4 to 16 s; with half or twice as many nodes none
# of them is proved either.
_MILP_NODES = 500


def solve_task(
    task: LabelTask, *, cross_check: bool = False, time_limit: float | None = None
) -> Label:
    """Find the optimum: by search where that proves it, else by the DP over ideals or the MILP.

    Each does a fixed amount of work: the label is the same on every machine, and under any load.

    Args:
        task: The task.
        cross_check: Solve by the DP and by the MILP, and compare what they say.
        time_limit: Seconds after which no further method is begun; `None` for no limit.

    Raises:
        SolverError: The methods contradict each other.
        DependencyError: cvxpy is not installed, and the MILP is needed.
        TrainingError: The time has passed before the optimum is proved.
    """
    graph, num_stages, objective = task.graph(), task.num_stages, task.objective
    started = time.monotonic()
    best = search(graph, num_stages, objective=objective)
    methods: tuple[Callable[[], Schedule], ...] = (
        lambda: schedule(graph, num_stages, "exact", objective=objective, verbose=0),
        lambda: schedule_by_program(graph, num_stages, objective, run=run_cvxpy),
    )
    for method in methods:
        if not cross_check and best.status == "optimal":
            break
        if time_limit is not None and time.monotonic() - started > time_limit:
            raise TrainingError(
                f"Task {task.number} ({task.family}, {task.num_ops} ops, {num_stages} stages) has "
                f"no proved optimum after {time_limit:g} s. Give it more time, or leave it out."
            )
        found = method()
        check_agreement(graph, best, found, objective)
        low = max(best.lower_bound or 0, found.lower_bound or 0)
        best = min((best, found), key=lambda one: (one.cost, -(one.lower_bound or 0)))
        best = best.with_bound(low)
    return _label_of(task, best)


def search_task(task: LabelTask) -> Label:
    """Find a schedule by a short search: cheap, and hardly ever above the optimum."""
    found = search(task.graph(), task.num_stages, objective=task.objective, budget=_FEW_MOVES)
    return _label_of(task, found)


def _label_of(task: LabelTask, best: Schedule) -> Label:
    if best.cost is None or best.lower_bound is None:
        raise ArgumentError("A label needs a schedule whose cost and lower bound are known.")
    return Label(task, best.stages, float(best.cost), float(best.lower_bound))


def load_cvxpy() -> Any:
    """Import cvxpy.

    Raises:
        DependencyError: It is not installed.
    """
    try:
        import cvxpy
    except ImportError as error:
        raise DependencyError(
            f"Labels are solved with cvxpy, which cannot be imported ({error}). Expected the "
            "package cvxpy with what it depends on: pip install 'respect-tf[train]'."
        ) from error
    return cvxpy


def run_cvxpy(
    model: Any, start: Ints | None, *, presolve: bool, deadline: float, max_nodes: int
) -> MilpClaim:
    """Solve an integer program through cvxpy and its interface to HiGHS, as `run_highs` does.

    There is no deadline. cvxpy does not hand on the schedule that is known; what costs more is
    left out of the model already.

    Raises:
        DependencyError: cvxpy is not installed.
        SolverError: HiGHS failed.
    """
    del start, deadline
    cp = load_cvxpy()
    done = cp.Variable(model.by_open.shape[1], boolean=True)
    rest = cp.Variable(model.by_rest.shape[1], nonneg=True)
    rows = model.by_open @ done + model.by_rest @ rest >= model.right
    program = cp.Problem(cp.Minimize(rest[-1]), [rows])
    options = highs_options(presolve=presolve, max_nodes=min(max_nodes, _MILP_NODES))
    try:
        with warnings.catch_warnings():
            # cvxpy warns where a limit ended the search; the status says so as well.
            warnings.simplefilter("ignore", UserWarning)
            program.solve(solver=cp.HIGHS, **options)
    except cp.error.SolverError as error:
        raise SolverError(f"HiGHS failed: {error}") from error
    if program.status == cp.INFEASIBLE:
        return MilpClaim(True, None, None, math.inf, math.inf)
    if program.status not in (cp.OPTIMAL, cp.USER_LIMIT):
        raise SolverError(f"HiGHS ended with the status {program.status!r}.")
    info = program.solver_stats.extra_stats
    return claim_of(model, info, done.value, None, finished=program.status == cp.OPTIMAL)
