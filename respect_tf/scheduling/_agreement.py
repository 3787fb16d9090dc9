"""Two schedules that prove each other wrong, and evidence of it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from typing import Any

from respect_tf._errors import ArgumentError, SolverError
from respect_tf.graph import OpGraph
from respect_tf.scheduling._check import check_schedule
from respect_tf.scheduling._objective import Objective
from respect_tf.scheduling._schedule import Schedule

# Costs that are no whole numbers are sums that were rounded in different orders.
_TOLERANCE = 1e-9


def check_agreement(
    graph: OpGraph,
    first: Schedule,
    second: Schedule,
    objective: str | Objective | None = None,
) -> None:
    """Check that neither schedule costs less than the other one says is possible.

    Args:
        graph: The graph.
        first: A schedule for it, with a cost.
        second: Another one, for as many stages and the same objective.
        objective: That objective, where the schedules' names for it are not enough to rebuild it.

    Raises:
        SolverError: One costs less than the other's lower bound. The graph and both schedules are
            in the file that the message names.
        ArgumentError: The schedules cannot be compared.
        ScheduleError: One of them is not valid, or does not cost what it says.
    """
    for name in ("num_stages", "objective", "device", "optima"):
        if getattr(first, name) != getattr(second, name):
            raise ArgumentError(
                f"Schedules can be compared if their {name} is the same. Received: "
                f"{getattr(first, name)!r} and {getattr(second, name)!r}."
            )
    for one, other in ((first, second), (second, first)):
        check_schedule(graph, one, objective)
        if one.cost is None:
            raise ArgumentError(f"Schedules without a cost cannot be compared. Received: {one!r}.")
        if other.lower_bound is not None and is_below(one.cost, other.lower_bound):
            raise SolverError(
                f"{one.scheduler!r} found a schedule of cost {one.cost} ({one.objective}, "
                f"{one.num_stages} stages), and {other.scheduler!r} says that none costs less than "
                f"{other.lower_bound}. {save_evidence(graph, [_fields(one), _fields(other)])}"
            )


def is_below(cost: float, lower_bound: float) -> bool:
    """Whether a cost refutes a lower bound."""
    if isinstance(cost, int) and isinstance(lower_bound, int):
        return cost < lower_bound
    return cost < lower_bound * (1 - _TOLERANCE)


def save_evidence(graph: OpGraph, schedules: Sequence[dict[str, Any]]) -> str:
    """Write a graph and what is said about schedules for it to a new file for temporary ones.

    Names and values of schedules have to be such as JSON knows. Returns what to tell the user.
    """
    names = (
        *("parameter_bytes", "input_offsets", "input_tensors", "output_offsets", "output_tensors"),
        *("tensor_bytes", "is_constant", "model_inputs", "model_outputs", "colocated"),
    )
    arrays = {name: getattr(graph, name).tolist() for name in names}
    try:
        handle, path = tempfile.mkstemp(prefix="respect_tf_disagreement_", suffix=".json")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"graph": arrays, "schedules": list(schedules)}, file)
    except OSError as error:
        return f"Please report it; the schedules could not be saved ({error})."
    return f"Please report it with '{path}', which holds the graph and the schedules."


def _fields(schedule: Schedule) -> dict[str, Any]:
    names = ("num_stages", "cost", "lower_bound", "status", "objective", "scheduler")
    fields = {name: getattr(schedule, name) for name in names}
    return fields | {"stages": schedule.stages.tolist()}
