"""Loops that numba compiles: once per installation, where it can keep the result on disk."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# So many steps in plain Python take about as long as it takes to load numba.
_PLAIN_STEPS = 1_000_000


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The compiled form of a function, which its first call makes, or loads from disk."""
    import numba

    try:
        return numba.njit(cache=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # no folder to keep compiled code in can be written to
        return numba.njit(function)  # type: ignore[no-any-return]


compiled_once = functools.cache(compiled)
"""`compiled`, the same result for the same function: for functions that run uncompiled, too."""


class _PlainWork:
    """What plain Python has done in this process instead of compiled code."""

    num_steps = 0


def loop(function: Callable[..., Any], num_steps: int) -> Callable[..., Any]:
    """A function that can run both ways, in the way that is faster on the whole.

    Where numba is not loaded yet, plain Python does as much as can be done while it would be
    loaded: one small graph never waits for it, and many never take more than twice as long.

    Args:
        function: A function that numba can compile, with the same results.
        num_steps: How often its innermost loops run, about.
    """
    if "numba" not in sys.modules:
        _PlainWork.num_steps += num_steps
        if _PlainWork.num_steps <= _PLAIN_STEPS:
            return function
    return compiled_once(function)


def is_on_disk(function: Callable[..., Any]) -> bool:
    """Whether a plain function's compiled form takes a second to load, and not ten to make.

    A guess by the names of numba's files: it costs time where it is wrong, and nothing else.
    """
    from numba.core.caching import FunctionCache

    code = function.__code__
    name = f"{Path(code.co_filename).stem}.{function.__name__}-{code.co_firstlineno}"
    version = f"py{sys.version_info.major}{sys.version_info.minor}"
    try:
        folder = FunctionCache(function).cache_path
    except RuntimeError:  # see above
        return False
    return (Path(folder) / f"{name}.{version}.nbi").exists()
