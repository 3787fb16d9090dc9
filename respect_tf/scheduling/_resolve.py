"""The objective that a name stands for."""

from __future__ import annotations

import re

from respect_tf._errors import ArgumentError
from respect_tf.device import DeviceLike, resolve_device
from respect_tf.scheduling._device_objectives import Latency, ReplicatedThroughput, Throughput
from respect_tf.scheduling._objective import Objective, PeakMemory


def resolve_objective(objective: str | Objective, device: DeviceLike | None = None) -> Objective:
    """The objective that a name stands for; an `Objective` is returned as it is.

    Args:
        objective: `"throughput"`, `"latency"`, `"memory"`, or an `Objective`.
        device: What throughput and latency are about, see `respect_tf.schedule`; any host of
            USB 3 if left out.

    Raises:
        ArgumentError: No objective or device has that name.
    """
    resolved = resolve_device("usb3" if device is None else device)
    if isinstance(objective, Objective):
        return objective
    if objective == "memory":
        return PeakMemory()
    if objective in ("throughput", "latency"):
        return Throughput(resolved) if objective == "throughput" else Latency(resolved)
    if isinstance(objective, str):
        shared = re.fullmatch(
            r"throughput\(replicas=([1-9][0-9]{0,5}(?:,[1-9][0-9]{0,5})*)\)", objective
        )
        if shared:
            return ReplicatedThroughput(resolved, tuple(map(int, shared[1].split(","))))
        loaded = re.fullmatch(r"latency\(arrivals_per_second=([0-9.e+-]+)\)", objective)
        if loaded:
            rate = _number(loaded[1], objective)
            return Latency(resolved, arrivals_per_second=rate)
        match = re.fullmatch(r"memory\(communication_weight=([0-9.e+-]+)\)", objective)
        if match:
            return PeakMemory(_number(match[1], objective))
    raise ArgumentError(
        'Unknown objective. Expected "throughput", "latency", "memory" or an Objective such as '
        f"PeakMemory(communication_weight=1.0). Received: {objective!r}."
    )


def _number(text: str, objective: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentError(f"The objective {objective!r} names no number: {text!r}.") from None
