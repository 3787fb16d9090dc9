"""What the compiled search reads and changes: few arrays, because each one costs time to pass."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._local_state import network_of, state_of
from respect_tf.scheduling._problem import Floats, Problem

MODULUS = 2**31 - 1
"""Of Lehmer's random numbers, which are 1 to 2**31 - 2."""

# Columns of `Wiring.items`: where an item's rows in `Wiring.lists` begin, each followed by its end
# in the next column, and the stages that constraints leave it.
BEFORE, AFTER, READ, MADE, ROWS_END, EARLIEST, LATEST = range(7)
# Columns of `Wiring.tensors`: the item that makes it, or -1; whether it leaves its maker's stage
# if a later one reads it; how many items read it.
MAKER, LEAVES, READERS = range(3)
# Columns of `Wiring.amounts`.
OP_COST, OUTPUT, ROOM = range(3)
# Columns of `Layout.items`: its stage; how many items of the same stage it needs, and how many need
# it; where it is in the list of movable items, or -1.
STAGE, BEHIND, AHEAD, PLACE = range(4)
# Columns of `Layout.sums`, per stage.
OP_COSTS, ENTERING, LEAVING, FILLED, COUNT, LIMIT, VALUE = range(7)


class Wiring(NamedTuple):
    """What never changes.

    Attributes:
        items: int64 [num_items, 7].
        lists: int64, predecessors, successors, tensors read and tensors made of each item.
        tensors: int64 [num_tensors, 3].
        sizes: float64 [num_tensors], bytes.
        amounts: float64 [num_items, 3]: op cost, bytes of the model's outputs, and bytes that count
            against the room of a stage.
        rooms: float64 [num_stages].
    """

    items: Ints
    lists: Ints
    tensors: Ints
    sizes: Floats
    amounts: Floats
    rooms: Floats


class Layout(NamedTuple):
    """A schedule, the sums that its cost consists of, and which items can move.

    Attributes:
        items: int64 [num_items, 4].
        reading: int64 [num_tensors, num_stages + 1], items of each stage that read each tensor, and
            last the items in stages after the maker's.
        sums: float64 [num_stages, 7]: op costs, bytes that enter and leave, bytes that count
            against the room, number of items, the room, and a column for the search.
        movable: int64 [num_items + 1], items that can change their stage while all others stay;
            their number comes last.
    """

    items: Ints
    reading: Ints
    sums: Floats
    movable: Ints


def wiring_of(problem: Problem) -> Wiring:
    """The arrays of a problem."""
    network = network_of(problem)
    rows = (network.before, network.after, network.read, network.made)
    num_items = problem.num_items
    starts = np.stack([offsets[:-1] for offsets, _ in rows], axis=1)
    counts = np.stack([np.diff(offsets) for offsets, _ in rows], axis=1)
    ends = np.cumsum(counts).reshape(num_items, 4)
    begins = ends - counts
    lists = np.empty(int(counts.sum()), np.int64)
    for kind, (_, values) in enumerate(rows):
        shift = np.repeat(begins[:, kind] - starts[:, kind], counts[:, kind])
        lists[shift + np.arange(len(values))] = values
    return Wiring(
        items=np.column_stack([begins, ends[:, -1], network.earliest, network.latest]),
        lists=lists,
        tensors=np.column_stack(
            [network.makers, network.leaves, np.diff(problem.reader_offsets)]
        ).astype(np.int64),
        sizes=network.sizes,
        amounts=np.column_stack([network.op_costs, network.outputs, network.item_bytes]),
        rooms=network.rooms,
    )


def layout_of(problem: Problem, wiring: Wiring, stages: Ints) -> Layout:
    """The layout of a valid schedule of items."""
    state = state_of(problem, stages)
    before, after = problem.edges.T
    inner = stages[before] == stages[after]
    num_items, num_stages = problem.num_items, problem.num_stages
    behind = np.bincount(after[inner], minlength=num_items)
    ahead = np.bincount(before[inner], minlength=num_items)
    movable = ((ahead == 0) & (stages < wiring.items[:, LATEST])) | (
        (behind == 0) & (stages > wiring.items[:, EARLIEST])
    )
    listed = np.zeros(num_items + 1, np.int64)
    found = np.flatnonzero(movable)
    listed[: len(found)], listed[-1] = found, len(found)
    place = np.where(movable, np.cumsum(movable) - 1, -1)
    sums = (state.op_costs, state.entering, state.leaving, state.filled, state.num_items)
    return Layout(
        items=np.column_stack([state.stages, behind, ahead, place]).astype(np.int64),
        reading=np.column_stack([state.reading.reshape(-1, num_stages), state.later]),
        sums=np.column_stack([*sums, wiring.rooms, np.zeros(num_stages)]),
        movable=listed,
    )
