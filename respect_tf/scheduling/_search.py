"""`search()`: a good schedule from orders of ops, in compiled code, with a bound or a proof."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from respect_tf.graph import OpGraph
from respect_tf.scheduling._answers import Answer, answer_of, checked_schedule, unsearched
from respect_tf.scheduling._arguments import checked_count, deadline_after, resolve_objective
from respect_tf.scheduling._chain import Budget, Chain, best_known, quality
from respect_tf.scheduling._compiled_search import has_loops
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._cut_bounds import improve_by_cuts
from respect_tf.scheduling._device_objectives import DeviceObjective
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._least_cut import MOST_CLOSED
from respect_tf.scheduling._objective import Objective
from respect_tf.scheduling._optima import is_large, prepare
from respect_tf.scheduling._orders import distinct_orders
from respect_tf.scheduling._pairs import neighbours
from respect_tf.scheduling._problem import Problem, build_problem
from respect_tf.scheduling._proof import first_schedule, prove_quickly
from respect_tf.scheduling._room_bounds import raised_bound
from respect_tf.scheduling._schedule import Schedule
from respect_tf.scheduling._search_linear import LinearSearch
from respect_tf.scheduling._search_rounds import Rounds
from respect_tf.scheduling._slicing import best_cut, only_order

# benchmarks constants: half the same; twice -0.19 % gap.
DEFAULT_BUDGET = 1000
"""Moves per item that `search` tries without a time limit."""

# The part of the time left that each step may take but the last.
# benchmarks constants: with a time limit, half +174.09 % gap; twice the same.
_SHARE = 0.3

# Work of minimum cuts, about a second, and for each move, so that a short search stays short: with
# all of it, labels of 30 to 120 ops by 60 moves per op took 2.3 times as long.
# benchmarks constants: _CUT_WORK half 0.90 times the time; twice 1.19 times the time.
#   _BOUND_WORK_PER_MOVE half and twice the same; a tenth 0.75 times the time; ten times the same.
_CUT_WORK, _BOUND_WORK_PER_MOVE = 300_000_000, 2000

# Sums whose bound is further away than that get them: BERT's operator graphs (235 and 783 ops) in 2
# and 4 stages are 15 to 34 % above theirs without cuts, and 0 to 0.6 % with them, in 0.4 s.
# benchmarks constants: half and twice the same; a tenth the same; ten times +1.11 % gap, 0.76 times
#   the time.
_FAR = 0.9

# Where a bound is as near as that, moves are left out: with them, 24 cuts (a CRNN, a YOLOv8 and
# NASNetMobile in 2 and 4 stages on three hosts and on all with USB 3) take 1.11 times as long, and
# one costs 0.014 % less.
# benchmarks constants: half, twice, a tenth and ten times the same.
_CLOSE = 0.99

# Of more items, what is near a schedule takes a second to look at: not again for so little. Without
# that, a CRNN (712 ops) in 4 stages takes 7.0 s in place of 3.0 and ends 0.1 % lower.
# benchmarks constants: _FEW_ITEMS read by no case that was run. _LITTLE half 1.14 times the time;
#   twice the same.
_FEW_ITEMS, _LITTLE = 500, 3e-3

# Orders that are cut where an objective has to be asked for one stage after the other.
# benchmarks constants: half the same; twice 1.28 times the time.
_MOST_ASKED = 3


def search(
    graph: OpGraph,
    num_stages: int,
    orders: Sequence[npt.ArrayLike] = (),
    *,
    objective: str | Objective = "memory",
    constraints: Constraints | None = None,
    budget: int = DEFAULT_BUDGET,
    time_limit: float | None = None,
    seed: int = 0,
) -> Schedule:
    """Search for a schedule around orders of the ops.

    Each order is cut optimally. Then come, by turns, complete search of everything below a rising
    cost limit, which finds the optimum or raises the lower bound, as long as little work suffices;
    and moves of ops across stage borders, and complete search of neighbourhoods. Objectives whose
    cost is no sum, as `"throughput"`, are solved to the proved optimum where that takes little
    work; of others the linear bound is searched, and what is good by it is asked for.

    Args:
        graph: The graph.
        num_stages: Number of stages.
        orders: Topological orders of the ops to begin with, int [num_ops] each, and then with
            structural ones.
        objective: `"memory"` or an `Objective`.
        constraints: What the schedule has to keep.
        budget: Moves per op, and other work in proportion. Ignored where there is a time limit.
        time_limit: Seconds after which the best schedule so far is returned. Without one, the same
            seed gives the same schedule.
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
        seed=checked_count("seed", seed, 0),
    )
    return checked_schedule(problem, prepared.reported(answer, problem), "search", started)


def search_problem(
    problem: Problem,
    orders: Sequence[Ints] = (),
    *,
    known: Chain | None = None,
    start: Answer | None = None,
    budget: int = DEFAULT_BUDGET,
    deadline: float = math.inf,
    seed: int = 0,
) -> Answer:
    """What `search` does, for items. Orders are topological ones, int64 [num_items] each.

    `known` is the best cut of these orders, where they have been cut. With a schedule to begin
    with, and a lower bound, structural orders are left out.

    Raises:
        ScheduleError: No schedule keeps the constraints, or none was found.
    """
    if start is not None and start.lower_bound >= start.chain.cost:
        return start
    if problem.has_one_order:
        found = only_order(problem, deadline)
        if start is None:
            return found
        best = min(start.chain, found.chain, key=quality)
        return Answer(best, max(found.lower_bound, start.lower_bound))
    every = _orders(problem, orders, structural=start is None)
    if problem.linear.exact and has_loops():
        answer = LinearSearch(problem, budget, deadline, seed).run(every, start)
        is_near = answer.lower_bound >= _FAR * answer.chain.cost
        if is_near or problem.combine != "max" or is_large(problem) or budget == 0:
            return answer
        return _after_cuts(problem, answer, budget, deadline)
    is_for_cuts = isinstance(problem.objective, DeviceObjective)
    is_along = is_large(problem) and is_for_cuts
    num_cut = 0 if known is None else len(orders)  # so many of the first orders have been
    if start is None and not is_along and (budget > 0 or math.isfinite(deadline)):
        proved = prove_quickly(problem, _part_of(deadline))
        if proved is not None:
            return proved
        if is_for_cuts:
            uncut = [*orders, np.arange(problem.num_items)][num_cut:]
            known, num_cut = best_cut(problem, uncut, known, deadline), len(orders) + 1
            if known is not None:
                start = unsearched(problem, known)
                start = _after_cuts(problem, start, budget, _part_of(deadline))
                if start.lower_bound >= _CLOSE * start.chain.cost:
                    return start
    if start is None and known is not None:
        start = unsearched(problem, known)
    tried = list(itertools.islice(every, 1) if is_along else every)
    return _search_true_costs(problem, tried, num_cut, start, budget, deadline, seed)


def _after_cuts(problem: Problem, answer: Answer, budget: int, deadline: float) -> Answer:
    """What minimum cuts make of an answer."""
    work = min(_CUT_WORK, _BOUND_WORK_PER_MOVE * budget * problem.num_items)
    return improve_by_cuts(problem, answer, Budget(deadline, work))


def _orders(problem: Problem, given: Sequence[Ints], *, structural: bool) -> Iterator[Ints]:
    """The orders to begin with, made when they are asked for: large graphs take their time."""
    yield from given
    if structural:
        yield np.arange(problem.num_items)
        yield from distinct_orders(problem)[1:]


def _search_true_costs(
    problem: Problem,
    orders: Sequence[Ints],
    num_cut: int,
    start: Answer | None,
    budget: int,
    deadline: float,
    seed: int,
) -> Answer:
    """For objectives that are no sum: moves lower the linear bound, the rest asks the objective.

    Of the orders, the first `num_cut` need not be cut again.
    """
    known = None if start is None else start.chain
    is_along = isinstance(problem.objective, DeviceObjective) and is_large(problem)
    most = None if problem.objective.is_batched else _MOST_ASKED
    moved_to: list[Ints] = []
    if has_loops() and not is_along:
        linear = dataclasses.replace(problem.linear, exact=True)
        rounds = Rounds(dataclasses.replace(problem, linear=linear), seed)
        if known is not None:
            rounds.add(answer_of(rounds.problem, known.stages).chain)
        until = _part_of(deadline)
        rounds.add_orders(orders, until)
        rounds.run(budget * problem.num_items // 4, until)
        moved_to = [chain.stages for chain in rounds.found]
        known = best_known(*(answer_of(problem, stages).chain for stages in moved_to[:1]), known)
    by_stage = [np.lexsort((np.arange(problem.num_items), stages)) for stages in moved_to]
    known = best_cut(problem, [*by_stage[:most], *orders[num_cut:most]], known, deadline)
    best = known or first_schedule(problem, deadline).chain
    low = max(problem.lower_bound(), 0.0 if start is None else start.lower_bound)
    if is_along:
        low = max(low, raised_bound(problem, best.cost, deadline))
    else:
        best = _descended(problem, best, budget, deadline)
    return Answer(best, min(low, best.cost))


def _descended(problem: Problem, best: Chain, budget: int, deadline: float) -> Chain:
    """The best schedule that is found near one, and near that, and so on."""
    work = Budget(deadline, math.inf if math.isfinite(deadline) else 1e5 * budget)
    while problem.num_items <= MOST_CLOSED:
        near = neighbours(problem, best.stages, best.cost, work)
        if near is None:
            break
        before, best = best, min(best, answer_of(problem, near.stages).chain, key=quality)
        is_little = best.cost > (1 - _LITTLE) * before.cost
        if best is before or (is_little and problem.num_items > _FEW_ITEMS):
            break
    return best


def _part_of(deadline: float) -> float:
    """The end of a part of the time left."""
    now = time.perf_counter()
    return now + _SHARE * (deadline - now) if math.isfinite(deadline) else deadline
