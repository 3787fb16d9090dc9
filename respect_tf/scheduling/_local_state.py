"""What moves across stage borders read and change: arrays that compiled loops can take."""

from __future__ import annotations

import weakref
from typing import NamedTuple

import numpy as np

from respect_tf.scheduling._answers import stage_sums
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools, Floats, Problem


class Network(NamedTuple):
    """What never changes: rows of items and tensors, offsets first. Tensors as in `Problem`.

    Attributes:
        before: Predecessors of each item.
        after: Successors of each item.
        read: Tensors that each item reads and another one makes, or the model's input.
        made: Tensors that each item makes and others read.
        makers: int64 [num_tensors], -1 for inputs of the model.
        sizes: [num_tensors], bytes.
        leaves: bool [num_tensors], whether it leaves its maker's stage if a later one reads it.
        op_costs: [num_items].
        outputs: [num_items], bytes of the model's outputs.
        earliest: int64 [num_items], first stage that constraints allow.
        latest: int64 [num_items], last one.
        item_bytes: [num_items], what counts against `rooms`.
        rooms: [num_stages], the most bytes that constraints allow.
    """

    before: tuple[Ints, Ints]
    after: tuple[Ints, Ints]
    read: tuple[Ints, Ints]
    made: tuple[Ints, Ints]
    makers: Ints
    sizes: Floats
    leaves: Bools
    op_costs: Floats
    outputs: Floats
    earliest: Ints
    latest: Ints
    item_bytes: Floats
    rooms: Floats


class State(NamedTuple):
    """A schedule, and the sums that its cost consists of.

    Attributes:
        stages: int64 [num_items].
        num_items: int64 [num_stages], items in each stage.
        filled: [num_stages], what counts against `Network.rooms`.
        op_costs: [num_stages].
        entering: [num_stages], bytes.
        leaving: [num_stages], bytes.
        reading: int64 [num_tensors * num_stages], items of each stage that read each tensor.
        later: int64 [num_tensors], items in stages after the maker's that read it.
    """

    stages: Ints
    num_items: Ints
    filled: Floats
    op_costs: Floats
    entering: Floats
    leaving: Floats
    reading: Ints
    later: Ints


def network_of(problem: Problem) -> Network:
    """The arrays that moves need of a problem, made once."""
    found = _NETWORKS.get(problem)
    if found is None:
        found = _NETWORKS[problem] = _network(problem)
    return found


_NETWORKS: weakref.WeakKeyDictionary[Problem, Network] = weakref.WeakKeyDictionary()


def _network(problem: Problem) -> Network:
    num_items, num_tensors = problem.num_items, len(problem.tensor_bytes)
    tensors = np.repeat(np.arange(num_tensors), np.diff(problem.reader_offsets))
    made = np.flatnonzero(problem.tensor_items >= 0)
    limits, last = problem.restrictions, problem.num_stages - 1
    return Network(
        before=_rows(problem.edges[:, 1], problem.edges[:, 0], num_items),
        after=_rows(problem.edges[:, 0], problem.edges[:, 1], num_items),
        read=_rows(problem.reader_items, tensors, num_items),
        made=_rows(problem.tensor_items[made], made, num_items),
        makers=problem.tensor_items.astype(np.int64),
        sizes=problem.tensor_bytes,
        leaves=problem.tensor_leaves,
        op_costs=problem.op_costs,
        outputs=problem.output_bytes,
        earliest=np.zeros(num_items, np.int64) if limits is None else limits.earliest,
        latest=np.full(num_items, last) if limits is None else limits.latest,
        item_bytes=_item_bytes(problem),
        rooms=np.full(last + 1, np.inf) if problem.rooms is None else problem.rooms,
    )


def state_of(problem: Problem, stages: Ints) -> State:
    """The state of a schedule of items."""
    num_stages, num_tensors = problem.num_stages, len(problem.tensor_bytes)
    tensors = np.repeat(np.arange(num_tensors), np.diff(problem.reader_offsets))
    read_in = stages[problem.reader_items]
    made_in = np.where(problem.tensor_items >= 0, stages[problem.tensor_items], -1)
    reading = np.bincount(tensors * num_stages + read_in, minlength=num_tensors * num_stages)
    later = np.bincount(tensors[read_in > made_in[tensors]], minlength=num_tensors)
    op_costs, entering, leaving = stage_sums(problem, stages)
    return State(
        stages=stages.astype(np.int64),
        num_items=np.bincount(stages, minlength=num_stages).astype(np.int64),
        filled=np.bincount(stages, _item_bytes(problem), num_stages).astype(np.float64),
        op_costs=op_costs,
        entering=entering,
        leaving=leaving,
        reading=reading.astype(np.int64),
        later=later.astype(np.int64),
    )


def _item_bytes(problem: Problem) -> Floats:
    limits = problem.restrictions
    return np.zeros(problem.num_items) if limits is None else limits.item_bytes


def _rows(keys: Ints, values: Ints, count: int) -> tuple[Ints, Ints]:
    order = np.argsort(keys, kind="stable")
    counts = np.bincount(keys, minlength=count)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), values[order].astype(np.int64)
