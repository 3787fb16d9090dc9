"""Cutting one turn of a pipeline with stages on the host: Edge TPUs by a solver, or the host."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from respect_tf.graph import OpGraph, sub_graph
from respect_tf.scheduling._constraints import Constraints
from respect_tf.scheduling._host_layout import Block
from respect_tf.scheduling._host_phases import HostSplit
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._schedule import Schedule

Floats = npt.NDArray[np.float64]

# Solves a part of the graph on Edge TPUs: the part, its ops in the whole graph, how many stages,
# and the constraints that concern it.
Solve = Callable[[OpGraph, Ints, int, Constraints | None], Schedule]


@dataclasses.dataclass(frozen=True, eq=False)
class Cut:
    """How a block is cut.

    Attributes:
        stages: int64 [num_block_ops], the stage of each op, from 0.
        optima: float64 [num_devices], the least that the block costs on each of several devices;
            None for one device, or on the host.
    """

    stages: Ints
    optima: Floats | None


class BlockCutter:
    """Cuts blocks; those that it knows it does not cut again.

    `host_ms` is what ops take on the host, float64 [num_ops].
    """

    def __init__(
        self,
        split: HostSplit,
        constraints: Constraints | None,
        solve: Solve,
        host_ms: Floats,
    ) -> None:
        self._split, self._graph = split, split.graph
        self._constraints, self._solve, self._host_ms = constraints, solve, host_ms
        self._solved: dict[tuple[object, ...], Cut] = {}

    def cut(self, block: Block, first: int) -> Cut:
        """How a block is cut."""
        constraints = self._constraints_of(block, first)
        key = (block.key, repr(constraints))
        if key not in self._solved:
            if block.on_host:
                self._solved[key] = Cut(self._split_on_host(block), None)
            else:
                part = sub_graph(self._graph, block.ops)
                made = self._solve(part, block.ops, block.num_stages, constraints)
                optima = None if made.optima is None else np.array(made.optima)
                self._solved[key] = Cut(made.stages.astype(np.int64), optima)
        return self._solved[key]

    def _constraints_of(self, block: Block, first: int) -> Constraints | None:
        """What concerns a block, in its own numbers."""
        position = {op: index for index, op in enumerate(block.ops.tolist())}
        groups = [
            [position[op] for op in group]
            for group in self._split.groups
            if all(op in position for op in group)
        ]
        given = self._constraints or Constraints()
        room = given.stage_bytes
        if isinstance(room, Sequence):
            room = list(room[first : first + block.num_stages])
        made = Constraints(
            stage_bytes=room,
            colocated=groups,
            pinned={
                position[op]: stage - first for op, stage in given.pinned.items() if op in position
            },
        )
        return made if made else None

    def _split_on_host(self, block: Block) -> Ints:
        """Stages on the host that take about the same time; items stay whole."""
        items, of_item = np.unique(self._split.item_of[block.ops], return_inverse=True)
        times = np.bincount(of_item, self._host_ms[block.ops], len(items))
        done = np.cumsum(times) - times / 2
        total = float(times.sum())
        share = np.floor(done / total * block.num_stages) if total > 0 else np.zeros(len(items))
        # Every stage gets an item: its number may neither lag behind nor run ahead.
        number = np.arange(len(items))
        least = block.num_stages - (len(items) - number)
        stages = np.maximum.accumulate(np.clip(share, np.maximum(least, 0), number))
        for index in range(1, len(items)):  # no stage is left out
            stages[index] = min(stages[index], stages[index - 1] + 1)
        return stages.astype(np.int64)[of_item]
