"""All stages between order ideals of one list, and the bytes that move, pair by pair."""

from __future__ import annotations

import numpy as np

from respect_tf.scheduling._chain import Budget
from respect_tf.scheduling._ideals import Ideals
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools, Floats

# Ideals whose tensors are looked at together: few tensors wait in neighbours, and threads cost more
# than matrix products as small as these.
# benchmarks constants: half and twice the same.
_BLOCK_ROWS = 24


def nested(ideals: Ideals, allowed: Bools) -> tuple[Ints, Ints]:
    """Ideals and larger ones that hold them, of the pairs that are allowed, by rows.

    Most are far apart: the items of one are all among the first ones, that the other has.

    Returns:
        Rows and columns, int64 [num_pairs] each.
    """
    num_items = ideals.problem.num_items
    bits = ideals.rows.T  # [num_items, num_ideals]
    # In the narrowest type that holds them: there are as many as bits.
    places = np.arange(1, num_items + 1, dtype=np.min_scalar_type(-num_items - 1))[:, None]
    extent = (bits * places).max(axis=0)
    filled = num_items - (~bits * places[::-1]).max(axis=0)
    larger = allowed & (ideals.counts[:, None] < ideals.counts)
    near = larger & (extent[:, None] > filled)
    rows, columns = np.nonzero(near)
    words = np.zeros((len(ideals), (num_items + 63) // 64 * 8), np.uint8)
    packed = np.packbits(bits, axis=0)
    words[:, : len(packed)] = packed.T
    held = words.view(np.uint64).T
    inside = np.ones(len(rows), bool)
    for word, lacking in zip(held, ~held, strict=True):
        inside &= (word[rows] & lacking[columns]) == 0
    larger[rows, columns] = inside
    rows, columns = np.nonzero(larger)
    return rows, columns


def bytes_between(
    ideals: Ideals, rows: Ints, columns: Ints, budget: Budget
) -> tuple[Floats, Floats, Floats]:
    """Bytes that enter and leave stages between ideals, and what leaves weighs. [num_pairs] each.

    What waits for readers after the earlier ideal enters, but for what no op of the stage reads;
    and what waits after the later one leaves, but for what was made before the stage. Both
    exceptions wait after both ideals, which is rare where these are far apart.
    """
    problem = ideals.problem
    budget.check_cells(16 * len(ideals) ** 2)
    sizes, leaves = problem.tensor_bytes, problem.tensor_leaves
    leaving = np.stack([sizes * leaves, problem.tensor_weights * leaves])
    waiting = ideals.waiting @ np.concatenate([sizes[None], leaving]).T
    outputs = ideals.sums(problem.output_bytes), ideals.sums(problem.output_weights)
    unread, *made = _shared_sums(*_shared_features(ideals, sizes, leaving))
    return (
        waiting[rows, 0] - unread[rows, columns],
        *(
            waiting[columns, 1 + kind] - made[kind][rows, columns] + (sums[columns] - sums[rows])
            for kind, sums in enumerate(outputs)
        ),
    )


def _shared_features(ideals: Ideals, sizes: Floats, leaving: Floats) -> tuple[Bools, Floats]:
    """What two ideals share if a tensor waits after both, and is not read in between.

    Then as many of its readers are in both: none, if it has one reader. `leaving` are bytes and
    weights of tensors, 0 for those that leave no stage, [2, num_tensors].

    Returns:
        Features, bool [num_features, num_ideals]; and bytes of tensors that wait and are not read,
        and bytes and weights of those that were made before, float64 [3, num_features].
    """
    waiting = ideals.waiting.T
    num_readers = np.diff(ideals.problem.reader_offsets)
    features = [waiting]
    amounts = [np.concatenate([np.where(num_readers == 1, sizes, 0.0)[None], leaving])]
    several = np.flatnonzero(num_readers > 1)
    if len(several):
        readers, starts = ideals.problem.readers_of(several)
        index = np.repeat(np.arange(len(several)), num_readers[several])
        read = ideals.rows[:, readers].T.astype(np.int16)
        num_read = np.add.reduceat(read, starts, axis=0)[index]
        nth = (np.arange(len(readers)) - starts[index]).astype(np.int16)
        features.append(waiting[several[index]] & (num_read == nth[:, None]))
        amounts.append(np.stack([sizes[several[index]], *np.zeros((2, len(index)))]))
    return np.concatenate(features), np.concatenate(amounts, axis=1)


def _shared_sums(bits: Bools, amounts: Floats) -> Floats:
    """Sums of amounts over the features that two ideals share, the second no smaller.

    float64 [num_amounts, num_ideals, num_ideals].
    """
    some = np.flatnonzero(amounts.any(axis=0) & (bits.sum(axis=1) > 1))
    bits, amounts = bits[some], amounts[:, some, None]
    num_ideals = bits.shape[1]
    shared = np.zeros((len(amounts), num_ideals, num_ideals))
    for top in range(0, num_ideals, _BLOCK_ROWS):
        bottom = min(top + _BLOCK_ROWS, num_ideals)
        used = np.flatnonzero(bits[:, top:bottom].any(axis=1))
        here = bits[used, top:]  # ideals ascend in size
        columns = np.flatnonzero(here.any(axis=0))
        left = (here[:, : bottom - top] * amounts[:, used]).transpose(0, 2, 1)
        right = here[:, columns].astype(np.float64)
        shared[:, top:bottom, top + columns] = left @ right
    return shared
