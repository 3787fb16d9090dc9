"""`"compiler"`: how `edgetpu_compiler --num_segments` cuts, for comparison.

The rule is that of the parameter count based partitioner in libcoral (Apache-2.0,
coral/tools/partitioner), which was written anew here.
"""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.scheduling._answers import Answer, answer_of
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Problem


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

    Returns:
        int64 [num_items], and the position of the first item that makes an output of the model or
        that nobody reads.
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
