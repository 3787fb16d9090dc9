"""Arguments that several functions take: numbers, limits of time, objectives by their names."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from respect_tf._errors import ArgumentError
from respect_tf._reals import is_real
from respect_tf.device import DeviceLike, resolve_device
from respect_tf.scheduling._device_objectives import Latency, ReplicatedThroughput, Throughput
from respect_tf.scheduling._objective import Objective, PeakMemory

# Names of objectives and of their one argument, and an argument that is several numbers.
_FORM = r"(\w+)(?:\((\w+)=([0-9.e+,-]+)\))?"
_COUNTS = r"[1-9][0-9]{0,5}(,[1-9][0-9]{0,5})*"


def checked_count(name: str, value: Any, least: int = 1) -> int:
    """A whole number from `least`, or else `ArgumentError`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ArgumentError(f"{name} must be a whole number, {least} or more. Received: {value!r}.")
    return int(value)


def deadline_after(time_limit: float | None, started: float) -> float:
    """When to give up, on `time.perf_counter()`'s clock in seconds; infinite for no limit."""
    if time_limit is None:
        return math.inf
    if not (is_real(time_limit) and time_limit >= 0):
        raise ArgumentError(
            f"time_limit must be None or seconds, 0 or more. Received: {time_limit!r}."
        )
    return started + time_limit


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
    known = re.fullmatch(_FORM, objective) if isinstance(objective, str) else None
    match known.groups() if known else ():
        case ("memory", None, None):
            return PeakMemory()
        case ("memory", "communication_weight", text):
            return PeakMemory(_number(text, objective))
        case ("throughput", None, None):
            return Throughput(resolved)
        case ("throughput", "replicas", text) if re.fullmatch(_COUNTS, text):
            return ReplicatedThroughput(resolved, tuple(map(int, text.split(","))))
        case ("latency", None, None):
            return Latency(resolved)
        case ("latency", "arrivals_per_second", text):
            return Latency(resolved, arrivals_per_second=_number(text, objective))
    raise ArgumentError(
        'Unknown objective. Expected "throughput", "latency", "memory" or an Objective such as '
        f"PeakMemory(communication_weight=1.0). Received: {objective!r}."
    )


def _number(text: str, objective: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentError(f"The objective {objective!r} names no number: {text!r}.") from None
