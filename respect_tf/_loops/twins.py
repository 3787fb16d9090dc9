"""Loops that exist twice: in plain Python, and in C with the same results to the last bit."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf import _loops

# What the plain loops return that fill in no argument, from their arrays: as many numbers as one of
# these has rows, in a type of its own.
_RESULTS: dict[str, tuple[int, type[np.generic]]] = {
    "run_depth_first": (2, np.int64),
    "run_longest_paths": (2, np.float64),
    "run_least_live": (2, np.int64),
}


def loop(function: Callable[..., Any]) -> Callable[..., Any]:
    """A plain loop's twin in C, or the loop itself where there is no compiler.

    Args:
        function: A function `run_...` of arrays and numbers, which has a twin in `_loops/*.c`. Its
            arrays are contiguous.
    """
    return compiled(function.__name__) or function


def compiled(name: str) -> Callable[..., Any] | None:
    """A loop in C that takes arrays and then numbers; `None` where there is no compiler."""
    library = _loops.library()
    if library is None:
        return None
    twin = getattr(library, f"respect_{name}")

    def call(*arguments: Any) -> Any:
        arrays = [part for part in arguments if isinstance(part, np.ndarray)]
        numbers = [float(part) for part in arguments if not isinstance(part, np.ndarray)]
        result: npt.NDArray[Any] | None = None
        if name in _RESULTS:
            like, dtype = _RESULTS[name]
            result = np.empty(len(arrays[like]), dtype)
            arrays.append(result)
        records = [field for array in arrays for field in _record(array)]
        if (
            twin(
                (ctypes.c_int64 * len(records))(*records),
                (ctypes.c_double * (len(numbers) + 1))(*numbers),
            )
            == _loops.NO_MEMORY
        ):
            raise MemoryError("There is not enough memory to look at the graph.")
        return result

    return call


def _record(array: npt.NDArray[Any]) -> tuple[int, int, int]:
    """The fields of `Array` in `plain.h`."""
    if not array.flags.c_contiguous:
        raise ValueError(f"Expected a contiguous array. Received the strides {array.strides}.")
    # Half the time of `array.ctypes.data`.
    address: int = array.__array_interface__["data"][0]
    return address, len(array), array.shape[1] if array.ndim > 1 else 1
