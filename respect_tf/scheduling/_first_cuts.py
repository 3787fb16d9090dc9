"""Cuts of few orders: a schedule to begin with."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import numpy as np

from respect_tf._errors import ScheduleError
from respect_tf.graph._structural import depth_first
from respect_tf.scheduling._chain import Chain
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Problem
from respect_tf.scheduling._slicing import balanced_chain, slice_items

# Seconds, past a time limit if need be, in which orders are cut.
_GRACE = 0.1


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
