"""HiGHS: one run of a `MilpModel`, and what it claims."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from respect_tf._errors import SolverError
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._milp_model import MilpModel

# The tightest that HiGHS takes is 1e-10. With its own default, 1e-6, an op that is a millionth
# part in another stage would change costs by more than the unit that the proof is about.
_OPTIONS = {"output_flag": False, "mip_rel_gap": 0.0, "mip_feasibility_tolerance": 1e-9}
_FEASIBLE = 2  # HiGHS's kSolutionStatusFeasible


@dataclasses.dataclass(frozen=True, eq=False)
class MilpClaim:
    """What a solver says, in the model's unit.

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


# What solves a `MilpModel`, as `run_highs` does.
RunProgram = Callable[..., MilpClaim]
TOO_LATE = MilpClaim(False, None, None, math.inf, -math.inf)


def run_highs(
    model: MilpModel, start: Ints | None, *, presolve: bool, deadline: float, max_nodes: int
) -> MilpClaim:
    """Solve a program with one open y or more, and print nothing.

    The stages of a schedule that keeps all its rows, if one is known, are fixed first, which takes
    no search: that gives the rest of the solution to begin with, and what HiGHS says that it costs.

    Raises:
        SolverError: HiGHS fails, or returns something that is no schedule.
    """
    import highspy

    # `Highs()` sets up callbacks, which nothing here needs, and then HiGHS 1.16 prints who it is.
    silent = {"enableCallbacks": lambda solver: solver.silent()}
    solver = type("SilentHighs", (highspy.Highs,), silent)()
    for name, value in highs_options(presolve=presolve, max_nodes=max_nodes).items():
        _check(solver.setOptionValue(name, value), name)
    _check(solver.passModel(_program(model)), "passModel")
    start_cost, num_open = None, model.by_open.shape[1]
    if start is not None:
        known, columns = model.values(start), np.arange(num_open, dtype=np.int32)
        _check(solver.changeColsBounds(num_open, columns, known, known), "changeColsBounds")
        if _run(solver, deadline) not in ("kOptimal", "kInfeasible"):
            return TOO_LATE
        start_cost, begin = float(solver.getInfo().objective_function_value), solver.getSolution()
        free = np.zeros(num_open), np.ones(num_open)
        _check(solver.changeColsBounds(num_open, columns, *free), "changeColsBounds")
        _check(solver.setSolution(begin), "setSolution")
    status = _run(solver, deadline)
    if status == "kInfeasible":
        return MilpClaim(True, start_cost, None, math.inf, math.inf)
    values = np.array(solver.getSolution().col_value)[:num_open]
    return claim_of(model, solver.getInfo(), values, start_cost, finished=status == "kOptimal")


def highs_options(*, presolve: bool, max_nodes: int) -> dict[str, Any]:
    """HiGHS's options for the programs of this package, but for the time limit."""
    return _OPTIONS | {"presolve": "on" if presolve else "off", "mip_max_nodes": max_nodes}


def claim_of(
    model: MilpModel, info: Any, values: Any, start_cost: float | None, *, finished: bool
) -> MilpClaim:
    """What HiGHS's `HighsInfo` says, with values of the open y, [num_open], if it has any."""
    bound = float(info.mip_dual_bound)
    return MilpClaim(
        finished,
        start_cost,
        model.stages(values) if info.primal_solution_status == _FEASIBLE else None,
        float(info.objective_function_value),
        bound if math.isfinite(bound) else -math.inf,
    )


def _program(model: MilpModel) -> Any:
    """The model as HiGHS takes it: the open y, then the rest."""
    import highspy
    import scipy.sparse as sp

    rows = sp.hstack([model.by_open, model.by_rest], format="csr")
    num_open, num_rest = model.by_open.shape[1], model.by_rest.shape[1]
    program, kinds = highspy.HighsLp(), highspy.HighsVarType
    program.num_row_, program.num_col_ = rows.shape
    program.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    program.a_matrix_.start_ = rows.indptr.astype(np.int32)
    program.a_matrix_.index_ = rows.indices.astype(np.int32)
    program.a_matrix_.value_ = rows.data
    program.row_lower_ = model.right
    program.row_upper_ = np.full(len(model.right), math.inf)
    program.col_cost_ = np.repeat([0.0, 1.0], [num_open + num_rest - 1, 1])
    program.col_lower_ = np.zeros(num_open + num_rest)
    program.col_upper_ = np.repeat([1.0, math.inf], [num_open, num_rest])
    program.integrality_ = [kinds.kInteger] * num_open + [kinds.kContinuous] * num_rest
    return program


def _run(solver: Any, deadline: float) -> str:
    """One run, and the name of the `HighsModelStatus` it ends with."""
    if math.isfinite(deadline):
        seconds = deadline - time.perf_counter()
        if seconds <= 0:
            return "kTimeLimit"
        _check(solver.setOptionValue("time_limit", seconds), "time_limit")
    _check(solver.run(), "run")
    status: str = solver.getModelStatus().name
    if status == "kUnboundedOrInfeasible":  # no cost is negative
        return "kInfeasible"
    if status not in ("kOptimal", "kInfeasible", "kTimeLimit", "kSolutionLimit"):
        raise SolverError(f"HiGHS ended with the status {status!r}.")
    return status


def _check(status: Any, what: str) -> None:
    if status.name == "kError":
        raise SolverError(f"HiGHS failed: {what}.")
