"""The best chain of stages whose costs are dear to compute, by bounds first.

A schedule costs max(the dearest stage, the sum of all stages' shared loads). Sums alone are the
case where stages cost nothing but their load. Bounds of all stages are cheap; true values are asked
for where a chain through the stage can still be as good as the best one known.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys

import numpy as np

from respect_tf._errors import ScheduleError
from respect_tf.scheduling._answers import true_cost
from respect_tf.scheduling._chain import Budget, BudgetExceededError, Chain
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._pair_chains import PairChains
from respect_tf.scheduling._pair_ties import best_pairs
from respect_tf.scheduling._pair_values import PairValues
from respect_tf.scheduling._pair_windows import (
    find_windows,
    pairs_of_stages,
    stage_windows,
)
from respect_tf.scheduling._pairs import Nodes
from respect_tf.scheduling._problem import Bools, Floats

# A first look at so many nodes, in so many rounds, bounds the cost from above. Without it, 36
# proofs of six models on one, four and twenty hosts take 1.3 to 2 times as long.
# benchmarks constants, each: half and twice the same.
_FEW, _FEW_ROUNDS = 32, 4

# Nodes that can be looked at in pairs.
# benchmarks constants: half -1 proofs, +1.04 % gap, 1.69 times the time; twice the same.
_MAX_NODES = 2000

# True values asked for after the first round, twice as many in each later one. With those of the
# best chain alone, the same proofs take 1.8 to 2.3 times as long.
# benchmarks constants: half and twice the same.
_ROUND = 150

# Costs are equal up to this factor; rounds that a tie may take where the search took fewer.
_TIE = 1 + 1e-9
# benchmarks constants: half and twice the same.
_LEAST_TIE_ROUNDS = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """What a search found out.

    Attributes:
        chain: The best chain, `None` if no chain keeps the constraints.
        lower_bound: No chain of these nodes costs less.
    """

    chain: Chain | None
    lower_bound: float


def search_pairs(
    nodes: Nodes, budget: Budget, upper: float = math.inf, *, settle: bool = True
) -> Found:
    """Find the best chain of nodes, ties broken as `Schedule` says if they are to be settled.

    `upper` is what some chain of these nodes is known to cost at most. Where the budget does not
    last, the best chain known is returned, with a lower bound.

    Raises:
        BudgetExceededError: The budget did not even last to find a chain.
    """
    first = None
    few = max(_FEW, 2 * nodes.problem.num_stages)
    if len(nodes) > 2 * few and upper == math.inf:
        first = _PairSearch(nodes.few(few), budget, math.inf)
        first.look(_FEW_ROUNDS)
    try:
        search = _PairSearch(nodes, budget, upper if first is None else first.bound)
    except BudgetExceededError:
        if first is None or first.best is None:
            raise
        return first.found(0.0)
    is_complete = search.look(sys.maxsize)
    if search.best is not None:
        if is_complete and settle:
            with contextlib.suppress(BudgetExceededError):  # the proof is complete by now
                search.break_ties()
        return search.found(math.inf if is_complete else search.lower)
    if first is not None and first.best is not None:
        return first.found(search.lower)
    if is_complete:
        return Found(None, math.inf)
    raise BudgetExceededError


class _PairSearch:
    """A search among some nodes.

    Attributes:
        best: Pairs of the best chain known, int64 [num_stages]; `None` if none is.
        upper: What it costs; without one, what a chain may cost.
        lower: No chain costs less.
        rounding: Costs that differ by less are equal.
    """

    def __init__(self, nodes: Nodes, budget: Budget, upper: float) -> None:
        self._objective = nodes.problem.objective
        self._budget = budget
        self._num_stages = nodes.problem.num_stages
        self._num_rounds = 0
        self.best: Ints | None = None
        self.lower = 0.0
        nodes, windows = _used(nodes, find_windows(nodes, upper))
        pairs = nodes.pairs(np.triu(stage_windows(windows), 1), budget)
        self._nodes = nodes
        self._values = PairValues(nodes, pairs, budget)
        self.rounding = self._values.rounding
        self.upper = upper + 2 * self.rounding
        self._values.drop_above(self.upper)
        self._pairs = self._values.pairs
        stages = pairs_of_stages(nodes, self._pairs, windows)
        self._chains = PairChains(len(nodes), self._pairs.rows, self._pairs.columns, stages)

    @property
    def bound(self) -> float:
        """What the best chain costs in any search, infinite if none is known."""
        return math.inf if self.best is None else self.upper + 2 * self.rounding

    def look(self, num_rounds: int) -> bool:
        """Look for the best chain. Returns whether there surely is no better one."""
        most_asked = 0  # beside those of the best chain by bounds
        with contextlib.suppress(BudgetExceededError):
            for number in range(num_rounds):
                if not self._round(most_asked):
                    return True
                if number == 0:  # without closer bounds, proofs take 1.1 to 1.2 times as long
                    self._values.look_closely(np.unique(np.concatenate(self._chains.stages)))
                most_asked = max(_ROUND, 2 * most_asked)
        return False

    def break_ties(self) -> None:
        """Make the best chain that of all that cost the least, as `Schedule` says.

        To find the fewest streamed bytes may take as many rounds as the search took.
        """
        limit = self.upper * _TIE + self.rounding
        rounds = max(_LEAST_TIE_ROUNDS, self._num_rounds)
        self.best = best_pairs(self._chains, self._values, limit, rounds, self._budget)

    def found(self, lower: float) -> Found:
        """The best chain with the cost that the definition gives it; that has to be its own.

        Args:
            lower: No chain costs less, but for rounding.
        """
        used, objective = self.best, self._objective
        if used is None:
            raise BudgetExceededError
        boundaries = self._pairs.columns[used[:-1]]
        stages = (~self._nodes.members(boundaries)).sum(axis=0).astype(np.int64)
        crossing = float((self._pairs.entering[used] + self._pairs.leaving[used]).sum())
        cost = true_cost(self._nodes.problem, stages)
        if not math.isclose(cost, self.upper, rel_tol=4e-9, abs_tol=2 * self.rounding):
            raise ScheduleError(
                f"The objective {objective.name} gives a schedule the cost {self.upper} in "
                f"`batch_values` and {cost} in `stage_cost`. Expected the same."
            )
        chain = Chain(stages=stages, cost=cost, crossing=crossing)
        return Found(chain, max(0.0, min(cost, lower - self.rounding)))

    def _rule_out(self) -> tuple[float, list[Floats]]:
        """Forget the pairs of which no chain is as good as the best one known.

        Returns:
            What each chain costs at least; and each chain with a pair as its stage, for the pairs
            of each stage that are left.
        """
        chains, values = self._chains, self._values
        dearest = chains.completions(values.costs, np.maximum)
        loads = dearest
        if values.loads.any():
            loads = chains.completions(values.loads, np.add)
        least = max(float(part[0].min(initial=math.inf)) for part in (dearest, loads))
        totals = [np.maximum(*parts) for parts in zip(dearest, loads, strict=True)]
        near = [part <= self.upper + self.rounding for part in totals]
        chains.keep(near)
        return least, [part[mask] for part, mask in zip(totals, near, strict=True)]

    def _round(self, most_asked: int) -> bool:
        """Rule out pairs, and ask for true values. Returns whether there is more to do."""
        self._budget.check_time()
        self._num_rounds += 1
        upper, chains, values = self.upper, self._chains, self._values
        least, totals = self._rule_out()
        if least == math.inf:
            return False
        self.lower = max(self.lower, min(least, upper))
        path = self._best_known(least)
        if path is None:  # the least cost and the least load cannot be had together
            joint = chains.optimum(values.costs, values.loads, upper)
            self.lower = max(self.lower, min(joint, upper))
            path = self._best_known(joint)
        if path is not None and values.known[path].all():
            self._try(path)
        if self.lower >= self.upper - self.rounding:
            return False
        asked = self._rivals(totals, most_asked) if most_asked else np.zeros(0, np.int64)
        if path is not None:
            values.ask(np.union1d(path, asked))
            self._try(path)
        else:
            values.ask(asked)
        return True

    def _best_known(self, limit: float) -> Ints | None:
        """Of chains that keep a limit by bounds, one with few pairs of unknown cost, if any."""
        values, near = self._values, self._chains.within(self._values.costs, limit)
        lightest = near.least(values.loads, np.add)
        if lightest > limit:
            return None
        price = (limit - lightest) / (self._num_stages + 1)  # not enough to break the limit
        return near.lightest_path(values.loads + price * ~values.known)

    def _try(self, path: Ints) -> None:
        """Remember a chain of known cost, if it is the best."""
        values = self._values
        cost = max(float(values.costs[path].max()), float(values.loads[path].sum()))
        if cost < self.upper:
            self.upper, self.best = cost, path

    def _rivals(self, totals: list[Floats], most: int) -> Ints:
        """Pairs whose true values decide soonest which chains are left.

        Every chain has one pair of each stage: the stages with fewest pairs come first; then the
        pairs that bound the cost, dear ones before cheap ones. Totals are the least cost of a chain
        with each pair as its stage.
        """
        values = self._values
        least: Floats = np.full(len(self._pairs), np.inf)
        open_pairs = []
        for stage, part in zip(self._chains.stages, totals, strict=True):
            least[stage] = np.minimum(least[stage], part)
            open_pairs.append(stage[~values.known[stage]])
        chosen = np.zeros(0, np.int64)
        for pairs in sorted(open_pairs, key=len):
            new = pairs[least[pairs] <= self.upper + self.rounding]
            new = new[np.lexsort((-values.costs[new], least[new]))]
            chosen = np.concatenate([chosen, new[~np.isin(new, chosen)]])
            if len(chosen) >= most:
                break
        return chosen[:most]


def _used(nodes: Nodes, windows: Bools) -> tuple[Nodes, Bools]:
    """The nodes that can be some boundary."""
    used = np.flatnonzero(windows.any(axis=0))
    if len(used) > _MAX_NODES:
        raise BudgetExceededError
    if len(used) == len(nodes):
        return nodes, windows
    return nodes.select(used), windows[:, used]
