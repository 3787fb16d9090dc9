"""Ops that run on the host's CPU, and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from respect_tf.device._support import unsupported_reason
from respect_tf.graph import OpGraph


@dataclasses.dataclass(frozen=True)
class CpuOp:
    """An op that stays on the CPU.

    Attributes:
        op: Its index.
        description: Index, type and name.
        reason: Why, in the compiler's words where it has some.
    """

    op: int
    description: str
    reason: str


def left_on_cpu(graph: OpGraph, ops: Sequence[int]) -> tuple[CpuOp, ...]:
    """Ops of an Edge TPU's stage that the compiler leaves on the CPU, with reasons."""
    on_cpu = set(ops)
    found = []
    for op in ops:
        reason = unsupported_reason(graph, op)
        if reason is None:
            makers = {int(graph.producer[t]) for t in graph.inputs_of(op).tolist()}
            before = min(makers & on_cpu)
            reason = (
                f"More than one subgraph is not supported: it follows {graph.describe_op(before)}, "
                "which stays on the CPU; a cut right after that op brings it back"
            )
        found.append(CpuOp(op, graph.describe_op(op), reason))
    return tuple(found)


def in_cpu_stage(graph: OpGraph, ops: Sequence[int]) -> tuple[CpuOp, ...]:
    """The ops of a CPU stage, with reasons."""
    return tuple(
        CpuOp(
            op,
            graph.describe_op(op),
            unsupported_reason(graph, op) or "It is in a CPU stage, with ops that are not mapped",
        )
        for op in ops
    )
