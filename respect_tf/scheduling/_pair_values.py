"""What stages cost whose costs are dear to compute: bounds, and values where they are asked for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.scheduling._chain import Budget
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._linear_bound import LOOSER
from respect_tf.scheduling._objective import Objective
from respect_tf.scheduling._problem import Floats
from respect_tf.scheduling._stage_batch import Nodes, Pairs

# Milliseconds, or whatever an objective counts, are told apart down to this many binary places, so
# that sums do not depend on the order. Costs that differ by less are equal.
_PLACES = 40

# A value takes as long as so many pairs: 9 to 10 us where many are asked for, and a pair 0.07 to
# 0.16, by seven models in 6 stages on one host and on all with USB 3. That bounds what a proof asks
# for: 400,000 values, 4 s.
_VALUE_WORK = 100

# Pairs that are looked at together: with all of 320,000 on 20 hosts, a limit of 0.5 s is overrun by
# 0.3 s.
_TOGETHER = 1 << 15


class PairValues:
    """Costs and loads of pairs.

    Attributes:
        pairs: The pairs.
        costs: What each costs, at least. [num_pairs].
        loads: What each adds to the load that all stages share, at least. [num_pairs].
        streamed: Bytes of parameters that each streams, at least. [num_pairs].
        known: Whether these are the values. [num_pairs].
        rounding: Costs of chains that differ by less are equal.
    """

    def __init__(self, nodes: Nodes, pairs: Pairs, budget: Budget) -> None:
        self._nodes, self._budget = nodes, budget
        self._objective = nodes.problem.objective
        self.pairs = pairs
        costs, loads, streamed, _ = self._bounds(pairs, closely=False)
        num_stages = nodes.problem.num_stages
        largest = max(1.0, float(costs.max(initial=0)), float(loads.max(initial=0)))
        self._places = min(_PLACES, 50 - math.frexp(largest * num_stages)[1])
        self.rounding = math.ldexp(num_stages, -self._places)
        self.costs, self.loads = self._rounded(costs, loads, down=True)
        self.streamed = streamed
        self.known = np.zeros(len(pairs), bool)

    def drop_above(self, limit: float) -> None:
        """Forget the pairs of which no chain keeps a limit."""
        near = (self.costs <= limit) & (self.loads <= limit)
        self.pairs = self.pairs.select(near)
        self.costs, self.loads, self.known = self.costs[near], self.loads[near], self.known[near]
        self.streamed = self.streamed[near]

    def look_closely(self, which: Ints) -> None:
        """Better bounds for some pairs."""
        which = which[~self.known[which]]
        if len(which) == 0:
            return
        *bounds, streamed, exact = self._bounds(self.pairs.select(which), closely=True)
        costs, loads = self._rounded(*bounds, down=True)
        self.streamed[which] = np.maximum(self.streamed[which], streamed)
        self.costs[which] = np.maximum(self.costs[which], costs)
        self.loads[which] = np.maximum(self.loads[which], loads)
        found = which[exact]
        self.costs[found], self.loads[found] = self._rounded(*(part[exact] for part in bounds))
        self.known[found] = True

    def ask(self, which: Ints) -> None:
        """Put true values in the place of bounds."""
        which = which[~self.known[which]]
        if len(which) == 0:
            return
        self._budget.spend_pairs(_VALUE_WORK * len(which))
        batch = self._nodes.batch(self.pairs.select(which))
        *values, self.streamed[which] = self._objective.batch_values(batch)
        self.costs[which], self.loads[which] = self._rounded(*values)
        self.known[which] = True

    def _bounds(self, pairs: Pairs, *, closely: bool) -> list[npt.NDArray[Any]]:
        """What `Objective.batch_bounds` gives, part by part, as long as there is time."""
        parts = []
        for first in range(0, max(1, len(pairs)), _TOGETHER):
            self._budget.check_time()
            batch = self._nodes.batch(pairs.select(slice(first, first + _TOGETHER)))
            parts.append(self._objective.batch_bounds(batch, closely=closely))
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    def _rounded(self, costs: Floats, loads: Floats, *, down: bool = False) -> list[Floats]:
        turn, factor = (np.floor, LOOSER) if down else (np.rint, 1.0)
        return [
            np.ldexp(turn(np.ldexp(part * factor, self._places)), -self._places)
            for part in split_costs(self._objective, costs, loads)
        ]


def split_costs(objective: Objective, costs: Floats, loads: Floats) -> tuple[Floats, Floats]:
    """Costs and loads as a search has them: costs that are added up are loads and nothing else."""
    return (np.zeros_like(costs), costs) if objective.combine == "sum" else (costs, loads)
