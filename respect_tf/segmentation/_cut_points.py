"""Cuts that a user gives by the names of layers or tensors."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError, ScheduleError
from respect_tf.graph import OpGraph


def stages_from_cuts(graph: OpGraph, cuts: Sequence[str | Sequence[str]]) -> npt.NDArray[np.int32]:
    """The schedule that cuts a model right after the named layers or tensors.

    Each cut ends a stage: the stage takes everything that the named tensors need and that no
    earlier stage has taken. What no cut needs goes to the last stage.

    Args:
        graph: The model's op graph.
        cuts: In pipeline order. A cut is a tensor's name, a Keras layer's name, or several of them
            where the pipeline has to be cut through parallel branches.

    Returns:
        int32 [num_ops], the stage of every op; `len(cuts) + 1` stages.

    Raises:
        ArgumentError: A name is unknown or ambiguous.
        ScheduleError: A stage would be empty.
    """
    if isinstance(cuts, str):
        raise ArgumentError(f"cuts must be a list of names. Received the string {cuts!r}.")
    stages = np.full(graph.num_ops, len(cuts), np.int32)
    taken = np.zeros(graph.num_ops, bool)
    for stage, cut in enumerate(cuts):
        names = [cut] if isinstance(cut, str) else list(cut)
        needed = _needed(graph, [op for name in names for op in ops_named(graph, name)])
        new = needed & ~taken
        if not new.any():
            raise ScheduleError(
                f"Stage {stage}, which ends at {names}, would be empty: everything that it needs "
                "is in an earlier stage. List the cuts in pipeline order, each once."
            )
        stages[new] = stage
        taken |= new
    if taken.all():
        raise ScheduleError(
            f"Stage {len(cuts)}, after the cut at {cuts[-1]!r}, would be empty. Leave out the "
            "last cut, or choose one that leaves at least one op behind it."
        )
    return stages


def ops_named(graph: OpGraph, name: str) -> list[int]:
    """The ops that a tensor's or Keras layer's name stands for.

    TFLite joins the names of the layers that it fused into an op with ";", and adds those of
    layers that share a constant with it. The op that a layer's name occurs in most often is the
    layer's; a layer that became several ops stands for all whose name begins with it.

    Raises:
        ArgumentError: No op, or several that cannot be told apart.
    """
    by_tensor = [
        op
        for op in range(graph.num_ops)
        if any(graph.tensor_names[tensor] == name for tensor in graph.outputs_of(op))
    ]
    if len(by_tensor) == 1:
        return by_tensor
    if len(by_tensor) > 1:
        raise _ambiguous(graph, name, by_tensor)
    # Keras numbers name scopes that it enters again: layer "add" may appear as "add_1".
    for pattern in (re.escape(name), re.escape(name) + r"_\d+"):
        parts = [
            [_is_part(pattern, part) for part in op_name.split(";")] for op_name in graph.op_names
        ]
        leading = [op for op, found in enumerate(parts) if found[0]]
        if leading:
            return leading
        counts = [sum(found) for found in parts]
        most = max(counts, default=0)
        if most:
            best = [op for op, count in enumerate(counts) if count == most]
            if len(best) == 1:
                return best
            raise _ambiguous(graph, name, best)
    similar = _similar(graph, name)
    raise ArgumentError(
        f"No tensor or layer of the model is named '{name}'."
        + (f" Similar ones: {', '.join(similar)}." if similar else "")
    )


def _is_part(pattern: str, path: str) -> bool:
    """Whether a layer lies on a path such as "model/block/conv/BiasAdd"."""
    elements = path.split("/")
    return any(re.fullmatch(pattern, element) for element in elements[:-1] or elements)


def _needed(graph: OpGraph, ops: Sequence[int]) -> npt.NDArray[np.bool_]:
    """The ops that compute what these ops make, themselves included. bool [num_ops]."""
    needed = np.zeros(graph.num_ops, bool)
    needed[list(ops)] = True
    waiting = list(ops)
    while waiting:
        op = waiting.pop()
        for tensor in graph.inputs_of(op).tolist():
            maker = int(graph.producer[tensor])
            if maker >= 0 and not needed[maker]:
                needed[maker] = True
                waiting.append(maker)
    return needed


def _ambiguous(graph: OpGraph, name: str, ops: Sequence[int]) -> ArgumentError:
    shown = "; ".join(graph.describe_op(op) for op in ops[:4])
    return ArgumentError(
        f"'{name}' may stand for {len(ops)} ops: {shown}{'; ...' if len(ops) > 4 else ''}. Give "
        "the full name of the tensor to cut after."
    )


def _similar(graph: OpGraph, name: str) -> list[str]:
    import difflib

    known = dict.fromkeys(
        element
        for op_name in graph.op_names
        for path in op_name.split(";")
        for element in path.split("/")[:-1] or [path]
    )
    return difflib.get_close_matches(name, list(known), n=3)
