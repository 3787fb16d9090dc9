"""Sums that costs of schedules are not below, of which a minimum cut finds the least."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

LOOSER = 1 - 1e-12
"""Bounds are loosened by this part against rounding."""


@dataclasses.dataclass(frozen=True, eq=False)
class LinearBound:
    """A sum that the cost of no schedule with a stage is below.

    Attributes:
        ops: What each op of the stage adds, [num_ops].
        rest: What is added to the sum.
        enter: What each tensor adds that enters, [num_tensors].
        leave: What each tensor adds that leaves, [num_tensors].
        counts: The reads by which a tensor enters, bool [num_reads], as `OpGraph.reads` has them.
        is_shared: Whether it is the sum over all stages that no schedule's cost is below.
    """

    ops: Floats
    rest: float
    enter: Floats
    leave: Floats
    counts: Bools
    is_shared: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class RoomBound:
    """A sum over each stage, less what caching saves, that the cost of no schedule is below.

    Layers ask for room one after the other, the largest first, and are cached where they fit.

    Attributes:
        ops: What each op of the stage adds if nothing is cached, [num_ops].
        leave: What each tensor adds that leaves, [num_tensors].
        rest: What is added to the sum.
        layers: Ops with parameters in the order of asking, int64 [num_layers].
        sizes: Bytes of a tile that each of them asks for, descending, [num_layers].
        saved: What each saves if it is cached, [num_layers].
        unit: What a byte of a tile saves at most.
        tile_bytes: Bytes of a tile.
    """

    ops: Floats
    leave: Floats
    rest: float
    layers: npt.NDArray[np.int64]
    sizes: Floats
    saved: Floats
    unit: float
    tile_bytes: float


def undominated(bounds: list[LinearBound]) -> list[LinearBound]:
    """Those that say something which no other one says: many hosts differ in their bus only."""
    kept: list[LinearBound] = []
    for bound in sorted(bounds, key=lambda one: (-float(one.ops.sum()), -one.rest)):
        if not any(_covers(other, bound) for other in kept):
            kept.append(bound)
    return kept


def _covers(one: LinearBound, other: LinearBound) -> bool:
    """Whether the other one is nowhere higher, for the same stages."""
    if one.is_shared != other.is_shared:
        return False
    names = ("ops", "rest", "enter", "leave", "counts")
    return all(bool(np.all(getattr(one, name) >= getattr(other, name))) for name in names)
