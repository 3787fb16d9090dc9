"""Loops in C that the search runs: found, or compiled where there is a compiler.

An installation brings them compiled. In a checkout they are compiled at first use, in a second or
two, and kept in the folder of caches. Without a compiler there are none, and `library()` is `None`:
what calls it has a slower or simpler way.
"""

from __future__ import annotations

import ctypes
import functools
import os
from pathlib import Path

from respect_tf._loops._build import FOLDER, build, library_name
from respect_tf._reporting import progress, report

NOTHING_FOUND, FOUND, GAVE_UP, NO_MEMORY = 0, 1, -1, -2
"""What loops return; see `problem.h`."""


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled loops, `None` if there is no way to have them."""
    for folder in (FOLDER, cache_folder()):
        found = _loaded(folder / library_name())
        if found is not None:
            return found
    with progress("Compiling the search, once for this installation"):
        try:
            made = build(cache_folder())
        except OSError:  # there is no folder to write to
            made = None
    found = None if made is None else _loaded(made)
    if found is None:
        report(
            "respect_tf was installed without its compiled search, and no C compiler is here to "
            "make up for it: schedules of graphs with many branches may be some per cent worse. "
            "`pip install ziglang` brings a compiler."
        )
    return found


def cache_folder() -> Path:
    """Where a checkout keeps its compiled loops."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "respect_tf"


def _loaded(path: Path) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(str(path))
    except OSError:  # it is not there, or for another machine
        return None
