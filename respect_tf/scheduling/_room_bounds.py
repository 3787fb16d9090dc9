"""What streaming takes at least where it is known which ops a stage is sure to hold, and may hold.

The compiler gives room to the largest layers first. Of the layers that a stage surely holds, a part
from the largest on is therefore cached, then one finds no room, and from there on no more is cached
than that one asks for. What else the stage may hold adds no more than it has.
"""

from __future__ import annotations

import dataclasses
import math
import time

import numpy as np

from respect_tf.graph import masses_after, masses_before
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._linear_bound import LOOSER, LinearBound, RoomBound
from respect_tf.scheduling._problem import Floats, Problem
from respect_tf.scheduling._stage_batch import item_sums

# A limit is halved in on so often: without, lanes of 10,000 ops are 4.4 % above it in place of 3.4.
# benchmarks constants: half the same; twice 0.81 times the time.
_HALVINGS = 4


@dataclasses.dataclass(frozen=True, eq=False)
class StageSum:
    """A sum that no stage's cost is below.

    Attributes:
        items: What each item adds, [num_items].
        rests: What is added in each stage, [num_stages].
        room: What the rest is found by again, where it is known which ops a stage holds.
    """

    items: Floats
    rests: Floats
    room: RoomBound | None = None

    def narrowed(self, problem: Problem, earliest: Ints, latest: Ints) -> StageSum:
        """The same where each item is in one of some stages, int64 [num_items] each."""
        room = self.room
        if room is None:
            return self
        first, last = earliest[problem.item_of][room.layers], latest[problem.item_of][room.layers]
        saved = [
            _most_saved(
                room,
                np.flatnonzero((first == stage) & (last == stage)),
                np.flatnonzero((first <= stage) & (last >= stage) & (first < last)),
            )
            for stage in range(problem.num_stages)
        ]
        return dataclasses.replace(self, rests=np.maximum(self.rests, room.rest - np.array(saved)))


def stage_sums(problem: Problem) -> list[StageSum]:
    """Sums that no stage's cost is below: of ops, and of the model's outputs that they make.

    Those that others are never below are left out.
    """
    objective, graph = problem.objective, problem.graph
    every, rooms = np.ones(problem.num_stages), objective.room_bounds(graph)
    found = [
        StageSum(_with_outputs(problem, bound), bound.rest * every)
        for bound in objective.linear_bounds(graph)
        if not (bound.is_shared or (rooms and bound.rest < 0))
    ]
    for room in rooms:  # these say as much as sums that give back all room
        rest = room.rest - room.unit * room.tile_bytes
        found.append(StageSum(_with_outputs(problem, room), rest * every, room))
    kept: list[StageSum] = []
    for one in sorted(found, key=lambda one: -float(one.items.sum())):
        if not any(_covers(other, one) for other in kept):
            kept.append(one)
    return kept


def _covers(one: StageSum, other: StageSum) -> bool:
    """Whether the other one is nowhere higher: many hosts differ in their bus only."""
    units = [each.room and each.room.unit for each in (one, other)]
    is_above = (one.items >= other.items).all() and (one.rests >= other.rests).all()
    return units[0] == units[1] and bool(is_above)


def raised_bound(problem: Problem, cost: float, deadline: float = math.inf) -> float:
    """What no schedule costs less than, of those that cost no more than a known one.

    After the deadline, what is known by then.

    Each item needs what is before it, and is needed by what is after it: their sums say in which
    stages it can be, if no stage costs more than a limit, and that says what the stages cost at
    least. Where that is more than the limit, no schedule keeps it.
    """
    if time.perf_counter() > deadline:
        return 0.0
    sums = stage_sums(problem)
    if not any(one.room for one in sums):
        return 0.0
    masses = [
        (masses_before(problem.links, one.items), masses_after(problem.links, one.items))
        for one in sums
    ]
    low, high = _least_mean(problem, sums, masses, cost, deadline), cost
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        found = _least_mean(problem, sums, masses, middle, deadline)
        low = max(low, found)
        high = high if found >= middle else middle
    return low


def _least_mean(
    problem: Problem,
    sums: list[StageSum],
    masses: list[tuple[Floats, Floats]],
    limit: float,
    deadline: float,
) -> float:
    """What the stages of a schedule cost in the mean that keeps a limit; the limit if none does."""
    num_stages, low = problem.num_stages, 0.0
    before_all = -1
    while time.perf_counter() < deadline:  # ranges only get narrower: it ends by itself
        earliest = np.zeros(problem.num_items, np.int64)
        latest = np.full(problem.num_items, num_stages - 1)
        for one, (before, after) in zip(sums, masses, strict=True):
            caps = limit / LOOSER - one.rests
            first = np.searchsorted(np.cumsum(caps), LOOSER * (before + one.items))
            last = np.searchsorted(np.cumsum(caps[::-1]), LOOSER * (after + one.items))
            earliest = np.maximum(earliest, first)
            latest = np.minimum(latest, num_stages - 1 - last)
        if (earliest > latest).any():
            return limit
        open_stages = int((latest - earliest).sum())
        if open_stages == before_all:
            return low
        before_all = open_stages
        sums = [one.narrowed(problem, earliest, latest) for one in sums]
        means = [(float(one.items.sum()) + float(one.rests.sum())) / num_stages for one in sums]
        low = min(limit, LOOSER * max(means))
    return low


def _with_outputs(problem: Problem, bound: LinearBound | RoomBound) -> Floats:
    """What each item adds to a bound, outputs of the model included, which leave any stage."""
    graph, ops = problem.graph, bound.ops.copy()
    made = np.unique(graph.model_outputs[graph.producer[graph.model_outputs] >= 0])
    np.add.at(ops, graph.producer[made], bound.leave[made])
    return item_sums(problem, ops)


def _most_saved(room: RoomBound, surely: Ints, maybe: Ints) -> float:
    """What caching saves at most in a stage that surely holds some layers, and maybe others.

    Both are indices, ascending: the largest layers come first.
    """
    tile, unit = room.tile_bytes, room.unit
    own = np.append(0, np.cumsum(room.sizes[surely]))
    count = int(np.searchsorted(own, tile, side="right"))  # parts of the first 0, 1, ... that fit
    saved = np.append(0.0, np.cumsum(room.saved[surely]))[:count]
    left = tile - own[:count]
    added = np.append(0, np.cumsum(room.sizes[maybe]))
    gained = np.append(0.0, np.cumsum(room.saved[maybe]))
    # The layer that finds no room, where there is one; others before it ask for as much or more.
    next_size = np.append(room.sizes[surely], 0)[:count]
    others = np.searchsorted(-room.sizes[maybe], -next_size, side="right")
    is_last = np.arange(count) == len(surely)
    others[is_last] = len(maybe)
    possible = is_last | (own[:count] + added[others] + next_size > tile)
    most = saved + np.minimum(gained[others], unit * left) + unit * np.minimum(next_size, left)
    return float(most[possible].max(initial=-math.inf)) if possible.any() else unit * tile
