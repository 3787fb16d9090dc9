"""`"slicing"`: the best cut of one topological order into intervals."""

from __future__ import annotations

import itertools
import math

import numpy as np

from respect_tf._errors import ScheduleError
from respect_tf.schedule._chain import Budget, Chain, reach
from respect_tf.schedule._intervals import IntervalBoundaries, Intervals
from respect_tf.schedule._items import Ints
from respect_tf.schedule._problem import Floats, Problem
from respect_tf.schedule._true_costs import with_true_costs

# Enough to bring any range of float64 down to one whole number, or to neighbours.
_MAX_BISECTIONS = 64

# Pairs of positions that are looked at one by one; beyond, a sweep narrows them down first.
_MAX_PAIRS = 10_000_000


def balanced_chain(problem: Problem, order: Ints) -> Chain:
    """The cut of an order whose heaviest stage is lightest, transfer apart. Fast and simple."""
    intervals = Intervals(problem, order)
    cut = _balanced_cut(intervals)
    cost, crossing = _cut_cost(intervals, cut)
    stages = np.searchsorted(cut, intervals.position, side="right") - 1
    return Chain(stages=stages, cost=cost, crossing=crossing)


def slice_items(problem: Problem, order: Ints) -> Chain:
    """The best schedule whose stages are intervals of an order.

    Its cost is the least there is. Ties are broken as `Reached.best_chain` does it, among all cuts
    or, where more than `_MAX_PAIRS` pairs of positions are left, among those with little crossing.

    Args:
        problem: The problem.
        order: int64 [num_items], a topological order.
    """
    intervals = Intervals(problem, order)
    cut = _balanced_cut(intervals)
    limit, crossing = _cut_cost(intervals, cut)
    positions = intervals.candidates(limit)
    if _num_pairs(positions) > _MAX_PAIRS and problem.linear.exact:
        if problem.linear.enter == problem.linear.leave == 0 and problem.combine == "max":
            # The balanced cut is the best, so boundaries that cross more bytes are out.
            few = intervals.merged[2] <= crossing
            positions = [row[few[row]] for row in positions]
        else:
            cut, positions = _sweep(intervals, cut)
            limit, crossing = _cut_cost(intervals, cut)
    if _num_pairs(positions) > _MAX_PAIRS:
        positions = _least_crossing(intervals, positions, cut)
    boundaries = with_true_costs(IntervalBoundaries(intervals, positions))
    budget = Budget(deadline=math.inf, ideals=0, pairs=10 * _MAX_PAIRS * problem.num_stages)
    reached = reach(boundaries, limit, budget)
    if reached is None:
        raise _lost_cut(limit)
    return reached.best_chain(budget, crossing if reached.total == limit else math.inf)


def _lost_cut(cost: float) -> ScheduleError:
    return ScheduleError(
        f"Slicing did not find a cut that is known, of cost {cost}. This is an error in "
        "respect_tf: please report it with the graph."
    )


def _num_pairs(positions: list[Ints]) -> int:
    return sum(len(rows) * len(columns) for rows, columns in itertools.pairwise(positions))


def _balanced_cut(intervals: Intervals) -> Ints:
    """Positions, ends included, that make the heaviest interval as light as possible.

    The weight of an interval is what its items add to any stage's cost, transfer apart. Bisection
    on the limit; for each limit, intervals as long as it allows.
    """
    problem = intervals.problem
    num_items, num_stages = len(intervals.order), problem.num_stages
    sums = intervals.op_sums + problem.linear.leave * intervals.output_sums

    def longest(limit: float) -> Ints:
        cut = [0]
        for _ in range(num_stages):
            cut.append(int(np.searchsorted(sums, sums[cut[-1]] + limit, side="right")) - 1)
        return np.array(cut)

    low = max(float(sums[-1]) / num_stages, float(np.diff(sums).max()))
    if problem.integral:
        low = float(math.ceil(low))
    high = max(float(sums[-1]), low)
    for _ in range(_MAX_BISECTIONS):
        middle = math.floor((low + high) / 2) if problem.integral else (low + high) / 2
        if longest(middle)[-1] == num_items:
            high = middle
        else:
            low = middle + 1 if problem.integral else middle
        if low >= high:
            break
    # Stages at the end must not be empty.
    latest = num_items - num_stages + np.arange(num_stages + 1)
    cut = np.minimum(longest(high), latest)
    cut[-1] = num_items
    return cut


def _cut_cost(intervals: Intervals, cut: Ints) -> tuple[float, float]:
    """Cost and crossing bytes of a cut."""
    boundaries = with_true_costs(
        IntervalBoundaries(intervals, [cut[k : k + 1] for k in range(len(cut))])
    )
    only = np.zeros(1, np.int64)
    parts = [boundaries.stage_costs(k, only, only, np.inf) for k in range(len(cut) - 1)]
    costs = [float(cost[0, 0]) for cost, _ in parts]
    total = max(costs) if intervals.problem.combine == "max" else sum(costs)
    return total, sum(float(crossing[0, 0]) for _, crossing in parts)


def _least_crossing(intervals: Intervals, positions: list[Ints], cut: Ints) -> list[Ints]:
    """Keep the positions that fewest bytes cross, and a cut, so that few pairs are left."""
    keep = math.isqrt(_MAX_PAIRS // len(positions))
    floor = intervals.merged[2]
    kept = []
    for row, place in zip(positions, cut, strict=True):
        few = row[np.argsort(floor[row], kind="stable")[:keep]]
        kept.append(np.union1d(few, [place]))
    return kept


def _sweep(intervals: Intervals, cut: Ints) -> tuple[Ints, list[Ints]]:
    """Bisect on the cost limit until few positions are left.

    Returns:
        The best cut found, and positions that hold every cut that costs no more.
    """
    from respect_tf.schedule._sweep import Sweep

    problem = intervals.problem
    forward, backward = Sweep(intervals), Sweep(intervals, backward=True)
    cut, best = _sampled_cut(intervals, cut)
    if problem.combine == "sum":
        return _trace(intervals, forward.reach(best + problem.slack)[0]), intervals.candidates(best)
    low, step = problem.lower_bound(), best / 1024
    limit = best
    while True:
        reached, beyond = forward.reach(limit + problem.slack)
        if np.isfinite(reached[-1, -1]):
            cut = min((cut, _trace(intervals, reached)), key=lambda cut: _cut_cost(intervals, cut))
            best = _cut_cost(intervals, cut)[0]
            backwards = np.isfinite(backward.reach(limit + problem.slack)[0])
            # Boundary k needs k stages before it and the others after it.
            open_places = np.isfinite(reached) & backwards[::-1, ::-1]
            positions = [
                row[open_places[k][row]] for k, row in enumerate(intervals.candidates(best))
            ]
            step *= 4
        else:
            low = beyond
        if _num_pairs(positions) <= _MAX_PAIRS or best - low <= 2 * problem.slack:
            return cut, positions
        # The sample is close to the best: look for it from above before bisecting.
        limit = max(best - step, (low + best) / 2)
        if problem.integral:
            limit = math.floor(limit)


def _sampled_cut(intervals: Intervals, cut: Ints) -> tuple[Ints, float]:
    """The best cut at evenly spaced positions, or the given one if it is better."""
    limit = _cut_cost(intervals, cut)[0]
    keep = math.isqrt(_MAX_PAIRS // len(cut))
    positions = [
        np.union1d(row[:: len(row) // keep + 1], [place])
        for row, place in zip(intervals.candidates(limit), cut, strict=True)
    ]
    budget = Budget(deadline=math.inf, ideals=0, pairs=10 * _MAX_PAIRS)
    reached = reach(IntervalBoundaries(intervals, positions), limit, budget)
    if reached is None:
        raise _lost_cut(limit)
    stages = reached.cheapest_chain(budget).stages[intervals.order]
    return np.searchsorted(stages, np.arange(len(cut))), reached.total


def _trace(intervals: Intervals, reached: Floats) -> Ints:
    """A cut that a sweep found, from its last position to its first."""
    cut = [len(intervals.order)]
    for k in reversed(range(1, intervals.problem.num_stages)):
        starts = np.flatnonzero(np.isfinite(reached[k][: cut[0]]))
        costs, _ = intervals.stage_costs(starts, np.array(cut[:1]))
        cut.insert(0, int(starts[np.argmin(reached[k][starts] + costs[:, 0])]))
    return np.array([0, *cut])
