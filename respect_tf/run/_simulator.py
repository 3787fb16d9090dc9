"""A pipeline as discrete events: what queues, a shared bus and the host make of the stages' times.

The model, in the terms of the closed form of `respect_tf.device.predict`:

* An input waits in the input queue, is worked on by one stage after another, in order, and its
  result waits in the output queue until it is taken.
* A stage that is done hands its tensors on when the next queue has room, and works on nothing
  before. The host needs `dispatch_ms` for each hand-over and serves one stage at a time, in the
  order in which they ask.
* An inference keeps its device busy for the stage's time. A stage on several devices works on as
  many inputs at a time, and hands them on in their order.
* While other inputs are in the pipeline, transfers are slowed as the device model says, and an
  inference ends no earlier than its transfers, which go over the shared bus one after the other in
  the order in which inferences begin. CPU stages share the host's cores in the same way.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Sequence
from typing import Literal

import numpy as np

from respect_tf._errors import ArgumentError
from respect_tf.device import PipelinePrediction, StageTimes, play, stage_times
from respect_tf.run._simulation import Floats, Simulation


def simulate(
    stages: PipelinePrediction | Sequence[StageTimes | float],
    num_inputs: int = 1000,
    *,
    arrival_rate: float | None = None,
    arrivals: Literal["regular", "poisson"] = "regular",
    input_queue_size: int | None = None,
    inner_queue_size: int = 1,
    output_queue_size: int | None = None,
    pop_ms: float = 0.0,
    seed: int = 0,
) -> Simulation:
    """Send inputs through a pipeline.

    Args:
        stages: What `predict` predicts, or the stages' times in order: `StageTimes`, or
            ms that a stage takes where nothing is shared.
        num_inputs: How many inputs.
        arrival_rate: Inputs per second; left out, the next is pushed as soon as the input queue
            has room.
        arrivals: Whether they come at equal intervals or at random, independently of each other.
        input_queue_size: Inputs that may wait before the first stage; None for any number, or for
            1 where there is no `arrival_rate`.
        inner_queue_size: What may wait between two stages; libcoral's runner has room for 1.
        output_queue_size: Results that may wait; None for any number.
        pop_ms: Time for which whoever takes the results is busy with each.
        seed: Seed of random arrivals.

    Raises:
        ArgumentError: A number is out of its range.
    """
    times = _checked_stages(stages)
    limits = [
        _checked_size(name, size)
        for name, size in (
            ("num_inputs", num_inputs),
            ("input_queue_size", input_queue_size),
            ("inner_queue_size", inner_queue_size),
            ("output_queue_size", output_queue_size),
        )
    ]
    StageTimes(busy_ms=pop_ms, alone_ms=0.0)  # the same check
    if arrivals not in ("regular", "poisson"):
        raise ArgumentError(f'arrivals must be "regular" or "poisson". Received: {arrivals!r}.')
    if arrival_rate is None:
        arrival_ms: Floats = np.zeros(num_inputs)
        limits[1] = 1 if input_queue_size is None else input_queue_size
    elif not 0 < arrival_rate < math.inf:
        raise ArgumentError(
            f"arrival_rate must be inputs per second, above 0. Received: {arrival_rate!r}."
        )
    elif arrivals == "regular":
        arrival_ms = np.arange(num_inputs, dtype=np.float64) * (1000.0 / arrival_rate)
    else:
        random = np.random.default_rng(seed)
        arrival_ms = np.cumsum(random.exponential(1000.0 / arrival_rate, num_inputs))
    simulation = _run_events(
        times,
        arrival_ms,
        input_queue_size=limits[1],
        inner_queue_size=limits[2],
        output_queue_size=limits[3],
        pop_ms=float(pop_ms),
    )
    if arrival_rate is None:
        return dataclasses.replace(simulation, arrival_ms=simulation.enter_ms)
    return simulation


def _run_events(
    stages: Sequence[StageTimes],
    arrival_ms: Floats,
    *,
    input_queue_size: int,
    inner_queue_size: int,
    output_queue_size: int,
    pop_ms: float,
) -> Simulation:
    """Play all events.

    Args:
        stages: The stages, in order.
        arrival_ms: float64 [num_inputs], when each input wants to enter, ascending. It enters when
            the input queue has room.
        input_queue_size: Inputs that may wait before the first stage.
        inner_queue_size: Hand-overs that may wait before each other stage.
        output_queue_size: Results that may wait after the last stage.
        pop_ms: Time of whoever takes the results, for each.
    """
    servers = list(stages)
    limits = [input_queue_size, *[inner_queue_size] * (len(stages) - 1)]
    if pop_ms or output_queue_size < len(arrival_ms):
        # Whoever takes the results is one more server, with a queue before it.
        servers.append(StageTimes(busy_ms=pop_ms, alone_ms=pop_ms))
        limits.append(output_queue_size)
    played = play(servers, arrival_ms, limits)
    num_stages = len(stages)
    return Simulation(
        stages=tuple(stages),
        arrival_ms=arrival_ms,
        enter_ms=played.enter_ms,
        start_ms=played.start_ms[:num_stages].T,
        end_ms=played.end_ms[:num_stages].T,
        result_ms=(played.start_ms if len(servers) > num_stages else played.end_ms)[-1],
    )


def _checked_stages(
    stages: PipelinePrediction | Sequence[StageTimes | float],
) -> tuple[StageTimes, ...]:
    if isinstance(stages, PipelinePrediction):
        return stage_times(stages)
    times = tuple(
        one if isinstance(one, StageTimes) else StageTimes(busy_ms=one, alone_ms=one)
        for one in stages
    )
    if not times:
        raise ArgumentError("Expected at least one stage. Received: none.")
    return times


def _checked_size(name: str, size: int | None) -> int:
    if size is None and name != "num_inputs":
        return sys.maxsize
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ArgumentError(f"{name} must be a whole number, 1 or more. Received: {size!r}.")
    return size
