"""What each segment of a schedule reads, runs and makes.

What it must look like is laid down by Coral's PipelinedModelRunner:

* A tensor made in one segment and read in later ones is an output of the first and an input of
  each reader; the runner hands it past the segments between.
* A model input that is read after segment 0 passes through a RESHAPE in segment 0, under a new
  name: the runner would leak its buffer otherwise.
* A model output that is made before the last segment passes through a RESHAPE in the last one,
  under a new name: only the last segment's outputs come back, and none of them may be an input.
* Ops whose CPU kernels go wrong at a border are kept away from it by a RESHAPE (`_copies`).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from respect_tf.graph import OpGraph
from respect_tf.segmentation._copies import fragile_reads, is_fragile_writer
from respect_tf.segmentation._names import TensorNames


@dataclasses.dataclass(frozen=True)
class Border:
    """A tensor as a segment's file knows it: which tensor it is, and under which name."""

    tensor: int
    name: str


@dataclasses.dataclass(frozen=True)
class SegmentPlan:
    """What one segment reads, runs and makes."""

    ops: tuple[int, ...]
    inputs: tuple[Border, ...]
    outputs: tuple[Border, ...]
    # Under which name its ops know a tensor, where it is not the tensor's own.
    known_as: dict[int, str] = dataclasses.field(default_factory=dict)
    # RESHAPE ops at the end: (tensor, name it is read under, name it is made under).
    carries: tuple[tuple[int, str, str], ...] = ()
    # RESHAPE ops right before an op: (op, position among its inputs) -> the name that it reads
    # there. Of several ops with the same name, the first one's RESHAPE is enough.
    copies: dict[tuple[int, int], str] = dataclasses.field(default_factory=dict)


def plan_segments(
    graph: OpGraph, stages: npt.NDArray[np.int32], names: TensorNames
) -> list[SegmentPlan]:
    """The plan of every segment.

    Args:
        graph: The whole model's op graph.
        stages: int32 [num_ops], a valid schedule.
        names: Names of its tensors; those of copies are added.
    """
    num_stages = int(stages.max()) + 1
    last = num_stages - 1
    model_inputs = list(dict.fromkeys(graph.model_inputs.tolist()))
    model_outputs = graph.model_outputs.tolist()

    # Stages that read each tensor; the last stage also reads what it has to return for others.
    reading: dict[int, set[int]] = {}
    for op, tensor in zip(*graph.reads, strict=True):
        if graph.producer[tensor] >= 0 or tensor in model_inputs:
            reading.setdefault(int(tensor), set()).add(int(stages[op]))
    for tensor in model_outputs:
        if tensor in model_inputs or stages[graph.producer[tensor]] < last:
            reading.setdefault(tensor, set()).add(last)

    carried_input = {
        tensor: names.fresh(f"{names[tensor]}_carried")
        for tensor in model_inputs
        if max(reading.get(tensor, {0})) > 0
    }
    finals = _final_outputs(graph, stages, names, last)

    def name_in(tensor: int, stage: int) -> str:
        return carried_input[tensor] if stage > 0 and tensor in carried_input else names[tensor]

    plans = []
    for stage in range(num_stages):
        ops = tuple(np.flatnonzero(stages == stage).tolist())
        if stage == 0:
            inputs = [Border(tensor, names[tensor]) for tensor in graph.model_inputs.tolist()]
        else:
            inputs = [
                Border(tensor, name_in(tensor, stage))
                for tensor in sorted(reading)
                if stage in reading[tensor] and _made_before(graph, stages, tensor, stage)
            ]
        carried = list(carried_input.items()) if stage == 0 else []
        carries = [(tensor, names[tensor], name) for tensor, name in carried]
        outputs = [Border(tensor, name) for tensor, name in carried]
        if stage < last:
            outputs += [
                Border(tensor, names[tensor])
                for tensor in sorted(reading)
                if graph.producer[tensor] >= 0
                and stages[graph.producer[tensor]] == stage
                and max(reading[tensor]) > stage
            ]
        else:
            carries += [
                (tensor, name_in(tensor, stage), final)
                for tensor, final in finals
                if final != names[tensor]
            ]
            outputs += [Border(tensor, final) for tensor, final in finals]
        plan = SegmentPlan(
            ops=ops,
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            known_as={t: name for t, name in carried_input.items() if stage > 0},
            carries=tuple(carries),
        )
        plans.append(_with_copies(graph, plan, names))
    return plans


def _with_copies(graph: OpGraph, plan: SegmentPlan, names: TensorNames) -> SegmentPlan:
    """A plan whose ops keep away from borders where their CPU kernels would go wrong."""
    known_as, carries, copies = dict(plan.known_as), list(plan.carries), dict(plan.copies)
    leaving = {border.tensor for border in plan.outputs if border.name == names[border.tensor]}
    for op in plan.ops:
        if not is_fragile_writer(graph, op):
            continue
        for tensor in graph.outputs_of(op).tolist():
            if tensor not in leaving:
                continue
            known_as[tensor] = names.fresh(f"{names[tensor]}_inside")
            carries.insert(0, (tensor, known_as[tensor], names[tensor]))
    border_names = {border.name for border in (*plan.inputs, *plan.outputs)}
    copy_of: dict[int, str] = {}
    for op in plan.ops:
        for position, tensor in fragile_reads(graph, op):
            name = known_as.get(tensor, names[tensor])
            if name not in border_names:
                continue
            if tensor not in copy_of:
                copy_of[tensor] = names.fresh(f"{name}_copy")
            copies[op, position] = copy_of[tensor]
    return dataclasses.replace(plan, known_as=known_as, carries=tuple(carries), copies=copies)


def _made_before(graph: OpGraph, stages: npt.NDArray[np.int32], tensor: int, stage: int) -> bool:
    producer = graph.producer[tensor]
    return bool(producer < 0 or stages[producer] < stage)


def _final_outputs(
    graph: OpGraph, stages: npt.NDArray[np.int32], names: TensorNames, last: int
) -> list[tuple[int, str]]:
    """Every model output with the name it leaves the last segment under, in the model's order."""
    finals: list[tuple[int, str]] = []
    returned: set[int] = set()
    for tensor in graph.model_outputs.tolist():
        producer = graph.producer[tensor]
        direct = producer >= 0 and stages[producer] == last and tensor not in returned
        returned.add(tensor)
        finals.append((tensor, names[tensor] if direct else names.fresh(f"{names[tensor]}_out")))
    return finals
