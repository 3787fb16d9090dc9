"""What `predict` is given: stages of ops, and devices of stages, checked."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.graph import OpGraph


def checked_replicas(
    replicas: Sequence[int] | None, num_stages: int, cpu_stages: Collection[int]
) -> tuple[int, ...]:
    """The number of devices of each stage.

    Raises:
        ArgumentError: They are no counts, or a CPU stage has more than 1.
    """
    if replicas is None:
        return (1,) * num_stages
    counts = tuple(replicas)
    good = all(
        isinstance(n, int | np.integer) and not isinstance(n, bool) and n >= 1 for n in counts
    )
    if len(counts) != num_stages or not good:
        raise ArgumentError(
            f"replicas must be whole numbers, 1 or more, one for each of {num_stages} stages. "
            f"Received: {replicas!r}."
        )
    for stage in sorted(cpu_stages):
        if counts[stage] != 1:
            raise ArgumentError(
                f"Stage {stage} is a CPU stage, which has no devices. Expected 1 in its place in "
                f"replicas. Received: {replicas!r}."
            )
    return tuple(int(n) for n in counts)


def checked_stages(graph: OpGraph, stages: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The stage of each op. int64 [num_ops].

    Raises:
        ArgumentError: A stage is empty, or an op reads from a later one.
    """
    given = np.asarray(stages)
    if given.shape != (graph.num_ops,) or given.dtype.kind not in "iu":
        raise ArgumentError(
            f"Stages must be whole numbers, one for each of {graph.num_ops} ops. Received: shape "
            f"{given.shape}, dtype {given.dtype}."
        )
    stage_of = given.astype(np.int64)
    if set(stage_of.tolist()) != set(range(int(stage_of.max(initial=-1)) + 1)) or not len(stage_of):
        raise ArgumentError(
            "Every stage from 0 on must have an op. Received the stages "
            f"{sorted(set(stage_of.tolist()))}."
        )
    ops, tensors = graph.reads
    makers = graph.producer[tensors]
    late = np.flatnonzero((makers >= 0) & (stage_of[makers] > stage_of[ops]))
    if len(late):
        reader, maker = int(ops[late[0]]), int(makers[late[0]])
        raise ArgumentError(
            f"{graph.describe_op(reader)} is in stage {stage_of[reader]} and reads from "
            f"{graph.describe_op(maker)} in stage {stage_of[maker]}. Expected no op to read from a "
            "later stage."
        )
    return stage_of
