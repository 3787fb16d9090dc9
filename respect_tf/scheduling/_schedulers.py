"""The schedulers `"policy"` and `"policy+milp"`."""

from __future__ import annotations

import dataclasses
import math
import time

from respect_tf.scheduling._answers import Answer
from respect_tf.scheduling._chain import quality
from respect_tf.scheduling._milp import improve_by_program
from respect_tf.scheduling._problem import Problem
from respect_tf.scheduling._proposals import proposal_of
from respect_tf.scheduling._search import search_problem

# Moves without a time limit: so many, and so many more for each item. With a quarter of them, 6 of
# 89 graphs (36 random ones, 21 structured ones, the authors' 32) end up to 1.4 % higher and 6 more
# stay without a proof; with these, they take as long as they took with the loops before.
# benchmarks constants: _NUM_MOVES half +0.00 % cost, -2 proofs, +5.28 % gap; twice -1 proofs, +4.60
#   % gap. _MOVES_PER_ITEM half +0.01 % cost; twice the same.
_NUM_MOVES, _MOVES_PER_ITEM = 400_000, 400

# What an integer program takes, in seconds, at least and per item: it is left out where less time
# is left. Without the second, 20,000 random layers in 8 stages take 3.7 s of 1.5.
# benchmarks constants: _MILP_SECONDS with a time limit, half the same; twice 0.20 times the time.
#   _MILP_ITEM_SECONDS with a time limit, half, twice, a tenth and ten times the same.
_MILP_SECONDS, _MILP_ITEM_SECONDS = 1.0, 1e-3

# With a time limit, the part of it that moves have before an integer program, which takes seconds.
# benchmarks constants: with a time limit, half +27.03 % gap; twice -0.29 % cost, -4.42 % gap.
_POLICY_SHARE = 0.2

# The windows of the integer program in turn, in stages; `None` is all schedules. Without a time
# limit, the first window is the only one, and its search tree has so many nodes.
# benchmarks constants: with a time limit, half and twice the same.
_WINDOWS = (1, 2, None)
# benchmarks constants: half the same; twice 1.15 times the time.
_FEW_NODES = 200


def solve_policy(problem: Problem, deadline: float, seed: int) -> Answer:
    """`"policy"`: the network's proposal, and search around its orders and structural ones.

    Without a deadline, on `time.perf_counter()`'s clock in seconds, the same seed gives the same
    schedule.
    """
    if problem.has_one_order:  # there is nothing to propose
        answer = search_problem(problem, deadline=deadline)
        return dataclasses.replace(answer, proposal=answer.chain.stages)
    proposal = proposal_of(problem, deadline)
    answer = search_problem(
        problem,
        proposal.orders,
        known=proposal.chain,
        budget=_NUM_MOVES // problem.num_items + _MOVES_PER_ITEM,
        deadline=deadline,
        seed=seed,
    )
    if proposal.chain is None:
        return answer
    # The search looks at all of these orders only where it has the time. What it proves to be the
    # best has the fewest streamed bytes of those that cost as much, but for rounding.
    is_proved = answer.lower_bound >= answer.chain.cost
    best = answer.chain if is_proved else min(answer.chain, proposal.chain, key=quality)
    return Answer(best, answer.lower_bound, proposal.chain.stages)


def solve_with_milp(problem: Problem, deadline: float, seed: int) -> Answer:
    """`"policy+milp"`: `"policy"`, and an integer program over the schedules near its own.

    After the method of the authors of RESPECT (arXiv 2308.11652). With a deadline, the window of
    stages around the best schedule known grows where it holds nothing better, until it holds all
    schedules.
    """
    is_limited = math.isfinite(deadline)
    now = time.perf_counter()
    until = now + _POLICY_SHARE * (deadline - now) if is_limited else deadline
    answer = solve_policy(problem, until, seed)
    max_nodes = None if is_limited else _FEW_NODES
    for window in _WINDOWS if is_limited else _WINDOWS[:1]:
        if answer.chain.cost <= answer.lower_bound or not has_time(problem, deadline):
            break
        answer = improve_by_program(problem, answer, window, deadline, max_nodes)
    return answer


def has_time(problem: Problem, deadline: float) -> bool:
    """Whether there is time for an integer program to do some good."""
    least = _MILP_SECONDS + _MILP_ITEM_SECONDS * problem.num_items
    return deadline - time.perf_counter() >= least
