"""HiGHS, through cvxpy: one run of a `MilpModel`, and what it claims."""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from typing import Any

import numpy as np

from respect_tf._errors import SolverError
from respect_tf.schedule._items import Ints
from respect_tf.schedule._milp_model import MilpModel

# The tightest that HiGHS takes is 1e-10. With its own default, 1e-6, an op that is a millionth
# part in another stage would change costs by more than the unit that the proof is about.
_INTEGER_TOLERANCE = 1e-9
_FEASIBLE = 2  # HiGHS's kSolutionStatusFeasible
_WHOLE = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class MilpClaim:
    """What HiGHS says, in the model's unit.

    Attributes:
        finished: Whether it says that it is done: no limit was in the way.
        start_cost: What it says that the schedule costs that it began with; `None` if unknown.
        stages: int64 [num_items], the best schedule it found, `None` if it has none.
        cost: What it says that this one costs; may be more than it does unless finished.
        lower_bound: What it says that every schedule costs at least; -infinity if unknown,
            infinite if it says that there is no schedule.
    """

    finished: bool
    start_cost: float | None
    stages: Ints | None
    cost: float
    lower_bound: float


def run_highs(
    model: MilpModel, start: Ints | None, *, presolve: bool, deadline: float, max_nodes: int
) -> MilpClaim:
    """Solve, beginning with a schedule if one is known.

    cvxpy hands HiGHS a solution to begin with only where it solved the same program before. So it
    solves it twice: first with all stages fixed, which takes no search, then with all of them free.

    Args:
        model: The program, with one open y or more.
        start: int64 [num_items], a schedule that keeps all rows of the model.
        presolve: Whether HiGHS may simplify the program first.
        deadline: When to give up, on `time.perf_counter()`'s clock in seconds.
        max_nodes: After how many nodes of the search tree to give up.

    Raises:
        SolverError: HiGHS fails, or returns something that is no schedule.
    """
    import cvxpy as cp

    num_open = model.by_open.shape[1]
    known = np.zeros(num_open) if start is None else model.values(start)
    done = cp.Variable(num_open, boolean=True)
    rest = cp.Variable(model.by_rest.shape[1], nonneg=True)
    radius = cp.Parameter(nonneg=True)
    program = cp.Problem(
        cp.Minimize(rest[-1]),
        [
            model.by_open @ done + model.by_rest @ rest >= model.right,
            (1 - 2 * known) @ done + known.sum() <= radius,
        ],
    )
    options = {
        "presolve": "on" if presolve else "off",
        "mip_max_nodes": max_nodes,
        "mip_rel_gap": 0.0,
        "mip_feasibility_tolerance": _INTEGER_TOLERANCE,
    }
    start_cost = None
    if start is not None:
        radius.value = 0.0
        fixed = _solve(program, options, deadline)
        if not fixed.finished:
            return MilpClaim(False, None, None, math.inf, -math.inf)
        start_cost = fixed.cost
    radius.value = float(num_open)
    free = _solve(program, options, deadline)
    stages = None
    if free.has_solution:
        values = np.asarray(done.value)
        if not np.all(np.abs(values - np.rint(values)) <= _WHOLE):
            raise SolverError("HiGHS returned a fraction where the program has 0 or 1.")
        stages = model.stages(values)
    return MilpClaim(free.finished, start_cost, stages, free.cost, free.lower_bound)


@dataclasses.dataclass(frozen=True)
class _Run:
    finished: bool
    has_solution: bool
    cost: float
    lower_bound: float


def _solve(program: Any, options: dict[str, Any], deadline: float) -> _Run:
    """One call of HiGHS."""
    import cvxpy as cp

    if math.isfinite(deadline):
        seconds = deadline - time.perf_counter()
        if seconds <= 0:
            return _Run(False, False, math.inf, -math.inf)
        options = options | {"time_limit": seconds}
    try:
        with warnings.catch_warnings():
            # cvxpy warns where a limit ended the search; the status says so as well.
            warnings.simplefilter("ignore", UserWarning)
            program.solve(solver=cp.HIGHS, warm_start=True, **options)
    except cp.error.SolverError as error:
        raise SolverError(f"HiGHS failed: {error}") from error
    if program.status == cp.INFEASIBLE:
        return _Run(True, False, math.inf, math.inf)
    if program.status not in (cp.OPTIMAL, cp.USER_LIMIT):
        raise SolverError(f"HiGHS ended with the status {program.status!r}.")
    info = program.solver_stats.extra_stats
    bound = float(info.mip_dual_bound)
    return _Run(
        finished=program.status == cp.OPTIMAL,
        has_solution=info.primal_solution_status == _FEASIBLE,
        cost=float(info.objective_function_value),
        lower_bound=bound if math.isfinite(bound) else -math.inf,
    )
