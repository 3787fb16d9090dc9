"""Schedules and bounds for want of a proof by dynamic programming."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator

import numpy as np

from respect_tf._errors import ScheduleError, SolverError
from respect_tf.graph._structural import depth_first
from respect_tf.scheduling._answers import Answer
from respect_tf.scheduling._chain import Chain
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._local import improve_stages
from respect_tf.scheduling._milp import open_variables, search_window
from respect_tf.scheduling._problem import Problem
from respect_tf.scheduling._recount import recount
from respect_tf.scheduling._slicing import balanced_chain, slice_items

# Seconds, past a time limit if need be, in which orders are cut.
_GRACE = 0.1

# Integer programs are for what they solve in some seconds, and for twice as much where there is a
# time limit; without one, they are given up after as many nodes.
_MAX_OPEN, _MAX_NODES = 800, 20

# Less than this is not worth building a program and loading HiGHS, in seconds.
_LEAST_TIME = 1.5

# The part of the time left in which a schedule is improved by moves: before a program, or without
# one. Without a time limit, how long where an objective has to be asked about each move.
_MOVING_SHARE, _ONLY_MOVING_SHARE = 0.4, 0.95
_TRUE_COST_ROUNDS = 4

# Closures of larger graphs take too long to see how large a program would be.
_MAX_ITEMS = 2000


def answer_without_proof(
    problem: Problem, known: Chain | None, low: float, deadline: float
) -> Answer | None:
    """The best schedule that can be had soon, and a bound that may prove it after all.

    Orders are cut, the best cut is improved by moves, and an integer program begins with that.

    Args:
        problem: The problem.
        known: A schedule, if one is known.
        low: A bound of the cost that is proved already.
        deadline: On `time.perf_counter()`'s clock in seconds. Without one, the work is limited.

    Returns:
        `None` if no schedule was found that keeps the constraints.
    """
    best = best_slicing(problem, known, deadline)
    if best is not None and best.cost <= low:
        return Answer(best, best.cost)
    has_program = _is_for_program(problem, best, deadline)
    if best is not None:
        best = _moved(problem, best, low, deadline, before_program=has_program)
    answer = None if best is None else Answer(best, min(low, best.cost))
    if has_program and (best is None or best.cost > low):
        answer = _by_program(problem, answer, low, deadline)
    return answer


def _is_for_program(problem: Problem, known: Chain | None, deadline: float) -> bool:
    """Whether an integer program may do some good in the time left."""
    # The linear bound of another cost is too weak to prove anything by.
    if not problem.linear.exact or problem.num_items > _MAX_ITEMS:
        return False
    if deadline - time.perf_counter() < _LEAST_TIME / (1 - _MOVING_SHARE):
        return False
    return open_variables(problem, known) <= (_MAX_OPEN if deadline == math.inf else 2 * _MAX_OPEN)


def _moved(
    problem: Problem, chain: Chain, low: float, deadline: float, *, before_program: bool
) -> Chain:
    """A schedule that is no worse, by moves of items across stage borders."""
    now = time.perf_counter()
    if math.isfinite(deadline):
        share = _MOVING_SHARE if before_program else _ONLY_MOVING_SHARE
        deadline = now + share * (deadline - now)
    rounds = None if problem.linear.exact else _TRUE_COST_ROUNDS
    stages = improve_stages(problem, chain.stages, low, deadline, seed=0, num_rounds=rounds)
    return min(chain, recount(problem, stages), key=_by_cost)


def _by_program(
    problem: Problem, answer: Answer | None, low: float, deadline: float
) -> Answer | None:
    """The better of an answer and what an integer program finds."""
    chain = None if answer is None else answer.chain
    max_nodes = _MAX_NODES if deadline == math.inf else None
    # HiGHS may contradict itself, or find nothing: what is known without it still holds.
    with contextlib.suppress(SolverError, ScheduleError):
        found = search_window(problem, chain, None, deadline, max_nodes=max_nodes).answer
        best = found.chain if chain is None else min(chain, found.chain, key=_by_cost)
        return Answer(best, min(max(low, found.lower_bound), best.cost))
    return answer


def balanced(problem: Problem) -> Chain | None:
    """A balanced cut of the first order that has one."""
    chains = (balanced_chain(problem, order()) for order in _orders(problem))
    return next((chain for chain in chains if chain is not None), None)


def best_slicing(problem: Problem, known: Chain | None, deadline: float) -> Chain | None:
    """The best cut of some orders, or the known schedule; the first of those that are as good."""
    deadline = max(deadline, time.perf_counter() + _GRACE)
    chains = [] if known is None else [known]
    for order in _orders(problem):
        if time.perf_counter() < deadline:
            # Constraints may leave an order without a cut.
            with contextlib.suppress(ScheduleError):
                chains.append(slice_items(problem, order(), deadline))
    return min(chains, key=_by_cost, default=None)


def _by_cost(chain: Chain) -> tuple[float, float]:
    return chain.cost, chain.crossing


def _orders(problem: Problem) -> Iterator[Callable[[], Ints]]:
    """Topological orders: the file's own, one by the stages that pins leave, one depth first."""
    yield lambda: np.arange(problem.num_items)
    restrictions = problem.restrictions
    if restrictions is not None:
        yield lambda: np.lexsort((restrictions.earliest, restrictions.latest))
    yield lambda: depth_first(problem.links.after, problem.links.waiting)
