"""Measured inference times of single segments, and fits of a device's constants to them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from respect_tf.device._chip import ChipCosts
from respect_tf.device._costs import StageCost
from respect_tf.device._edge_tpu import MIB, EdgeTpu

Floats = npt.NDArray[np.float64]

FITTED = ("fixed_ms", "link_ms_per_mib", "output_ms_per_request", "clock_mhz")
"""Constants that times of single segments can tell something about."""

# Times are told to so much of them: what repeated runs of public stacks differ by (4.6 %), which
# is about what ops that take a tenth more or less than their price add up to in a segment.
NOISE = 0.04
# A range is taken for two standard deviations to both sides of the value.
_RANGE_DEVIATIONS = 4.0
# The clock is one of two, and what is fitted is how far the chip's prices are off.
_CLOCK_DEVIATION = 0.1
# A constant is fitted where that lowers the misfit by so much: a likelihood ratio that chance
# exceeds one time in twenty.
EXPLAINED = 3.84
_SMALLEST = 1e-6  # constants are fitted as logarithms: 0 is taken for this


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One inference of a segment on one Edge TPU, and its time.

    Attributes:
        ms: Its time.
        ops: One (ms on the chip at 500 MHz, MiB of parameters that are streamed) per op.
        sent_mib: MiB of inputs, instructions and other constants that the host sends.
        returned_bytes: Bytes of each tensor that the device returns.
    """

    ms: float
    ops: tuple[tuple[float, float], ...]
    sent_mib: float
    returned_bytes: tuple[int, ...]


def measurement_of(
    chip: ChipCosts, cost: StageCost, leaving: Sequence[int], ms: float, *, reload: bool
) -> Measurement:
    """A measured time of a stage without ops on the CPU.

    Args:
        chip: The graph on the chip.
        cost: The stage.
        leaving: Tensors that leave it.
        ms: The time.
        reload: Whether parameters were loaded anew at every inference.
    """
    parameters, streamed = chip.parameters, set(cost.streamed_ops)
    own = (parameters.stored - parameters.streamed) * chip.passes / MIB
    ops = tuple(
        (float(chip.chip_ms[op]), float(own[op]) if op in streamed else 0.0) for op in cost.ops
    )
    always = int(parameters.streamed[list(cost.ops)].sum())
    sent = cost.input_bytes + cost.instruction_bytes + always
    return Measurement(
        ms=ms,
        ops=ops,
        sent_mib=(sent + (cost.cached_bytes if reload else 0)) / MIB,
        returned_bytes=tuple(int(size) for size in chip.returned[list(leaving)]),
    )


class Design:
    """Measurements as flat arrays, so that all their times are predicted at once."""

    def __init__(self, measurements: Sequence[Measurement]) -> None:
        ops = [(index, *op) for index, one in enumerate(measurements) for op in one.ops]
        table = np.array(ops, np.float64).reshape(-1, 3)
        self._row = table[:, 0].astype(np.int64)
        self._chip, self._streamed = table[:, 1:].T
        self._sent = np.array([one.sent_mib for one in measurements])
        self._returned = [np.array(one.returned_bytes, np.int64) for one in measurements]
        self.ms = np.array([one.ms for one in measurements])

    def predict(self, device: EdgeTpu) -> Floats:
        """Predicted ms. float64 [num_measurements]."""
        compute = device.slower * self._chip
        busy = np.maximum(compute, device.link_ms_per_mib * self._streamed)
        size = int(device.request_bytes)
        requests = np.array([float((-(-sizes // size)).sum()) for sizes in self._returned])
        predicted = np.bincount(self._row, busy, len(self.ms)).astype(np.float64)
        predicted += device.fixed_ms
        predicted += device.link_ms_per_mib * self._sent
        predicted += device.output_ms_per_request / device.requests_in_flight * requests
        return predicted


@dataclasses.dataclass(frozen=True)
class Fit:
    """A device whose constants are as likely as can be, by measurements and by what was known.

    Attributes:
        device: The device.
        misfit: Squared deviations of times and constants, added up; the less, the likelier.
        determined: Constants that the measurements say something about; others are as before.
    """

    device: EdgeTpu
    misfit: float
    determined: tuple[str, ...]


def misfit_of(design: Design, base: EdgeTpu) -> float:
    """How far measurements are from a device whose constants are anywhere in their ranges."""
    return _fit(design, base, FITTED)[1]


def fit_device(design: Design, base: EdgeTpu) -> Fit:
    """Fit constants within their ranges; where times say little, the base's value stays.

    Each constant is known beforehand to be near the base's value, by its range. They are fitted one
    by one, the one that explains most first, as long as what it explains is more than chance: of
    constants that the times do not tell apart, one is enough.

    Args:
        design: The measurements.
        base: Where to start.
    """
    device, misfit = _fit(design, base, ())
    chosen: list[str] = []
    while len(chosen) < len(FITTED):
        left = [name for name in FITTED if name not in chosen]
        fits = {name: _fit(design, base, [*chosen, name]) for name in left}
        best = min(fits, key=lambda name: fits[name][1])
        if misfit - fits[best][1] < EXPLAINED:
            break
        chosen.append(best)
        device, misfit = fits[best]
    return Fit(device, misfit, tuple(name for name in FITTED if name in chosen))


def _fit(design: Design, base: EdgeTpu, names: Sequence[str]) -> tuple[EdgeTpu, float]:
    """The likeliest device that differs in some constants, and its misfit."""
    from scipy.optimize import least_squares

    start = np.log([max(float(getattr(base, name)), _SMALLEST) for name in names])
    ranges = np.array([base.range_of(name) for name in names]).reshape(-1, 2)
    lower, upper = np.log(np.maximum(ranges, _SMALLEST)).T
    known = np.maximum(upper - lower, _SMALLEST) / _RANGE_DEVIATIONS
    known[[name == "clock_mhz" for name in names]] = _CLOCK_DEVIATION

    def device_of(values: Floats) -> EdgeTpu:
        amounts = np.exp(np.clip(values, lower, upper)).tolist()
        return dataclasses.replace(base, **dict(zip(names, amounts, strict=True)))

    def deviations(values: Floats) -> Floats:
        times = (design.predict(device_of(values)) / design.ms - 1.0) / NOISE
        return np.concatenate([times, (values - start) / known])

    if not names:
        squared = deviations(start) ** 2
        return base, float(2 * (np.sqrt(1 + squared) - 1).sum())  # as below: soft_l1
    found = least_squares(
        deviations,
        start,
        bounds=(np.minimum(lower, start) - _SMALLEST, np.maximum(upper, start) + _SMALLEST),
        x_scale=known,
        loss="soft_l1",
    )
    return device_of(found.x), 2.0 * float(found.cost)
