"""`"exact"`: dynamic programming over order ideals, in windows that grow until they suffice."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from respect_tf._errors import ScheduleError
from respect_tf.schedule._chain import Budget, BudgetExceededError, Chain, Reached, reach
from respect_tf.schedule._ideal_boundaries import IdealBoundaries
from respect_tf.schedule._ideals import IdealSource
from respect_tf.schedule._items import Ints
from respect_tf.schedule._problem import Problem
from respect_tf.schedule._slicing import balanced_chain, slice_items
from respect_tf.schedule._true_costs import with_true_costs

# Listing an ideal takes about a microsecond, looking at a pair of them some ten nanoseconds.
_MAX_IDEALS = 20_000_000
_MAX_PAIRS = 4_000_000_000
_MAX_CELLS = 1_000_000_000  # for all boundaries

# How far the limit rises above the lower bound, at first as a part of the way to a known cost, then
# as a multiple of the time before: boldly while a search is cheap, then with care, because the work
# grows with a high power of the distance.
_FIRST_STEP, _FAR, _NEAR = 1 / 128, 2.0, 1.25
_LITTLE_WORK = 1_000_000


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What a solver found out.

    Attributes:
        chain: The best schedule of items.
        lower_bound: No schedule costs less; equal to the chain's cost where that is the optimum.
    """

    chain: Chain
    lower_bound: float


def solve_exact(problem: Problem, deadline: float) -> Answer:
    """The optimum and, where the budget lasts, the proof of it.

    A cost limit bounds the weight before and after each boundary, so that few ideals qualify
    while the limit is low. Limits rise from the lower bound to the cost of a known schedule: the
    first one that some chain keeps yields the optimum, and each one before it a better bound.

    Args:
        problem: The problem.
        deadline: When to give up, on `time.perf_counter()`'s clock in seconds.
    """
    known = balanced_chain(problem, np.arange(problem.num_items))
    low = start = problem.lower_bound()
    budget = Budget(deadline, _MAX_IDEALS, _MAX_PAIRS, _MAX_CELLS // problem.num_stages)
    step = _FIRST_STEP * (known.cost - low)
    try:
        budget.check_time()
        source = IdealSource(problem, budget)
        limit = min(low, known.cost)
        while True:
            work = budget.work
            found = _search(source, limit, budget)
            if found is not None:
                return Answer(_settle(*found, known, budget), found[1].total)
            low = limit + 1.0 if problem.integral else limit
            if limit >= known.cost:
                raise ScheduleError(
                    f"The exact search did not find a schedule that is known, of cost {known.cost}."
                    " This is an error in respect_tf: please report it with the graph."
                )
            step *= _FAR if work - budget.work < _LITTLE_WORK else _NEAR
            limit = max(low, start + step)
            limit = min(math.floor(limit) if problem.integral else limit, known.cost)
    except BudgetExceededError:
        best = _best_slicing(problem)
        return Answer(best, min(low, best.cost))


def _search(
    source: IdealSource, limit: float, budget: Budget
) -> tuple[IdealBoundaries, Reached] | None:
    """Candidates and chains that keep a cost limit, `None` if there is no such chain."""
    problem = source.problem
    ideals = [source.everything(False)]
    for k in range(1, problem.num_stages):
        boundary = source.boundary(k, limit, budget)
        if boundary is None:
            return None
        ideals.append(boundary)
    ideals.append(source.everything(True))
    boundaries = IdealBoundaries(ideals)
    reached = reach(with_true_costs(boundaries), limit, budget)
    return None if reached is None else (boundaries, reached)


def _settle(boundaries: IdealBoundaries, reached: Reached, known: Chain, budget: Budget) -> Chain:
    """Break ties among the chains of least cost.

    Where the budget does not last for that, the best chain known is as good in cost.
    """
    if known.cost > reached.total:
        # Looks at one column per boundary only, and may not fail: the optimum is proved by now.
        known = reached.cheapest_chain(Budget(math.inf, 0, _MAX_PAIRS))
    try:
        kept = [
            np.flatnonzero((costs <= reached.total) & (ideals.merged[2] <= known.crossing))
            for ideals, costs in zip(boundaries.ideals, reached.costs, strict=True)
        ]
        fewer = IdealBoundaries(
            [ideals.select(keep) for ideals, keep in zip(boundaries.ideals, kept, strict=True)]
        )
        costs = [costs[keep] for costs, keep in zip(reached.costs, kept, strict=True)]
        return Reached(with_true_costs(fewer), costs).best_chain(budget, known.crossing)
    except BudgetExceededError:
        return min(known, _best_slicing(boundaries.problem), key=_by_cost)


def _by_cost(chain: Chain) -> tuple[float, float]:
    return chain.cost, chain.crossing


def _best_slicing(problem: Problem) -> Chain:
    """The best cut of two orders, the file's own if they are as good."""
    orders = (np.arange(problem.num_items), _depth_first(problem))
    return min((slice_items(problem, order) for order in orders), key=_by_cost)


def _depth_first(problem: Problem) -> Ints:
    """The topological order that follows each chain of items to its end."""
    successors: list[list[int]] = [[] for _ in range(problem.num_items)]
    for before, after in problem.edges.tolist():
        successors[before].append(after)
    waiting = [len(row) for row in problem.predecessors]
    ready = [item for item in reversed(range(problem.num_items)) if not waiting[item]]
    order = []
    while ready:
        item = ready.pop()
        order.append(item)
        for after in reversed(successors[item]):
            waiting[after] -= 1
            if not waiting[after]:
                ready.append(after)
    return np.array(order, np.int64)
