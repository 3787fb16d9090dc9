"""Proofs by dynamic programming over order ideals, in windows that grow until they suffice."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import time
from collections.abc import Iterator

import numpy as np

from respect_tf._errors import ScheduleError, SolverError
from respect_tf.scheduling._answers import Answer, with_load
from respect_tf.scheduling._bounded import BoundedObjective
from respect_tf.scheduling._chain import Budget, BudgetExceededError, Chain, Reached, reach
from respect_tf.scheduling._first_cuts import balanced, best_slicing
from respect_tf.scheduling._ideal_boundaries import IdealBoundaries, stage_keys
from respect_tf.scheduling._ideal_search import IdealSearch, is_worth_loading
from respect_tf.scheduling._ideal_source import IdealSource
from respect_tf.scheduling._ideal_table import IdealTable, ideal_table
from respect_tf.scheduling._ideals import Ideals
from respect_tf.scheduling._milp import open_variables, search_window
from respect_tf.scheduling._objective import LinearCost, PeakMemory
from respect_tf.scheduling._pair_search import search_pairs
from respect_tf.scheduling._pairs import Nodes, find_nodes
from respect_tf.scheduling._problem import Problem
from respect_tf.scheduling._slicing import balanced_chain
from respect_tf.scheduling._true_costs import is_batched, with_true_costs

# What may be done without a time limit: some seconds of work, the same on every machine.
_MAX_WORK = 300_000_000
_MAX_CELLS = 300_000_000  # for all boundaries

# The same for compiled loops, whose unit of work takes longer.
_LOOP_WORK = 100_000_000

# An integer program of so many open variables may find a schedule that keeps the constraints, in so
# many nodes, where no order at hand can be cut into one.
_MAX_OPEN, _MAX_NODES = 800, 20

# The part of a time limit that is spent on a proof, where orders are cut without one.
_DIRECT_SHARE = 0.5

# How far the limit rises above the lower bound: at first a part of the way to a known cost, then so
# far that the work should double, by its growth so far, but no more and no less than by factors.
_FIRST_STEP, _FAR, _NEAR = 1 / 128, 8.0, 1.25
_LITTLE_WORK, _NO_GROWTH = 1_000_000, 1e-3


def prove(problem: Problem, answer: Answer, deadline: float, work: float) -> Answer:
    """Search everything below a known cost, as far as time or some work lasts.

    Args:
        problem: The problem.
        answer: What is known: a schedule and a lower bound.
        deadline: When to stop, on `time.perf_counter()`'s clock in seconds.
        work: What may be done, in the unit of `Budget`, but without a time limit no more than some
            seconds of work.

    Returns:
        The best schedule known, and a bound that is its cost where the search was complete.
    """
    loops = problem.linear.exact and is_worth_loading(deadline)
    if not math.isfinite(deadline):
        work = min(work, _LOOP_WORK if loops else _MAX_WORK)
    budget = Budget(deadline, work, _MAX_CELLS // problem.num_stages)
    if loops:
        search = IdealSearch(problem)
        best, low = search.raise_bound(answer.chain, answer.lower_bound, budget)
        if low >= best.cost:
            with contextlib.suppress(BudgetExceededError):
                best = search.best_within(best.cost, budget, math.inf) or best
        return Answer(best, min(low, best.cost))
    proof = _Proof(problem, budget, deadline)
    with contextlib.suppress(BudgetExceededError):
        return proof.run()
    return Answer(answer.chain, min(max(answer.lower_bound, proof.low), answer.chain.cost))


def solve_directly(problem: Problem, deadline: float) -> Answer:
    """The optimum where the order ideals are few, else some schedule that keeps the constraints.

    Args:
        problem: The problem.
        deadline: When to give up, on `time.perf_counter()`'s clock in seconds. Without one, that
            is after some seconds of work.

    Raises:
        ScheduleError: No schedule keeps the constraints; or none was found, as the message says.
    """
    now = time.perf_counter()
    until = now + _DIRECT_SHARE * (deadline - now) if math.isfinite(deadline) else deadline
    work = math.inf if math.isfinite(deadline) else _MAX_WORK
    proof = _Proof(problem, Budget(until, work, _MAX_CELLS // problem.num_stages), deadline)
    with contextlib.suppress(BudgetExceededError):
        return proof.run()
    best = best_slicing(problem, proof.known, deadline)
    if best is not None:
        return Answer(best, min(proof.low, best.cost))
    if problem.linear.exact and open_variables(problem, None) <= _MAX_OPEN:
        with contextlib.suppress(SolverError, ScheduleError):
            return search_window(problem, None, None, deadline, max_nodes=_MAX_NODES).answer
    raise ScheduleError(
        f"No schedule of {problem.num_stages} stages that keeps the constraints was found before "
        "the exact search gave up, which does not prove that there is none. Loosen the "
        "constraints, or set a longer time_limit."
    )


def solve_quickly(problem: Problem, deadline: float, work: float) -> Answer | None:
    """The optimum, if it can be proved with little work; None otherwise.

    Args:
        problem: The problem.
        deadline: When to stop, on `time.perf_counter()`'s clock in seconds.
        work: What may be done, in the unit of `Budget`.

    Raises:
        ScheduleError: No schedule keeps the constraints.
    """
    try:
        budget = Budget(deadline, work, _MAX_CELLS // problem.num_stages)
        return _Proof(problem, budget, deadline).run()
    except BudgetExceededError:
        return None


@dataclasses.dataclass
class _Proof:
    """A search for the optimum, and what it knows when it has to stop.

    Attributes:
        problem: The problem.
        budget: What it may use.
        deadline: When to settle which of several optimal schedules it is.
        known: Some schedule.
        low: What no schedule is below.
    """

    problem: Problem
    budget: Budget
    deadline: float
    known: Chain | None = None
    low: float = 0.0

    def run(self) -> Answer:
        """The optimum.

        Raises:
            BudgetExceededError: It was not found.
            ScheduleError: No schedule keeps the constraints.
        """
        problem, budget = self.problem, self.budget
        asks_pairs = isinstance(problem.objective, BoundedObjective)
        self.low = problem.lower_bound()
        # The search in pairs finds a schedule by itself, where there surely is one.
        if not asks_pairs or problem.restrictions is not None:
            self.known = balanced(problem)
        budget.check_time()
        if self.known is None and problem.restrictions is not None:
            self.known = _any_chain(problem, budget)
        known = self.known
        if asks_pairs:
            return _solve_pairs(find_nodes(problem, budget), known, budget)
        if known is None:
            raise _lost(known)
        if not problem.linear.exact and is_batched(problem.objective):
            table = ideal_table(problem, known.cost, budget)
            if table is not None:
                return _solve_table(table, known, budget)
        source = IdealSource(problem, budget)
        for limit in _rising_limits(problem, known, budget):
            found = _search(source, limit, budget)
            if found is not None:
                budget.deadline = self.deadline
                chain = with_load(problem, _settle(*found, known, budget))
                return Answer(chain, found[1].total)
            self.low = limit + 1.0 if problem.integral else limit
        raise _lost(known)


def _any_chain(problem: Problem, budget: Budget) -> Chain:
    """Some schedule that keeps the constraints, where no order at hand can be cut into one.

    Bytes take the place of costs, so that the room of the stages narrows the search.

    Raises:
        ScheduleError: There is none.
        BudgetExceededError: None was found, which is no proof.
    """
    restrictions = problem.restrictions
    if restrictions is None:
        raise _lost(None)
    memory = dataclasses.replace(
        problem,
        objective=PeakMemory(),
        linear=LinearCost(problem.graph.parameter_bytes),
        integral=problem.graph.parameter_bytes.dtype.kind in "iu",
        op_costs=restrictions.item_bytes,
    )
    total = float(restrictions.item_bytes.sum())
    limit = total if problem.rooms is None else min(total, float(problem.rooms.max()))
    found = _search(IdealSource(memory, budget), limit, budget)
    if found is None:
        raise ScheduleError(
            f"No schedule of {problem.num_stages} stages keeps the constraints: the search over "
            "all of them is complete. Allow more bytes per stage, unpin ops, let tensors be cut, "
            "or ask for another number of stages."
        )
    stages = found[1].cheapest_chain(Budget()).stages
    chain = balanced_chain(problem, np.argsort(stages, kind="stable"))
    if chain is None:
        raise _lost(None)
    return chain


def _rising_limits(problem: Problem, known: Chain, budget: Budget) -> Iterator[float]:
    """Cost limits from the lower bound to that of a known schedule."""
    start = problem.lower_bound()
    limit, step = min(start, known.cost), _FIRST_STEP * (known.cost - start)
    factor, last = _NEAR, 0.0
    while True:
        before = budget.spent
        yield limit
        if limit >= known.cost:
            return
        work = budget.spent - before
        growth = math.log(work / last) if work > last > 0 else 0.0
        if work < _LITTLE_WORK or growth < _NO_GROWTH:
            factor = _FAR
        else:
            # Work that grew by growth when the step grew by its factor.
            factor = max(math.exp(min(math.log(factor) / growth, 3.0) * math.log(2)), _NEAR)
        step, last = factor * step, work
        higher = math.floor(start + step) if problem.integral else start + step
        limit = min(max(higher, limit + 1.0 if problem.integral else limit), known.cost)


def _lost(known: Chain | None) -> ScheduleError:
    cost = "" if known is None else f", of cost {known.cost}"
    return ScheduleError(
        f"The exact search did not find a schedule that is known{cost}. This is an error in "
        "respect_tf: please report it with the graph."
    )


def _solve_table(table: IdealTable, known: Chain, budget: Budget) -> Answer:
    reached = reach(table, known.cost, budget)
    if reached is None:
        raise _lost(known)
    try:
        chain = reached.best_chain(
            budget, known.crossing if reached.total == known.cost else math.inf
        )
    except BudgetExceededError:
        chain = reached.cheapest_chain(Budget())
    return Answer(chain, reached.total)


def _solve_pairs(nodes: Nodes | None, known: Chain | None, budget: Budget) -> Answer:
    """The optimum of an objective that can bound its costs."""
    if nodes is None:
        raise BudgetExceededError
    found = search_pairs(nodes, budget)
    if found.chain is None:
        raise _lost(known)
    least = max(found.lower_bound, nodes.problem.lower_bound())
    return Answer(found.chain, min(least, found.chain.cost))


def _search(
    source: IdealSource, limit: float, budget: Budget
) -> tuple[IdealBoundaries, Reached] | None:
    """Candidates and chains that keep a cost limit, `None` if there is no such chain."""
    ideals = source.boundaries(limit, budget)
    if ideals is None or not _thin(ideals, limit):
        return None
    boundaries = IdealBoundaries(ideals, budget)
    reached = reach(with_true_costs(boundaries, budget), limit, budget)
    return None if reached is None else (boundaries, reached)


def _thin(ideals: list[Ideals], limit: float) -> bool:
    """Drop candidates that no chain within a cost limit can have, by the keys of stages alone.

    Forward and backward: a stage costs at least its column's key minus its row's, so the highest
    row key of a boundary bounds the column keys of the next one, and so on.

    Returns:
        Whether candidates are left.
    """
    problem = ideals[0].problem
    if problem.combine == "sum":
        return True
    limit += problem.slack
    keys = [stage_keys(*pair) for pair in itertools.pairwise(ideals)]
    kept = [np.ones(len(row), bool) for row in ideals]
    for k, (rows, columns) in enumerate(keys):
        kept[k + 1] &= columns <= limit + rows[kept[k]].max()
        if not kept[k + 1].any():
            return False
    for k, (rows, columns) in reversed(list(enumerate(keys))):
        kept[k] &= rows >= columns[kept[k + 1]].min() - limit
        if not kept[k].any():
            return False
    ideals[:] = [row.select(keep) for row, keep in zip(ideals, kept, strict=True)]
    return True


def _settle(boundaries: IdealBoundaries, reached: Reached, known: Chain, budget: Budget) -> Chain:
    """Break ties among the chains of least cost.

    Where the budget does not last for that, the best chain known is as good in cost.
    """
    if known.cost > reached.total:
        # Looks at one column per boundary only, and may not fail: the optimum is proved by now.
        known = reached.cheapest_chain(Budget())
    try:
        kept = [
            np.flatnonzero((costs <= reached.total) & (ideals.merged[2] <= known.crossing))
            for ideals, costs in zip(boundaries.ideals, reached.costs, strict=True)
        ]
        fewer = IdealBoundaries(
            [ideals.select(keep) for ideals, keep in zip(boundaries.ideals, kept, strict=True)],
            budget,
        )
        costs = [costs[keep] for costs, keep in zip(reached.costs, kept, strict=True)]
        return Reached(with_true_costs(fewer, budget), costs).best_chain(budget, known.crossing)
    except BudgetExceededError:
        return best_slicing(boundaries.problem, known, budget.deadline) or known
