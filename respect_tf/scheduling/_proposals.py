"""The policy's proposal: the best cut among those of the orders that the network proposes."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import numpy as np

from respect_tf.policy import MOST_ORDERS, proposals
from respect_tf.scheduling._answers import Answer, answer_of
from respect_tf.scheduling._chain import Chain
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Problem
from respect_tf.scheduling._slicing import best_cut, slice_below, slice_items

# What the network takes at most, in seconds per item; it is left out where less time is left.
# benchmarks constants: with a time limit, half +58.03 % gap; twice -0.14 % cost, -0.13 % gap.
_NETWORK_SECONDS = 2e-4

# Orders that are asked for where the objective is no sum: their cuts take 5 to 20 ms each for 180
# to 430 ops, as long as most proofs.
# benchmarks constants: half -1 proofs, +19.35 % gap, 0.87 times the time; twice -1 proofs, +19.35 %
#   gap.
_MOST_ASKED = 3
# Costs may be rounded by so much.
_ROUNDED = 1e-9


class Proposal(NamedTuple):
    """Distinct orders of items, the policy's best first, int64 [num_items] each, and a schedule.

    That is the best of their best cuts; `None` if none of them keeps the constraints.
    """

    orders: list[Ints]
    chain: Chain | None


def proposal_of(problem: Problem, deadline: float = math.inf) -> Proposal:
    """Cut the orders that the network proposes, each with the best cost so far as the limit.

    Where the objective is no sum, the network sees the sum that bounds it. After the deadline no
    further order is cut; where too little time is left for the network, nothing is proposed.

    Raises:
        PolicyFileError: The weights are missing or damaged, or those of another network.
    """
    if deadline - time.perf_counter() < _NETWORK_SECONDS * problem.num_items:
        return Proposal([], None)
    linear = problem.linear
    proposed, cost = proposals(
        problem.graph,
        problem.num_stages,
        op_costs=linear.op_costs,
        transfer_cost=float(linear.enter + linear.leave),
        weights=None,
        max_orders=MOST_ORDERS if linear.exact else _MOST_ASKED,
    )
    items = (problem.item_order(order) for order in proposed)
    orders = list({order.tobytes(): order for order in items}.values())
    best: Chain | None = None
    if linear.exact:
        # The first one has a cut of that cost. It spares most of the work.
        best = slice_below(problem, orders[0], cost * (1 + _ROUNDED), deadline)
    best = best_cut(problem, orders if best is None else orders[1:], best, deadline)
    return Proposal(orders, best)


def solve_policy_greedy(problem: Problem, deadline: float) -> Answer:
    """`"policy-greedy"`: the proposal alone, or the file's order where there is no time for it."""
    proposal = proposal_of(problem, deadline).chain
    chain = proposal or slice_items(problem, np.arange(problem.num_items), deadline)
    answer = answer_of(problem, chain.stages)
    proposed = None if proposal is None else proposal.stages
    return Answer(answer.chain, answer.lower_bound, proposed)
