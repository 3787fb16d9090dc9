"""Stages that are intervals of an order: their costs, for all pairs of positions."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Floats, Problem


@dataclasses.dataclass(frozen=True, eq=False)
class Intervals:
    """Costs of the stages [start, stop) of an order of items.

    Which tensors enter or leave changes with start and stop at few places only: a tensor enters
    through its reader at position r for the starts after the reader (or maker) before it, up to r,
    and all stops after r; it leaves for all starts up to its maker p and the stops after p, up to
    its last reader. Each of these is a rectangle in the plane of (start, stop), and the bytes that
    cross are the sum of the rectangles over a point. Their number is linear in the graph's size.

    Attributes:
        problem: The problem.
        order: int64 [num_items], a topological order.
    """

    problem: Problem
    order: Ints

    @functools.cached_property
    def position(self) -> Ints:
        """Position of each item. int64 [num_items]."""
        position = np.empty(len(self.order), np.int64)
        position[self.order] = np.arange(len(self.order))
        return position

    @functools.cached_property
    def op_sums(self) -> Floats:
        """Op costs of the first items. [num_items + 1]."""
        return _sums(self.problem.op_costs[self.order])

    @functools.cached_property
    def output_sums(self) -> Floats:
        """Bytes of the model's outputs among the first items. [num_items + 1]."""
        return _sums(self.problem.output_bytes[self.order])

    @functools.cached_property
    def weight_sums(self) -> Floats:
        """Weights of the first items: what they add to any stage's cost. [num_items + 1]."""
        return _sums(self.problem.weights[self.order])

    @functools.cached_property
    def byte_sums(self) -> Floats:
        """Parameter bytes of the first items, where stages have limited room. [num_items + 1]."""
        restrictions = self.problem.restrictions
        if restrictions is None:
            return np.zeros(len(self.order) + 1)
        return _sums(restrictions.item_bytes[self.order])

    @functools.cached_property
    def first_stops(self) -> Ints:
        """The least position of each boundary: no stage is empty, and pins hold. [num_stages + 1].

        It may be above `last_stops`: then no cut of the order keeps the constraints.
        """
        num_items, num_stages = len(self.order), self.problem.num_stages
        stops = np.arange(num_stages + 1)
        stops[-1] = num_items
        if self.problem.restrictions is not None:
            for k in range(1, num_stages + 1):
                before, _ = self.problem.restrictions.boundary_items(k)
                stops[k] = max(
                    stops[k], stops[k - 1] + 1, self.position[before].max(initial=-1) + 1
                )
        return stops

    @functools.cached_property
    def last_stops(self) -> Ints:
        """The greatest position of each boundary. [num_stages + 1]."""
        num_items, num_stages = len(self.order), self.problem.num_stages
        stops = num_items - num_stages + np.arange(num_stages + 1)
        stops[0] = 0
        if self.problem.restrictions is not None:
            for k in reversed(range(1, num_stages)):
                _, after = self.problem.restrictions.boundary_items(k)
                least = self.position[after].min(initial=num_items)
                stops[k] = min(stops[k], stops[k + 1] - 1, least)
        return stops

    @functools.cached_property
    def rectangles(self) -> tuple[Ints, Floats, int]:
        """Bytes that cross, apart from the model's outputs.

        Returns:
            int64 [4, num_rectangles]: first and last start, first and last stop; bytes
            [num_rectangles]; and how many of the first ones are of tensors that enter, the others
            being of tensors that leave.
        """
        problem = self.problem
        num_items = len(self.order)
        offsets = problem.reader_offsets
        tensors = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        places = self.position[problem.reader_items]
        places = places[np.lexsort((places, tensors))]
        made_at = np.where(problem.tensor_items >= 0, self.position[problem.tensor_items], -1)
        before = np.concatenate([[0], places])[:-1]
        before[offsets[:-1]] = made_at
        entering = [before + 1, places, places + 1, np.full(len(places), num_items)]

        leaves = problem.tensor_leaves
        maker, last = made_at[leaves], places[offsets[1:] - 1][leaves]
        leaving = [np.zeros(len(maker), np.int64), maker, maker + 1, last]
        corners = np.concatenate([np.stack(entering), np.stack(leaving)], axis=1)
        sizes = np.concatenate([problem.tensor_bytes[tensors], problem.tensor_bytes[leaves]])
        return corners, sizes, len(places)

    @functools.cached_property
    def _leaving_weights(self) -> tuple[Ints, Floats, Floats]:
        """Rectangles of tensors that leave, what each weighs, and the sums of outputs."""
        corners, _, num_entering = self.rectangles
        weights = self.problem.tensor_weights[self.problem.tensor_leaves]
        return corners[:, num_entering:], weights, _sums(self.problem.output_weights[self.order])

    def stage_costs(self, starts: Ints, stops: Ints) -> tuple[Floats, Floats]:
        """Cost and crossing bytes of all stages between ascending positions.

        Returns:
            Cost, infinite where the stage is empty, and crossing bytes: both
            [num_starts, num_stops].
        """
        entering, leaving = self.bytes_moved(starts, stops)
        crossing = entering + leaving
        op_costs = self.op_sums[stops] - self.op_sums[starts][:, None]
        cost = self.problem.cost(op_costs, entering, leaving)
        return np.where(starts[:, None] < stops, cost, np.inf), crossing

    def bytes_moved(self, starts: Ints, stops: Ints) -> tuple[Floats, Floats]:
        """Bytes that enter and that leave stages between ascending positions.

        Returns:
            Both [num_starts, num_stops].
        """
        corners, sizes, num_entering = self.rectangles
        near = (
            (corners[1] >= starts[0])
            & (corners[0] <= starts[-1])
            & (corners[3] >= stops[0])
            & (corners[2] <= stops[-1])
        )
        kinds = np.flatnonzero(near)
        split = int(np.searchsorted(kinds, num_entering))
        corners, sizes = corners[:, kinds], sizes[kinds]
        outputs = self.output_sums[stops] - self.output_sums[starts][:, None]
        entering = _rectangle_sums(corners[:, :split], sizes[:split], starts, stops)
        leaving = _rectangle_sums(corners[:, split:], sizes[split:], starts, stops) + outputs
        return entering, leaving

    def all_moved(self, starts: Ints, stops: Ints) -> tuple[Floats, Floats, Floats]:
        """`bytes_moved`, and what leaves weighs. Each [num_starts, num_stops]."""
        corners, sizes, sums = self._leaving_weights
        weights = _rectangle_sums(corners, sizes, starts, stops)
        return *self.bytes_moved(starts, stops), weights + sums[stops] - sums[starts][:, None]


def _sums(values: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(values)])


def _rectangle_sums(corners: Ints, sizes: Floats, starts: Ints, stops: Ints) -> Floats:
    """Sum of the rectangles over each point of a grid. [num_starts, num_stops]."""
    height, width = len(starts) + 1, len(stops) + 1
    top = np.searchsorted(starts, corners[0])
    bottom = np.searchsorted(starts, corners[1], side="right")
    left = np.searchsorted(stops, corners[2])
    right = np.searchsorted(stops, corners[3], side="right")
    places = np.concatenate(
        [top * width + left, bottom * width + right, top * width + right, bottom * width + left]
    )
    signed = np.concatenate([sizes, sizes, -sizes, -sizes])
    grid = np.bincount(places, weights=signed, minlength=height * width).reshape(height, width)
    return grid.cumsum(axis=0).cumsum(axis=1)[:-1, :-1]
