"""Refusing a request before work is spent on it."""

from __future__ import annotations

from respect_tf.scheduling._arguments import checked_count, deadline_after
from respect_tf.scheduling._objective import Objective, resolve_objective
from respect_tf.scheduling._schedule import Schedule
from respect_tf.scheduling._solve import check_scheduler


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
    checked_count("num_segments", num_stages)
    if not isinstance(scheduler, Schedule):
        check_scheduler(scheduler, also=", or a Schedule")
    resolve_objective(objective)
    deadline_after(time_limit, 0.0)
