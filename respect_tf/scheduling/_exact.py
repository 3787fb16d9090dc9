"""`"exact"`: the best schedule that a search finds, and the proof that it is the best of all."""

from __future__ import annotations

import math
import time

from respect_tf.scheduling._answers import Answer
from respect_tf.scheduling._milp import improve_by_program, open_variables
from respect_tf.scheduling._problem import Problem
from respect_tf.scheduling._proof import MAX_NODES, MAX_OPEN, prove
from respect_tf.scheduling._schedulers import has_time, solve_policy
from respect_tf.scheduling._search import search_problem

# Shares of the time left for the search, then for the proof, and then for an integer program.
# benchmarks constants: _SEARCH_SHARE with a time limit, half the same; twice +4.34 % gap.
#   _PROOF_SHARE with a time limit, half +4.66 % gap; twice the same. _PROGRAM_SHARE with a time
#   limit, half, twice, a tenth and ten times the same.
_SEARCH_SHARE, _PROOF_SHARE, _PROGRAM_SHARE = 0.3, 0.5, 0.6


def solve_exact(problem: Problem, deadline: float) -> Answer:
    """The optimum and, where time and work last, the proof of it.

    It begins with what `"policy"` does, and is never worse. What that leaves open is searched
    completely, and at last by an integer program. Without a deadline, it gives up after a fixed
    amount of work.
    """
    answer = solve_policy(problem, _part(deadline, _SEARCH_SHARE), 0)
    if not _is_open(answer) or time.perf_counter() > deadline:
        return answer
    answer = prove(problem, answer, _part(deadline, _PROOF_SHARE))
    until = _part(deadline, _PROGRAM_SHARE)
    # The linear bound of another cost is too weak to prove anything by.
    if _is_open(answer) and problem.linear.exact and has_time(problem, until):
        most, max_nodes = (MAX_OPEN, MAX_NODES) if deadline == math.inf else (2 * MAX_OPEN, None)
        if open_variables(problem, answer.chain) <= most:
            answer = improve_by_program(problem, answer, None, until, max_nodes)
    if _is_open(answer) and time.perf_counter() < deadline < math.inf:
        answer = search_problem(problem, start=answer, deadline=deadline, seed=1)
    return answer


def _is_open(answer: Answer) -> bool:
    return answer.chain.cost > answer.lower_bound


def _part(deadline: float, share: float) -> float:
    """The end of a part of the time left."""
    now = time.perf_counter()
    return now + share * (deadline - now) if math.isfinite(deadline) else deadline
