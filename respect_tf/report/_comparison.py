"""What a pipeline is compared with: one Edge TPU, the compiler's own cut, fewer stages."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from respect_tf.device import DeviceLike, EdgeTpu, first_device, predict, resolve_device
from respect_tf.graph import OpGraph
from respect_tf.scheduling import Schedule
from respect_tf.scheduling import schedule as choose_schedule

# Fewer Edge TPUs are as fast if results come at most so much later.
_AS_FAST = 1.01
# Larger graphs take seconds to cut for each number of stages.
_MAX_OPS = 1500


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Milliseconds between results in other ways to run a model. All of it is predicted.

    Attributes:
        device: What they are predicted for.
        num_stages: As many segments does the compiler cut.
        one_tpu_ms: The whole model on one Edge TPU.
        compiler_ms: The cut of `edgetpu_compiler --num_segments`.
        fewer_ms: The best cut of the file's order into 1, 2 and so on stages, below `num_stages`;
            large graphs are cut into one alone, and those with CPU stages not at all.
    """

    device: EdgeTpu
    num_stages: int
    one_tpu_ms: float
    compiler_ms: float
    fewer_ms: tuple[float, ...]

    def fewest_tpus(self, interval_ms: float) -> int | None:
        """The least number of Edge TPUs, below `num_stages`, that gives results as often."""
        for count, ms in enumerate(self.fewer_ms, 1):
            if ms <= _AS_FAST * interval_ms:
                return count
        return None


def compare_speed(graph: OpGraph, schedule: Schedule, device: DeviceLike) -> Comparison:
    """How fast a model would be otherwise. This runs two schedulers.

    Args:
        graph: The model's graph.
        schedule: Its stages.
        device: What to predict for; of several the first one.
    """
    host = first_device(resolve_device(device))
    count = schedule.num_stages
    alone = predict(graph, np.zeros(graph.num_ops, np.int64), host)
    most = count if graph.num_ops <= _MAX_OPS else min(count, 2)
    return Comparison(
        device=host,
        num_stages=count,
        one_tpu_ms=alone.interval_ms,
        compiler_ms=_cost(graph, count, "compiler", host),
        # Of CPU stages, nobody needs fewer to save an Edge TPU.
        fewer_ms=()
        if schedule.cpu_stages
        else tuple(_cost(graph, fewer, "slicing", host) for fewer in range(1, most)),
    )


def _cost(graph: OpGraph, num_stages: int, scheduler: str, host: EdgeTpu) -> float:
    found = choose_schedule(graph, num_stages, scheduler, objective="throughput", device=host)
    return math.inf if found.cost is None else float(found.cost)
