"""`"milp"`: a mixed-integer program for HiGHS, whose word is not taken for the result."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from typing import Any

import numpy as np

from respect_tf._errors import ScheduleError, SolverError
from respect_tf.scheduling._answers import Answer, linear_cost, recount
from respect_tf.scheduling._chain import Chain, quality
from respect_tf.scheduling._check import is_below, save_evidence
from respect_tf.scheduling._highs import MilpClaim, RunProgram, run_highs
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._milp_model import StageRanges, build_milp, stage_ranges
from respect_tf.scheduling._problem import Problem
from respect_tf.scheduling._slicing import slice_items

# HiGHS checks with absolute tolerances of up to 1e-6. So that these are small beside the costs,
# and coefficients are of a size it is good at, the known cost becomes this many units. Once HiGHS
# certified a wrong optimum that went away in other units and without presolve.
_ATTEMPTS = ((1e4, True), (3e3, False))

# How far below the claimed bound the true one may be, and how far the cost that HiGHS gives for a
# schedule may be from the right one; in units. Where op costs differ by some 1e-8 of themselves,
# claims have been seen that were too high by 5e-5, whatever the tolerances.
_BOUND_MARGIN = 1e-3
_COST_TOLERANCE = 1e-2

# Nodes of the search tree where there is no time limit: with 5 ms each, 50 ops take four minutes.
_MAX_NODES = 50_000
# So many open variables take 240 MB as matrices (8,000 ops in 13 stages) and some times as much in
# HiGHS, which does not get anywhere with more.
_MAX_OPEN = 100_000

# Costs that are no whole numbers are sums that were rounded in different orders.
_ROUNDING = 1e-12

# Fractions of a byte that are tried as the unit of all costs: weights such as 0.25 or 0.1.
_FRACTIONS = (1, 2, 4, 8, 10, 16, 100, 1000)


def solve_milp(problem: Problem, deadline: float, *, run: RunProgram | None = None) -> Answer:
    """The least cost, proved to the tolerances of HiGHS, and a schedule of that cost.

    Where all costs are multiples of some amount, and HiGHS is precise enough to tell one from the
    next, the proof is complete; else the bound stays some 1e-7 of the cost below it. Where the cost
    is not linear, its linear bound is minimised, and the schedule is the best one seen.

    Of schedules of equal cost, any can be the result. It is sliced again in its own order, so that
    at least no other cut of that order crosses fewer bytes.

    Raises:
        SolverError: What HiGHS says is wrong, in every attempt.
        ScheduleError: No schedule keeps the constraints, or none was found.
    """
    known = _slice(problem, np.arange(problem.num_items), deadline)
    return search_window(problem, known, None, deadline, run=run)


def search_window(
    problem: Problem,
    known: Chain | None,
    window: int | None,
    deadline: float,
    *,
    max_nodes: int | None = None,
    run: RunProgram | None = None,
) -> Answer:
    """Look for schedules that cost less than one that is known; the bound is one for all.

    The window says how many stages items may be away from their known ones; `None` for any number,
    and where no schedule is known. Raises as `solve_milp`.
    """
    lowest = problem.lower_bound()
    everywhere = stage_ranges(problem, _limit(problem, known))
    known = _only_schedule(problem, everywhere) if known is None else known
    limit, ranges = _limit(problem, known), everywhere
    if known is not None and window is not None:
        ranges = StageRanges(
            np.maximum(everywhere.first, known.stages - window),
            np.minimum(everywhere.last, known.stages + window),
        )
    whole = np.array_equal(ranges, everywhere)
    if known is not None and (limit <= lowest or np.array_equal(ranges.first, ranges.last)):
        best, bound = known, limit
    else:
        search = _Search(problem, known, limit, ranges, whole)
        best, bound = search.run(
            deadline, _MAX_NODES if max_nodes is None else max_nodes, run or run_highs
        )
    if bound > best.cost * (1 - _ROUNDING):
        bound = best.cost
    if whole:
        lowest = max(lowest, bound)
    return Answer(best, min(lowest, best.cost))


def improve_by_program(
    problem: Problem, answer: Answer, window: int | None, deadline: float, max_nodes: int | None
) -> Answer:
    """The better of an answer and what an integer program finds near it, and the higher bound."""
    # HiGHS may contradict itself, or find nothing: what is known without it still holds.
    with contextlib.suppress(SolverError, ScheduleError):
        found = search_window(problem, answer.chain, window, deadline, max_nodes=max_nodes)
        best = min(answer.chain, found.chain, key=quality)
        low = min(max(answer.lower_bound, found.lower_bound), best.cost)
        return dataclasses.replace(answer, chain=best, lower_bound=low)
    return answer


def open_variables(problem: Problem, known: Chain | None) -> int:
    """How many variables a program for all schedules has that cost no more than one known."""
    ranges = stage_ranges(problem, _limit(problem, known))
    return int((ranges.last - ranges.first).sum())


def _limit(problem: Problem, known: Chain | None) -> float:
    return math.inf if known is None else linear_cost(problem, known.stages)


def _slice(problem: Problem, order: Ints, deadline: float) -> Chain | None:
    """The best cut of an order; `None` where every cut breaks a constraint."""
    try:
        return slice_items(problem, order, deadline)
    except ScheduleError:
        if problem.restrictions is None:
            raise
        return None


def _only_schedule(problem: Problem, ranges: StageRanges) -> Chain | None:
    """The one schedule that the ranges leave; `None` if there are more."""
    if np.any(ranges.first < ranges.last) and np.all(ranges.first <= ranges.last):
        return None
    try:
        return recount(problem, np.minimum(ranges.first, ranges.last))
    except ScheduleError as error:
        raise ScheduleError(
            f"No schedule with {problem.num_stages} stages keeps the constraints, which leave no "
            f"choice. {error}"
        ) from error


@dataclasses.dataclass(frozen=True, eq=False)
class _Search:
    """A mixed-integer program that is solved until an answer stands up to its checks."""

    problem: Problem
    known: Chain | None  # a valid schedule in the ranges
    limit: float  # its linear cost, or infinity
    ranges: StageRanges
    whole: bool  # whether the ranges hold all schedules that cost no more than the limit

    def run(self, deadline: float, max_nodes: int, run_program: RunProgram) -> tuple[Chain, float]:
        """The best schedule seen, and a bound for those in the ranges."""
        problem, start = self.problem, None if self.known is None else self.known.stages
        if (self.ranges.last - self.ranges.first).sum() > _MAX_OPEN:
            return self._best([] if self.known is None else [self.known]), problem.lower_bound()
        records = [self._record(start, scheduler="known", cost=self.limit)]
        claims = []
        for num_units, presolve in _ATTEMPTS:
            unit = (self.limit if start is not None else _typical_cost(problem)) / num_units
            records.append(self._record(None, scheduler="HiGHS", unit=unit, presolve=presolve))
            try:
                claim = run_program(
                    build_milp(problem, self.ranges, unit, self.limit),
                    start,
                    presolve=presolve,
                    deadline=deadline,
                    max_nodes=max_nodes,
                )
                claims.append(claim)
                records[-1] |= self._record(
                    claim.stages, cost=claim.cost * unit, lower_bound=claim.lower_bound * unit
                )
                return self._examine(claim, unit, deadline)
            except SolverError as error:
                records[-1]["refuted"] = str(error)
        if start is None and [claim.lower_bound for claim in claims] == [math.inf] * len(_ATTEMPTS):
            raise ScheduleError(
                f"No schedule with {problem.num_stages} stages keeps the constraints, by the word "
                "of HiGHS; the scheduler 'exact' can prove it. Relax some."
            )
        raise SolverError(
            f"No answer of HiGHS survived its checks ({problem.objective.name}, "
            f"{problem.num_stages} stages, known cost {self.limit:.17g}): "
            f"{' '.join(record['refuted'] for record in records[1:])} Use the scheduler 'exact'. "
            f"{save_evidence(problem.graph, records)}"
        )

    def _record(self, stages: Ints | None, **values: Any) -> dict[str, Any]:
        """Evidence that JSON can hold."""
        record = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in values.items()
        }
        return record | {
            "stages": None if stages is None else self.problem.stages_of_ops(stages).tolist()
        }

    def _examine(self, claim: MilpClaim, unit: float, deadline: float) -> tuple[Chain, float]:
        """Compare what HiGHS says with what is known without it; raise if it cannot be right."""
        problem, tolerance = self.problem, _COST_TOLERANCE * unit
        if claim.lower_bound == math.inf:
            raise SolverError("HiGHS says that there is no schedule.")
        if claim.start_cost is not None and abs(claim.start_cost * unit - self.limit) > tolerance:
            raise SolverError(
                f"HiGHS gives the known schedule the cost {claim.start_cost * unit:.17g}."
            )
        seen, least = [self.known], self.limit
        if claim.stages is not None:
            try:
                found, cost = recount(problem, claim.stages), linear_cost(problem, claim.stages)
            except ScheduleError as error:
                raise SolverError(f"HiGHS returned an invalid schedule: {error}") from error
            said = claim.cost * unit
            if cost > said + tolerance or (claim.finished and cost < said - tolerance):
                raise SolverError(
                    f"HiGHS gives the cost {said:.17g} to a schedule that costs {cost:.17g}."
                )
            order = np.lexsort((np.arange(problem.num_items), found.stages))
            sliced = _slice(problem, order, deadline)
            seen += [found, sliced]
            least = min(least, cost)
            if self.whole and sliced is not None:
                least = min(least, linear_cost(problem, sliced.stages))
        elif claim.finished:
            raise SolverError("HiGHS says that it is done, and returns no schedule.")
        bound = _sound_bound(problem, claim.lower_bound, unit)
        if is_below(least, bound):
            raise SolverError(
                f"HiGHS says that no schedule costs less than {bound:.17g}, but one costs "
                f"{least:.17g}."
            )
        return self._best([chain for chain in seen if chain is not None]), bound

    def _best(self, seen: list[Chain]) -> Chain:
        if not seen:
            raise ScheduleError(
                f"No schedule with {self.problem.num_stages} stages that keeps the constraints was "
                "found with the time and work allowed; there may be none. Give more time, or relax "
                "some."
            )
        stages_of = self.problem.stages_of_ops
        return min(seen, key=lambda one: (*quality(one), stages_of(one.stages).tolist()))


def _typical_cost(problem: Problem) -> float:
    """A positive amount of the size that costs have."""
    moved = problem.tensor_bytes.sum()
    every = problem.cost(problem.op_costs.sum(), moved, moved + problem.output_bytes.sum())
    return float(every) / problem.num_stages or 1.0


def _sound_bound(problem: Problem, claimed: float, unit: float) -> float:
    """A bound that holds in spite of HiGHS's tolerances."""
    lowest = problem.lower_bound()
    if not math.isfinite(claimed):
        return lowest
    bound = (claimed - _BOUND_MARGIN) * unit
    step = cost_step(problem)
    if step > 2 * _BOUND_MARGIN * unit:
        bound = math.ceil(bound / step) * step
    return max(lowest, bound)


def cost_step(problem: Problem) -> float:
    """An amount that all linear costs are multiples of; 0 if none is known."""
    linear = problem.linear
    amounts = np.concatenate(
        [
            problem.op_costs,
            linear.leave * problem.output_bytes,
            linear.enter * problem.tensor_bytes,
            linear.leave * problem.tensor_bytes,
        ]
    )
    for parts in _FRACTIONS:
        scaled = amounts * parts
        whole = np.rint(scaled)
        if whole.sum() < 2**53 and np.all(np.abs(scaled - whole) <= _ROUNDING * scaled):
            return float(np.gcd.reduce(whole.astype(np.int64))) / parts
    return 0.0
