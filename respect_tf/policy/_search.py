"""`search()`: a good schedule from orders of ops, in compiled code, with a bound or a proof."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError, ScheduleError
from respect_tf.graph import OpGraph
from respect_tf.policy._guide import warm_up as warm_up_guide
from respect_tf.policy._orders import ORDER_NAMES, priority_order, structural_order
from respect_tf.policy._search_bands import Bands
from respect_tf.policy._search_ideals import (
    has_few_ideals,
    mix,
    neighbours,
)
from respect_tf.policy._search_rounds import Rounds, is_loaded_soon
from respect_tf.schedule._answers import Answer, answer_of
from respect_tf.schedule._arguments import checked_count, deadline_after
from respect_tf.schedule._chain import Budget, BudgetExceededError, Chain
from respect_tf.schedule._constraints import Constraints
from respect_tf.schedule._exact import solve_exact
from respect_tf.schedule._ideal_search import IdealSearch, is_loaded
from respect_tf.schedule._items import Ints
from respect_tf.schedule._objective import Objective, resolve_objective
from respect_tf.schedule._problem import Floats, Problem, build_problem
from respect_tf.schedule._schedule import Schedule
from respect_tf.schedule._slicing import slice_items
from respect_tf.schedule._solve import _checked_schedule
from respect_tf.schedule._true_costs import is_batched

DEFAULT_BUDGET = 1000
"""Moves per item that `search` tries without a time limit."""

# Up to so many order ideals, looking at all of them takes some hundredths of a second.
_ALWAYS_FEW, _FEW_PER_ITEM, _FEW_IDEALS = 512, 3, 2000
_MOST_FEW_WORK = 20_000_000

# Where less time is left, nothing is compiled that is not on disk.
_COMPILE_SECONDS = 90.0

# Work of complete searches, as `Budget` counts it: before the first move, after few of them, and in
# the end for each move; and for each move that of neighbourhoods, which takes as long as the move.
# Larger graphs have too many order ideals for it.
_FIRST_WORK, _SECOND_WORK, _WORK_PER_MOVE, _BAND_WORK_PER_MOVE = 600_000, 1_500_000, 20, 40
_FEW_ROUNDS, _MOST_PROVED = 2, 10_000
_MAX_CELLS = 200_000_000

# Moves per item from which on random orders and parts of the problem are looked at, too.
_THOROUGH = 1000

# Rounds after which moves are over if none of them found anything better.
_PATIENCE, _QUICKLY = 10, 4

# The part of the time left that is spent on few moves, on more of them, and on complete searches.
_FEW_SHARE, _MOVING_SHARE, _PROOF_SHARE = 0.1, 0.4, 0.35

# Orders that are cut where an objective has to be asked for one stage after the other; and items of
# which pairs are looked at.
_MOST_ASKED, _MOST_CLOSED = 3, 4096

# Random orders, and items in all of them together.
_MOST_RANDOM, _RANDOM_ITEMS = 32, 1600

# Stages of an item that are less likely are left out.
_UNLIKELY = 0.02

# How much dearer than the best a schedule may be to have a say in what is sure.
_SIMILAR = 1.01


Advice = Callable[[], tuple[Sequence[Ints], Floats]]
"""Orders of items, and how likely each item is in each stage, asked for where they are needed."""


def search(
    graph: OpGraph,
    num_stages: int,
    orders: Sequence[npt.ArrayLike] = (),
    *,
    objective: str | Objective = "memory",
    stage_probabilities: npt.ArrayLike | None = None,
    constraints: Constraints | None = None,
    budget: int = DEFAULT_BUDGET,
    time_limit: float | None = None,
    structural: bool = True,
    seed: int = 0,
) -> Schedule:
    """Search for a schedule around orders of the ops.

    Each order is cut optimally. Then come, by turns, complete search of everything below a rising
    cost limit, which finds the optimum or raises the lower bound, as long as little work suffices;
    and moves of ops across stage borders, and cuts of orders near the best one. With a time limit,
    or a budget that is not small, there are also a dynamic program over the order ideals at and
    between the boundaries of what was found, and complete search where all good schedules agree
    about most ops. Graphs of few order ideals are solved to the proved optimum at once.

    The first call for a graph of many order ideals loads compiled code, in about a second. The very
    first one compiles it, in about a minute, unless the time limit is short: then `"exact"` does
    what it can. See `warm_up`.

    Args:
        graph: The graph.
        num_stages: Number of stages.
        orders: Topological orders of the ops to begin with, int [num_ops] each.
        objective: `"memory"` or an `Objective`.
        stage_probabilities: How likely each op is in each stage, [num_ops, num_stages]; rows need
            not add up to 1. Unlikely stages are left out of one of the complete searches, and the
            mean stage gives one more order.
        constraints: What the schedule has to keep.
        budget: Moves per op, and other work in proportion. Ignored where there is a time limit.
        time_limit: Seconds after which the best schedule so far is returned. Without one, the same
            seed gives the same schedule.
        structural: Whether to begin with structural orders, too.
        seed: 0 or more.

    Returns:
        A valid schedule, checked by code of its own, with a lower bound.

    Raises:
        ArgumentError: An argument is out of range.
        ScheduleError: No schedule keeps the constraints, or none was found; an order is no
            topological order of the ops.
    """
    started = time.perf_counter()
    deadline = deadline_after(time_limit, started)
    problem = build_problem(graph, num_stages, resolve_objective(objective), constraints)
    probabilities = _item_probabilities(problem, stage_probabilities)
    answer = search_problem(
        problem,
        [problem.item_order(order) for order in orders],
        advice=None if probabilities is None else lambda: ((), probabilities),
        budget=checked_count("budget", budget, 0),
        deadline=deadline,
        structural=structural,
        seed=checked_count("seed", seed, 0),
    )
    return _checked_schedule(problem, answer, "search", started)


def search_problem(
    problem: Problem,
    orders: Sequence[Ints] = (),
    *,
    advice: Advice | None = None,
    budget: int = DEFAULT_BUDGET,
    deadline: float = math.inf,
    structural: bool = True,
    seed: int = 0,
) -> Answer:
    """What `search` does, for items.

    Args:
        problem: The problem.
        orders: Topological orders of items, int64 [num_items] each.
        advice: More orders, and probabilities [num_items, num_stages], for what little work does
            not solve.
        budget: See `search`.
        deadline: On `time.perf_counter()`'s clock in seconds.
        structural: See `search`.
        seed: 0 or more.

    Raises:
        ScheduleError: No schedule keeps the constraints, or none was found.
    """
    if is_solved_exactly(problem, deadline):
        return _solve_exactly(problem, deadline)
    every = _orders(problem, orders, structural or not (len(orders) or advice is not None))
    if problem.linear.exact:
        return _Search(problem, advice, budget, deadline, seed).run(every)
    if advice is not None:
        every = itertools.chain(_advised(problem, advice)[0], every)
    return _search_true_costs(problem, list(every), budget, deadline, seed)


def _orders(problem: Problem, given: Sequence[Ints], structural: bool) -> Iterator[Ints]:
    """The orders to begin with, each made when it is asked for: large graphs take their time."""
    yield from given
    if structural:
        for name in ORDER_NAMES:
            yield structural_order(problem, name)


def _advised(problem: Problem, advice: Advice) -> tuple[list[Ints], Floats]:
    """The orders of some advice, one by its stages among them, and the probabilities of stages."""
    orders, probabilities = advice()
    return [*orders, priority_order(problem, _mean_stages(probabilities))], probabilities


def is_solved_exactly(problem: Problem, deadline: float) -> bool:
    """Whether all order ideals are looked at: there are few, or no time to load compiled code."""
    few = max(_ALWAYS_FEW, min(_FEW_PER_ITEM * problem.num_items, _FEW_IDEALS))
    if problem.num_stages == 1 or has_few_ideals(problem, few):
        return True
    return deadline - time.perf_counter() < _COMPILE_SECONDS and not is_loaded_soon()


def _solve_exactly(problem: Problem, deadline: float) -> Answer:
    """What `solve_exact` finds, by whichever way is faster at the moment."""
    has_loops = problem.linear.exact and problem.combine == "max" and is_loaded()
    if has_loops and problem.num_stages > 1 and deadline == math.inf:
        rounds = Rounds(problem, seed=0)
        rounds.add_orders([np.arange(problem.num_items)], deadline)
        if rounds.found:
            with contextlib.suppress(BudgetExceededError):
                best = IdealSearch(problem).optimum(rounds.best, Budget(work=_MOST_FEW_WORK))
                return Answer(best, best.cost)
    return solve_exact(problem, deadline)


def warm_up() -> None:
    """Load the compiled loops, or compile them for the first time, before they are needed."""
    steps = np.arange(11)
    edges = np.stack([steps[:-1], steps[1:]], axis=1)
    graph = OpGraph.from_arrays(np.ones(11, np.int64), np.ones(11, np.int64), edges)
    problem = build_problem(graph, 2, resolve_objective("memory"))
    rounds = Rounds(problem, seed=0)
    rounds.add_orders([steps], math.inf)
    rounds.run_round(1)
    ideals = IdealSearch(problem)
    ideals.optimum(rounds.best, Budget())
    Bands(rounds, ideals, seed=0).run(1, math.inf)
    warm_up_guide(problem)


class _Search:
    """A search for a schedule whose linear cost is exact. Arguments: see `search_problem`."""

    def __init__(
        self, problem: Problem, advice: Advice | None, budget: int, deadline: float, seed: int
    ) -> None:
        self._problem, self._advice, self._deadline = problem, advice, deadline
        self._num_moves = budget * problem.num_items
        self._is_limited = math.isfinite(deadline)
        self._is_thorough = self._is_limited or budget >= _THOROUGH
        self._rounds = Rounds(problem, seed)
        self._seed = seed
        self._ideals: IdealSearch | None = None
        self._bands: Bands | None = None

    def run(self, orders: Iterable[Ints]) -> Answer:
        """Search from the best cuts of some orders on."""
        problem, rounds, deadline = self._problem, self._rounds, self._deadline
        rounds.add_orders(orders, deadline)
        if not rounds.found:
            return solve_exact(problem, deadline)  # says why, or finds what no order at hand has
        probabilities = None
        if self._num_moves:
            self._prove(_FIRST_WORK, is_first=True)
        if not rounds.is_solved and self._advice is not None:
            advised, probabilities = _advised(problem, self._advice)
            rounds.add_orders(advised, deadline)
        if not rounds.is_solved and self._is_thorough:
            rounds.add_random_orders(_num_random(problem), deadline)
        few = min(self._num_moves, _FEW_ROUNDS * rounds.moves_per_round)
        self._explore(few, _FEW_SHARE)
        self._prove(_SECOND_WORK if self._num_moves else 0, is_first=False)
        self._explore(self._num_moves - few, _MOVING_SHARE)
        if self._is_thorough:
            self._combine(probabilities)
        self._prove(_WORK_PER_MOVE * self._num_moves, is_first=False)
        if self._is_limited:
            self._explore(self._num_moves, 1.0)
        # Sums of compiled loops may be rounded otherwise than those of the checker.
        best = answer_of(problem, rounds.best.stages).chain
        return Answer(best, best.cost if rounds.is_solved else min(rounds.bound, best.cost))

    def _part_of_time(self, part: float) -> float:
        now = time.perf_counter()
        return now + part * (self._deadline - now) if self._is_limited else math.inf

    def _part_of_work(self, work: float) -> Budget:
        cells = _MAX_CELLS // self._problem.num_stages
        return Budget(self._part_of_time(_PROOF_SHARE), work, cells)

    def _explore(self, num_moves: int, share: float) -> None:
        """Moves, and complete search of neighbourhoods, by turns.

        Args:
            num_moves: How many moves, where there is no deadline.
            share: The part of the time left.
        """
        rounds, deadline, stale = self._rounds, self._part_of_time(share), 0
        patience = _PATIENCE if self._is_thorough else _QUICKLY
        while not rounds.is_solved and (self._is_limited or stale < patience):
            if time.perf_counter() > deadline or (not self._is_limited and num_moves <= 0):
                return
            before = rounds.best
            done = rounds.run_round(rounds.moves_per_round)
            num_moves -= done
            bands = self._neighbourhoods()
            if bands is not None:
                bands.run(_BAND_WORK_PER_MOVE * done, deadline)
            stale = 0 if rounds.best is not before else stale + 1

    def _complete(self) -> IdealSearch | None:
        """The complete search, `None` where it takes too long to begin with."""
        if self._ideals is None and self._problem.num_items <= _MOST_PROVED:
            self._ideals = IdealSearch(self._problem)
        return self._ideals

    def _neighbourhoods(self) -> Bands | None:
        ideals = self._complete()
        if self._bands is None and ideals is not None:
            self._bands = Bands(self._rounds, ideals, self._seed)
        return self._bands

    def _prove(self, work: float, *, is_first: bool) -> None:
        """Complete search, as far as it goes: the first one with little work in any case."""
        rounds = self._rounds
        ideals = None if rounds.is_solved or work <= 0 else self._complete()
        if ideals is None:
            return
        if self._is_limited and not is_first:
            work = math.inf
        chain, rounds.bound = ideals.raise_bound(
            rounds.best, rounds.bound, self._part_of_work(work)
        )
        rounds.add(chain)

    def _combine(self, probabilities: Floats | None) -> None:
        """Look at what lies between good schedules, and at what is open where they agree."""
        problem, rounds = self._problem, self._rounds
        if rounds.is_solved:
            return
        work = math.inf if self._is_limited else _WORK_PER_MOVE * self._num_moves
        rounds.add(mix(problem, rounds.schedules(), rounds.best.cost, self._part_of_work(work)))
        windows = [_agreed(rounds)]
        if probabilities is not None:
            windows.append(_likely(probabilities))
        ideals = self._complete()
        for first, last in windows:
            if ideals is not None and not rounds.is_solved:
                part = ideals.within_stages(first, last)
                rounds.add(part.better_within(rounds.best, self._part_of_work(work)))


def _search_true_costs(
    problem: Problem, orders: Sequence[Ints], budget: int, deadline: float, seed: int
) -> Answer:
    """For objectives that are no sum: moves lower the linear bound, the rest asks the objective."""
    rounds = Rounds(problem, seed)
    rounds.add_orders(orders, deadline)
    limited = math.isfinite(deadline)
    until = time.perf_counter() + 0.3 * (deadline - time.perf_counter()) if limited else math.inf
    if limited or budget > 0:
        rounds.add_random_orders(_num_random(problem), until)
    rounds.run(budget * problem.num_items // 4, until)
    best: Chain | None = None
    most = len(orders) if is_batched(problem.objective) else _MOST_ASKED
    for stages in rounds.schedules()[:most]:
        if best is not None and time.perf_counter() > deadline:
            break
        by_stage = np.lexsort((np.arange(problem.num_items), stages))
        for chain in (answer_of(problem, stages).chain, _sliced(problem, by_stage, deadline)):
            best = _better(best, chain)
    for order in orders[:most]:
        if best is not None and time.perf_counter() > deadline:
            break
        best = _better(best, _sliced(problem, order, deadline))
    if best is None:
        return solve_exact(problem, deadline)
    work = Budget(deadline, math.inf if limited else 1e5 * budget, _MAX_CELLS // 10)
    while problem.num_items <= _MOST_CLOSED:
        near = neighbours(problem, best.stages, best.cost, work)
        if near is None:
            break
        near = answer_of(problem, near.stages).chain
        if _better(best, near) is best:
            break
        best = near
    return Answer(best, min(problem.lower_bound(), best.cost))


def _num_random(problem: Problem) -> int:
    """How many random orders are cut: fewer where cuts take long, and there is less to gain."""
    return max(2, min(_MOST_RANDOM, _RANDOM_ITEMS // problem.num_items))


def _sliced(problem: Problem, order: Ints, deadline: float) -> Chain | None:
    try:
        return slice_items(problem, order, deadline)
    except ScheduleError:  # no cut of it keeps the constraints
        return None


def _better(best: Chain | None, other: Chain | None) -> Chain | None:
    if best is None or other is None:
        return best or other
    return min(best, other, key=lambda chain: (chain.cost, chain.crossing))


def _agreed(rounds: Rounds) -> tuple[Ints, Ints]:
    """First and last stage of each item in the good schedules."""
    similar = [chain.stages for chain in rounds.found if chain.cost <= _SIMILAR * rounds.best.cost]
    return np.min(similar, axis=0), np.max(similar, axis=0)


def _likely(stage_probabilities: Floats) -> tuple[Ints, Ints]:
    """First and last stage of each item that are not unlikely."""
    likely = stage_probabilities >= _UNLIKELY * stage_probabilities.max(axis=1, keepdims=True)
    num_stages = likely.shape[1]
    first = likely.argmax(axis=1)
    return first, num_stages - 1 - likely[:, ::-1].argmax(axis=1)


def _mean_stages(stage_probabilities: Floats) -> Floats:
    stages = np.arange(stage_probabilities.shape[1])
    result: Floats = stage_probabilities @ stages / stage_probabilities.sum(axis=1)
    return result


def _item_probabilities(problem: Problem, given: npt.ArrayLike | None) -> Floats | None:
    """From ops to items: the mean of an item's ops. [num_items, num_stages]."""
    if given is None:
        return None
    values = np.asarray(given, np.float64)
    shape = (problem.graph.num_ops, problem.num_stages)
    if values.shape != shape or not (np.isfinite(values) & (values >= 0)).all():
        raise ArgumentError(
            f"stage_probabilities must be finite numbers, 0 or more, of the shape {list(shape)}. "
            f"Received: {values.dtype} {list(values.shape)}."
        )
    if (values.sum(axis=1) == 0).any():
        op = int(np.flatnonzero(values.sum(axis=1) == 0)[0])
        raise ArgumentError(
            f"stage_probabilities are all 0 for {problem.graph.describe_op(op)}. Expected a "
            "positive one in each row."
        )
    values = values / values.sum(axis=1, keepdims=True)
    sums = np.zeros((problem.num_items, problem.num_stages))
    np.add.at(sums, problem.item_of, values)
    return sums / np.bincount(problem.item_of, minlength=problem.num_items)[:, None]
