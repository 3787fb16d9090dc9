"""Chains of stages from a list of pairs: the least weights by dynamic programming, and ties."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable

import numpy as np

from respect_tf.scheduling._chain import Budget, BudgetExceededError
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._linear_bound import LOOSER
from respect_tf.scheduling._pair_values import PairValues
from respect_tf.scheduling._problem import Bools, Floats

Combine = Callable[[Floats, Floats], Floats]


class PairChains:
    """The pairs of nodes that each stage of a chain may be, and the chains of them.

    Attributes:
        num_nodes: Number of nodes; chains lead from the first to the last.
        stages: The pairs that each stage may be, indices, int64 [num_stage_pairs] each.
        rows: The first node of each of them, likewise.
        columns: The last node of each.
    """

    def __init__(self, num_nodes: int, rows: Ints, columns: Ints, stages: list[Ints]) -> None:
        self.num_nodes = num_nodes
        self.stages = stages
        self.rows = [rows[stage] for stage in stages]
        self.columns = [columns[stage] for stage in stages]

    def within(self, costs: Floats, limit: float) -> PairChains:
        """The chains whose stages keep a limit; costs are [num_pairs]."""
        return self.only([costs[stage] <= limit for stage in self.stages])

    def only(self, masks: list[Bools]) -> PairChains:
        """The chains of some of the pairs of each stage."""
        fewer = copy.copy(self)
        fewer.stages, fewer.rows, fewer.columns = (
            [part[mask] for part, mask in zip(parts, masks, strict=True)]
            for parts in (self.stages, self.rows, self.columns)
        )
        return fewer

    def least(self, weights: Floats, combine: Combine) -> float:
        """The least weight of a chain."""
        return float(self.forward(weights, combine)[-1][-1])

    def forward(self, weights: Floats, combine: Combine) -> list[Floats]:
        """The least weight of a chain up to each node, after each number of stages."""
        reached = [np.full(self.num_nodes, np.inf)]
        reached[0][0] = 0.0
        for stage, rows, columns in zip(self.stages, self.rows, self.columns, strict=True):
            best = np.full(self.num_nodes, np.inf)
            np.minimum.at(best, columns, combine(reached[-1][rows], weights[stage]))
            reached.append(best)
        return reached

    def completions(self, weights: Floats, combine: Combine) -> list[Floats]:
        """The least weight of a chain that has each pair as its stage. Like `stages`.

        Pairs of each stage are sorted by rows.
        """
        before, result = self.forward(weights, combine), []
        after = np.full(self.num_nodes, np.inf)
        after[-1] = 0.0
        for k in reversed(range(len(self.stages))):
            rows, columns = self.rows[k], self.columns[k]
            rest = combine(weights[self.stages[k]], after[columns])
            result.append(combine(before[k][rows], rest))
            after = np.full(self.num_nodes, np.inf)
            if len(rows):
                starts = np.append(0, np.flatnonzero(np.diff(rows)) + 1)
                after[rows[starts]] = np.minimum.reduceat(rest, starts)
        return result[::-1]

    def lightest_path(self, weights: Floats) -> Ints | None:
        """Pairs of a chain whose weights add up to least; `None` if there is no chain."""
        before = self.forward(weights, np.add)
        node = self.num_nodes - 1
        if not np.isfinite(before[-1][node]):
            return None
        path = []
        for k in reversed(range(len(self.stages))):
            here = np.flatnonzero(self.columns[k] == node)
            sums = before[k][self.rows[k][here]] + weights[self.stages[k][here]]
            last = here[np.argmin(sums)]
            path.append(self.stages[k][last])
            node = int(self.rows[k][last])
        return np.array(path[::-1])

    def optimum(self, costs: Floats, loads: Floats, upper: float) -> float:
        """The least of max(the largest cost, the sum of the loads), `upper` if none is below it.

        Chains that keep a limit of stage costs have the less load the higher it is: bisection finds
        where the two meet.
        """
        least = self.least(costs, np.maximum)
        limits = np.unique(np.concatenate([costs[stage] for stage in self.stages]))
        limits = np.append(limits[(limits >= least) & (limits < upper)], upper)

        def load(index: int) -> float:
            return self.within(costs, limits[index]).least(loads, np.add)

        low, high = 0, len(limits) - 1  # the highest keeps itself
        while low < high:
            middle = (low + high) // 2
            if load(middle) <= limits[middle]:
                high = middle
            else:
                low = middle + 1
        best = float(limits[high])
        return min(best, load(high - 1)) if high > 0 else best


def best_pairs(
    chains: PairChains, values: PairValues, limit: float, num_rounds: int, budget: Budget
) -> Ints:
    """The best chain of all that keep a limit, which some chain keeps. int64 [num_stages], pairs.

    So many rounds, values may be asked for to find the fewest streamed bytes; where that is not
    enough, the chain with fewest crossing bytes is the best. Of equals, it is the first one.
    """
    crossing = values.pairs.entering + values.pairs.leaving
    for number in itertools.count():
        budget.check_time()
        chains = chains.within(values.costs, limit)
        if values.loads.any():
            loads = chains.completions(values.loads, np.add)
            chains = chains.only([part <= limit for part in loads])
        tight = chains
        for key in (values.streamed, crossing) if number < num_rounds else (crossing,):
            through = tight.completions(key, np.add)
            fewest = through[0].min(initial=np.inf) / LOOSER
            tight = tight.only([part <= fewest for part in through])
        path = tight.lightest_path(values.loads)
        if path is None or values.loads[path].sum() > limit:
            # Loads forbid the least keys, as in none of 691 ties (107 graphs on nine hosts and
            # links): the chain of least load has to do.
            path = chains.lightest_path(values.loads)
        if path is None:
            break
        if values.known[path].all():
            return path
        values.ask(path)
    raise BudgetExceededError
