"""`search()`: a good schedule from orders of ops, in compiled code, with a bound or a proof."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ScheduleError
from respect_tf.graph import OpGraph
from respect_tf.scheduling._answers import Answer, answer_of
from respect_tf.scheduling._arguments import checked_count, deadline_after
from respect_tf.scheduling._bounded import BoundedObjective
from respect_tf.scheduling._chain import Budget, BudgetExceededError, Chain
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._cut_answers import improve_by_cuts
from respect_tf.scheduling._ideal_search import IdealSearch, is_loaded
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._objective import Objective, resolve_objective
from respect_tf.scheduling._optima import prepare
from respect_tf.scheduling._orders import ORDER_NAMES, structural_order
from respect_tf.scheduling._problem import Problem, build_problem
from respect_tf.scheduling._proof import solve_directly, solve_quickly
from respect_tf.scheduling._proposals import proposal_of
from respect_tf.scheduling._result import checked_schedule
from respect_tf.scheduling._schedule import Schedule
from respect_tf.scheduling._search_bands import Bands
from respect_tf.scheduling._search_ideals import has_few_ideals, neighbours
from respect_tf.scheduling._search_linear import LinearSearch
from respect_tf.scheduling._search_rounds import Rounds, is_loaded_soon
from respect_tf.scheduling._slicing import slice_items
from respect_tf.scheduling._true_costs import is_batched

DEFAULT_BUDGET = 1000
"""Moves per item that `search` tries without a time limit."""

# Up to so many order ideals, looking at all of them takes some hundredths of a second.
_ALWAYS_FEW, _FEW_PER_ITEM, _FEW_IDEALS = 512, 3, 2000
_MOST_FEW_WORK = 20_000_000

# What a proof before the search may take: some tenths of a second, or this part of a limit.
_PROOF_WORK, _PROOF_SHARE = 40_000_000, 0.2

# The same of minimum cuts, where there are too many order ideals for that: about a second.
_CUT_WORK, _CUT_SHARE = 150_000_000, 0.3

# Where a bound is as near as that, moves are left out: they take a second or two.
_CLOSE = 0.99

# Where less time is left, nothing is compiled that is not on disk.
_COMPILE_SECONDS = 90.0

# Orders that are cut where an objective has to be asked for one stage after the other; and items of
# which pairs are looked at.
_MOST_ASKED, _MOST_CLOSED = 3, 4096
_MAX_CELLS = 20_000_000


def search(
    graph: OpGraph,
    num_stages: int,
    orders: Sequence[npt.ArrayLike] = (),
    *,
    objective: str | Objective = "memory",
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
    about most ops. Graphs of few order ideals are solved to the proved optimum at once, and so are
    objectives whose cost is no sum, as `"throughput"`, where that takes little work.

    The first call for a graph of many order ideals loads compiled code, in about a second. The very
    first one compiles it, in about a minute, unless the time limit is short: then `"exact"` does
    what it can. See `warm_up`.

    Args:
        graph: The graph.
        num_stages: Number of stages.
        orders: Topological orders of the ops to begin with, int [num_ops] each.
        objective: `"memory"` or an `Objective`.
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
    prepared = prepare(resolve_objective(objective), graph, num_stages, constraints, deadline)
    problem = build_problem(graph, num_stages, prepared.objective, constraints)
    answer = search_problem(
        problem,
        [problem.item_order(order) for order in orders],
        budget=checked_count("budget", budget, 0),
        deadline=deadline,
        structural=structural,
        seed=checked_count("seed", seed, 0),
    )
    answer = dataclasses.replace(answer, lower_bound=answer.lower_bound * prepared.doubt)
    return checked_schedule(problem, answer, "search", started)


def search_problem(
    problem: Problem,
    orders: Sequence[Ints] = (),
    *,
    start: Answer | None = None,
    budget: int = DEFAULT_BUDGET,
    deadline: float = math.inf,
    structural: bool = True,
    seed: int = 0,
) -> Answer:
    """What `search` does, for items.

    Args:
        problem: The problem.
        orders: Topological orders of items, int64 [num_items] each.
        start: A schedule to begin with, and a lower bound. Structural orders are then left out.
        budget: See `search`.
        deadline: On `time.perf_counter()`'s clock in seconds.
        structural: See `search`.
        seed: 0 or more.

    Raises:
        ScheduleError: No schedule keeps the constraints, or none was found.
    """
    if start is not None and start.lower_bound >= start.chain.cost:
        return start
    if _is_solved_exactly(problem, deadline):
        return _best_of(start, _solve_exactly(problem, deadline))
    may_prove = start is None and (budget > 0 or math.isfinite(deadline))
    proved = _proved_quickly(problem, deadline) if may_prove else None
    if proved is not None:
        return proved
    if start is None and may_prove and isinstance(problem.objective, BoundedObjective):
        start = _cut_answer(problem, deadline)
        if start is not None and start.lower_bound >= _CLOSE * start.chain.cost:
            return start
    has_none = start is None and not len(orders)
    every = _orders(problem, orders, has_none or (structural and start is None))
    if problem.linear.exact:
        return LinearSearch(problem, budget, deadline, seed).run(every, start)
    return _search_true_costs(problem, list(every), start, budget, deadline, seed)


def _best_of(start: Answer | None, found: Answer) -> Answer:
    """The better of two schedules and the higher of two bounds."""
    if start is None:
        return found
    chain = _better(start.chain, found.chain)
    return Answer(chain or found.chain, max(start.lower_bound, found.lower_bound))


def _orders(problem: Problem, given: Sequence[Ints], structural: bool) -> Iterator[Ints]:
    """The orders to begin with, each made when it is asked for: large graphs take their time."""
    yield from given
    if structural:
        for name in ORDER_NAMES:
            yield structural_order(problem, name)


def _is_solved_exactly(problem: Problem, deadline: float) -> bool:
    """Whether all order ideals are looked at: there are few, or no time to load compiled code."""
    few = max(_ALWAYS_FEW, min(_FEW_PER_ITEM * problem.num_items, _FEW_IDEALS))
    if problem.num_stages == 1 or has_few_ideals(problem, few):
        return True
    return deadline - time.perf_counter() < _COMPILE_SECONDS and not is_loaded_soon()


def _proved_quickly(problem: Problem, deadline: float) -> Answer | None:
    """The proved optimum of an objective that is no sum, where it takes no longer than a search."""
    if problem.linear.exact or not is_batched(problem.objective):
        return None
    now = time.perf_counter()
    return solve_quickly(problem, now + _PROOF_SHARE * (deadline - now), _PROOF_WORK)


def _cut_answer(problem: Problem, deadline: float) -> Answer | None:
    """What minimum cuts find and bound, from the best cut of the file's order."""
    now = time.perf_counter()
    until = now + _CUT_SHARE * (deadline - now) if math.isfinite(deadline) else deadline
    first = _sliced(problem, np.arange(problem.num_items), deadline)
    if first is None:
        return None
    answer = Answer(first, min(problem.lower_bound(), first.cost))
    return improve_by_cuts(problem, answer, Budget(until, _CUT_WORK))


def _solve_exactly(problem: Problem, deadline: float) -> Answer:
    """What `solve_directly` finds, by whichever way is faster at the moment."""
    has_loops = problem.linear.exact and problem.combine == "max" and is_loaded()
    if has_loops and problem.num_stages > 1 and deadline == math.inf:
        rounds = Rounds(problem, seed=0)
        rounds.add_orders([np.arange(problem.num_items)], deadline)
        if rounds.found:
            with contextlib.suppress(BudgetExceededError):
                best = IdealSearch(problem).optimum(rounds.best, Budget(work=_MOST_FEW_WORK))
                return Answer(best, best.cost)
    return solve_directly(problem, deadline)


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
    for name in ORDER_NAMES:
        structural_order(problem, name)
    proposal_of(problem)


def _search_true_costs(
    problem: Problem,
    orders: Sequence[Ints],
    start: Answer | None,
    budget: int,
    deadline: float,
    seed: int,
) -> Answer:
    """For objectives that are no sum: moves lower the linear bound, the rest asks the objective."""
    rounds = Rounds(problem, seed)
    best, low = None, problem.lower_bound()
    if start is not None:
        best, low = start.chain, max(low, start.lower_bound)
        rounds.add(Chain(best.stages, rounds.linear_cost(best.stages), best.crossing))
    rounds.add_orders(orders, deadline)
    limited = math.isfinite(deadline)
    until = time.perf_counter() + 0.3 * (deadline - time.perf_counter()) if limited else math.inf
    if start is None and (limited or budget > 0):
        rounds.add_random_orders(until)
    rounds.run(budget * problem.num_items // 4, until)
    most = len(orders) if is_batched(problem.objective) else _MOST_ASKED
    for stages in rounds.schedules()[: max(most, _MOST_ASKED)]:
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
        return solve_directly(problem, deadline)
    work = Budget(deadline, math.inf if limited else 1e5 * budget, _MAX_CELLS)
    while problem.num_items <= _MOST_CLOSED:
        near = neighbours(problem, best.stages, best.cost, work)
        if near is None:
            break
        near = answer_of(problem, near.stages).chain
        if _better(best, near) is best:
            break
        best = near
    return Answer(best, min(low, best.cost))


def _sliced(problem: Problem, order: Ints, deadline: float) -> Chain | None:
    try:
        return slice_items(problem, order, deadline)
    except ScheduleError:  # no cut of it keeps the constraints
        return None


def _better(best: Chain | None, other: Chain | None) -> Chain | None:
    if best is None or other is None:
        return best or other
    return min(best, other, key=lambda chain: (chain.cost, chain.crossing))
