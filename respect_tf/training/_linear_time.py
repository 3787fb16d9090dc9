"""An objective to train with: compute, parameters and transfers, in one sum."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from respect_tf.graph import OpGraph
from respect_tf.scheduling import LinearCost, Number, Objective


@dataclasses.dataclass(frozen=True)
class LinearTime(Objective):
    """The slowest stage, by a device that computes, streams and transfers at constant rates.

    What an Edge TPU does is no sum, but this is near to it, and its costs mix as they do there.

    Attributes:
        macs_per_byte: Multiply-accumulates in the time in which a byte is streamed or transferred;
            above 0. On a USB 3 Edge TPU some thousands at best, some hundreds for most layers.
    """

    macs_per_byte: float

    @property
    def name(self) -> str:
        """`"linear_time(MACS_PER_BYTE)"`."""
        return f"linear_time({self.macs_per_byte!r})"

    def _op_costs(self, graph: OpGraph) -> npt.NDArray[np.int64]:
        computing = np.rint(graph.macs / self.macs_per_byte).astype(np.int64)
        costs: npt.NDArray[np.int64] = graph.parameter_bytes + computing
        return costs

    def stage_cost(
        self,
        graph: OpGraph,
        ops: Sequence[int],
        entering: Sequence[int],
        leaving: Sequence[int],
    ) -> Number:
        """In bytes that could be transferred meanwhile."""
        moved = graph.tensor_bytes[[*entering, *leaving]].sum()
        return int(self._op_costs(graph)[list(ops)].sum() + moved)

    def linear_cost(self, graph: OpGraph) -> LinearCost:
        """The definition itself: it is a sum already."""
        return LinearCost(self._op_costs(graph), enter=1.0, leave=1.0)
