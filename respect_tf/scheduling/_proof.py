"""Proofs: complete search of sums, and search in pairs of ideals for all other objectives."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time

from respect_tf._errors import ScheduleError, SolverError
from respect_tf.scheduling._answers import Answer, answer_of
from respect_tf.scheduling._chain import MAX_WORK, Budget, BudgetExceededError, quality
from respect_tf.scheduling._compiled_search import has_loops
from respect_tf.scheduling._ideal_search import IdealSearch
from respect_tf.scheduling._milp import open_variables, search_window
from respect_tf.scheduling._objective import LinearCost, PeakMemory
from respect_tf.scheduling._pair_search import search_pairs
from respect_tf.scheduling._pairs import find_nodes
from respect_tf.scheduling._problem import Problem

_MAX_CELLS = 300_000_000  # bytes, for all boundaries

# What a proof before a search may take: some tenths of a second.
QUICK_WORK = 40_000_000

# Integer programs are for what they solve in some seconds, of twice as many open variables where
# there is a time limit; without one, they are given up after so many nodes. So a wide random graph
# of 100 ops in 4 stages is proved in 7 s that complete search leaves 22 % above its bound.
# benchmarks constants: MAX_OPEN half and twice the same; a tenth 0.40 times the time; ten times
#   -0.33 % crossing bytes, 1.93 times the time. MAX_NODES half -1 proofs, +11.29 % gap; twice -1
#   proofs, +11.29 % gap.
MAX_OPEN, MAX_NODES = 800, 20


def prove(problem: Problem, answer: Answer, deadline: float) -> Answer:
    """Search everything below a known cost, as far as time or some seconds of work last.

    Gives the best schedule known, and a bound that is its cost where the search was complete.
    """
    is_limited = math.isfinite(deadline)
    if problem.linear.exact and has_loops():
        # The work of compiled loops takes three times as long.
        budget = Budget(deadline, math.inf if is_limited else MAX_WORK // 3, _cells(problem))
        search = IdealSearch(problem)
        best, low = search.raise_bound(answer.chain, answer.lower_bound, budget)
        if low >= best.cost:
            with contextlib.suppress(BudgetExceededError):
                best = search.best_within(best.cost, budget, math.inf) or best
        return Answer(best, min(low, best.cost))
    budget = Budget(deadline, math.inf if is_limited else MAX_WORK, _cells(problem))
    found = _in_pairs(problem, budget)
    if found is None:
        return answer
    best = min(answer.chain, found.chain, key=quality)
    return Answer(best, min(max(answer.lower_bound, found.lower_bound), best.cost))


def prove_quickly(problem: Problem, deadline: float) -> Answer | None:
    """The optimum of an objective that is no sum, if it can be proved with little work."""
    found = _in_pairs(problem, Budget(deadline, QUICK_WORK, _cells(problem)))
    return found if found is not None and found.lower_bound >= found.chain.cost else None


def _cells(problem: Problem) -> int:
    return _MAX_CELLS // problem.num_stages


def _in_pairs(problem: Problem, budget: Budget) -> Answer | None:
    """The best chain of ideals, where these are not too many."""
    try:
        nodes = find_nodes(problem, budget)
        if nodes is None:
            return None
        found = search_pairs(nodes, budget)
    except BudgetExceededError:
        return None
    if found.chain is None:
        raise _none_keeps(problem)
    low = max(found.lower_bound, problem.lower_bound())
    return Answer(found.chain, min(low, found.chain.cost))


def first_schedule(problem: Problem, deadline: float) -> Answer:
    """Some schedule that keeps the constraints, where no order at hand can be cut into one.

    Bytes take the place of costs, so that the room of the stages narrows the search. Without a
    deadline, it gives up after some seconds of work.

    Raises:
        ScheduleError: No schedule keeps the constraints; or none was found, as the message says.
    """
    deadline = max(deadline, time.perf_counter() + 0.05)
    restrictions = problem.restrictions
    if restrictions is not None:
        memory = dataclasses.replace(
            problem,
            objective=PeakMemory(),
            linear=LinearCost(problem.graph.parameter_bytes),
            integral=problem.graph.parameter_bytes.dtype.kind in "iu",
            op_costs=restrictions.item_bytes,
        )
        total = float(restrictions.item_bytes.sum())
        limit = total if problem.rooms is None else min(total, float(problem.rooms.max()))
        budget = Budget(deadline, MAX_WORK // 3, _cells(problem))
        with contextlib.suppress(BudgetExceededError):
            found = IdealSearch(memory).best_within(limit, budget, 0)
            if found is None:
                raise _none_keeps(problem)
            return answer_of(problem, found.stages)
    if problem.linear.exact and open_variables(problem, None) <= MAX_OPEN:
        with contextlib.suppress(SolverError, ScheduleError):
            return search_window(problem, None, None, deadline, max_nodes=MAX_NODES)
    raise ScheduleError(
        f"No schedule of {problem.num_stages} stages that keeps the constraints was found before "
        "the search gave up, which does not prove that there is none. Loosen the constraints, or "
        "set a longer time_limit."
    )


def _none_keeps(problem: Problem) -> ScheduleError:
    return ScheduleError(
        f"No schedule of {problem.num_stages} stages keeps the constraints: the search over all "
        "of them is complete. Allow more bytes per stage, unpin ops, let tensors be cut, or ask "
        "for another number of stages."
    )
