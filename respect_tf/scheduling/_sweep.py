"""Where the boundaries of the best cuts of a large order can be, in near-linear time."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from respect_tf.scheduling._answers import answer_of
from respect_tf.scheduling._chain import BudgetExceededError, Chain, quality
from respect_tf.scheduling._compiled_search import sweep_order
from respect_tf.scheduling._intervals import Intervals
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools, Floats

# Steps of a cut that are made without narrowing further: some tenths of a second.
_MAX_STEPS = 30_000_000


def narrow(
    intervals: Intervals, known: Chain, deadline: float, most: float = math.inf
) -> tuple[Chain, Bools | None]:
    """Bisect on the cost limit, from a known cut on, until few positions are left.

    Cuts that cost more than `most` are of no use: where all do, one sweep shows it, and the known
    one is returned.

    Returns:
        The best cut found, and positions that hold every cut that costs no more,
        bool [num_stages + 1, num_items + 1]; `None` if no cut costs less, or time ran out.
    """
    problem = intervals.problem
    if known.cost <= problem.lower_bound() + problem.slack:
        return known, None
    forward = _sweep(intervals, deadline, backward=False)
    if problem.combine == "sum":
        traced = _traced(intervals, forward(known.cost)[0])
        return min(known, traced, key=quality), None
    backward = _sweep(intervals, deadline, backward=True)
    best, allowed = known, None
    low, step, limit = problem.lower_bound(), known.cost / 1024, min(known.cost, most)
    try:
        while True:
            reached, beyond = forward(limit)
            if np.isfinite(reached[-1, -1]):
                best = min(best, _traced(intervals, reached), key=quality)
                backwards = np.isfinite(backward(limit)[0])
                # Boundary k needs k stages before it and the others after it.
                allowed = np.isfinite(reached) & backwards[::-1, ::-1]
                if _num_steps(intervals, allowed, limit) <= _MAX_STEPS:
                    return best, allowed
                step *= 4
            elif limit == most:
                return best, None
            else:
                low = beyond
            if best.cost - low <= 2 * problem.slack:
                return best, None
            # Near the best cost first, and then by halves.
            limit = max(best.cost - step, (low + best.cost) / 2)
            if problem.integral:
                limit = math.floor(limit)
    except BudgetExceededError:
        return best, None


def _num_steps(intervals: Intervals, allowed: Bools, limit: float) -> int:
    """Steps of a cut that begins stages at the allowed positions only."""
    starts = np.flatnonzero(allowed[:-1].any(axis=0))
    sums = intervals.weight_sums
    stops = np.searchsorted(sums, sums[starts] + limit, side="right")
    return int((stops - starts).sum())


def _sweep(
    intervals: Intervals, deadline: float, *, backward: bool
) -> Callable[[float], tuple[Floats, float]]:
    """How far chains within a cost limit get, from the first item on or from the last.

    From the last, positions count from the end. See `sweep_order`, and for what it raises.
    """
    problem = intervals.problem
    corners, sizes, num_entering = intervals.rectangles
    num_items, num_stages = len(intervals.order), problem.num_stages
    sums, held = intervals.weight_sums, intervals.byte_sums
    first, last = intervals.first_stops, intervals.last_stops
    rooms = np.full(num_stages, np.inf) if problem.rooms is None else problem.rooms
    if backward:
        corners = num_items - corners[::-1]
        sums, held, rooms = sums[-1] - sums[::-1], held[-1] - held[::-1], rooms[::-1]
        first, last = num_items - last[::-1], num_items - first[::-1]
    costs = sizes * problem.linear.leave
    costs[:num_entering] = sizes[:num_entering] * problem.linear.enter
    kept = np.flatnonzero(costs)
    corners, costs = corners[:, kept], costs[kept]
    stops = np.concatenate([corners[2], corners[3] + 1])
    order = np.argsort(stops, kind="stable")
    events = (
        np.searchsorted(stops[order], np.arange(num_items + 2)),
        np.ascontiguousarray(np.concatenate([corners[:2], corners[:2]], axis=1)[:, order]),
        np.concatenate([costs, -costs])[order],
    )
    windows = (
        np.ascontiguousarray(first, np.int64),
        np.ascontiguousarray(last, np.int64),
        np.ascontiguousarray(rooms),
    )
    is_sum, slack = problem.combine == "sum", problem.slack
    given = events, (np.ascontiguousarray(sums), np.ascontiguousarray(held)), windows
    return lambda limit: sweep_order(*given, limit + slack, is_sum=is_sum, deadline=deadline)


def _traced(intervals: Intervals, reached: Floats) -> Chain:
    """A cut that a sweep found, from its last position to its first."""
    problem, held = intervals.problem, intervals.byte_sums
    stop, stages = len(intervals.order), np.zeros(len(intervals.order), np.int64)
    for k in reversed(range(1, problem.num_stages)):
        starts: Ints = np.flatnonzero(np.isfinite(reached[k][:stop]))
        if problem.rooms is not None:
            starts = starts[held[stop] - held[starts] <= problem.rooms[k]]
        costs = intervals.stage_costs(starts, np.array([stop]))
        stop = int(starts[np.argmin(reached[k][starts] + costs[:, 0])])
        stages[intervals.order[stop:]] += 1
    return answer_of(problem, stages).chain
