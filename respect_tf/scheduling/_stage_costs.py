"""What the stages of a schedule cost, from the definitions: no code of the solvers is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from respect_tf.graph import OpGraph
    from respect_tf.scheduling._objective import Number, Objective
    from respect_tf.scheduling._schedule import Schedule


def stage_costs(graph: OpGraph, schedule: Schedule, objective: Objective) -> list[Number]:
    """The cost of each stage of a valid schedule, straight from the definitions.

    Args:
        graph: The graph.
        schedule: A valid schedule for it.
        objective: Whose costs to compute.

    Returns:
        One number per stage; 0 for CPU stages.
    """
    objective = objective.for_stages(schedule.num_stages)
    stages: list[int] = schedule.stages.tolist()
    ops: list[list[int]] = [[] for _ in range(schedule.num_stages)]
    entering: list[set[int]] = [set() for _ in range(schedule.num_stages)]
    leaving: list[set[int]] = [set() for _ in range(schedule.num_stages)]
    producer = graph.producer.tolist()
    model_inputs = set(graph.model_inputs.tolist())
    for op, stage in enumerate(stages):
        ops[stage].append(op)
    for reader, tensor in zip(*(array.tolist() for array in graph.reads), strict=True):
        maker = producer[tensor]
        if maker < 0:
            if tensor in model_inputs:
                entering[stages[reader]].add(tensor)
        elif stages[maker] < stages[reader]:
            entering[stages[reader]].add(tensor)
            leaving[stages[maker]].add(tensor)
    for tensor in graph.model_outputs.tolist():
        if producer[tensor] >= 0:
            leaving[stages[producer[tensor]]].add(tensor)
    return [
        0
        if stage in schedule.cpu_stages
        else objective.stage_cost(
            graph, ops[stage], sorted(entering[stage]), sorted(leaving[stage])
        )
        for stage in range(schedule.num_stages)
    ]
