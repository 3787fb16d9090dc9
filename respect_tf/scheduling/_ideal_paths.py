"""The chains of candidates that complete search finds, and the best of those of the same cost."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.scheduling._chain import Budget
from respect_tf.scheduling._ideal_arrays import ALWAYS, Candidates, Stage, Wires
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._pace import spend, work_left
from respect_tf.scheduling._problem import Bools, Floats, Problem


@dataclasses.dataclass(frozen=True, eq=False)
class Chains:
    """The best chains up to each candidate.

    Attributes:
        boundaries: The candidates.
        best: The least cost up to each candidate, [num_candidates] for each boundary.
        origins: The candidate that each one comes from, for each boundary but the first.
        between: What `join` makes of each two boundaries.
    """

    boundaries: list[Candidates]
    best: list[Floats]
    origins: list[Ints]
    between: list[Stage]

    def stages(self) -> Ints:
        """Stages of the best chain. int64 [num_items]."""
        inner, place = self.boundaries[1:-1], 0
        stages = np.zeros(len(self.boundaries[0].places), np.int64)
        for ideals, origin in zip(reversed(inner), reversed(self.origins[1:]), strict=True):
            place = int(origin[place])
            stages += ~_members(ideals, place)
        return stages


def selected(ideals: Candidates, which: npt.NDArray[Any]) -> Candidates:
    """Some of the candidates, by indices or a mask."""
    return ideals._replace(
        sets=ideals.sets[which],
        waiting=ideals.waiting[which],
        numbers=ideals.numbers[which],
    )


def advance_within(
    wires: Wires,
    boundaries: tuple[Candidates, Candidates],
    stage: Stage,
    best: Floats,
    limits: tuple[float, float],
    budget: Budget,
    *,
    is_sum: bool = False,
    by_crossing: bool = False,
) -> tuple[Floats, Ints]:
    """`advance` with the work that is left of a budget.

    Args:
        wires: The problem.
        boundaries: Candidates before and after the stage.
        stage: What `join` makes of them.
        best: What the former cost, or the bytes that cross up to them.
        limits: What a stage may cost, and the bytes it has room for.
        budget: What may be used.
        is_sum: Whether the costs of stages are added up.
        by_crossing: Whether crossing bytes are what counts.

    Raises:
        BudgetExceededError: The budget did not last.
    """
    from respect_tf.scheduling._ideal_chains import advance

    most = work_left(budget)
    count, reached, origin = advance(
        wires, *boundaries, stage, best, is_sum, by_crossing, *limits, most
    )
    spend(budget, count, most)
    return reached, origin


def least_crossing_stages(
    problem: Problem, wires: Wires, rooms: Floats, chains: Chains, limit: float, max_pairs: float
) -> Ints:
    """Of all chains within a cost limit, that of fewest crossing bytes, then of smallest stages.

    Args:
        problem: The problem.
        wires: Likewise.
        rooms: Bytes that each stage has room for.
        chains: All chains within the limit.
        limit: The limit.
        max_pairs: Pairs of candidates that may be looked at.

    Returns:
        int64 [num_items], the lexicographically smallest.

    Raises:
        BudgetExceededError: There are too many pairs.
    """
    budget, crossings = Budget(work=max_pairs), [np.zeros(1)]
    pairs = itertools.pairwise(chains.boundaries)
    for boundaries, stage, room in zip(pairs, chains.between, rooms, strict=True):
        reached, _ = advance_within(
            wires, boundaries, stage, crossings[-1], (limit, room), budget, by_crossing=True
        )
        crossings.append(reached)
    return _smallest_stages(problem, _best_pairs(wires, rooms, chains, crossings, limit), chains)


def _best_pairs(
    wires: Wires, rooms: Floats, chains: Chains, crossings: list[Floats], limit: float
) -> list[tuple[Ints, Ints]]:
    """The pairs of candidates that chains of fewest crossing bytes have, for each stage."""
    from respect_tf.scheduling._ideal_chains import best_pairs

    wanted = np.zeros(1, np.int64)
    pairs: list[tuple[Ints, Ints]] = []
    for k in reversed(range(len(chains.between))):
        rows, columns = best_pairs(
            wires,
            *chains.boundaries[k : k + 2],
            chains.between[k],
            *crossings[k : k + 2],
            wanted,
            limit,
            rooms[k],
        )
        pairs.insert(0, (rows, columns))
        wanted = np.unique(rows)
    return pairs


def _smallest_stages(problem: Problem, pairs: list[tuple[Ints, Ints]], chains: Chains) -> Ints:
    """The lexicographically smallest stages of chains that are made of some pairs.

    Of two chains that meet in an ideal, the smaller before it stays the smaller whatever
    follows: keeping the smallest chain up to each candidate is enough.
    """
    order = problem.stage_order
    stages = {0: np.zeros(problem.num_items, np.int64)}  # so far, up to each candidate
    for k, (rows, columns) in enumerate(pairs, start=1):
        least: dict[int, Ints] = {}
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            so_far = least.get(column)
            if so_far is None or tuple(stages[row][order]) < tuple(so_far[order]):
                least[column] = stages[row]
        if k < len(pairs):
            ideals = chains.boundaries[k]
            least = {place: row + ~_members(ideals, place) for place, row in least.items()}
        stages = least
    return stages[0]


def _members(ideals: Candidates, row: int) -> Bools:
    """Which items an ideal holds. bool [num_items]."""
    places = ideals.places
    bits = np.unpackbits(ideals.sets[row].view(np.uint8), bitorder="little").astype(bool)
    held: Bools = np.where(places >= 0, bits[np.maximum(places, 0)], places == ALWAYS)
    return held
