"""Latency under load: how long inputs wait that arrive at random."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.device._edge_tpu import is_amount
from respect_tf.device._events import play, stage_times
from respect_tf.device._prediction import PipelinePrediction

Floats = npt.NDArray[np.float64]

PERCENTILES = (50, 90, 99)

# Inputs that are followed, of which the first ones do not count: as many as make the mean of a
# queue that is busy nine tenths of the time good to some percent.
_NUM_INPUTS, _WARM_UP = 20_000, 2_000


@dataclasses.dataclass(frozen=True)
class Load:
    """Latency of inputs that arrive at random, independently of each other.

    Attributes:
        arrivals_per_second: How many arrive, in the mean.
        mean_ms: Mean time from an input's arrival to its result; infinite where more arrive than
            the pipeline can work on.
        percentiles_ms: The same for `PERCENTILES` of the inputs, by percent.
    """

    arrivals_per_second: float
    mean_ms: float
    percentiles_ms: dict[int, float]


def under_load(prediction: PipelinePrediction, arrivals_per_second: float) -> Load:
    """Latency of a pipeline that inputs arrive at as a Poisson process.

    Inputs are followed one by one, as the simulator does, with any number of them waiting before
    the pipeline and one between two stages: the host hands each over once for each stage, and it
    crosses the shared bus as often. (Without these two, such a chain has closed forms: B.
    Avi-Itzhak, "A sequence of service stations with arbitrary input and regular service times",
    1965.)

    Args:
        prediction: The pipeline.
        arrivals_per_second: Inputs per second.

    Raises:
        ArgumentError: The rate is no finite number above 0.
    """
    rate = checked_rate(arrivals_per_second)
    if prediction.interval_ms * rate >= 1000.0:
        return Load(rate, math.inf, dict.fromkeys(PERCENTILES, math.inf))
    stages, arrivals = stage_times(prediction), _arrivals() * (1000.0 / rate)
    played = play(stages, arrivals, [_NUM_INPUTS, *[1] * (len(stages) - 1)])
    latency = (played.end_ms[-1] - arrivals)[_WARM_UP:]
    marks = np.percentile(latency, PERCENTILES)
    return Load(rate, float(latency.mean()), dict(zip(PERCENTILES, map(float, marks), strict=True)))


def checked_rate(arrivals_per_second: float | None) -> float:
    """A number of inputs per second.

    Raises:
        ArgumentError: It is none.
    """
    if not is_amount(arrivals_per_second) or not arrivals_per_second:
        raise ArgumentError(
            "arrivals_per_second must be a finite number of inputs, above 0. Received: "
            f"{arrivals_per_second!r}."
        )
    return float(arrivals_per_second)


@functools.cache
def _arrivals() -> Floats:
    """Times at which inputs arrive, one per unit of time in the mean."""
    times = np.cumsum(np.random.default_rng(0).exponential(1.0, _NUM_INPUTS))
    times.flags.writeable = False
    return times
