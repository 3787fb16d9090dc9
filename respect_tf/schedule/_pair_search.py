"""The best chain of stages whose costs are dear to compute, by bounds first.

A schedule costs max(the dearest stage, the sum of all stages' shared loads). Sums alone are the
case where stages cost nothing but their load. Bounds of all stages are cheap; true values are asked
for where a chain through the stage can still be as good as the best one known.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import sys
from collections.abc import Callable

import numpy as np

from respect_tf._errors import ScheduleError
from respect_tf.schedule._bounded import BoundedObjective
from respect_tf.schedule._chain import Budget, BudgetExceededError, Chain
from respect_tf.schedule._items import Ints
from respect_tf.schedule._pairs import Nodes
from respect_tf.schedule._problem import Bools, Floats
from respect_tf.schedule._tie_break import StagePairs, best_path
from respect_tf.schedule._true_costs import true_stage_value

# A first look at so many nodes, in so many rounds, bounds the cost from above.
_FEW, _FEW_ROUNDS = 48, 8

# Nodes that can be looked at in pairs.
_MAX_NODES = 2000

# True values asked for in one round, and the work that one takes, as `Budget` counts it.
_ROUND = 500
_TIES = 100
_VALUE_WORK = 2000

# Milliseconds, or whatever an objective counts, are told apart down to this many binary places, so
# that sums do not depend on the order. Costs that differ by less are equal.
_PLACES = 40
# Bounds are loosened by so much against rounding.
_LOOSER = 1 - 1e-12


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """What a search found out.

    Attributes:
        chain: The best chain, `None` if no chain keeps the constraints.
        lower_bound: No chain of these nodes costs less.
    """

    chain: Chain | None
    lower_bound: float


def search_pairs(nodes: Nodes, budget: Budget) -> Found:
    """Find the best chain of nodes, ties broken as `Schedule` says.

    Args:
        nodes: The nodes.
        budget: What may be used. Where it does not last, the best chain known is returned, with a
            lower bound.

    Raises:
        BudgetExceededError: The budget did not even last to find a chain.
    """
    first = None
    problem = nodes.problem
    for few in (max(_FEW, 2 * problem.num_stages), min(problem.num_items, _MAX_NODES // 2)):
        if len(nodes) > 2 * few:
            first = _PairSearch(nodes.few(few), budget, first).run(num_rounds=_FEW_ROUNDS)
    try:
        return _PairSearch(nodes, budget, first).run()
    except BudgetExceededError:
        if first is None or first.chain is None:
            raise
        return Found(first.chain, 0.0)


class _PairSearch:
    def __init__(self, nodes: Nodes, budget: Budget, first: Found | None = None) -> None:
        problem = nodes.problem
        if not isinstance(problem.objective, BoundedObjective):
            raise TypeError(problem.objective)
        self._objective = problem.objective
        self._nodes = nodes
        self._budget = budget
        self._first = first  # of some of the nodes
        self._num_stages = problem.num_stages
        self._best: Ints | None = None  # nodes
        self._upper = np.inf if first is None or first.chain is None else first.chain.cost
        self._lower = 0.0
        windows = self._windows()
        used = np.flatnonzero(windows.any(axis=0))
        if len(used) > _MAX_NODES:
            raise BudgetExceededError
        self._nodes = nodes = nodes.select(used)
        self._possible = windows[:, used]
        allowed = np.zeros((len(nodes), len(nodes)), bool)
        for starts, ends in itertools.pairwise(self._possible):
            allowed |= starts[:, None] & ends
        self._pairs = nodes.pairs(allowed, budget)
        bounds = self._objective.batch_bounds(nodes.batch(self._pairs), closely=False)
        largest = max(1.0, float(bounds[0].max(initial=0)), float(bounds[1].max(initial=0)))
        self._places = min(_PLACES, 50 - math.frexp(largest * self._num_stages)[1])
        self._rounding = math.ldexp(self._num_stages, -self._places)
        self._costs, self._loads = self._rounded_bounds(*bounds[:2])
        self._upper += 2 * self._rounding
        near = (self._costs <= self._upper) & (self._loads <= self._upper)
        self._pairs = self._pairs.select(near)
        self._costs, self._loads = self._costs[near], self._loads[near]
        self._known = np.zeros(len(self._pairs), bool)
        self._stages = self._admissible()

    def run(self, num_rounds: int = sys.maxsize) -> Found:
        """See `search_pairs`; unproved after some rounds."""
        unfinished = True
        with contextlib.suppress(BudgetExceededError):
            for number in range(num_rounds):
                unfinished = self._round(asks=number > 0)
                if not unfinished:
                    break
                if number == 0:
                    self._look_closely()
        if unfinished:
            if self._best is not None:
                return self._found(self._best, self._upper, proved=False)
            if self._first is None or self._first.chain is None:
                raise BudgetExceededError
            return Found(
                self._first.chain,
                max(0.0, min(self._lower, self._first.chain.cost) - self._rounding),
            )
        if self._best is None:
            return Found(None, np.inf)
        with contextlib.suppress(BudgetExceededError):  # the proof is complete by now
            self._best = self._break_ties()
        return self._found(self._best, self._upper, proved=True)

    def _windows(self) -> Bools:
        """Which nodes can be which boundary. [num_stages + 1, num_nodes].

        What is before a boundary after k stages costs at most k times what a stage may, and what is
        after it as often as there are stages left.
        """
        nodes, num_stages = self._nodes, self._num_stages
        windows = np.zeros((num_stages + 1, len(nodes)), bool)
        windows[0, 0] = windows[-1, -1] = True
        for k in range(1, num_stages):
            windows[k, 1:-1] = nodes.possible(k)[1:-1]
        if num_stages == 1 or self._upper == np.inf:
            return windows
        counts = np.arange(1, num_stages)
        ends = []
        for pairs, parts in zip(nodes.ends(), (counts, num_stages - counts), strict=True):
            every = np.tile(np.arange(len(pairs)), len(parts))
            batch, num_parts = nodes.batch(pairs.select(every)), np.repeat(parts, len(pairs))
            bounds = self._objective.batch_bounds(batch, closely=False, num_parts=num_parts)
            costs, loads = self._split(*bounds[:2])
            ends.append((costs / num_parts, loads))
        (cost_before, load_before), (cost_after, load_after) = ends
        limit = self._upper * (2 - _LOOSER)
        near = (np.maximum(cost_before, cost_after) <= limit) & (load_before + load_after <= limit)
        windows[1:-1, 1:-1] &= near.reshape(num_stages - 1, -1)
        return windows

    def _rounded_bounds(self, costs: Floats, loads: Floats) -> list[Floats]:
        return [
            np.ldexp(np.floor(np.ldexp(part * _LOOSER, self._places)), -self._places)
            for part in self._split(costs, loads)
        ]

    def _rounded(self, costs: Floats, loads: Floats) -> list[Floats]:
        return [
            np.ldexp(np.rint(np.ldexp(part, self._places)), -self._places)
            for part in self._split(costs, loads)
        ]

    def _look_closely(self) -> None:
        """Better bounds for the pairs that are left."""
        left = np.unique(np.concatenate(self._stages))
        left = left[~self._known[left]]
        batch = self._nodes.batch(self._pairs.select(left))
        *bounds, exact = self._objective.batch_bounds(batch, closely=True)
        costs, loads = self._rounded_bounds(*bounds)
        self._costs[left] = np.maximum(self._costs[left], costs)
        self._loads[left] = np.maximum(self._loads[left], loads)
        found = left[exact]
        self._costs[found], self._loads[found] = self._rounded(*(part[exact] for part in bounds))
        self._known[found] = True

    def _split(self, costs: Floats, loads: Floats) -> tuple[Floats, Floats]:
        """Costs and loads as this search has them."""
        return (np.zeros_like(costs), costs) if self._objective.combine == "sum" else (costs, loads)

    def _admissible(self) -> list[Ints]:
        """The pairs that each stage may be. int64 [num_stage_pairs] each."""
        nodes, pairs, problem = self._nodes, self._pairs, self._nodes.problem
        possible = self._possible
        held = nodes.held_bytes() if problem.rooms is not None else None
        stages = []
        reached = possible[0]
        for stage in range(self._num_stages):
            good = reached[pairs.rows] & possible[stage + 1][pairs.columns]
            if held is not None and problem.rooms is not None:
                good &= held[pairs.columns] - held[pairs.rows] <= problem.rooms[stage]
            stages.append(np.flatnonzero(good))
            reached = np.zeros(len(nodes), bool)
            reached[pairs.columns[stages[-1]]] = True
        for stage in reversed(range(self._num_stages)):
            stages[stage] = stages[stage][reached[pairs.columns[stages[stage]]]]
            reached = np.zeros(len(nodes), bool)
            reached[pairs.rows[stages[stage]]] = True
        return stages

    def _round(self, *, asks: bool) -> bool:
        """Rule out pairs, and ask for true values. Returns whether there is more to do."""
        self._budget.check_time()
        upper = self._upper
        dearest = self._completions(self._costs, np.maximum)
        loads = self._completions(self._loads, np.add)
        if self._stages[0].size == 0 or not np.isfinite(loads[0].min()):
            return False
        values = [np.maximum(*parts) for parts in zip(dearest, loads, strict=True)]
        least = float(dearest[0].min()), float(loads[0].min())
        self._lower = max(self._lower, min(max(least), upper))
        self._keep([part <= upper + self._rounding for part in values], values)
        path = self._lightest_path(max(least))
        if path is None or self._loads[path].sum() > max(least):  # they cannot be had together
            joint = self._optimum()
            self._lower = max(self._lower, min(joint, upper))
            path = self._lightest_path(joint)
        if path is not None:
            self._try(path)
        if self._lower >= self._upper - self._rounding:
            return False
        if not asks:
            return True
        value = np.full(len(self._pairs), np.inf)
        rivals = np.full(len(self._pairs), len(self._pairs))
        for stage, part in zip(self._stages, values, strict=True):
            value[stage] = np.minimum(value[stage], part)
            rivals[stage] = np.minimum(rivals[stage], np.count_nonzero(~self._known[stage]))
        asked = np.flatnonzero((value <= self._upper + self._rounding) & ~self._known)
        # Every chain has one pair of each stage, so the stage with fewest pairs decides soonest
        # which chains are left; then those that bound the cost, dear ones before cheap ones.
        order = np.lexsort((-self._costs[asked], value[asked], rivals[asked]))
        self._ask(asked[order[:_ROUND]])
        return True

    def _keep(self, masks: list[Bools], values: list[Floats] | None = None) -> None:
        for stage, mask in enumerate(masks):
            self._stages[stage] = self._stages[stage][mask]
            if values is not None:
                values[stage] = values[stage][mask]

    def _within(self, limit: float) -> list[Ints]:
        if limit == np.inf:
            return self._stages
        return [stage[self._costs[stage] <= limit] for stage in self._stages]

    def _forward(
        self, weights: Floats, combine: Callable[[Floats, Floats], Floats], limit: float = np.inf
    ) -> list[Floats]:
        """The least weight of a chain up to each node, after each number of stages."""
        reached = [np.full(len(self._nodes), np.inf)]
        reached[0][0] = 0.0
        for stage in self._within(limit):
            rows, columns = self._pairs.rows[stage], self._pairs.columns[stage]
            best = np.full(len(self._nodes), np.inf)
            np.minimum.at(best, columns, combine(reached[-1][rows], weights[stage]))
            reached.append(best)
        return reached

    def _backward(
        self, weights: Floats, combine: Callable[[Floats, Floats], Floats]
    ) -> list[Floats]:
        """The least weight of a chain from each node to the end, after each number of stages."""
        left = [np.full(len(self._nodes), np.inf)]
        left[0][-1] = 0.0
        for stage in reversed(self._stages):
            rows, columns = self._pairs.rows[stage], self._pairs.columns[stage]
            best = np.full(len(self._nodes), np.inf)
            np.minimum.at(best, rows, combine(weights[stage], left[-1][columns]))
            left.append(best)
        return left[::-1]

    def _completions(
        self, weights: Floats, combine: Callable[[Floats, Floats], Floats]
    ) -> list[Floats]:
        """The least weight of a chain that has each pair as its stage. Like `_stages`."""
        if not weights.any() and np.isfinite(self._upper):  # as for objectives of one kind
            return [np.zeros(len(stage)) for stage in self._stages]
        before, after = self._forward(weights, combine), self._backward(weights, combine)
        return [
            combine(
                combine(before[k][self._pairs.rows[stage]], weights[stage]),
                after[k + 1][self._pairs.columns[stage]],
            )
            for k, stage in enumerate(self._stages)
        ]

    def _lightest_path(self, limit: float) -> Ints | None:
        """Pairs of a chain of least load whose stages keep a limit; `None` if there is none."""
        before = self._forward(self._loads, np.add, limit)
        node = len(self._nodes) - 1
        if not np.isfinite(before[-1][node]):
            return None
        path = []
        for sums_before, stage in zip(before[-2::-1], self._within(limit)[::-1], strict=True):
            here = stage[self._pairs.columns[stage] == node]
            sums = sums_before[self._pairs.rows[here]] + self._loads[here]
            path.append(here[np.argmin(sums)])
            node = self._pairs.rows[path[-1]]
        return np.array(path[::-1])

    def _try(self, path: Ints) -> None:
        self._ask(path[~self._known[path]])
        value = max(float(self._costs[path].max()), float(self._loads[path].sum()))
        if value < self._upper:
            self._upper = value
            self._best = np.append(0, self._pairs.columns[path])

    def _ask(self, which: Ints) -> None:
        """Put true values in the place of bounds."""
        if len(which) == 0:
            return
        self._budget.spend_pairs(_VALUE_WORK * len(which))
        values = self._objective.batch_values(self._nodes.batch(self._pairs.select(which)))
        self._costs[which], self._loads[which] = self._rounded(*values)
        self._known[which] = True

    def _optimum(self) -> float:
        """The least cost by what is known of the pairs.

        Chains that keep a limit of stage costs have the less load the higher it is: bisection finds
        where the two meet.
        """
        least = float(self._forward(self._costs, np.maximum)[-1][-1])
        costs = np.unique(np.concatenate([self._costs[stage] for stage in self._stages]))
        costs = np.append(costs[(costs >= least) & (costs < self._upper)], self._upper)

        def load(index: int) -> float:
            return float(self._forward(self._loads, np.add, costs[index])[-1][-1])

        low, high = 0, len(costs) - 1  # the highest keeps itself
        while low < high:
            middle = (low + high) // 2
            if load(middle) <= costs[middle]:
                high = middle
            else:
                low = middle + 1
        best = float(costs[high])
        return min(best, load(high - 1)) if high > 0 else best

    def _break_ties(self) -> Ints:
        """The best path of all that cost the least. int64 [num_stages + 1], nodes.

        Bounds do until a path turns out to be the best one: its stages have to be known.
        """
        limit = self._upper + self._rounding
        crossing = self._pairs.entering + self._pairs.leaving
        while True:
            self._budget.check_time()
            self._keep([self._costs[stage] <= limit for stage in self._stages])
            self._keep([part <= limit for part in self._completions(self._loads, np.add)])
            through = self._completions(crossing, np.add)
            fewest = through[0].min()
            tight = [
                stage[part <= fewest] for stage, part in zip(self._stages, through, strict=True)
            ]
            if self._known[np.concatenate(tight)].all():
                path = best_path(self._nodes, self._described(tight), limit)
                if path is not None:
                    return path
                # Loads forbid the fewest crossing bytes.
                path = best_path(self._nodes, self._described(self._stages), limit)
                if path is None:
                    raise AssertionError("A chain that keeps the limit was lost.")
                used = self._pairs_of(path)
                if self._known[used].all():
                    return path
                self._ask(used[~self._known[used]])
                continue
            value = np.full(len(self._pairs), np.inf)
            for stage, part in zip(self._stages, through, strict=True):
                value[stage] = np.minimum(value[stage], part)
            asked = np.flatnonzero(np.isfinite(value) & ~self._known)
            self._ask(asked[np.argsort(value[asked], kind="stable")[:_TIES]])

    def _described(self, stages: list[Ints]) -> list[StagePairs]:
        pairs = self._pairs
        return [
            (
                pairs.rows[stage],
                pairs.columns[stage],
                pairs.entering[stage] + pairs.leaving[stage],
                self._loads[stage],
            )
            for stage in stages
        ]

    def _pairs_of(self, path: Ints) -> Ints:
        """The pairs between the nodes of a path."""
        found = []
        for stage, row, column in zip(self._stages, path[:-1], path[1:], strict=True):
            here = (self._pairs.rows[stage] == row) & (self._pairs.columns[stage] == column)
            found.append(stage[here][0])
        return np.array(found)

    def _found(self, path: Ints, cost: float, *, proved: bool) -> Found:
        """A path with the cost that the definition gives it, which has to be that of the search."""
        stages = (~self._nodes.members(path[1:-1])).sum(axis=0).astype(np.int64)
        used = self._pairs_of(path)
        crossing = float((self._pairs.entering[used] + self._pairs.leaving[used]).sum())
        problem, objective = self._nodes.problem, self._objective
        values = [
            true_stage_value(problem, stages < stage, stages <= stage)
            for stage in range(self._num_stages)
        ]
        true_cost = float(objective.combined_cost(*zip(*values, strict=True)))
        if not math.isclose(true_cost, cost, rel_tol=1e-9, abs_tol=2 * self._rounding):
            raise ScheduleError(
                f"The objective {objective.name} gives a schedule the cost {cost} in "
                f"`batch_values` and {true_cost} in `stage_cost`. Expected the same."
            )
        chain = Chain(stages=stages, cost=true_cost, crossing=crossing)
        return Found(chain, true_cost if proved else max(0.0, self._lower - self._rounding))
