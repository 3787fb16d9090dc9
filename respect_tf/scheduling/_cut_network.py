"""What a boundary costs at least, as the capacity of a cut of a network.

A boundary after k stages is a set of items that holds, with an item, all that it needs. What the
stages before it cost together is at least a sum over items and over tensors that cross, and so is
what those after it cost. A weighted mean of the two is the capacity of a cut, so that its minimum
over all boundaries between two sets is a maximum flow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from respect_tf._exact_sums import on_grid
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._least_cut import Network
from respect_tf.scheduling._linear_bound import LinearBound
from respect_tf.scheduling._problem import Bools, Floats, Problem

# Capacities are whole numbers, in this part of what a stage may cost: so many that rounding them
# down costs a bound of a thousand ops some 1e-4, so few that their sums stay below 2**31;
# of more stages than 16, which add up, larger parts in proportion.
_UNITS = 1 << 24
_FEW_STAGES = 16
_ENDLESS = 1 << 30


@dataclasses.dataclass(frozen=True)
class Side:
    """One of the sums that bound a boundary: of a `LinearBound`, before it, after it or both."""

    bound: int
    before: float  # what each unit counts, 0 for a sum over the other side
    after: float
    rest: float  # what is added


class CutNetwork:
    """Sums over what is before and after the boundaries of a part, and where they are least.

    A part is what some successive stages hold: all items, or those between two boundaries. What an
    earlier part made is an input of it, and what a later one reads is an output.

    Attributes:
        problem: The problem.
        bounds: The sums of its objective, of a part but those over all stages.
        num_stages: Number of stages of the part.
        before: Items of earlier parts. bool [num_items].
        after: Items of later parts.
        needs: bool [num_items, num_items], the items that each needs, itself too.
    """

    def __init__(
        self,
        problem: Problem,
        bounds: Sequence[LinearBound],
        needs: Bools,
        part: tuple[Bools, Bools, int] | None = None,
    ) -> None:
        nothing = np.zeros(problem.num_items, bool)
        self.problem, self.needs = problem, needs
        self.before: Bools
        self.after: Bools
        self.before, self.after, self.num_stages = part or (nothing, nothing, problem.num_stages)
        self.bounds = [bound for bound in bounds if part is None or not bound.is_shared]
        self._find_tensors()
        self._lay_out()

    def part(self, before: Bools, after: Bools, num_stages: int) -> CutNetwork:
        """The network of some of the stages: what is before and after them is known."""
        return CutNetwork(self.problem, self.bounds, self.needs, (before, after, num_stages))

    def _find_tensors(self) -> None:
        """The tensors that wait at some boundary of the part, and what each adds to each bound."""
        graph, item_of = self.problem.graph, self.problem.item_of
        maker = np.where(graph.producer >= 0, item_of[graph.producer], -1)  # [num_tensors]
        is_source = maker >= 0
        is_source[graph.model_inputs] = True
        ops, tensors = (part.astype(np.int64) for part in graph.reads)
        reader = item_of[ops]
        leaves = graph.is_model_output & (maker >= 0)
        leaves[tensors[self.after[reader]]] = True  # a later part reads it
        is_given = (maker < 0) | self.before[maker]
        is_made = ~is_given & ~self.after[maker]
        outside = is_source[tensors] & (maker[tensors] != reader)
        outside &= ~self.before[reader] & ~self.after[reader]
        counts = np.logical_and.reduce([bound.counts for bound in self.bounds])
        every = _rows(tensors, reader, outside)
        waits = [(every, True, counts.all())]
        if not counts.all():
            waits.append((_rows(tensors, reader, outside & counts), False, True))
        found = np.concatenate([row[0] for row, _, _ in waits])
        ends = np.concatenate([np.diff(row[2]) for row, _, _ in waits])
        part = ~self.before & ~self.after
        made = np.flatnonzero(is_made & leaves)
        items = [
            np.bincount(item_of, bound.ops, len(part)) * part
            + np.bincount(maker[made], bound.leave[made], len(part))
            for bound in self.bounds
        ]
        repeats = self.num_stages + 1
        leaving = np.concatenate([np.full(len(row[0]), flag) for row, flag, _ in waits])
        entering = np.concatenate([np.full(len(row[0]), flag) for row, _, flag in waits])
        leaving = leaving & is_made[found] & ~leaves[found]
        leave = [leaving * bound.leave[found] for bound in self.bounds]
        enter = [entering * bound.enter[found] for bound in self.bounds]
        # What each item adds to each bound, 0 for those of other parts. [num_bounds, num_items].
        self._items: Floats = np.array([on_grid("bounds", row, 4) for row in items])
        self._all_items = self._items.sum(axis=1)
        # The item that makes each tensor, -1 for inputs of the part. [num_waits].
        self._makers: Ints = np.where(is_made[found], maker[found], -1)
        # What each adds if it is made before a boundary and read after it. [num_bounds, num_waits].
        self._leave: Floats = np.array([on_grid("bounds", row, repeats) for row in leave])
        # The same of the sum after the boundary.
        self._enter: Floats = np.array([on_grid("bounds", row, repeats) for row in enter])
        # Items that read each tensor, one after the other, and where those of each begin.
        self._readers: Ints = np.concatenate([row[1] for row, _, _ in waits])
        self._offsets: Ints = np.append(0, np.cumsum(ends))
        self._num_readers = ends
        # Which of the tensors are inputs that count where they enter.
        self._inputs: Ints = np.flatnonzero(~is_made[found] & entering)

    def _lay_out(self) -> None:
        """Nodes: items, both ends, and what several items read: tensors that wait, and inputs."""
        problem, inputs = self.problem, self._inputs
        num_items, is_shared = problem.num_items, self._num_readers > 1
        start, end = np.int64(num_items), np.int64(num_items + 1)
        each, reader = np.arange(num_items), self._readers[self._offsets[:-1]]
        wait = num_items + 1 + np.cumsum(is_shared)
        read = wait[-1:].max(initial=end) + np.cumsum(is_shared[inputs])
        row_of = np.repeat(np.arange(len(is_shared)), self._num_readers)
        of_shared = is_shared[row_of]
        of_input = of_shared & np.isin(row_of, inputs)
        place = np.searchsorted(inputs, row_of[of_input])
        arcs = [
            (each, np.full(num_items, end)),  # before the boundary
            (np.full(num_items, start), each),  # after it
            # Waits at it.
            (np.where(self._makers >= 0, self._makers, start), np.where(is_shared, wait, reader)),
            # An input that is read before it.
            (np.where(is_shared[inputs], read, reader[inputs]), np.full(len(inputs), end)),
            # All others are of no end.
            (wait[row_of[of_shared]], self._readers[of_shared]),
            (self._readers[of_input], read[place]),
            (problem.edges[:, 1], problem.edges[:, 0]),
        ]
        tails = np.concatenate([tail for tail, _ in arcs])
        heads = np.concatenate([head for _, head in arcs])
        self._network = Network(int(max(tails.max(), heads.max())) + 1, tails, heads)
        num_priced = sum(len(tail) for tail, _ in arcs[:4])
        self._priced, self._endless = np.split(self._network.places, [num_priced])
        # What a unit of the sum before, and of that after, costs there. [num_bounds, num_priced].
        nothing, entering = np.zeros_like(self._items), self._enter[:, inputs]
        self._before: Floats = np.hstack([self._items, nothing, self._leave, entering])
        self._after: Floats = np.hstack([nothing, self._items, self._enter, 0 * entering])

    @property
    def size(self) -> int:
        """Nodes and arcs: what a flow takes time in proportion to."""
        return self._network.size

    def sides(self, boundary: int) -> list[Side]:
        """The sums that no schedule's cost is below whose boundary after so many stages it is."""
        found = []
        rest = max(1, self.num_stages - boundary)
        for index, bound in enumerate(self.bounds):
            if bound.is_shared:
                found.append(Side(index, 1.0, 1.0, bound.rest * self.num_stages))
            else:
                found.append(Side(index, 1 / boundary, 0.0, bound.rest))
                found.append(Side(index, 0.0, 1 / rest, bound.rest))
        return found

    def values(self, sides: Sequence[Side], before: Bools) -> Floats:
        """All of the sums. [num_sides]."""
        num_read = np.diff(np.append(0, np.cumsum(before[self._readers]))[self._offsets])
        made = (self._makers < 0) | before[self._makers]
        waiting = (made & (num_read < self._num_readers)).astype(np.float64)
        # All amounts are on grids: the sums and products are exact.
        held = self._items @ before.astype(np.float64)
        read = self._enter[:, self._inputs] @ (num_read[self._inputs] > 0)
        sums_before = held + self._leave @ waiting + read
        sums_after = self._all_items - held + self._enter @ waiting
        return np.array(
            [
                side.before * sums_before[side.bound]
                + side.after * sums_after[side.bound]
                + side.rest
                for side in sides
            ]
        )

    def least(
        self, parts: Sequence[tuple[Side, float]], always: Bools, never: Bools, limit: float
    ) -> tuple[float, Bools]:
        """The boundary where a weighted mean of sums is least.

        Args:
            parts: Sums, and what each counts in the mean.
            always: Items that are before it, with all that they need. [num_items].
            never: Items that are after it, with all that need them. [num_items].
            limit: What matters no more; larger sums are told apart less well.

        Returns:
            A bound of the mean, and the items before the boundary, [num_items].
        """
        num_items = self.problem.num_items
        amounts, constant = np.zeros(len(self._priced)), 0.0
        for side, share in parts:
            amounts += share * side.before * self._before[side.bound]
            amounts += share * side.after * self._after[side.bound]
            constant += share * side.rest
        unit = limit * max(1.0, self.num_stages / _FEW_STAGES) / _UNITS
        prices = np.bincount(self._priced, amounts, self._network.num_places)
        capacities = np.minimum(prices / unit, _ENDLESS).astype(np.int32)
        capacities[self._endless] = _ENDLESS
        capacities[self._priced[:num_items][never]] = _ENDLESS
        capacities[self._priced[num_items : 2 * num_items][always]] = _ENDLESS
        flow, before_it = self._network.least_cut(capacities, num_items, num_items + 1)
        return constant + unit * flow, before_it[:num_items]


def _rows(tensors: Ints, items: Ints, which: Bools) -> tuple[Ints, Ints, Ints]:
    """Distinct tensors, distinct items that read each, one after the other, and their places."""
    width = int(items.max(initial=0)) + 1
    keys = np.unique(tensors[which] * width + items[which])
    found, starts = np.unique(keys // width, return_index=True)
    return found, keys % width, np.append(starts, len(keys))
