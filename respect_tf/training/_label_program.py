"""The integer program of a label, written in cvxpy, which only those who make labels install."""

from __future__ import annotations

import math
import time
import warnings
from typing import Any

from respect_tf._errors import DependencyError, SolverError
from respect_tf.graph import Ints
from respect_tf.scheduling import TOO_LATE, MilpClaim, claim_of, highs_options


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
    """Solve through cvxpy and its interface to HiGHS, as `run_highs` of `scheduling` does.

    cvxpy does not hand on the schedule that is known; what costs more is left out of the model
    already.

    Raises:
        DependencyError: cvxpy is not installed.
        SolverError: See `run_highs`.
    """
    del start
    cp = load_cvxpy()
    done = cp.Variable(model.by_open.shape[1], boolean=True)
    rest = cp.Variable(model.by_rest.shape[1], nonneg=True)
    rows = model.by_open @ done + model.by_rest @ rest >= model.right
    program = cp.Problem(cp.Minimize(rest[-1]), [rows])
    options = highs_options(presolve=presolve, max_nodes=max_nodes)
    if math.isfinite(deadline):
        options["time_limit"] = deadline - time.perf_counter()
        if options["time_limit"] <= 0:
            return TOO_LATE
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
