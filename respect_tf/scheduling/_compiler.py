"""`"compiler"`: how `edgetpu_compiler --num_segments` cuts; `"profile"`: how measured times do.

The rules are those of the two partitioners in libcoral (Apache-2.0, coral/tools/partitioner),
which were written anew here: by the count of parameters, and by profiles.
"""

from __future__ import annotations

import collections
import itertools
import math
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf._reals import is_real
from respect_tf.scheduling._answers import Answer, answer_of
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._measure import Measure
from respect_tf.scheduling._problem import Problem

# Targets closer than this part of the time that is too short are one: timers are no better.
_TOLERANCE = 1e-3


def solve_compiler(problem: Problem, deadline: float) -> Answer:
    """Cut the depth-first order where the average of parameter bytes would be passed.

    The target is total bytes / stages + 1. A stage takes ops while it stays within the target, but
    leaves one op for each later stage, and all ops that make outputs to the last, which takes the
    rest. The objective does not matter.

    Where that has no valid answer, and the partitioner aborts, as little as possible is changed:
    ops that must share a stage count as one op; an op above the target gets a stage of its own; and
    where too few ops come before the first output, stages of one op reach beyond it.
    """
    del deadline
    return answer_of(problem, compiler_stages(problem))


def compiler_stages(problem: Problem) -> Ints:
    """The stages that the rule gives. int64 [num_items]."""
    num_items, num_stages = problem.num_items, problem.num_stages
    order, first_output = partition_order(problem)
    sizes = _parameter_bytes(problem)[order].tolist()
    total = sum(sizes)
    target = (total // num_stages if isinstance(total, int) else total / num_stages) + 1
    stages = np.full(num_items, num_stages - 1)
    place = 0
    for stage in range(num_stages - 1):
        begin, filled = place, 0
        last = max(first_output - (num_stages - 2 - stage), stage + 1)
        while place < last and (place == begin or filled + sizes[place] <= target):
            filled += sizes[place]
            place += 1
        stages[order[begin:place]] = stage
    return stages


def partition_order(problem: Problem) -> tuple[Ints, int]:
    """The order in which the partitioner cuts, and where outputs begin.

    Depth first: the op that became ready last comes next, of several at once the one that is last
    in the file. Ops that nobody reads wait until nothing else is ready.
    The position is that of the first item that makes an output of the model or that nobody reads.
    """
    successors: list[list[int]] = [[] for _ in range(problem.num_items)]
    waiting = [0] * problem.num_items
    rank = np.argsort(problem.stage_order)  # items in the order of the file
    edges = problem.edges[np.argsort(rank[problem.edges[:, 1]], kind="stable")]
    for before, after in edges.tolist():
        successors[before].append(after)
        waiting[after] += 1
    stack = collections.deque(item for item in problem.stage_order.tolist() if not waiting[item])
    order: list[int] = []
    while stack:
        item = stack.pop()
        order.append(item)
        for after in successors[item]:
            waiting[after] -= 1
            if waiting[after] == 0:
                (stack.append if successors[after] else stack.appendleft)(after)
    ends = {item for item, row in enumerate(successors) if not row}
    makers = problem.graph.producer[problem.graph.model_outputs]
    ends.update(problem.item_of[makers[makers >= 0]].tolist())
    return np.array(order, np.int64), next(i for i, item in enumerate(order) if item in ends)


def _parameter_bytes(problem: Problem) -> npt.NDArray[Any]:
    """Parameter bytes of the items; those of custom ops, which run on no TPU, do not count."""
    graph = problem.graph
    sizes = np.zeros(problem.num_items, graph.parameter_bytes.dtype)
    custom = np.array([kind.startswith("CUSTOM:") for kind in graph.op_types])
    np.add.at(sizes, problem.item_of, np.where(custom, 0, graph.parameter_bytes))
    return sizes


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
