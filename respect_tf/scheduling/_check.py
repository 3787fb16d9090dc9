"""The independent checker of schedules: plain code that shares none with the solvers."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError, ScheduleError, SolverError
from respect_tf.graph import OpGraph
from respect_tf.scheduling._arguments import resolve_objective
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._device_objectives import DeviceObjective, prepared_for
from respect_tf.scheduling._objective import Objective, exact_sum, stage_costs
from respect_tf.scheduling._schedule import Schedule

# Costs that are no whole numbers are sums that were rounded in different orders.
_TOLERANCE = 1e-9


def check_schedule(
    graph: OpGraph,
    schedule: Schedule,
    objective: str | Objective | None = None,
    constraints: Constraints | None = None,
) -> None:
    """Check that a schedule is valid for a graph and costs what it says.

    Args:
        graph: The graph.
        schedule: The schedule.
        objective: What its cost was computed with. If left out, the objective that
            `schedule.objective` names, on `schedule.device`; a cost without a name is an error.
        constraints: What it has to keep beside the rules for all schedules.

    Raises:
        ScheduleError: The schedule has another number of ops, an edge leads to an earlier stage, a
            stage is empty, ops that must share a stage do not, a constraint is broken, or the cost
            is another one. The message names the op, edge or stage.
        ArgumentError: No objective has that name, or constraints name what is not there.
    """
    stages: list[int] = schedule.stages.tolist()
    if len(stages) != graph.num_ops:
        raise ScheduleError(
            f"The schedule has stages for {len(stages)} ops. Expected one per op of the graph, "
            f"{graph.num_ops}."
        )
    Schedule(stages, schedule.num_stages)  # every stage is there, and none is empty
    _check_edges(graph, schedule.stages)
    for first, second in graph.colocated.tolist():
        if stages[first] != stages[second] and not _may_part(graph, schedule, first, second):
            raise ScheduleError(
                f"{graph.describe_op(first)} is in stage {stages[first]} and "
                f"{graph.describe_op(second)} in stage {stages[second]}. Expected one stage for "
                "both, by the rules of the pipeline runner."
            )
    if constraints is not None:
        constraints.check(graph, schedule.num_stages)
        _check_constraints(graph, stages, constraints, schedule.cpu_stages)
    if schedule.cost is None:
        return
    if objective is None:
        objective = schedule.objective if schedule.objective is not None else ""
    resolved = prepared_for(schedule, resolve_objective(objective, schedule.device))
    if isinstance(resolved, DeviceObjective) and resolved.needs_optima:
        raise ScheduleError(
            f"The schedule costs {schedule.cost} relative to the optima of several devices, and "
            "does not say what they are. Expected `optima`."
        )
    total = resolved.schedule_cost(graph, schedule)
    same = (
        total == schedule.cost
        if isinstance(total, int)
        else math.isclose(total, schedule.cost, rel_tol=1e-9, abs_tol=1e-12)
    )
    if not same:
        shown = ", ".join(map(str, stage_costs(graph, schedule, resolved)[:16]))
        raise ScheduleError(
            f"The schedule says that it costs {schedule.cost} ({resolved.name}). Its stages cost "
            f"[{shown}], and it therefore {total}."
        )


def _may_part(graph: OpGraph, schedule: Schedule, maker: int, op: int) -> bool:
    """Whether an op may be parted from the one before it that it shall share a stage with.

    A CPU stage may begin with a DEQUANTIZE: cutting puts a copy between it and the border.
    """
    return (
        graph.op_types[op] == "DEQUANTIZE"
        and maker in graph.producer[graph.inputs_of(op)].tolist()
        and int(schedule.stages[op]) in schedule.cpu_stages
    )


def _check_edges(graph: OpGraph, stages: npt.NDArray[np.int32]) -> None:
    readers, tensors = graph.reads
    makers = graph.producer[tensors]
    late = np.flatnonzero((makers >= 0) & (stages[makers] > stages[readers]))
    if len(late):
        reader, tensor, maker = (int(array[late[0]]) for array in (readers, tensors, makers))
        raise ScheduleError(
            f"{graph.describe_op(reader)} in stage {stages[reader]} reads the tensor "
            f"'{graph.tensor_names[tensor]}' that {graph.describe_op(maker)} makes in stage "
            f"{stages[maker]}, which is later. Expected stage({maker}) <= stage({reader})."
        )


def _check_constraints(
    graph: OpGraph, stages: list[int], constraints: Constraints, cpu_stages: Collection[int]
) -> None:
    """Check that a valid schedule keeps constraints; CPU stages have room for any parameters."""
    for op in constraints.on_cpu:
        if stages[op] not in cpu_stages:
            raise ScheduleError(
                f"{graph.describe_op(op)} is in stage {stages[op]}. Expected it in a CPU stage, as "
                "`on_cpu` says."
            )
    for op, stage in constraints.pinned.items():
        if stages[op] != stage:
            raise ScheduleError(
                f"{graph.describe_op(op)} is in stage {stages[op]}. It is pinned to stage {stage}."
            )
    for group in constraints.colocated:
        for op in group:
            _check_pair(graph, stages, group[0], op, "`colocated` says so")
    readers: dict[int, list[int]] = {}
    for reader, tensor in zip(*(array.tolist() for array in graph.reads), strict=True):
        readers.setdefault(tensor, []).append(reader)
    for tensor in constraints.uncut_tensors:
        ops = readers.get(tensor, [])
        if graph.producer[tensor] >= 0:
            ops = [int(graph.producer[tensor]), *ops]
        for op in ops:
            reason = f"the tensor '{graph.tensor_names[tensor]}' may not be cut"
            _check_pair(graph, stages, ops[0], op, reason)
    if constraints.colocate_children:
        first_child: dict[int, int] = {}
        for parent, child in graph.edges.tolist():
            reason = f"both are children of {graph.describe_op(parent)}"
            _check_pair(graph, stages, first_child.setdefault(parent, child), child, reason)
    _check_stage_bytes(graph, stages, constraints, cpu_stages)


def _check_pair(graph: OpGraph, stages: list[int], first: int, second: int, reason: str) -> None:
    if stages[first] != stages[second]:
        raise ScheduleError(
            f"{graph.describe_op(first)} is in stage {stages[first]} and "
            f"{graph.describe_op(second)} in stage {stages[second]}. Expected one stage for both: "
            f"{reason}."
        )


def _check_stage_bytes(
    graph: OpGraph, stages: list[int], constraints: Constraints, cpu_stages: Collection[int]
) -> None:
    rooms = constraints.rooms(max(stages) + 1)
    if rooms is None:
        return
    held: list[list[float]] = [[] for _ in rooms]
    for stage, size in zip(stages, graph.parameter_bytes.tolist(), strict=True):
        if stage not in cpu_stages:
            held[stage].append(size)
    for stage, (sizes, room) in enumerate(zip(held, rooms, strict=True)):
        total = exact_sum(sizes)
        if total > room and not (isinstance(total, float) and math.isclose(total, room)):
            raise ScheduleError(
                f"Stage {stage} holds {total} parameter bytes. stage_bytes allows {room}."
            )


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
