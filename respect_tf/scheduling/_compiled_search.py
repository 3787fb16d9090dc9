"""The compiled loops, as functions of arrays: annealing, cuts of orders, complete search."""

from __future__ import annotations

import ctypes
import math
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf import _loops
from respect_tf.scheduling._arrays import arrays_of
from respect_tf.scheduling._chain import Budget, BudgetExceededError, Chain
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools, Floats, Problem

MODULUS = 2**31 - 1
"""Of Lehmer's random numbers, which are 1 to 2**31 - 2."""

# Seconds that loops may take where there is no deadline: any number of them.
_FOREVER = 1e18
_MOST_WORK = 1 << 60


def has_loops() -> bool:
    """Whether compiled loops are at hand. Where none are and a compiler is, it makes them."""
    return _loops.library() is not None


def anneal(
    problem: Problem,
    stages: Ints,
    *,
    scale: float,
    bound: float,
    num_steps: int,
    moves_per_step: int,
    heats: tuple[float, float],
    powers: tuple[int, int],
    draws: Floats,
    random: int,
) -> Chain:
    """Simulated annealing over schedules by linear cost: `respect_anneal` in `_loops/anneal.c`.

    `scale` is the unit of costs in the energy, and what costs no more than `bound` is not improved.
    Heats, as parts of the energy, and powers of costs are those of the first and of the last of
    `num_steps` temperatures; draws are exponentially distributed, a power of two of them.
    """
    best = np.array(stages, np.int64)
    quality = np.empty(2)
    _call(
        "respect_anneal",
        problem,
        _at(best),
        ctypes.c_double(scale),
        ctypes.c_double(bound),
        num_steps,
        moves_per_step,
        _at(np.array(heats, np.float64)),
        _at(np.array(powers, np.int64)),
        _at(draws),
        len(draws),
        random,
        _at(quality),
    )
    return Chain(best, float(quality[0]), float(quality[1]))


def cut_order(
    problem: Problem,
    order: Ints,
    limit: float = math.inf,
    *,
    by_crossing: bool = False,
    allowed: Bools | None = None,
    deadline: float = math.inf,
) -> Chain | None:
    """The best cut of an order, int64 [num_items], by linear cost; `None` if none keeps the limit.

    `by_crossing` asks for the fewest crossing bytes instead, not where costs are added up;
    `allowed` says which positions boundaries may have, bool [num_stages + 1, num_items + 1].
    """
    stages = np.zeros(problem.num_items, np.int64)
    quality = np.empty(2)
    mask = None if allowed is None else _at(np.ascontiguousarray(allowed, np.uint8))
    found = _call(
        "respect_slice",
        problem,
        _at(np.ascontiguousarray(order, np.int64)),
        ctypes.c_double(limit),
        by_crossing,
        mask,
        _seconds(deadline),
        _at(stages),
        _at(quality),
    )
    return Chain(stages, float(quality[0]), float(quality[1])) if found else None


def sweep_order(
    events: tuple[Ints, Ints, Floats],
    sums: tuple[Floats, Floats],
    windows: tuple[Ints, Ints, Floats],
    limit: float,
    *,
    is_sum: bool,
    deadline: float,
) -> tuple[Floats, float]:
    """How far chains of intervals within a limit get: see `respect_sweep` in `_loops/sweep.c`.

    Events are where those of each stop begin, spans of starts, and changes of cost; sums are
    weights and bytes before each position, [num_items + 1]; windows are the first and last
    positions of boundaries, [num_stages + 1], and rooms of stages.

    Returns:
        The least cost up to each position, [num_stages + 1, num_items + 1], 0 where costs are not
        added up, infinite above the limit; and the next limit that would let any chain get further.
    """
    offsets, spans, changes = events
    num_items, num_stages = len(sums[0]) - 1, len(windows[0]) - 1
    reached, beyond = np.empty((num_stages + 1, num_items + 1)), np.empty(1)
    _checked(
        _library().respect_sweep(
            ctypes.c_int64(num_items),
            ctypes.c_int64(num_stages),
            ctypes.c_int64(is_sum),
            _at(offsets),
            ctypes.c_int64(len(changes)),
            _at(spans),
            _at(changes),
            *map(_at, sums),
            *map(_at, windows),
            ctypes.c_double(limit),
            _seconds(deadline),
            _at(reached),
            _at(beyond),
        )
    )
    return reached, float(beyond[0])


def choose_band(
    problem: Problem, stages: Ints, is_open: Bools, depth: int, most: int, random: int
) -> tuple[Ints, Ints, int]:
    """Let some of the items next to open boundaries, bool [num_stages + 1], cross them.

    Of each boundary, at most so many that are at most `depth + 1` edges away from it.

    Returns:
        First and last stage of each item, int64 [num_items] each, and the state of random numbers.
    """
    earliest, latest = np.empty((2, problem.num_items), np.int64)
    state = np.array([random])
    is_open = np.ascontiguousarray(is_open, np.uint8)
    _call(
        "respect_choose_band",
        problem,
        _at(np.ascontiguousarray(stages, np.int64)),
        _at(is_open),
        depth,
        most,
        _at(state),
        _at(earliest),
        _at(latest),
    )
    return earliest, latest, int(state[0])


def search_ideals(
    problem: Problem,
    ranges: tuple[Ints, Ints],
    limit: float,
    budget: Budget,
    *,
    prune: bool,
    settling: float,
) -> tuple[Ints, float] | None:
    """Search all schedules whose items keep ranges of stages, and their cost a limit.

    `prune` says that transfers cost nothing and nothing is constrained: it then finds some
    schedule, which need not be the cheapest. `settling` is work that may be spent on fewer
    crossing bytes at the same cost.

    Returns:
        Stages of items and what they cost; `None` if there is no such schedule.
    """
    arrays = arrays_of(problem)
    if not arrays.sums.any():
        _call("respect_needed_sums", problem, _at(arrays.sums))
    left = max(0.0, min(budget.work - budget.spent, _MOST_WORK))
    stages, cost, work = np.empty(problem.num_items, np.int64), np.empty(1), np.zeros(1, np.int64)
    try:
        found = _call(
            "respect_search_ideals",
            problem,
            *(_at(np.ascontiguousarray(part, np.int64)) for part in ranges),
            ctypes.c_double(limit),
            ctypes.c_double(problem.slack),
            prune,
            int(min(settling, _MOST_WORK)),
            int(left),
            int(min(budget.cells, _MOST_WORK)),
            _seconds(budget.deadline),
            _at(stages),
            _at(cost),
            _at(work),
        )
    finally:
        budget.spent += float(work[0])
    return (stages, float(cost[0])) if found else None


def _seconds(deadline: float) -> ctypes.c_double:
    left = min(deadline - time.perf_counter(), _FOREVER) if math.isfinite(deadline) else _FOREVER
    return ctypes.c_double(left)


def _at(array: npt.NDArray[Any]) -> Any:
    """Where an array's values are; the array is held as long as what is returned."""
    return array.ctypes.data_as(ctypes.c_void_p)


def _library() -> ctypes.CDLL:
    found = _loops.library()
    if found is None:
        raise BudgetExceededError
    return found


def _call(name: str, problem: Problem, *arguments: Any) -> bool:
    """Call a loop with a problem. Whole numbers are passed with 64 bits."""
    passed = [ctypes.c_int64(part) if isinstance(part, int) else part for part in arguments]
    record = ctypes.byref(arrays_of(problem).record)
    return _checked(getattr(_library(), name)(record, *passed))


def _checked(result: int) -> bool:
    """Whether something was found. Raises where the loop gave up, or had not enough memory."""
    if result == _loops.GAVE_UP:
        raise BudgetExceededError
    if result == _loops.NO_MEMORY:
        raise MemoryError("There is not enough memory for the search. Close other programs.")
    return result == _loops.FOUND
