"""Order ideals of a problem as rows of a table, and what is asked about all of them at once."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from respect_tf.scheduling._chain import IDEAL_WORK, Budget
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools, Floats, Problem
from respect_tf.scheduling._stage_batch import item_sums

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclasses.dataclass(frozen=True, eq=False)
class Ideals:
    """Sets of items that hold, with an item, all that it needs: from nothing to everything.

    Attributes:
        problem: The problem.
        rows: bool [num_ideals, num_items], the items of each; fewest items first.
        known: What has been found out by ideal, whatever stages cost; sums by the values added up.
    """

    problem: Problem
    rows: Bools
    known: dict[bytes, npt.NDArray[np.generic]] = dataclasses.field(default_factory=dict)

    @classmethod
    def of_rows(cls, problem: Problem, rows: Bools) -> Self:
        """Ideals in any order, with the items of each, bool [num_ideals, num_items]."""
        return cls(problem, rows[np.argsort(rows.sum(axis=1), kind="stable")])

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, which: npt.NDArray[np.generic]) -> Self:
        """Some of the ideals. `which` are indices or a mask."""
        known = {key: values[which] for key, values in self.known.items()}
        return dataclasses.replace(self, rows=self.rows[which], known=known)

    def of(self, problem: Problem) -> Self:
        """The same ideals for a problem that differs in its objective only."""
        return dataclasses.replace(self, problem=problem)

    def sums(self, values: Floats) -> Floats:
        """Sum of a value per item over each ideal. [num_ideals]."""
        key = values.tobytes()
        if key not in self.known:
            first, rows, items = self._prefixes
            sums = np.append(0.0, np.cumsum(values))[first]
            self.known[key] = sums + np.bincount(rows, values[items], len(self))
        found: Floats = self.known[key].astype(np.float64, copy=False)
        return found

    def op_sums(self, values: npt.NDArray[Any]) -> Floats:
        """See `Nodes`."""
        return self.sums(item_sums(self.problem, values))

    def holds(self, items: Ints) -> Bools:
        """See `Nodes`."""
        return self.rows[:, items]

    def members(self, nodes: Ints) -> Bools:
        """See `Nodes`."""
        return self.rows[nodes]

    @functools.cached_property
    def _prefixes(self) -> tuple[Ints, Ints, Ints]:
        """Ideals as a number of first items, int64 [num_ideals], and what else they hold: little.

        The others come as rows and items, int64 [num_others] each, by rows.
        """
        first = np.argmin(np.pad(self.rows, ((0, 0), (0, 1))), axis=1)
        others = self.rows & (np.arange(self.rows.shape[1]) > first[:, None])
        return first.astype(np.int64), *np.nonzero(others)

    @property
    def counts(self) -> Floats:
        """Number of items in each ideal. [num_ideals]."""
        return self.sums(np.ones(self.problem.num_items))

    def held_bytes(self) -> Floats:
        """Parameter bytes of each ideal, where stages have limited room. [num_ideals]."""
        restrictions = self.problem.restrictions
        return np.zeros(len(self)) if restrictions is None else self.sums(restrictions.item_bytes)

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


def list_ideals(problem: Problem, most: int, budget: Budget) -> Bools | None:
    """All ideals, whatever the constraints say; `None`, soon, if there are more than `most`.

    Returns:
        The items of each, bool [num_ideals, num_items].
    """
    levels = [0] * problem.num_items
    for item, row in enumerate(problem.predecessors):
        levels[item] = max((levels[other] + 1 for other in row), default=0)
    widths = np.minimum(np.bincount(levels), 60).tolist()
    # All items of a level can be added in any combination, once those of the levels before are in.
    if 1 + sum((1 << width) - 1 for width in widths) > most:
        return None
    needs = [sum(1 << other for other in row) for row in problem.predecessors]
    successors: list[list[int]] = [[] for _ in needs]
    for before, after in problem.edges.tolist():
        successors[before].append(after)
    # Each ideal is found once: items are added in ascending order, and what was passed over stays
    # out. Those with few items come first: the next ones are known, and counted, soonest.
    found = [(0, tuple(item for item, row in enumerate(needs) if not row))]
    for ideal, ready in found:  # it grows
        if len(found) + len(ready) > most:
            return None
        budget.spend_pairs(IDEAL_WORK)
        for index, item in enumerate(ready):
            larger = ideal | 1 << item
            added = [after for after in successors[item] if needs[after] & ~larger == 0]
            found.append((larger, (*ready[index + 1 :], *added)))
    return _bits([ideal for ideal, _ in found], problem.num_items)


def _bits(masks: list[int], num_bits: int) -> Bools:
    width = (num_bits + 7) // 8
    text = b"".join(mask.to_bytes(width, "little") for mask in masks)
    packed: npt.NDArray[np.uint8] = np.frombuffer(text, np.uint8).reshape(len(masks), width)
    return np.unpackbits(packed, axis=1, count=num_bits, bitorder="little").astype(bool)
