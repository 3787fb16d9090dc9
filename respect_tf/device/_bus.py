"""What the time of a whole pipeline says of the bus that its devices share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from respect_tf.device._chip import ChipStage
from respect_tf.device._costs import DeviceCosts
from respect_tf.device._edge_tpu import MIB, EdgeTpu
from respect_tf.device._measurements import NOISE
from respect_tf.graph import OpGraph


@dataclasses.dataclass(frozen=True, eq=False)
class PipelineTime:
    """Time between two results of a pipeline all of whose devices are at work.

    Attributes:
        ms: The time.
        segments: Each segment with its graph, and the number of Edge TPUs that run it.
    """

    ms: float
    segments: tuple[tuple[OpGraph, ChipStage, int], ...]


@dataclasses.dataclass(frozen=True)
class BusFit:
    """What pipelines say of a bus.

    Attributes:
        ms_per_mib: What fits them: what was assumed, unless they say more.
        determined: Whether a pipeline was slower than its segments, so that the bus is known; else
            it is only known how slow it may be.
    """

    ms_per_mib: float
    determined: bool


def fit_bus(pipelines: Sequence[PipelineTime], device: EdgeTpu, assumed: float) -> BusFit:
    """The bus of a device whose other constants are fitted.

    A pipeline that is slower than its slowest segment and than the host's own work waits for the
    bus, and tells its rate. Any other tells how slow the bus can be at most.

    Args:
        pipelines: The measured pipelines.
        device: The device; its own `bus_ms_per_mib` does not matter.
        assumed: What to assume of the bus where pipelines say nothing, in ms per MiB.
    """
    limits = [_limits(one, device) for one in pipelines]
    waits = [rate for rate, is_bus in limits if is_bus]
    lowest, highest = device.range_of("bus_ms_per_mib")
    if waits and highest > 0:  # modules with lanes of their own share none
        return BusFit(float(np.clip(np.mean(waits), lowest, highest)), determined=True)
    return BusFit(min([assumed, *(rate for rate, _ in limits)]), determined=False)


def _limits(pipeline: PipelineTime, device: EdgeTpu) -> tuple[float, bool]:
    """The bus's ms per MiB if it is what limits a pipeline, and whether it is."""
    num_devices = sum(count for _, _, count in pipeline.segments)
    slowest, moved = device.stage_ms * len(pipeline.segments), 0.0
    for graph, segment, count in pipeline.segments:
        cost = DeviceCosts.of(graph, device, num_devices).time(segment)
        slowest = max(slowest, cost.total_ms / count)
        moved += cost.moved_bytes / MIB
    return pipeline.ms / moved, pipeline.ms > slowest * (1 + NOISE)
