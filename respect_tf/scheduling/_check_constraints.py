"""The independent checker of constraints: plain loops that share no code with the solvers."""

from __future__ import annotations

import math
from collections.abc import Collection

from respect_tf._errors import ScheduleError
from respect_tf.graph import OpGraph
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._objective import exact_sum


def check_constraints(
    graph: OpGraph,
    stages: list[int],
    constraints: Constraints,
    cpu_stages: Collection[int] = (),
) -> None:
    """Check that a valid schedule keeps constraints; CPU stages have room for any parameters.

    Raises:
        ScheduleError: It does not. The message names the ops, tensor or stage.
    """
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
    graph: OpGraph,
    stages: list[int],
    constraints: Constraints,
    cpu_stages: Collection[int],
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
