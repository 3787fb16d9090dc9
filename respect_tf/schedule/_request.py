"""Refusing a request before work is spent on it."""

from __future__ import annotations

import numpy as np

from respect_tf._errors import ArgumentError
from respect_tf.schedule._objective import Objective, resolve_objective
from respect_tf.schedule._schedule import Schedule
from respect_tf.schedule._solve import scheduler_names


def check_request(
    num_stages: int,
    scheduler: str | Schedule,
    objective: str | Objective,
    time_limit: float | None,
) -> None:
    """Check what can be checked of a request for a schedule before there is a graph.

    Raises:
        ArgumentError: A type or value is wrong, or no scheduler or objective has that name.
    """
    if isinstance(num_stages, bool) or not isinstance(num_stages, int | np.integer):
        raise ArgumentError(f"num_segments must be a whole number. Received: {num_stages!r}.")
    if num_stages < 1:
        raise ArgumentError(f"num_segments must be 1 or more. Received: {num_stages}.")
    if not isinstance(scheduler, Schedule) and scheduler not in scheduler_names():
        raise ArgumentError(
            f"Unknown scheduler. Expected one of {', '.join(map(repr, scheduler_names()))}, or a "
            f"Schedule. Received: {scheduler!r}."
        )
    resolve_objective(objective)
    is_number = isinstance(time_limit, int | float) and not isinstance(time_limit, bool)
    if time_limit is not None and not (is_number and time_limit >= 0):
        raise ArgumentError(
            f"time_limit must be None or seconds, 0 or more. Received: {time_limit!r}."
        )
