"""Loops that numba compiles: once per installation, where it can keep the result on disk."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The compiled form of a function, which its first call makes, or loads from disk."""
    import numba

    try:
        return numba.njit(cache=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # no folder to keep compiled code in can be written to
        return numba.njit(function)  # type: ignore[no-any-return]


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
