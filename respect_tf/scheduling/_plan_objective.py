"""`ReplicatedThroughput`: the interval of a pipeline whose stages run on several devices each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from respect_tf._errors import ArgumentError
from respect_tf.device import predict
from respect_tf.graph import OpGraph
from respect_tf.scheduling._bounded import Floats
from respect_tf.scheduling._device_objectives import Throughput
from respect_tf.scheduling._schedule import Schedule


class ReplicatedThroughput(Throughput):
    """Milliseconds per inference of a full pipeline with replicas, as `predict` gives them.

    It judges schedules; what finds them is `respect_tf.plan`.

    Args:
        device: See `Throughput`.
        replicas: Number of devices of each stage.
        optima: See `Throughput`.
    """

    def __init__(
        self, device: Any, replicas: Sequence[int], optima: tuple[float, ...] | None = None
    ) -> None:
        self.replicas = tuple(replicas)
        super().__init__(device, len(self.replicas), optima)

    @property
    def name(self) -> str:
        """`"throughput(replicas=2,1)"`, or `"throughput"` where each stage has one device."""
        if set(self.replicas) == {1}:
            return "throughput"
        return f"throughput(replicas={','.join(map(str, self.replicas))})"

    @property
    def _num_at_work(self) -> int:
        return sum(self.replicas)

    def for_stages(self, num_stages: int) -> ReplicatedThroughput:
        """The same: it is about one number of stages."""
        if num_stages != len(self.replicas):
            raise ArgumentError(
                f"The objective {self.name} is about {len(self.replicas)} stages. Received: "
                f"{num_stages}."
            )
        return self

    def of_one(self, device: Any) -> ReplicatedThroughput:
        """See `DeviceObjective`."""
        return ReplicatedThroughput(device, self.replicas)

    def with_optima(self, optima: Sequence[float]) -> ReplicatedThroughput:
        """See `DeviceObjective`."""
        return ReplicatedThroughput(self._device, self.replicas, tuple(optima))

    def times(self, graph: OpGraph, schedule: Schedule) -> Floats:
        """See `DeviceObjective`."""
        found = predict(graph, schedule, self._device, replicas=self.replicas)
        return np.array([self._of(one) for one in found.by_host.values()])
