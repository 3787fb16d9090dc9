"""Finding the ops that the compiler fails on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from respect_tf._errors import RespectError
from respect_tf.compile._compiler import CompileResult
from respect_tf.compile._log import FailureKind
from respect_tf.graph import OpGraph, op_graph_of
from respect_tf.segmentation import Segment, ops_of_file, part_of
from respect_tf.tflite import read_model

# Compiles a model; None once the time for it is over.
Probe = Callable[[bytes], CompileResult | None]


@dataclasses.dataclass(frozen=True)
class FailingOps:
    """The smallest range of ops found that the compiler fails on.

    Attributes:
        ops: Their indices in the whole model.
        descriptions: Index, type and name of each; ops that only carry a tensor under a new name
            are no ops of the whole model, and are among these alone.
        smallest: Whether it was seen that the range fails no more without its first or last op.
        num_probes: How many parts of the segment were compiled to find it.
    """

    ops: tuple[int, ...]
    descriptions: tuple[str, ...]
    smallest: bool
    num_probes: int

    def __str__(self) -> str:
        shown = "; ".join(self.descriptions[:3])
        more = f"; and {len(self.descriptions) - 3} more" if len(self.descriptions) > 3 else ""
        limit = "" if self.smallest else " (perhaps on fewer of them: this took too long)"
        return f"{shown}{more}{limit}"


def narrow(segment: Segment, kind: FailureKind, probe: Probe) -> FailingOps | None:
    """Narrow a segment that the compiler fails on down to the ops that it fails on.

    Bisection, twice: the shortest beginning of the model that fails in the same way, and then the
    shortest end of that. Ranges are in the order of the file, in which the compiler takes them too.

    Args:
        segment: The segment.
        kind: How it fails; what fails in another way does not count.
        probe: Compiles a part of it.

    Returns:
        The range, one that was seen to fail; None if the model cannot be cut.
    """
    try:
        model = read_model(segment.content)
        graph = op_graph_of(model)
    except RespectError:
        return None  # a model that cannot be read has no ops to name
    num_probes = 0

    def fails(first: int, last: int) -> bool | None:
        nonlocal num_probes
        result = probe(part_of(model, graph, range(first, last + 1)))
        if result is None:
            return None
        num_probes += 1
        return result.failure is not None and result.failure.kind == kind

    first, last = 0, graph.num_ops - 1
    low, in_time = -1, True  # everything up to `last` fails, everything up to `low` does not
    while in_time and last - low > 1:
        middle = (low + last) // 2
        failed = fails(0, middle)
        in_time = failed is not None
        if failed:
            last = middle
        elif in_time:
            low = middle
    high = last + 1  # everything from `first` on fails, everything from `high` on does not
    while in_time and high - first > 1:
        middle = (first + high) // 2
        failed = fails(middle, last)
        in_time = failed is not None
        if failed:
            first = middle
        elif in_time:
            high = middle
    # Without its last op the whole beginning does not fail; whether the range does was not asked.
    if in_time and first > 0 and last > first and fails(first, last - 1) is not False:
        in_time = False
    found = range(first, last + 1)
    ops = ops_of_file(model, segment.ops)
    return FailingOps(
        ops=tuple(op for op in ops[first : last + 1] if op is not None),
        descriptions=tuple(_described(graph, position, ops[position]) for position in found),
        smallest=in_time,
        num_probes=num_probes,
    )


def _described(graph: OpGraph, position: int, op: int | None) -> str:
    name = f"{graph.op_types[position]} '{graph.op_names[position]}'"
    if op is not None:
        return f"op {op} {name}"
    return f"the {name} that carries a tensor through the segment"
