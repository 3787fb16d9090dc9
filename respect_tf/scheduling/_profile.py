"""`"profile"`: bisection on measured segment times."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np

from respect_tf._errors import ArgumentError
from respect_tf._reals import is_real
from respect_tf.scheduling._answers import Answer, answer_of
from respect_tf.scheduling._compiler import compiler_stages, partition_order
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._measure import Measure
from respect_tf.scheduling._problem import Problem

# Targets closer than this part of the time that is too short are one: timers are no better.
_TOLERANCE = 1e-3


def solve_profile(problem: Problem, deadline: float, measure: Measure | None = None) -> Answer:
    """Cut the compiler's order so that the slowest measured segment is as fast as possible.

    Begins with the cut of `"compiler"` and bisects on a target time between its fastest and its
    slowest segment. For each target, each segment but the last is the longest that meets it; the
    target can be met if the last one meets it, too. This is libcoral's profiling based partitioner,
    except that the longest segment is found by bisection as well instead of op by op, which takes
    some tens of measurements instead of thousands and gives the same where more ops never take
    less time; and that segments may hold outputs of the model, which a later one returns.

    The result is the partition whose slowest segment was measured fastest, never a slower one than
    the compiler's. Its time is no part of the answer: cost and bound are the objective's.

    Raises:
        ArgumentError: There is no `measure`, or it returned something else than a time.
    """
    if not callable(measure):
        raise ArgumentError(
            'scheduler="profile" needs a function that times a segment: '
            "measure(segment_ops) -> milliseconds, for example measure_on_cpu(model) of "
            f"respect_tf.run. Received: measure={measure!r}."
        )
    stages = compiler_stages(problem)
    if problem.num_stages == 1:
        return answer_of(problem, stages)
    order, _ = partition_order(problem)
    stopwatch = _Stopwatch(problem, order, measure)
    cut = np.searchsorted(stages[order], np.arange(problem.num_stages + 1))
    times = stopwatch.times(cut)
    low, high = min(times), max(times)
    while high - low > _TOLERANCE * low and time.perf_counter() < deadline:
        target = (low + high) / 2
        found = _longest_segments(stopwatch, problem.num_stages, target, deadline)
        slowest = math.inf if found is None else max(stopwatch.times(found))
        if found is not None and slowest < high:
            cut, high = found, slowest
        if slowest > target:
            low = target
    stages[order] = np.repeat(np.arange(problem.num_stages), np.diff(cut))
    return answer_of(problem, stages)


def _longest_segments(
    stopwatch: _Stopwatch, num_stages: int, target: float, deadline: float
) -> Ints | None:
    """Positions, ends included, of segments as long as a target time allows; the last is the rest.

    int64 [num_stages + 1], or `None` if a segment of one op is too slow or time is up.
    """
    cut = [0]
    for stage in range(num_stages - 1):
        # The longest that meets the target is at least `stop`, and shorter than `beyond`.
        stop, beyond = cut[-1], stopwatch.num_items - (num_stages - 1 - stage) + 1
        while beyond - stop > 1:
            if time.perf_counter() > deadline:
                return None
            middle = (stop + beyond) // 2
            if stopwatch.time(cut[-1], middle) <= target:
                stop = middle
            else:
                beyond = middle
        if stop == cut[-1]:
            return None
        cut.append(stop)
    return np.array([*cut, stopwatch.num_items])


class _Stopwatch:
    """Measures each segment of an order once."""

    def __init__(self, problem: Problem, order: Ints, measure: Measure) -> None:
        self.num_items = len(order)
        position = np.empty(self.num_items, np.int64)
        position[order] = np.arange(self.num_items)
        self._position = position[problem.item_of]  # [num_ops]
        self._measure = measure
        self._known: dict[tuple[int, int], float] = {}

    def time(self, start: int, stop: int) -> float:
        """Milliseconds of the segment from one position to another."""
        if (start, stop) not in self._known:
            ops = np.flatnonzero((self._position >= start) & (self._position < stop))
            measured = self._measure(ops)
            if not is_real(measured) or not (math.isfinite(measured) and measured >= 0):
                raise ArgumentError(
                    f"measure returned {measured!r} for the segment of the ops "
                    f"{ops[:8].tolist()}{'...' if len(ops) > 8 else ''}. Expected milliseconds, a "
                    "finite number, 0 or more."
                )
            self._known[start, stop] = float(measured)
        return self._known[start, stop]

    def times(self, cut: Ints) -> list[float]:
        """Milliseconds of each segment of a partition."""
        return [self.time(start, stop) for start, stop in itertools.pairwise(cut.tolist())]
