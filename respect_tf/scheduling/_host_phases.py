"""Which ops have to run on the host, and in how many turns of Edge TPU and host."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ScheduleError
from respect_tf.device import blocking_reason
from respect_tf.graph import OpGraph
from respect_tf.scheduling._items import Ints, merge_colocated

Bools = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, eq=False)
class Phase:
    """Ops that may run in one turn, int64 [num_phase_ops], ascending; whether on the host."""

    on_host: bool
    ops: Ints


def blocked_ops(graph: OpGraph) -> list[int]:
    """Ops with which no file can be compiled, ascending."""
    if not graph.op_attributes:
        return []
    return [op for op in range(graph.num_ops) if blocking_reason(graph, op) is not None]


@dataclasses.dataclass(frozen=True, eq=False)
class HostSplit:
    """A graph of which some ops have to run on the host.

    Attributes:
        graph: The graph.
        loose: The same, with the pairs of ops parted that a border of a CPU stage may part.
        item_of: int64 [num_ops], ops of one number share a stage; ascending along all edges.
        on_host: bool [num_ops], ops that have to run on the host, with those that share a stage
            with them.
        groups: Ops that share a stage, beside `graph.colocated`.
        layerings: The ops in turns of Edge TPU and host, as early as they can be, and as late where
            that is something else.
    """

    graph: OpGraph
    loose: OpGraph
    item_of: Ints
    on_host: Bools
    groups: tuple[tuple[int, ...], ...]
    layerings: tuple[tuple[Phase, ...], ...]

    @classmethod
    def of(
        cls, graph: OpGraph, host_ops: Collection[int], groups: Sequence[Sequence[int]] = ()
    ) -> HostSplit:
        """Split a graph.

        Args:
            graph: The graph.
            host_ops: The ops that have to run on the host.
            groups: Ops that must share a stage, beside `graph.colocated`.
        """
        wanted = np.zeros(graph.num_ops, bool)
        wanted[list(host_ops)] = True
        # A stage on the host may begin with a DEQUANTIZE; all other pairs stay together.
        parted = [
            graph.op_types[second] == "DEQUANTIZE" and wanted[second] and not wanted[first]
            for first, second in graph.colocated.tolist()
        ]
        kept = graph.colocated[~np.array(parted, bool)]
        loose = dataclasses.replace(graph, colocated=kept.reshape(-1, 2)) if any(parted) else graph
        item_of, edges = merge_colocated(loose, groups)
        num_items = int(item_of.max()) + 1
        item_on_host = np.zeros(num_items, bool)
        item_on_host[item_of[wanted]] = True
        early = _levels(edges, item_on_host)
        late = _levels(num_items - 1 - edges[:, ::-1], item_on_host[::-1])[::-1]
        dense = (np.unique(levels, return_inverse=True)[1] for levels in (early, -late))
        turns = {levels.tobytes(): levels for levels in dense}
        layerings = [_phases(item_of, levels, item_on_host) for levels in turns.values()]
        return cls(
            graph=graph,
            loose=loose,
            item_of=item_of,
            on_host=item_on_host[item_of],
            groups=tuple(tuple(group) for group in groups),
            layerings=tuple(layerings),
        )

    @property
    def is_all(self) -> bool:
        """Whether nothing is left for an Edge TPU."""
        return bool(self.on_host.all())

    @property
    def least_stages(self) -> int:
        """The fewest stages with one on an Edge TPU; 0 where nothing is left for one.

        Two, if what comes first or last may be on one, else three.
        """
        if self.is_all:
            return 0
        ends_on_host = all(phases[0].on_host and phases[-1].on_host for phases in self.layerings)
        return 3 if ends_on_host else 2

    @property
    def wanted_stages(self) -> int:
        """The fewest stages with nothing on the host that need not be there."""
        return min(len(phases) for phases in self.layerings)

    def too_few(self, num_stages: int) -> ScheduleError:
        """That there are too few stages, or none fits."""
        num_items = int(self.item_of.max()) + 1
        if num_stages > num_items:
            return ScheduleError(
                f"There are {num_items} ops, or groups of ops that share a stage. Expected as many "
                f"stages at most. Received: {num_stages}."
            )
        first = int(np.flatnonzero(self.on_host)[0])
        return ScheduleError(
            f"{self.graph.describe_op(first)} has to run on the host, in a stage of its own, so "
            f"there must be at least {self.least_stages} stages, and constraints that allow them. "
            f"Received: {num_stages}."
        )


def _levels(edges: Ints, on_host: Bools) -> Ints:
    """Turns of items, as early as may be: even ones on Edge TPUs, odd ones on the host.

    Edges are int64 [num_edges, 2], ascending along each; `on_host` is bool [num_items].
    """
    levels = on_host.astype(np.int64)
    order = np.argsort(edges[:, 0], kind="stable")
    for before, after in edges[order].tolist():
        turn = levels[before] + (on_host[before] != on_host[after])
        levels[after] = max(levels[after], turn)
    return levels


def _phases(item_of: Ints, levels: Ints, on_host: Bools) -> tuple[Phase, ...]:
    """The turns that have ops, in their order."""
    found = []
    for level in np.unique(levels):
        items = np.flatnonzero(levels == level)
        ops = np.flatnonzero(np.isin(item_of, items)).astype(np.int64)
        found.append(Phase(bool(on_host[items[0]]), ops))
    return tuple(found)
