"""What `strict` asks for: ops that an Edge TPU cannot take run in CPU stages, or are an error."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from respect_tf._choosing import Choice, PlanRequest
from respect_tf._errors import QuantizationError, ScheduleError
from respect_tf._reporting import Verbosity
from respect_tf.device import blocking_remarks
from respect_tf.graph import OpGraph
from respect_tf.scheduling import Constraints, HostSplit, Schedule, blocked_ops
from respect_tf.segmentation import unknown_ops
from respect_tf.tflite import Int8Model, NonInt8Tensor, check_int8


def with_host_ops(
    choice: Choice, graph: OpGraph, whole: Int8Model, *, strict: bool, verbose: Verbosity
) -> Choice:
    """Have ops on tensors that are not 8 bit run on the host, if `strict`.

    Without it, they stay in segments of Edge TPUs, where the compiler leaves them on the CPU.

    Args:
        choice: What chooses the cut.
        graph: The model's graph.
        whole: The model.
        strict: Whether a segment of an Edge TPU may hold none of them, nor an op with which no file
            can be compiled.
        verbose: 0 is silence.

    Raises:
        QuantizationError: Nothing else is left, or there are too few segments for CPU stages; the
            message names the tensors.
        ScheduleError: The same where all tensors are 8 bit; or the user's own schedule has such an
            op outside a CPU stage.
    """
    label = f"'{whole.name}'"
    if not strict:
        check_int8(whole.wide, label=label, strict=False, verbose=verbose)
        return choice
    if whole.kind is not None:  # nearly nothing of it is 8 bit: no stage would be left
        check_int8(whole.wide, label=label, strict=True, kind=whole.kind)
    # Nothing can be done about an input that nobody reads.
    check_int8([t for t in whole.wide if t.op_index < 0], label=label, strict=True)
    wide = ops_on(graph, whole.wide)
    host_ops = sorted({*wide, *blocked_ops(graph)})
    if not host_ops:
        return choice
    split = HostSplit.of(graph, host_ops)
    if isinstance(choice, Schedule):
        left = [op for op in host_ops if int(choice.stages[op]) not in choice.cpu_stages]
        if left:
            remedy = "List its stages in Schedule(cpu_stages=...)"
            raise _refusal(graph, whole, left, remedy)
        return choice
    if split.is_all:
        raise _refusal(graph, whole, host_ops, "Nothing would be left for an Edge TPU")
    request = choice.request if isinstance(choice, PlanRequest) else choice
    if request is choice and request.num_stages < split.least_stages:
        remedy = f"With num_segments={split.least_stages} or more they run in CPU stages"
        raise _refusal(graph, whole, host_ops, remedy)
    if not wide:
        return choice
    given = request.constraints or Constraints()
    on_cpu = sorted({*given.on_cpu, *wide})
    request = dataclasses.replace(request, constraints=dataclasses.replace(given, on_cpu=on_cpu))
    if isinstance(choice, PlanRequest):
        return dataclasses.replace(choice, request=request)
    return request


def ops_on(graph: OpGraph, tensors: Sequence[NonInt8Tensor]) -> list[int]:
    """The ops that make or read any of some tensors, ascending."""
    index = [tensor.tensor for tensor in tensors if tensor.op_index >= 0]
    reads = np.isin(graph.input_tensors, index)
    readers = np.repeat(np.arange(graph.num_ops), np.diff(graph.input_offsets))[reads]
    makers = graph.producer[index]
    return [int(op) for op in np.union1d(readers, makers[makers >= 0])]


def ops_on_host(schedule: Schedule) -> list[int]:
    """The ops in CPU stages, ascending."""
    return [int(op) for op in np.flatnonzero(np.isin(schedule.stages, schedule.cpu_stages))]


def host_remarks(graph: OpGraph, schedule: Schedule, whole: Int8Model) -> tuple[str, ...]:
    """What a user should know about ops on the host: why, and what more segments would change."""
    wide = ops_on(graph, whole.wide)
    on_host = ops_on_host(schedule)
    needed = sorted({*wide, *blocked_ops(graph)})
    if not schedule.cpu_stages or not needed:
        return ()
    found = []
    inside = [op for op in wide if op in set(on_host)]
    if inside:
        found.append(
            f"{_counted(len(inside), 'op')} on tensors that are not 8 bit "
            f"({graph.describe_op(inside[0])}{' and others' if len(inside) > 1 else ''}) "
            f"{'run' if len(inside) > 1 else 'runs'} in CPU stages, which are never compiled"
        )
    unknown = sorted({graph.op_types[op].partition(":")[2] for op in unknown_ops(graph)})
    if unknown:
        found.append(
            f"TFLite's interpreter does not have {', '.join(unknown)}: from there on nothing is "
            "proved or predicted here, and a runtime that has it, such as pycoral's, is needed"
        )
    split = HostSplit.of(graph, needed)
    moved = [op for op in on_host if not split.on_host[op]]
    if moved and schedule.num_stages < split.wanted_stages:
        found.append(
            f"{_counted(len(moved), 'op')} that an Edge TPU could run "
            f"{'are' if len(moved) > 1 else 'is'} in CPU stages, for want of segments: with "
            f"num_segments={split.wanted_stages} or more, only those that have to be there are"
        )
    return tuple(found)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' if count > 1 else ''}"


def _refusal(
    graph: OpGraph, whole: Int8Model, ops: Sequence[int], remedy: str
) -> QuantizationError | ScheduleError:
    """The error about ops that cannot be in a segment of an Edge TPU."""
    touched: set[int] = set()
    for op in ops:
        touched |= {*graph.inputs_of(op).tolist(), *graph.outputs_of(op).tolist()}
    tensors = tuple(tensor for tensor in whole.wide if tensor.tensor in touched)
    if tensors:
        try:
            check_int8(tensors, label=f"'{whole.name}'", strict=True)
        except QuantizationError as error:
            offers = "".join(f" {offer}." for offer in whole.offers)
            return QuantizationError(f"{error} {remedy}.{offers}")
    remarks = " ".join(f"{remark}." for remark in blocking_remarks(graph, ops))
    # What is approximated only when asked for.
    remarks += "".join(f" {offer}." for offer in whole.offers)
    return ScheduleError(
        f"{remarks} {remedy}. To go on all the same, with a segment that cannot be compiled, pass "
        "strict=False."
    )
