"""Order ideals as rows of a table, all stages between two of them, and the bytes that move."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import numpy.typing as npt

from respect_tf.scheduling._chain import Budget
from respect_tf.scheduling._intervals import IntervalNodes
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools, Floats, Problem
from respect_tf.scheduling._stage_batch import Nodes, Pairs

# Ideals whose tensors are looked at together: few tensors wait in neighbours, and threads cost more
# than matrix products as small as these. With all ideals together, 132 proofs of fourteen models
# take 1.4 times as long.
# benchmarks constants: half and twice the same; a tenth 1.11 times the time; ten times the same.
_BLOCK_ROWS = 24
_ALL = slice(None)


@dataclasses.dataclass(frozen=True, eq=False)
class IdealNodes(Nodes):
    """Sets of items that hold, with an item, all that it needs: from nothing to everything.

    `rows` are the items of each, bool [num_ideals, num_items], fewest items first; `known` is what
    has been found out by ideal, whatever stages cost, sums by the values added up.
    """

    problem: Problem
    rows: Bools
    known: dict[bytes, npt.NDArray[np.generic]] = dataclasses.field(default_factory=dict)

    @classmethod
    def of_rows(cls, problem: Problem, rows: Bools) -> IdealNodes:
        """Ideals in any order, with the items of each, bool [num_ideals, num_items]."""
        return cls(problem, rows[np.argsort(rows.sum(axis=1), kind="stable")])

    def __len__(self) -> int:
        return len(self.rows)

    def pairs(self, allowed: Bools, budget: Budget) -> Pairs:
        budget.spend_pairs(len(self) ** 2)
        rows, columns = nested(self, allowed)
        return Pairs(rows, columns, *bytes_between(self, rows, columns, budget))

    def ends(self) -> tuple[Pairs, Pairs]:
        (entering, *waiting), outputs = self.amounts_outside
        inner, every = slice(1, -1), np.arange(len(self))
        before = [waits + made for waits, made in zip(waiting, outputs, strict=True)]
        after = [entering, *(made[-1] - made for made in outputs)]
        return (
            Pairs(0 * every, every, 0.0 * entering, *before).select(inner),
            Pairs(every, 0 * every + every[-1], *after).select(inner),
        )

    def select(self, which: Ints) -> IdealNodes:
        known = {key: values[which] for key, values in self.known.items()}
        return dataclasses.replace(self, rows=self.rows[which], known=known)

    def of(self, problem: Problem) -> IdealNodes:
        return dataclasses.replace(self, problem=problem)

    def few(self, count: int) -> IntervalNodes:
        return IntervalNodes(self.problem, np.arange(self.problem.num_items)).few(count)

    def sums(self, values: Floats) -> Floats:
        key = values.tobytes()
        if key not in self.known:
            self.known[key] = self.rows @ values
        found: Floats = self.known[key].astype(np.float64, copy=False)
        return found

    def members(self, nodes: Ints | slice = _ALL, items: Ints | slice = _ALL) -> Bools:
        return self.rows[nodes][:, items]

    def possible(self, boundary: int) -> Bools:
        problem, counts = self.problem, self.counts
        last = problem.num_items - problem.num_stages + boundary
        possible = (counts >= boundary) & (counts <= last)
        if problem.restrictions is not None:
            before, after = map(np.flatnonzero, problem.restrictions.boundary_items(boundary))
            possible &= self.rows[:, before].all(axis=1)
            possible &= ~self.rows[:, after].any(axis=1)
        return possible

    @property
    def counts(self) -> Floats:
        """Number of items in each ideal. [num_ideals]."""
        return self.sums(np.ones(self.problem.num_items))

    @property
    def waiting(self) -> Bools:
        """Tensors that are made, or given, and read outside. bool [num_ideals, num_tensors]."""
        if b"waiting" not in self.known:
            problem = self.problem
            made = (problem.tensor_items < 0) | self.rows[:, problem.tensor_items]
            if len(problem.tensor_items):
                read = self.rows[:, problem.reader_items]
                made &= ~np.logical_and.reduceat(read, problem.reader_offsets[:-1], axis=1)
            self.known[b"waiting"] = made
        found: Bools = self.known[b"waiting"].astype(bool, copy=False)
        return found

    @functools.cached_property
    def amounts_outside(self) -> tuple[Floats, list[Floats]]:
        """What waits outside each ideal, and what outputs of the model were made in it.

        Bytes that may enter, bytes that may leave and what these weigh, [3, num_ideals]; bytes of
        outputs and what these weigh.
        """
        problem = self.problem
        sizes, leaves = problem.tensor_bytes, problem.tensor_leaves
        amounts = np.stack([sizes, sizes * leaves, problem.tensor_weights * leaves], axis=1)
        outputs = [self.sums(problem.output_bytes), self.sums(problem.output_weights)]
        return (self.waiting @ amounts).T, outputs


def nested(ideals: IdealNodes, allowed: Bools) -> tuple[Ints, Ints]:
    """Ideals and larger ones that hold them, of the pairs that are allowed, by rows.

    Most are far apart: the items of one are all among the first ones, that the other has.
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
    ideals: IdealNodes, rows: Ints, columns: Ints, budget: Budget
) -> tuple[Floats, Floats, Floats]:
    """Bytes that enter and leave stages between ideals, and what leaves weighs. [num_pairs] each.

    What waits for readers after the earlier ideal enters, but for what no op of the stage reads;
    and what waits after the later one leaves, but for what was made before the stage. Both
    exceptions wait after both ideals, which is rare where these are far apart.
    """
    budget.check_cells(16 * len(ideals) ** 2)
    (entering, *waiting), outputs = ideals.amounts_outside
    unread, *made = _shared_sums(*_shared_features(ideals))
    return (
        entering[rows] - unread[rows, columns],
        *(
            waits[columns] - shared[rows, columns] + (sums[columns] - sums[rows])
            for waits, shared, sums in zip(waiting, made, outputs, strict=True)
        ),
    )


def _shared_features(ideals: IdealNodes) -> tuple[Bools, Floats]:
    """What two ideals share if a tensor waits after both, and is not read in between.

    Then as many of its readers are in both: none, if it has one reader. Bool [num_features,
    num_ideals]; and bytes of tensors that wait and are not read, and bytes and weights of those
    that were made before, float64 [3, num_features].
    """
    problem, waiting = ideals.problem, ideals.waiting.T
    sizes, leaves = problem.tensor_bytes, problem.tensor_leaves
    leaving = np.stack([sizes * leaves, problem.tensor_weights * leaves])
    num_readers = np.diff(problem.reader_offsets)
    features = [waiting]
    amounts = [np.concatenate([np.where(num_readers == 1, sizes, 0.0)[None], leaving])]
    several = np.flatnonzero(num_readers > 1)
    if len(several):
        readers, starts = problem.readers_of(several)
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


def closure_of(problem: Problem) -> Bools:
    """The items that each needs, itself too: least ideals. bool [num_items, num_items]."""
    needs = np.eye(problem.num_items, dtype=bool)
    for item, before in enumerate(problem.predecessors):
        if before:
            needs[item] |= needs[before].any(axis=0)
    return needs
