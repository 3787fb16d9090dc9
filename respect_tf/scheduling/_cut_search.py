"""The cheapest places of a boundary, by branch and bound with minimum cuts."""

from __future__ import annotations

import heapq
import math

import numpy as np

from respect_tf.scheduling._cut_network import CutNetwork, Side
from respect_tf.scheduling._problem import Bools, Floats

# Flows for one set of boundaries: as many prices of the sum before against that after are tried.
# benchmarks constants: half and twice the same; a tenth +0.40 % cost (worst +2.0), -2 proofs,
#   +20.92 % gap, 1.28 times the time; ten times the same.
_MOST_FLOWS = 4
# A price is good enough where the bound can rise by no more than this part of it.
# benchmarks constants: half -1 proofs; twice +0.02 % cost, -0.20 % gap.
_CLOSE = 2e-3

_Price = tuple[Side, Side, float]  # two sums, and what the first one counts in their mean


class BoundarySearch:
    """The cheapest places of one boundary.

    Attributes:
        lower: No schedule costs less, whatever its other boundaries are.
        found: Boundaries that were come across, what is before each as bytes of bool [num_items],
            and what they cost at least.
        whole: Those of them that are in no part that is left.
        num_flows: Flows so far.
    """

    def __init__(self, network: CutNetwork, boundary: int, limit: float) -> None:
        self._network = network
        self._limit = limit
        self._sides = network.sides(boundary)
        self.found: dict[bytes, float] = {}
        self.whole: dict[bytes, float] = {}
        self.num_flows = 0
        # Parts, which are the boundaries between two sets, the cheapest and then the newest first:
        # what no schedule through one of them costs less than, a number, the sets, and a price.
        self._heap: list[tuple[float, int, Bools, Bools, _Price]] = []
        self._number = 0
        self._known: dict[bytes, Floats] = {}  # sums by what is before a boundary
        before, after = (
            next((side for side in self._sides if getattr(side, name)), self._sides[0])
            for name in ("before", "after")
        )
        share = boundary / network.num_stages
        self._push(0.0, network.before, network.after, (before, after, share))

    @property
    def is_complete(self) -> bool:
        """Whether `whole` holds every boundary of schedules that cost less than the limit."""
        return not self._heap

    @property
    def lower(self) -> float:
        """See the class."""
        least = min(self.whole.values(), default=math.inf)
        return min(least, self._heap[0][0] if self._heap else math.inf)

    def step(self) -> bool:
        """Divide the cheapest part. Returns whether there is more to do."""
        if not self._heap:
            return False
        low, _, always, never, price = heapq.heappop(self._heap)
        network = self._network
        bound, price, sets = self._bound(low, always, never, price)
        if bound > self._limit:
            return True
        free = ~(always | never)
        if not free.any():
            cost = float(self._values(always).max())
            if cost <= self._limit:
                self.whole[always.tobytes()] = cost
            return True
        item = _branch_item(free, sets)
        needed, needing = network.needs[item], network.needs[:, item]
        self._push(bound, always | needed, never, price)
        self._push(bound, always, never | needing, price)
        return True

    def _values(self, before: Bools) -> Floats:
        """All sums at a boundary. [num_sides]."""
        key = before.tobytes()
        if key not in self._known:
            self._known[key] = self._network.values(self._sides, before)
        return self._known[key]

    def _push(self, bound: float, always: Bools, never: Bools, price: _Price) -> None:
        self._number -= 1
        heapq.heappush(self._heap, (bound, self._number, always, never, price))

    def _bound(
        self, best: float, always: Bools, never: Bools, best_price: _Price
    ) -> tuple[float, _Price, list[Bools]]:
        """What the boundaries of a part cost at least, the price that says so, and some of them."""
        network = self._network
        before, after, share = best_price
        sets: list[Bools] = []
        values: list[Floats] = []
        ends: list[Floats] = []
        for _ in range(_MOST_FLOWS):
            parts = [(before, share), (after, 1.0 - share)]
            least, found = network.least(parts, always, never, self._limit)
            self.num_flows += 1
            if least > best:
                best, best_price = least, (before, after, share)
            if best > self._limit:
                break
            value = self._values(found)
            cost = float(value.max())
            if cost <= self._limit:
                self.found[found.tobytes()] = cost
            if cost <= best * (1 + _CLOSE):
                sets.append(found)
                break
            sets.append(found)
            values.append(value)
            highest = self._sides[int(value.argmax())]
            if highest.before:
                before = highest
            if highest.after:
                after = highest
            ends = ends or [self._values(always), self._values(~never)]
            top, bottom = (self._sides.index(side) for side in (before, after))
            lines = [(one[top], one[bottom]) for one in values + ends]
            share, most = _best_share(lines)
            if most <= best * (1 + _CLOSE):
                break
        return best, best_price, sets


def _best_share(lines: list[tuple[float, float]]) -> tuple[float, float]:
    """Where the least of some lines is highest between 0 and 1, and what it is there."""
    shares = {0.0, 1.0}
    for index, (top, bottom) in enumerate(lines):
        for other_top, other_bottom in lines[:index]:
            slope = (top - bottom) - (other_top - other_bottom)
            if slope:
                shares.add(min(1.0, max(0.0, (other_bottom - bottom) / slope)))

    def least(share: float) -> float:
        return min(share * top + (1 - share) * bottom for top, bottom in lines)

    best = max(sorted(shares), key=least)
    return best, least(best)


def _branch_item(free: Bools, sets: list[Bools]) -> int:
    """An item that cheap boundaries differ in; or one that is next to the cheapest."""
    differ = free.copy()
    if len(sets) > 1:
        every = np.array(sets)
        differ &= every.any(axis=0) & ~every.all(axis=0)
    if not differ.any():
        differ = free
    if len(sets) > 1 or not sets:
        places = np.flatnonzero(differ)
        return int(places[len(places) // 2])
    inside = np.flatnonzero(differ & sets[0])
    outside = np.flatnonzero(differ & ~sets[0])
    return int(inside[-1]) if len(inside) else int(outside[0])
