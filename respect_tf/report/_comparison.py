"""What a pipeline is compared with: one Edge TPU, and the compiler's own cut."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from respect_tf.device import DeviceLike, EdgeTpu, first_device, predict, resolve_device
from respect_tf.graph import OpGraph
from respect_tf.scheduling import Schedule, blocked_ops
from respect_tf.scheduling import schedule as choose_schedule


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Milliseconds between results in other ways to run a model. All of it is predicted.

    Attributes:
        device: What they are predicted for.
        num_stages: As many segments does the compiler cut.
        one_tpu_ms: The whole model on one Edge TPU.
        compiler_ms: The cut of `edgetpu_compiler --num_segments`.
    """

    device: EdgeTpu
    num_stages: int
    one_tpu_ms: float
    compiler_ms: float


def compare_speed(graph: OpGraph, schedule: Schedule, device: DeviceLike) -> Comparison | None:
    """How fast a model would be otherwise. This runs a scheduler.

    Args:
        graph: The model's graph.
        schedule: Its stages.
        device: What to predict for; of several the first one.

    Returns:
        `None` where an op stops the compilation of the whole model, and of every file that it is
        in: neither one Edge TPU nor the compiler's own cut can run it.
    """
    if blocked_ops(graph):
        return None
    host = first_device(resolve_device(device))
    count = schedule.num_stages
    alone = predict(graph, np.zeros(graph.num_ops, np.int64), host)
    found = choose_schedule(graph, count, "compiler", objective="throughput", device=host)
    return Comparison(
        device=host,
        num_stages=count,
        one_tpu_ms=alone.interval_ms,
        compiler_ms=math.inf if found.cost is None else float(found.cost),
    )
