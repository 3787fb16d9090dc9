"""The compiled loops, as functions of problems: annealing, cuts of orders, complete search."""

from __future__ import annotations

import ctypes
import math
import time
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf import _loops
from respect_tf.graph import rows_of
from respect_tf.scheduling._chain import Budget, BudgetExceededError, Chain
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._problem import Bools, Floats, Problem

MODULUS = 2**31 - 1
"""Of Lehmer's random numbers, which are 1 to 2**31 - 2."""

# Seconds and work that loops may take where there is no limit: any amount.
_ENDLESS = 1e18


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
    best, quality = np.array(stages, np.int64), np.empty(2)
    ends = np.array(heats, np.float64), np.array(powers, np.int64)
    sizes = num_steps, moves_per_step
    energy = float(scale), float(bound)
    _call(
        "respect_anneal", problem, best, *energy, *sizes, *ends, draws, len(draws), random, quality
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
    stages, quality = np.zeros(problem.num_items, np.int64), np.empty(2)
    order = np.ascontiguousarray(order, np.int64)
    mask = None if allowed is None else np.ascontiguousarray(allowed, np.uint8)
    asked = float(limit), by_crossing, mask, _seconds(deadline)
    found = _call("respect_slice", problem, order, *asked, stages, quality)
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
    sizes, asked = (num_items, num_stages, is_sum), (float(limit), _seconds(deadline))
    of_stops = offsets, len(changes), spans, changes
    _call("respect_sweep", *sizes, *of_stops, *sums, *windows, *asked, reached, beyond)
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
    given = np.ascontiguousarray(stages, np.int64), np.ascontiguousarray(is_open, np.uint8)
    state = np.array([random])
    _call("respect_choose_band", problem, *given, depth, most, state, earliest, latest)
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
    sums = _record_of(problem).arrays["sums"]
    if not sums.any():
        _call("respect_needed_sums", problem, sums)
    first, last = (np.ascontiguousarray(part, np.int64) for part in ranges)
    left = max(0.0, min(budget.work - budget.spent, _ENDLESS))
    cells = int(min(budget.cells, _ENDLESS))
    asked = float(limit), problem.slack, prune, int(min(settling, _ENDLESS)), int(left), cells
    stages, cost, work = np.empty(problem.num_items, np.int64), np.empty(1), np.zeros(1, np.int64)
    try:
        until = _seconds(budget.deadline)
        found = _call(
            "respect_search_ideals", problem, first, last, *asked, until, stages, cost, work
        )
    finally:
        budget.spent += float(work[0])
    return (stages, float(cost[0])) if found else None


def _seconds(deadline: float) -> float:
    return min(deadline - time.perf_counter(), _ENDLESS) if math.isfinite(deadline) else _ENDLESS


def _call(name: str, *arguments: Any) -> bool:
    """Whether a loop found something. Raises where it gave up, or had not enough memory."""
    library = _loops.library()
    if library is None:
        raise BudgetExceededError
    result = getattr(library, name)(*map(_passed, arguments))
    if result == _loops.GAVE_UP:
        raise BudgetExceededError
    if result == _loops.NO_MEMORY:
        raise MemoryError("There is not enough memory for the search. Close other programs.")
    return bool(result == _loops.FOUND)


def _passed(value: Any) -> Any:
    """As loops take it: problems and arrays where they are, whole numbers with 64 bits."""
    if isinstance(value, Problem):
        return ctypes.byref(_record_of(value))
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(value.ctypes.data)
    if isinstance(value, float):
        return ctypes.c_double(value)
    # numpy raises where there are more than 64 bits; ctypes would leave the rest out.
    return None if value is None else ctypes.c_int64(int(np.int64(value)))


# The fields of `Problem` in `_loops/problem.h`, in its order.
_COUNTS = ("num_items", "num_tensors", "num_stages")
_INTS = (
    *("before_starts", "before", "after_starts", "after", "read_starts", "read"),
    *("made_starts", "made", "reader_starts", "readers", "makers", "earliest", "latest"),
)
_FLOATS = ("sizes", "op_costs", "outputs", "weights", "held", "rooms", "sums")


class _Record(ctypes.Structure):
    """A problem as loops read it, and the arrays that it points to."""

    arrays: dict[str, npt.NDArray[Any]]
    _fields_ = (
        *((name, ctypes.c_int64) for name in _COUNTS),
        *((name, ctypes.c_void_p) for name in (*_INTS, *_FLOATS, "leaves")),
        ("enter", ctypes.c_double),
        ("leave", ctypes.c_double),
        ("is_sum", ctypes.c_int64),
    )


def _record_of(problem: Problem) -> _Record:
    """The record of a problem, made once."""
    found = _KNOWN.get(problem)
    if found is None:
        found = _KNOWN[problem] = _made_record(problem)
    return found


_KNOWN: weakref.WeakKeyDictionary[Problem, _Record] = weakref.WeakKeyDictionary()


def _made_record(problem: Problem) -> _Record:
    num_items, num_tensors = problem.num_items, len(problem.tensor_bytes)
    tensors = np.repeat(np.arange(num_tensors), np.diff(problem.reader_offsets))
    made = np.flatnonzero(problem.tensor_items >= 0)
    limits, last = problem.restrictions, problem.num_stages - 1
    links = problem.links
    read = rows_of(problem.reader_items, tensors, num_items)
    makes = rows_of(problem.tensor_items[made], made, num_items)
    nothing = np.zeros(num_items)
    values: dict[str, npt.ArrayLike] = {
        "before_starts": links.before.offsets,
        "before": links.before.nodes,
        "after_starts": links.after.offsets,
        "after": links.after.nodes,
        "read_starts": read.offsets,
        "read": read.nodes,
        "made_starts": makes.offsets,
        "made": makes.nodes,
        "reader_starts": problem.reader_offsets,
        "readers": problem.reader_items,
        "makers": problem.tensor_items,
        "earliest": nothing if limits is None else limits.earliest,
        "latest": nothing + last if limits is None else limits.latest,
        "sizes": problem.tensor_bytes,
        "op_costs": problem.op_costs,
        "outputs": problem.output_bytes,
        "weights": problem.weights,
        "held": nothing if limits is None else limits.item_bytes,
        "rooms": np.full(last + 1, np.inf) if problem.rooms is None else problem.rooms,
        "sums": np.zeros((num_items, 4)),  # filled where they are needed first
        "leaves": problem.tensor_leaves,
    }
    types = dict.fromkeys(_INTS, np.int64) | dict.fromkeys(_FLOATS, np.float64)
    arrays = {
        name: np.ascontiguousarray(value, types.get(name, np.uint8))
        for name, value in values.items()
    }
    record = _Record(
        num_items=num_items,
        num_tensors=num_tensors,
        num_stages=problem.num_stages,
        enter=float(problem.linear.enter),
        leave=float(problem.linear.leave),
        is_sum=problem.combine == "sum",
        **{name: array.ctypes.data for name, array in arrays.items()},
    )
    record.arrays = arrays
    return record
