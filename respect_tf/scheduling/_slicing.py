"""`"slicing"`: the best cut of one topological order into intervals."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable

import numpy as np

from respect_tf._errors import ScheduleError
from respect_tf.scheduling._answers import Answer, answer_of
from respect_tf.scheduling._chain import Budget, BudgetExceededError, Chain, best_known
from respect_tf.scheduling._compiled_search import cut_order, has_loops
from respect_tf.scheduling._intervals import Intervals
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._order_search import search_order
from respect_tf.scheduling._pair_search import Found
from respect_tf.scheduling._problem import Bools, Floats, Problem
from respect_tf.scheduling._sweep import narrow

# Enough to bring any range of float64 down to one whole number, or to neighbours.
_MAX_BISECTIONS = 64

# Orders of more items than these are swept first, which narrows down where boundaries can be: a cut
# looks at intervals of each start, that is at the square of their number.
# benchmarks constants: half +0.07 % crossing bytes, 0.90 times the time; twice -0.01 % cost, 1.17
#   times the time.
SWEPT = 3000


def slice_items(problem: Problem, order: Ints, deadline: float = math.inf) -> Chain:
    """The best schedule whose stages are intervals of an order of items, int64 [num_items].

    Its cost is the least there is, unless the deadline passes, or the objective has to be asked for
    too many stages; then it is a good one. Of several, it is one of fewest crossing bytes.

    Raises:
        ScheduleError: No cut of that order keeps the constraints.
    """
    return _some_chain(problem, _best_cut(problem, order, math.inf, deadline, settle=True))


def slice_below(
    problem: Problem, order: Ints, limit: float = math.inf, deadline: float = math.inf
) -> Chain | None:
    """The same but for crossing bytes; `None` if each costs more than a limit, or it takes long."""
    return _best_cut(problem, order, limit, deadline, settle=False).chain


def best_cut(
    problem: Problem, orders: Iterable[Ints], known: Chain | None, deadline: float
) -> Chain | None:
    """The best of what is known and of the best cuts of some orders, made up to a deadline."""
    for order in orders:
        if known is not None and time.perf_counter() > deadline:
            break
        limit = math.inf if known is None else known.cost
        known = best_known(slice_below(problem, order, limit, deadline), known)
    return known


def only_order(problem: Problem, deadline: float) -> Answer:
    """The best schedule of a problem whose items have one order, which is the best of all.

    Raises:
        ScheduleError: No schedule keeps the constraints.
    """
    found = _best_cut(problem, np.arange(problem.num_items), math.inf, deadline, settle=True)
    chain = _some_chain(problem, found)
    return Answer(chain, min(max(problem.lower_bound(), found.lower_bound), chain.cost))


def _some_chain(problem: Problem, found: Found) -> Chain:
    if found.chain is None:
        raise ScheduleError(
            f"No cut of this order into {problem.num_stages} stages keeps the constraints. Another "
            'order may have one: scheduler="exact" looks at all of them.'
        )
    return found.chain


def _best_cut(
    problem: Problem, order: Ints, limit: float, deadline: float, *, settle: bool
) -> Found:
    """The best cut of an order, and what no cut costs less than, where that is known.

    Without a limit, some cut is found whatever the deadline, if any keeps the constraints.
    """
    intervals = Intervals(problem, order)
    is_linear = problem.linear.exact and has_loops()
    is_swept = is_linear and problem.num_items > SWEPT
    known: Chain | None = None
    allowed: Bools | None = None
    if limit == math.inf or is_swept:
        cut = _balanced_cut(intervals)
        if cut is None:
            return Found(None, 0.0)
        stages = np.searchsorted(cut, intervals.position, side="right") - 1
        known = answer_of(problem, stages).chain
    low = 0.0
    with contextlib.suppress(BudgetExceededError):
        if not is_linear:
            found = search_order(problem, order, Budget(deadline), limit, settle=settle)
            return Found(found.chain or known, found.lower_bound)
        if is_swept and known is not None:
            known, allowed = narrow(intervals, known, deadline, limit)
        if allowed is not None or not is_swept:
            upper = limit if known is None else min(limit, known.cost + problem.slack)
            known = cut_order(problem, order, upper, allowed=allowed, deadline=deadline) or known
            if settle and known is not None and problem.combine == "max":
                upper = known.cost + problem.slack  # sums that are rounded in another order
                fewest = cut_order(
                    problem, order, upper, by_crossing=True, allowed=allowed, deadline=deadline
                )
                known = known if fewest is None else answer_of(problem, fewest.stages).chain
        low = known.cost if known is not None and time.perf_counter() < deadline else 0.0
    if known is not None and known.cost > limit + problem.slack:
        known = None
    return Found(known, low)


def _balanced_cut(intervals: Intervals) -> Ints | None:
    """Positions, ends included, that make the heaviest interval as light as possible.

    The weight of an interval is what its items add to any stage's cost, transfer apart. Bisection
    on the limit. `None` if no cut keeps the constraints.
    """
    problem = intervals.problem
    sums = intervals.weight_sums
    find = _longest_cut if problem.restrictions is None else _cut_within
    low = max(float(sums[-1]) / problem.num_stages, float(np.diff(sums).max()))
    if problem.integral:
        low = float(math.ceil(low))
    high = max(float(sums[-1]), low)
    best = find(intervals, high)
    if best is None:
        return None
    for _ in range(_MAX_BISECTIONS):
        if low >= high:
            break
        middle = math.floor((low + high) / 2) if problem.integral else (low + high) / 2
        cut = find(intervals, middle)
        if cut is not None:
            best, high = cut, middle
        else:
            low = middle + 1 if problem.integral else middle
    return best


def _longest_cut(intervals: Intervals, limit: float) -> Ints | None:
    """Intervals as long as a limit of their weight allows, but for the last ones."""
    sums, cut = intervals.weight_sums, [0]
    for _ in range(intervals.problem.num_stages):
        cut.append(int(np.searchsorted(sums, sums[cut[-1]] + limit, side="right")) - 1)
    if cut[-1] < len(sums) - 1:
        return None
    return np.minimum(cut, intervals.last_stops)  # stages at the end must not be empty


def _cut_within(intervals: Intervals, limit: float) -> Ints | None:
    """A cut that keeps a limit of the weight, and the constraints."""
    problem = intervals.problem
    everything = np.arange(len(intervals.order) + 1)
    furthest = _furthest(intervals.weight_sums, limit)
    open_places = [everything == 0]
    stops = []
    for stage in range(problem.num_stages):
        stop = furthest
        if problem.rooms is not None:
            stop = np.minimum(stop, _furthest(intervals.byte_sums, problem.rooms[stage]))
        stops.append(stop)
        starts = np.flatnonzero(open_places[-1] & (stop > everything))
        opened = np.zeros(len(everything) + 1, np.int64)
        np.add.at(opened, starts + 1, 1)
        np.add.at(opened, stop[starts] + 1, -1)
        first, last = intervals.first_stops[stage + 1], intervals.last_stops[stage + 1]
        near = (everything >= first) & (everything <= last)
        open_places.append((np.cumsum(opened)[:-1] > 0) & near)
    if not open_places[-1][-1]:
        return None
    cut = [len(everything) - 1]
    for stage in reversed(range(problem.num_stages)):
        starts = np.flatnonzero(open_places[stage][: cut[0]] & (stops[stage][: cut[0]] >= cut[0]))
        cut.insert(0, int(starts[-1]))
    return np.array(cut)


def _furthest(sums: Floats, limit: float) -> Ints:
    """The last position up to which each interval keeps a limit. int64 [num_items + 1]."""
    return np.searchsorted(sums, sums + limit, side="right") - 1
