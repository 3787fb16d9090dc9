"""What the compiled search over order ideals reads and returns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools, Floats

Words = npt.NDArray[np.uint64]

# Columns of `Candidates.numbers`: weight, number of items, op costs, bytes of the model's outputs
# and parameter bytes of an ideal; bytes that wait for a reader outside of it, and those of them
# that leave their maker's stage.
WEIGHT, COUNT, OP_COSTS, OUTPUTS, HELD, WAITING, LEAVING = range(7)
NUM_NUMBERS = 7

# Columns of `Wires.sums`: weight and number of an item and of all that it needs, and of an item and
# of all that need it.
BEFORE, NUM_BEFORE, AFTER, NUM_AFTER = range(4)

# Places of items that are in every candidate of a boundary, and of those that are in none.
ALWAYS, NEVER = -1, -2


class Wires(NamedTuple):
    """A problem in arrays; a `..._starts` has one number more than there are rows.

    Attributes:
        before_starts: Where the predecessors of each item begin in `before`.
        before: Predecessors.
        after_starts: Where the successors of each item begin in `after`.
        after: Successors.
        makers: int64 [num_tensors], -1 for inputs of the model.
        sizes: float64 [num_tensors], bytes.
        leaves: bool [num_tensors], whether it leaves its maker's stage if a later one reads it.
        reader_starts: Where the readers of each tensor begin in `readers`.
        readers: Items.
        weights: float64 [num_items], see `Problem.weights`.
        op_costs: float64 [num_items].
        outputs: float64 [num_items], bytes of the model's outputs.
        held: float64 [num_items], bytes that count against the rooms of stages.
        earliest: int64 [num_items], first stage that constraints allow.
        latest: int64 [num_items], last one.
        sums: float64 [num_items, 4], what `needed_sums` returns.
        rates: float64 [2], cost per byte that enters and per byte that leaves.
    """

    before_starts: Ints
    before: Ints
    after_starts: Ints
    after: Ints
    makers: Ints
    sizes: Floats
    leaves: Bools
    reader_starts: Ints
    readers: Ints
    weights: Floats
    op_costs: Floats
    outputs: Floats
    held: Floats
    earliest: Ints
    latest: Ints
    sums: Floats
    rates: Floats


class Candidates(NamedTuple):
    """Ideals that may be what is before a boundary.

    Attributes:
        places: int64 [num_items], `ALWAYS`, `NEVER`, or the item's place in `sets`.
        tensors: int64 [num_listed], tensors that wait for readers in some of them.
        sets: uint64 [num_candidates, words].
        waiting: uint64 [num_candidates, words], which of `tensors` wait.
        numbers: float64 [num_candidates, 7].
    """

    places: Ints
    tensors: Ints
    sets: Words
    waiting: Words
    numbers: Floats


class Stage(NamedTuple):
    """What candidates of two boundaries, one after the other, have in common.

    Attributes:
        inside: uint64 [num_rows, words], items in the earlier ideal that the later one may lack.
        outside: uint64 [num_columns, words], the same items that are in the later ideal.
        row_waiting: uint64 [num_rows, words], tensors that may wait after both ideals.
        column_waiting: uint64 [num_columns, words].
        row_reads: int64 [num_rows, num_shared], how many of its readers the ideal holds.
        column_reads: int64 [num_columns, num_shared].
        sizes: float64 [num_shared], bytes.
        leaves: bool [num_shared], see `Wires`.
        is_read: bool [num_shared], whether the stage between reads it in any case.
    """

    inside: Words
    outside: Words
    row_waiting: Words
    column_waiting: Words
    row_reads: Ints
    column_reads: Ints
    sizes: Floats
    leaves: Bools
    is_read: Bools
