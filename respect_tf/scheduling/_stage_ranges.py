"""Which stages an item can have in any schedule that keeps a cost limit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools, Floats, Problem

# All pairs of items take one byte each; beyond, only what needs no closure is known.
# benchmarks constants: half and twice the same.
_MAX_CLOSURE_ITEMS = 8192


class StageRanges(NamedTuple):
    """The stages from `first` to `last` of each item, both included. int64 [num_items] each."""

    first: Ints
    last: Ints


def closure_of(problem: Problem) -> Bools:
    """The items that each needs, itself too. bool [num_items, num_items]."""
    needs = np.eye(problem.num_items, dtype=bool)
    for item, before in enumerate(problem.predecessors):
        if before:
            needs[item] |= needs[before].any(axis=0)
    return needs


def stage_ranges(problem: Problem, limit: float) -> StageRanges:
    """Ranges that hold every allowed schedule whose linear cost is at most `limit`, if finite.

    What an item needs runs in its stage or before, and no stage may be empty: that takes a number
    of items and, where each stage keeps the limit, a number of stages for their weight. The same
    holds for what needs the item.
    """
    num_items, num_stages = problem.num_items, problem.num_stages
    first, last = np.zeros(num_items, np.int64), np.full(num_items, num_stages - 1, np.int64)
    if problem.restrictions is not None:
        first, last = problem.restrictions.earliest, problem.restrictions.latest
    if num_items > _MAX_CLOSURE_ITEMS:
        return StageRanges(first, last)
    needs = closure_of(problem)
    before = needs.sum(axis=1)  # the item itself counts
    after = needs.sum(axis=0)
    first = np.maximum(first, num_stages - 1 - (num_items - before))
    last = np.minimum(last, num_items - after)
    if problem.combine == "max" and limit > 0:
        if not problem.integral:
            limit *= 1 + 1e-9
        weight_before = np.array([problem.weights[row].sum() for row in needs])
        weight_after = np.array([problem.weights[column].sum() for column in needs.T])
        first = np.maximum(first, _stages_for(weight_before, limit) - 1)
        last = np.minimum(last, num_stages - _stages_for(weight_after, limit))
    return StageRanges(first, last)


def _stages_for(weights: Floats, limit: float) -> Ints:
    """How many stages weights fill; the rounding of a quotient to nearest never adds one."""
    counts: Ints = np.maximum(np.ceil(weights / limit), 1).astype(np.int64)
    return counts
