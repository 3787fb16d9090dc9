"""The best chain of stages whose costs are dear to compute, by bounds first.

A schedule costs max(the dearest stage, the sum of all stages' shared loads). Sums alone are the
case where stages cost nothing but their load. Bounds of all stages are cheap; true values are asked
for where a chain through the stage can still be as good as the best one known.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from typing import NamedTuple

import numpy as np

from respect_tf._errors import ScheduleError
from respect_tf.scheduling._answers import answer_of
from respect_tf.scheduling._chain import Budget, BudgetExceededError, Chain
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._linear_bound import LOOSER
from respect_tf.scheduling._pair_chains import PairChains, best_pairs
from respect_tf.scheduling._pair_values import PairValues, split_costs
from respect_tf.scheduling._problem import Bools, Floats
from respect_tf.scheduling._stage_batch import Nodes, Pairs

# A first look at so many nodes bounds the cost from above. Without it, 36 proofs of six models on
# one, four and twenty hosts take 1.3 to 2 times as long.
# benchmarks constants: half and twice the same; a tenth 1.25 times the time; ten times 1.11 times
#   the time.
_FEW = 32

MAX_NODES = 2000
"""Nodes that can be looked at in pairs, whose sums take 100 MB; with half, one proof is lost."""

# True values asked for after the first round, twice as many in each later one. With those of the
# best chain alone, the same proofs take 1.8 to 2.3 times as long.
# benchmarks constants: half, twice, a tenth and ten times the same.
_ROUND = 150

# Costs are equal up to this factor; rounds that a tie may take where the search took fewer: with no
# more than the search's, 3 of 170 proofs (Xception and InceptionResNetV2) end with another tie.
# benchmarks constants: half and twice the same; a tenth -1.57 % crossing bytes; ten times the same.
_TIE, _LEAST_TIE_ROUNDS = 1 + 1e-9, 8


class Found(NamedTuple):
    """The best chain, `None` if none keeps the constraints; and what no chain costs less than."""

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
        first = search_pairs(nodes.few(few), budget, settle=False).chain
    lower, is_complete = 0.0, False
    with contextlib.suppress(BudgetExceededError):
        search = _PairSearch(nodes, budget, upper if first is None else first.cost * _TIE)
        is_complete = search.look()
        if is_complete and settle and search.best is not None:
            with contextlib.suppress(BudgetExceededError):  # the proof is complete by now
                search.break_ties()
        lower = math.inf if is_complete else search.lower - search.rounding
        if search.best is not None:
            first = search.chain(search.best)
    if first is not None:
        return Found(first, max(0.0, min(first.cost, lower)))
    if is_complete:
        return Found(None, math.inf)
    raise BudgetExceededError


class _PairSearch:
    """A search among some nodes.

    `best` are the pairs of the best chain known, int64 [num_stages], and `upper` what it costs, or
    without one may cost. No chain costs less than `lower`; what differs by `rounding` is equal.
    """

    def __init__(self, nodes: Nodes, budget: Budget, upper: float) -> None:
        self._budget = budget
        self._num_stages = nodes.problem.num_stages
        self._num_rounds = 0
        self.best: Ints | None = None
        self.lower = 0.0
        windows = _find_windows(nodes, upper)
        used = np.flatnonzero(windows.any(axis=0))  # they can be some boundary
        if len(used) > MAX_NODES:
            raise BudgetExceededError
        if len(used) < len(nodes):
            nodes, windows = nodes.select(used), windows[:, used]
        allowed = np.zeros((len(nodes), len(nodes)), bool)
        for starts, ends in itertools.pairwise(windows):
            allowed |= starts[:, None] & ends
        pairs = nodes.pairs(np.triu(allowed, 1), budget)
        self._nodes = nodes
        self._values = PairValues(nodes, pairs, budget)
        self.rounding = self._values.rounding
        self.upper = upper + 2 * self.rounding
        self._values.drop_above(self.upper)
        self._pairs = self._values.pairs
        stages = _pairs_of_stages(nodes, self._pairs, windows)
        self._chains = PairChains(len(nodes), self._pairs.rows, self._pairs.columns, stages)

    def look(self) -> bool:
        """Look for the best chain. Returns whether there surely is no better one."""
        most_asked = 0  # beside those of the best chain by bounds
        with contextlib.suppress(BudgetExceededError):
            while self._round(most_asked):
                if most_asked == 0:  # without closer bounds, proofs take 1.1 to 1.2 times as long
                    self._values.look_closely(np.unique(np.concatenate(self._chains.stages)))
                most_asked = max(_ROUND, 2 * most_asked)
            return True
        return False

    def break_ties(self) -> None:
        """Make the best chain that of all that cost the least, as `Schedule` says.

        To find the fewest streamed bytes may take as many rounds as the search took.
        """
        limit = self.upper * _TIE + self.rounding
        rounds = max(_LEAST_TIE_ROUNDS, self._num_rounds)
        self.best = best_pairs(self._chains, self._values, limit, rounds, self._budget)

    def chain(self, used: Ints) -> Chain:
        """A chain of pairs with the cost that the definition gives it; that has to be its own."""
        problem = self._nodes.problem
        boundaries = self._nodes.members(self._pairs.columns[used[:-1]])
        chain = answer_of(problem, (~boundaries).sum(axis=0).astype(np.int64)).chain
        if not math.isclose(chain.cost, self.upper, rel_tol=4e-9, abs_tol=2 * self.rounding):
            raise ScheduleError(
                f"The objective {problem.objective.name} gives a schedule the cost {self.upper} in "
                f"`batch_values` and {chain.cost} in `stage_cost`. Expected the same."
            )
        return chain

    def _round(self, most_asked: int) -> bool:
        """Rule out pairs, and ask for true values. Returns whether there is more to do."""
        self._budget.check_time()
        self._num_rounds += 1
        upper, values, chains = self.upper, self._values, self._chains
        # What a chain costs at least that has each pair as its stage.
        dearest = loads = chains.completions(values.costs, np.maximum)
        if values.loads.any():
            loads = chains.completions(values.loads, np.add)
        least = max(float(part[0].min(initial=math.inf)) for part in (dearest, loads))
        if least == math.inf:
            return False
        totals = [np.maximum(*parts) for parts in zip(dearest, loads, strict=True)]
        through: Floats = np.full(len(self._pairs), np.inf)
        for stage, part in zip(chains.stages, totals, strict=True):
            through[stage] = np.minimum(through[stage], part)
        self._chains = chains.only([part <= upper + self.rounding for part in totals])
        self.lower = max(self.lower, min(least, upper))
        path = self._best_known(least)
        if path is None:  # the least cost and the least load cannot be had together
            joint = self._chains.optimum(values.costs, values.loads, upper)
            self.lower = max(self.lower, min(joint, upper))
            path = self._best_known(joint)
        if path is not None and values.known[path].all():
            self._try(path)
        if self.lower >= self.upper - self.rounding:
            return False
        asked = self._rivals(through, most_asked)
        values.ask(asked if path is None else np.union1d(path, asked))
        if path is not None:
            self._try(path)
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

    def _rivals(self, through: Floats, most: int) -> Ints:
        """Pairs whose true values decide soonest which chains are left.

        Every chain has one pair of each stage: the stages with fewest pairs come first; then the
        pairs that bound the cost, dear ones before cheap ones. `through` is the least cost of a
        chain with each pair.
        """
        values, chosen = self._values, np.zeros(0, np.int64)
        open_pairs = [stage[~values.known[stage]] for stage in self._chains.stages]
        for pairs in sorted(open_pairs, key=len):
            if len(chosen) >= most:
                break
            new = pairs[through[pairs] <= self.upper + self.rounding]
            new = new[np.lexsort((-values.costs[new], through[new]))]
            chosen = np.concatenate([chosen, new[~np.isin(new, chosen)]])
        return chosen[:most]


def _find_windows(nodes: Nodes, upper: float) -> Bools:
    """Which nodes can be which boundary. [num_stages + 1, num_nodes].

    What is before a boundary after k stages costs at most k times what a stage may, and what is
    after it as often as there are stages left. Without this, 36 proofs of six models take 1.4 to
    1.8 times as long.
    """
    num_stages, objective = nodes.problem.num_stages, nodes.problem.objective
    windows = np.zeros((num_stages + 1, len(nodes)), bool)
    windows[0, 0] = windows[-1, -1] = True
    for k in range(1, num_stages):
        windows[k, 1:-1] = nodes.possible(k)[1:-1]
    if num_stages == 1 or upper == math.inf:
        return windows
    counts = np.arange(1, num_stages)
    ends = []
    for pairs, parts in zip(nodes.ends(), (counts, num_stages - counts), strict=True):
        every = np.tile(np.arange(len(pairs)), len(parts))
        batch, num_parts = nodes.batch(pairs.select(every)), np.repeat(parts, len(pairs))
        bounds = objective.batch_bounds(batch, closely=False, num_parts=num_parts)
        costs, loads = split_costs(objective, *bounds[:2])
        ends.append((costs / num_parts, loads))
    (cost_before, load_before), (cost_after, load_after) = ends
    limit = upper * (2 - LOOSER)
    near = (np.maximum(cost_before, cost_after) <= limit) & (load_before + load_after <= limit)
    windows[1:-1, 1:-1] &= near.reshape(num_stages - 1, -1)
    return windows


def _pairs_of_stages(nodes: Nodes, pairs: Pairs, windows: Bools) -> list[Ints]:
    """The pairs that each stage may be. int64 [num_stage_pairs] each."""
    problem = nodes.problem
    good = [
        starts[pairs.rows] & ends[pairs.columns] for starts, ends in itertools.pairwise(windows)
    ]
    if problem.restrictions is not None and problem.rooms is not None:
        held = nodes.sums(problem.restrictions.item_bytes)
        held = held[pairs.columns] - held[pairs.rows]
        good = [part & (held <= room) for part, room in zip(good, problem.rooms, strict=True)]
    return [np.flatnonzero(part) for part in good]
