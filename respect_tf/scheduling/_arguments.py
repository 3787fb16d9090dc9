"""Checks of arguments that several functions take."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from respect_tf._errors import ArgumentError
from respect_tf._reals import is_real


def checked_count(name: str, value: Any, least: int = 1) -> int:
    """A whole number from `least`.

    Raises:
        ArgumentError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ArgumentError(f"{name} must be a whole number, {least} or more. Received: {value!r}.")
    return int(value)


def deadline_after(time_limit: float | None, started: float) -> float:
    """When to give up, on `time.perf_counter()`'s clock in seconds; infinite for no limit.

    Raises:
        ArgumentError: `time_limit` is neither None nor a number of seconds, 0 or more.
    """
    if time_limit is None:
        return math.inf
    if not (is_real(time_limit) and time_limit >= 0):
        raise ArgumentError(
            f"time_limit must be None or seconds, 0 or more. Received: {time_limit!r}."
        )
    return started + time_limit
