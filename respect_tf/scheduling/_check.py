"""The independent checker of schedules: plain code that shares none with the solvers."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ScheduleError
from respect_tf.graph import OpGraph
from respect_tf.scheduling._check_constraints import check_constraints
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._device_objectives import DeviceObjective, prepared_for
from respect_tf.scheduling._objective import Objective
from respect_tf.scheduling._resolve import resolve_objective
from respect_tf.scheduling._schedule import Schedule
from respect_tf.scheduling._stage_costs import stage_costs


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
    filled = set(stages)
    for stage in range(schedule.num_stages):
        if stage not in filled:
            raise ScheduleError(f"Stage {stage} of {schedule.num_stages} is empty.")
    if len(filled) != schedule.num_stages:
        stray = next(op for op, stage in enumerate(stages) if stage >= schedule.num_stages)
        raise ScheduleError(
            f"{graph.describe_op(stray)} has the stage {stages[stray]}. Expected 0 to "
            f"{schedule.num_stages - 1}."
        )
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
        check_constraints(graph, stages, constraints, schedule.cpu_stages)
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
