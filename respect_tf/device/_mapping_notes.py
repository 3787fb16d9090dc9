"""What is to be said about the mapping of ops: equal remarks are one, with the ops they meet."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from respect_tf.device._support import blocking_reason, mapping_doubts
from respect_tf.graph import OpGraph

_MOST_NAMED = 4  # ops that one remark names; it counts the others


def mapping_remarks(graph: OpGraph, ops: Iterable[int]) -> tuple[str, ...]:
    """What only the compiler can tell of ops that nothing known speaks against.

    Args:
        graph: The graph.
        ops: The ops.

    Returns:
        A sentence for each kind of doubt, with the ops that it is about.
    """
    found: dict[tuple[str, str], list[int]] = {}
    for op in ops:
        for doubt in mapping_doubts(graph, op):
            found.setdefault(doubt, []).append(op)
    return tuple(
        f"{graph.describe_op(same[0])} {text}"
        if len(same) == 1
        else f"each of {_named(graph, same)} {text}"
        for (_, text), same in found.items()
    )


def blocking_remarks(
    graph: OpGraph, ops: Iterable[int], *, on_cpu: Collection[int] = ()
) -> tuple[str, ...]:
    """Ops that stop the compilation of the whole file that holds them, by reason.

    Args:
        graph: The graph.
        ops: The ops.
        on_cpu: Those of them that are in CPU stages, where nothing needs to be done.

    Returns:
        A sentence for each reason, with the ops that it is about and what may be done.
    """
    found: dict[tuple[str, bool], list[int]] = {}
    for op in ops:
        reason = blocking_reason(graph, op)
        if reason is not None:
            found.setdefault((reason, op in on_cpu), []).append(op)
    return tuple(
        f"Google's compiler will refuse every file with {_named(graph, same)}: {reason}. "
        + (
            "It is in a CPU stage, which is never compiled"
            if in_cpu_stage
            else "Replace the layer by one that it knows, or keep its segment on the CPU"
        )
        for (reason, in_cpu_stage), same in sorted(found.items(), key=lambda item: not item[0][1])
    )


def _named(graph: OpGraph, ops: list[int]) -> str:
    """Ops by index, type and name; the first ones of many."""
    shown = ", ".join(map(graph.describe_op, ops[:_MOST_NAMED]))
    if len(ops) > _MOST_NAMED:
        return f"{len(ops)} ops ({shown} and {len(ops) - _MOST_NAMED} more)"
    return f"{len(ops)} ops ({shown})" if len(ops) > 1 else shown
