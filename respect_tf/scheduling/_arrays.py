"""The one record of a problem's arrays, as compiled loops read it."""

from __future__ import annotations

import ctypes
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.graph import rows_of
from respect_tf.scheduling._problem import Problem

# The fields of `Problem` in `_loops/problem.h`, in its order.
_COUNTS = ("num_items", "num_tensors", "num_stages")
_INTS = (
    *("before_starts", "before", "after_starts", "after", "read_starts", "read"),
    *("made_starts", "made", "reader_starts", "readers", "makers", "earliest", "latest"),
)
_FLOATS = ("sizes", "op_costs", "outputs", "weights", "held", "rooms", "sums")


class _Record(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in _COUNTS),
        *((name, ctypes.c_void_p) for name in (*_INTS, *_FLOATS, "leaves")),
        ("enter", ctypes.c_double),
        ("leave", ctypes.c_double),
        ("is_sum", ctypes.c_int64),
    )


class Arrays:
    """Arrays of a problem, and the record that points to them.

    Attributes:
        problem: The problem, held weakly: arrays are kept as long as it is.
        record: What loops take, by reference.
    """

    def __init__(self, problem: Problem) -> None:
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
            "sums": np.zeros((num_items, 4)),
            "leaves": problem.tensor_leaves,
        }
        types = dict.fromkeys(_INTS, np.int64) | dict.fromkeys(_FLOATS, np.float64)
        self._kept: dict[str, npt.NDArray[Any]] = {
            name: np.ascontiguousarray(value, types.get(name, np.uint8))
            for name, value in values.items()
        }
        self.record = _Record(
            num_items=num_items,
            num_tensors=num_tensors,
            num_stages=problem.num_stages,
            enter=float(problem.linear.enter),
            leave=float(problem.linear.leave),
            is_sum=problem.combine == "sum",
            **{name: array.ctypes.data for name, array in self._kept.items()},
        )

    @property
    def sums(self) -> npt.NDArray[np.float64]:
        """Weights and numbers of what each item needs and is needed by, [num_items, 4]."""
        return self._kept["sums"]


def arrays_of(problem: Problem) -> Arrays:
    """The arrays of a problem, made once."""
    found = _KNOWN.get(problem)
    if found is None:
        found = _KNOWN[problem] = Arrays(problem)
    return found


_KNOWN: weakref.WeakKeyDictionary[Problem, Arrays] = weakref.WeakKeyDictionary()
