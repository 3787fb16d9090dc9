"""Order ideals whose weight lies in a window: the candidates for one boundary."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import numpy.typing as npt

from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools, Floats, Problem

# So many bits of ideals are looked at together.
_FEW_CELLS = 1 << 21

# Properties of `Ideals` with a row per ideal.
_PER_IDEAL = {"counts", "op_sums", "output_sums", "output_weight_sums", "byte_sums", "waiting"}

# Properties that do not depend on what stages cost; sums are known by the values added up.
_ANY_OBJECTIVE = {"counts", "waiting", "tensors", "_prefixes", "_known_sums", "_known_counts"}


@dataclasses.dataclass(frozen=True, eq=False)
class Ideals:
    """Sets of items that hold, with an item, all that it needs. They differ in few items only.

    Attributes:
        problem: The problem.
        always: bool [num_items], items in every one of the ideals.
        never: bool [num_items], items in none of them.
        free: int64 [num_free], the other items, ascending.
        packed: uint8 [num_ideals, ceil(num_free / 8)], which free items each ideal holds, lowest
            bit first.
    """

    problem: Problem
    always: Bools
    never: Bools
    free: Ints
    packed: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.packed)

    def select(self, rows: npt.NDArray[np.generic]) -> Ideals:
        """Some of the ideals. `rows` are indices or a mask."""
        fewer = dataclasses.replace(self, packed=self.packed[rows])
        # What is known of the ideals by now is known of these.
        for name in _PER_IDEAL & self.__dict__.keys():
            fewer.__dict__[name] = self.__dict__[name][rows]
        if "_known_sums" in self.__dict__:
            known = self._known_sums.items()
            fewer.__dict__["_known_sums"] = {key: sums[rows] for key, sums in known}
        if "_prefixes" in self.__dict__:
            fewer.__dict__["_prefixes"] = self._prefixes_of(rows)
        if "tensors" in self.__dict__:
            fewer.__dict__["tensors"] = self.tensors
        if "merged" in self.__dict__:
            before, after, crossing = self.merged
            fewer.__dict__["merged"] = before[rows], after[rows], crossing[rows]
        return fewer

    def of(self, problem: Problem) -> Ideals:
        """The same ideals for a problem that differs in its objective only."""
        other = dataclasses.replace(self, problem=problem)
        for name in _ANY_OBJECTIVE & self.__dict__.keys():
            other.__dict__[name] = self.__dict__[name]
        return other

    def members(self, items: Ints, rows: Ints | slice = slice(None)) -> Bools:
        """Whether the ideals hold the items. bool [num_ideals, num_items_asked]."""
        # Item by item in memory, which is much faster to fill and to combine.
        packed = np.ascontiguousarray(self.packed[rows].T)
        result = np.empty((len(items), packed.shape[1]), bool)
        result[:] = self.always[items][:, None]
        is_free = np.flatnonzero(~(self.always[items] | self.never[items]))
        bit = np.searchsorted(self.free, items[is_free])
        result[is_free] = (packed[bit >> 3] >> (bit & 7).astype(np.uint8)[:, None]) & 1
        held: Bools = result.T
        return held

    def sums(self, values: Floats) -> Floats:
        """Sum of a value per item over each ideal. [num_ideals]."""
        key = values.tobytes()
        if key not in self._known_sums:
            self._known_sums[key] = self._sums(values)
        return self._known_sums[key]

    @functools.cached_property
    def _known_sums(self) -> dict[bytes, Floats]:
        return {}  # what bounds ask for again and again

    def _sums(self, values: Floats) -> Floats:
        weights = values[self.free]
        result = np.full(len(self), float(values[self.always].sum()))
        if not weights.any():
            return result
        if len(self) * len(values) <= _FEW_CELLS:
            first, rows, items = self._prefixes
            result = np.append(0.0, np.cumsum(values))[first]
            result += np.bincount(rows, values[items], len(self))
            return result
        step = max(1, (1 << 22) // max(1, len(self.free)))
        for top in range(0, len(self), step):
            bits = np.unpackbits(
                self.packed[top : top + step], axis=1, count=len(self.free), bitorder="little"
            )
            result[top : top + step] += bits @ weights
        return result

    @functools.cached_property
    def _prefixes(self) -> tuple[Ints, Ints, Ints]:
        """Ideals as a number of first items, and what else they hold, which is little for most.

        Returns:
            int64 [num_ideals], how many of the first items are all there; and rows and items of
            the others, int64 [num_others] each, by rows.
        """
        places = np.arange(self.problem.num_items)
        members = self.members(places).T  # [num_items, num_ideals]
        lacking = ~members * np.arange(len(places), 0, -1, dtype=np.int32)[:, None]
        first = len(places) - lacking.max(axis=0, initial=0)
        others = members & (places.astype(np.int32)[:, None] > first)
        return first.astype(np.int64), *np.nonzero(others.T)

    def _prefixes_of(self, which: npt.NDArray[np.generic]) -> tuple[Ints, Ints, Ints]:
        """`_prefixes` of some of the ideals, which may come repeatedly."""
        first, rows, items = self._prefixes
        chosen = np.arange(len(self))[which]
        starts = np.searchsorted(rows, np.arange(len(self) + 1))
        counts = np.diff(starts)[chosen]
        shift = np.repeat(starts[chosen] - (np.cumsum(counts) - counts), counts)
        return (
            first[chosen],
            np.repeat(np.arange(len(chosen)), counts),
            items[shift + np.arange(len(shift))],
        )

    def level_counts(self, values: Floats) -> tuple[Floats, Ints]:
        """How many items each ideal holds of the largest values.

        Args:
            values: [num_items].

        Returns:
            The distinct values, falling, and the number of items of each or a larger one: int64
            [num_levels, num_ideals].
        """
        key = values.tobytes()
        if key not in self._known_counts:
            levels, level_of = np.unique(-values, return_inverse=True)
            first, rows, items = self._prefixes
            counts = np.zeros((len(levels), len(values) + 1), np.int64)
            counts[level_of, np.arange(1, len(values) + 1)] = 1
            counts = np.cumsum(counts, axis=1)[:, first]
            others = np.bincount(level_of[items] * len(self) + rows, minlength=counts.size)
            counts += others.reshape(counts.shape)
            self._known_counts[key] = -levels, np.cumsum(counts, axis=0)
        return self._known_counts[key]

    @functools.cached_property
    def _known_counts(self) -> dict[bytes, tuple[Floats, Ints]]:
        return {}

    @functools.cached_property
    def counts(self) -> Floats:
        """Number of items in each ideal. [num_ideals]."""
        return self.sums(np.ones(self.problem.num_items))

    @functools.cached_property
    def op_sums(self) -> Floats:
        """Op costs of each ideal. [num_ideals]."""
        return self.sums(self.problem.op_costs)

    @functools.cached_property
    def output_sums(self) -> Floats:
        """Bytes of the model's outputs that each ideal makes. [num_ideals]."""
        return self.sums(self.problem.output_bytes)

    @functools.cached_property
    def output_weight_sums(self) -> Floats:
        """What the outputs of the model that each ideal makes weigh. [num_ideals]."""
        return self.sums(self.problem.output_weights)

    @functools.cached_property
    def byte_sums(self) -> Floats:
        """Parameter bytes of each ideal, where stages have limited room. [num_ideals]."""
        restrictions = self.problem.restrictions
        return np.zeros(len(self)) if restrictions is None else self.sums(restrictions.item_bytes)

    @functools.cached_property
    def tensors(self) -> Ints:
        """Tensors that may be made, or given, before a boundary here and read after it."""
        problem = self.problem
        maker = problem.tensor_items
        made = (maker < 0) | ~self.never[maker]
        unread = ~np.logical_and.reduceat(
            np.append(self.always[problem.reader_items], True), problem.reader_offsets
        )[:-1]
        return np.flatnonzero(made & unread)

    @functools.cached_property
    def waiting(self) -> Bools:
        """Which of `tensors` are made and have a reader outside. bool [num_ideals, len]."""
        maker = self.problem.tensor_items[self.tensors]
        waiting = self.unread(self.tensors).T
        inner = np.flatnonzero(maker >= 0)
        waiting[inner] &= self.members(maker[inner]).T
        result: Bools = waiting.T
        return result

    def unread(self, tensors: Ints) -> Bools:
        """Which tensors have a reader outside. bool [num_ideals, len(tensors)]."""
        readers, starts = self.problem.readers_of(tensors)
        tensor_of = np.repeat(np.arange(len(tensors)), np.diff(np.append(starts, len(readers))))
        surely = np.zeros(len(tensors), bool)
        surely[tensor_of[self.never[readers]]] = True
        result = np.repeat(surely[:, None], len(self), axis=1)
        # One by one, the readers that tell ideals apart.
        left = np.flatnonzero(~(surely[tensor_of] | self.always[readers]))
        while len(left):
            _, first = np.unique(tensor_of[left], return_index=True)
            result[tensor_of[left[first]]] |= ~self.members(readers[left[first]]).T
            left = np.delete(left, first)
        unread: Bools = result.T
        return unread

    @functools.cached_property
    def merged(self) -> tuple[Floats, Floats, Floats]:
        """What all before and all after each ideal would cost as one stage.

        Returns:
            Cost before, cost after, and crossing bytes of both together. Each [num_ideals].
        """
        problem = self.problem
        sizes = problem.tensor_bytes
        waiting = sizes[self.tensors]
        kept = waiting * problem.tensor_leaves[self.tensors]
        moved = self.waiting @ np.stack([waiting, kept], axis=1)
        entering_after, leaving_before = moved.T.astype(np.float64)
        is_input = problem.tensor_items < 0
        inputs = np.flatnonzero(is_input)
        readers, starts = problem.readers_of(inputs)
        entering_before = np.zeros(len(self))
        if len(inputs):
            entering_before += (
                np.logical_or.reduceat(self.members(readers), starts, axis=1) @ sizes[inputs]
            )
        leaving_before += self.output_sums
        leaving_after = problem.output_bytes.sum() - self.output_sums
        ops_after = problem.op_costs.sum() - self.op_sums
        return (
            problem.cost(self.op_sums, entering_before, leaving_before),
            problem.cost(ops_after, entering_after, leaving_after),
            entering_before + leaving_before + entering_after + leaving_after,
        )

    def within(self, k: int, limit: float) -> Bools:
        """Which ideals a schedule within a cost limit can have after k stages. [num_ideals]."""
        problem = self.problem
        before, after, _ = self.merged
        limit += problem.slack
        if problem.combine == "max":
            near = (before <= k * limit) & (after <= (problem.num_stages - k) * limit)
        else:
            near = before + after <= limit
        if problem.rooms is not None and problem.restrictions is not None:
            least, most = problem.restrictions.boundary_bytes(k)
            near &= (self.byte_sums >= least) & (self.byte_sums <= most)
        result: Bools = near
        return result
