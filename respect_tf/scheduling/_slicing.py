"""`"slicing"`: the best cut of one topological order into intervals."""

from __future__ import annotations

import contextlib
import itertools
import math
import time

import numpy as np

from respect_tf._errors import ScheduleError
from respect_tf.scheduling._answers import with_load
from respect_tf.scheduling._bounded import BoundedObjective
from respect_tf.scheduling._chain import Budget, BudgetExceededError, Chain, reach
from respect_tf.scheduling._intervals import IntervalBoundaries, Intervals
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._pair_search import search_pairs
from respect_tf.scheduling._pairs import IntervalNodes
from respect_tf.scheduling._problem import Floats, Problem
from respect_tf.scheduling._true_costs import is_batched, with_true_costs

# Enough to bring any range of float64 down to one whole number, or to neighbours.
_MAX_BISECTIONS = 64

# Pairs of positions that are looked at one by one; beyond, a sweep narrows them down first.
_MAX_PAIRS = 10_000_000

# A sweep has to be loaded first, or compiled: not where less time is left.
_LOAD_SECONDS, _COMPILE_SECONDS = 1.0, 10.0

# Work, as `Budget` counts it: some seconds for an objective without `batch_costs` of its own.
_MAX_ASKING = 100_000_000

# Pairs in a sample of positions, for linear and for true costs.
_SAMPLE_PAIRS = 1_000_000
_TRUE_SAMPLE_PAIRS = 10_000


def balanced_chain(problem: Problem, order: Ints) -> Chain | None:
    """The cut of an order whose heaviest stage is lightest, transfer apart. Fast and simple.

    Returns:
        `None` if no cut of that order keeps the constraints.
    """
    intervals = Intervals(problem, order)
    cut = _balanced_cut(intervals)
    return None if cut is None else _chain_of(intervals, cut)


def slice_items(problem: Problem, order: Ints, deadline: float = math.inf) -> Chain:
    """The best schedule whose stages are intervals of an order.

    Its cost is the least there is, unless the deadline passes, or the objective has to be asked for
    one stage after the other and too many of them; then it is a good one. Ties are broken as
    `Reached.best_chain` does it, among all cuts or, where more than `_MAX_PAIRS` pairs of positions
    are left, among those with little crossing.

    Args:
        problem: The problem.
        order: int64 [num_items], a topological order.
        deadline: When to return the best cut so far, on `time.perf_counter()`'s clock in seconds.

    Raises:
        ScheduleError: No cut of that order keeps the constraints.
    """
    intervals = Intervals(problem, order)
    cut = _balanced_cut(intervals)
    if cut is None:
        raise ScheduleError(
            f"No cut of this order into {problem.num_stages} stages keeps the constraints. Another "
            'order may have one: scheduler="exact" looks at all of them.'
        )
    if isinstance(problem.objective, BoundedObjective):
        with contextlib.suppress(BudgetExceededError):
            found = search_pairs(IntervalNodes(problem, order), Budget(deadline)).chain
            if found is not None:
                return found
        return _chain_of(intervals, cut)
    asks_one_by_one = not problem.linear.exact and not is_batched(problem.objective)
    budget = Budget(deadline, _MAX_ASKING if asks_one_by_one else math.inf)
    cut, positions = _narrow(intervals, cut, budget)
    limit, crossing = _cut_cost(intervals, cut)
    try:
        boundaries = with_true_costs(IntervalBoundaries(intervals, positions), budget)
        reached = reach(boundaries, limit, budget)
        if reached is None:
            raise _lost_cut(limit)
        chain = reached.best_chain(budget, crossing if reached.total == limit else math.inf)
        return with_load(problem, chain)
    except BudgetExceededError:
        return _chain_of(intervals, cut)


def slice_below(problem: Problem, order: Ints, limit: float, deadline: float) -> Chain | None:
    """What `slice_items` finds, for objectives that can bound costs, or `None` if above a limit.

    Args:
        problem: The problem.
        order: int64 [num_items], a topological order.
        limit: Cuts that cost more are not looked at.
        deadline: After it, nothing is found.
    """
    with contextlib.suppress(BudgetExceededError):
        return search_pairs(
            IntervalNodes(problem, order), Budget(deadline), limit, settle=False
        ).chain
    return None


def _narrow(intervals: Intervals, cut: Ints, budget: Budget) -> tuple[Ints, list[Ints]]:
    """Find few positions that hold a best cut, where there are too many to look at each pair.

    Returns:
        A good cut and the positions.
    """
    problem = intervals.problem
    if not problem.linear.exact:
        cut = _sampled_cut(intervals, cut, _TRUE_SAMPLE_PAIRS, budget)
    limit, crossing = _cut_cost(intervals, cut)
    positions = intervals.candidates(limit)
    if _num_pairs(positions) > _MAX_PAIRS and problem.linear.exact:
        if problem.linear.enter == problem.linear.leave == 0 and problem.combine == "max":
            # The balanced cut is the best, so boundaries that cross more bytes are out.
            few = intervals.merged[2] <= crossing
            positions = [row[few[row]] for row in positions]
        else:
            cut, positions = _sweep(intervals, cut, budget)
    if _num_pairs(positions) > _MAX_PAIRS:
        positions = _least_crossing(intervals, positions, cut)
    return cut, positions


def _chain_of(intervals: Intervals, cut: Ints) -> Chain:
    cost, crossing = _cut_cost(intervals, cut)
    stages = np.searchsorted(cut, intervals.position, side="right") - 1
    return with_load(intervals.problem, Chain(stages=stages, cost=cost, crossing=crossing))


def _lost_cut(cost: float) -> ScheduleError:
    return ScheduleError(
        f"Slicing did not find a cut that is known, of cost {cost}. This is an error in "
        "respect_tf: please report it with the graph."
    )


def _num_pairs(positions: list[Ints]) -> int:
    return sum(len(rows) * len(columns) for rows, columns in itertools.pairwise(positions))


def _balanced_cut(intervals: Intervals) -> Ints | None:
    """Positions, ends included, that make the heaviest interval as light as possible.

    The weight of an interval is what its items add to any stage's cost, transfer apart. Bisection
    on the limit.

    Returns:
        `None` if no cut keeps the constraints.
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


def _cut_cost(intervals: Intervals, cut: Ints) -> tuple[float, float]:
    """Cost and crossing bytes of a cut."""
    boundaries = with_true_costs(
        IntervalBoundaries(intervals, [cut[k : k + 1] for k in range(len(cut))]), Budget()
    )
    only = np.zeros(1, np.int64)
    parts = [boundaries.stage_costs(k, only, only, np.inf) for k in range(len(cut) - 1)]
    costs = [float(cost[0, 0]) for cost, _ in parts]
    total = max(costs) if intervals.problem.combine == "max" else sum(costs)
    return total, sum(float(crossing[0, 0]) for _, crossing in parts)


def _least_crossing(intervals: Intervals, positions: list[Ints], cut: Ints) -> list[Ints]:
    """Keep the positions that fewest bytes cross, and a cut, so that few pairs are left."""
    keep = math.isqrt(_SAMPLE_PAIRS // len(positions))
    floor = intervals.merged[2]
    kept = []
    for row, place in zip(positions, cut, strict=True):
        few = row[np.argsort(floor[row], kind="stable")[:keep]]
        kept.append(np.union1d(few, [place]))
    return kept


def _sweep(intervals: Intervals, cut: Ints, budget: Budget) -> tuple[Ints, list[Ints]]:
    """Bisect on the cost limit until few positions are left.

    Returns:
        The best cut found, and positions that hold every cut that costs no more.
    """
    problem = intervals.problem
    cut = _sampled_cut(intervals, cut, _SAMPLE_PAIRS, budget)
    best = _cut_cost(intervals, cut)[0]
    positions = intervals.candidates(best)
    left = budget.deadline - time.perf_counter()
    if left < _LOAD_SECONDS:
        return cut, positions
    from respect_tf.scheduling._sweep import Sweep, is_soon_compiled

    if left < _COMPILE_SECONDS and not is_soon_compiled():
        return cut, positions
    try:
        forward = Sweep(intervals, budget)
        if problem.combine == "sum":
            cut = _trace(intervals, forward.reach(best + problem.slack)[0])
            return cut, intervals.candidates(_cut_cost(intervals, cut)[0])
        backward = Sweep(intervals, budget, backward=True)
        low, step, limit = problem.lower_bound(), best / 1024, best
        while True:
            reached, beyond = forward.reach(limit + problem.slack)
            if np.isfinite(reached[-1, -1]):
                traced = _trace(intervals, reached)
                cut = min((cut, traced), key=lambda cut: _cut_cost(intervals, cut))
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
    except BudgetExceededError:
        return cut, positions


def _sampled_cut(intervals: Intervals, cut: Ints, num_pairs: int, budget: Budget) -> Ints:
    """The best cut at evenly spaced positions, or the given one if it is better."""
    limit = _cut_cost(intervals, cut)[0]
    keep = math.isqrt(num_pairs // len(cut))
    positions = [
        np.union1d(row[:: len(row) // keep + 1], [place])
        for row, place in zip(intervals.candidates(limit), cut, strict=True)
    ]
    boundaries = with_true_costs(IntervalBoundaries(intervals, positions), budget)
    try:
        reached = reach(boundaries, limit, budget)
        if reached is None:
            raise _lost_cut(limit)
        stages = reached.cheapest_chain(budget).stages[intervals.order]
    except BudgetExceededError:
        return cut
    sampled: Ints = np.searchsorted(stages, np.arange(len(cut)))
    return sampled


def _trace(intervals: Intervals, reached: Floats) -> Ints:
    """A cut that a sweep found, from its last position to its first."""
    cut = [len(intervals.order)]
    for k in reversed(range(1, intervals.problem.num_stages)):
        starts = np.flatnonzero(np.isfinite(reached[k][: cut[0]]))
        part = IntervalBoundaries(intervals, [starts] * k + [starts, np.array(cut[:1])])
        costs, _ = part.stage_costs(k, np.arange(len(starts)), np.zeros(1, np.int64), np.inf)
        cut.insert(0, int(starts[np.argmin(reached[k][starts] + costs[:, 0])]))
    return np.array([0, *cut])
