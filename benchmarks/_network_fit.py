"""Prices of compute and constants of hosts, fitted together to public times.

A prediction is fixed + link x (inputs + instructions + constants) + output x whole requests, and
for each op what it takes on the chip or what its streamed parameters take on the link, whichever
is longer: the chip computes while the next parameters come.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from benchmarks._device_data import DATA, MIB
from benchmarks._network_runs import SESSION, Run
from respect_tf.device._compute import CLOCK_MHZ, PRICES

Floats = npt.NDArray[np.float64]

_REQUEST_BYTES = {"usb3": 1024, "usb2": 256, "pcie": 1}  # outputs come back in so many at a time
# How exactly the rows of a group tell prices, relative. Networks are other builds of what was
# measured; repeated runs of stacks differ by 5 to 15 %, and a hundred stacks of nearly the same
# layers say little more than ten; segments of one session agree within 1 to 2 %.
_SIGMA = {
    "networks": 0.06, "stacks": 0.15, "dense stacks": 0.2, "segments": 0.015, "deep stacks": 0.15,
    "probes": 0.15,
}  # fmt: skip
_PASSES, _PASS_RANGE = (4.29, 6.17, 8.78), 0.15  # of version 0.1, and what they may differ by
_PRIOR = 0.2  # weight of a constant's first value next to a measurement
# The session's own: fixed ms, link, output, and what inputs take above the link's rate.
_SESSION = ((1.4, 0.3, 1.6), (2.97, 2.8, 3.0), (116.0, 105.0, 125.0), (4.0, 0.0, 6.0))
_PEAK = 0.488  # ms per GMAC: 4 TOPS; no price of multiply-accumulates can be lower

Range = tuple[float, float, float]  # value, low, high


@functools.cache
def host_ranges() -> dict[str, tuple[Range, ...]]:
    """Constants of each host with their ranges: fixed ms, link, output and input above link."""
    hosts: dict[str, tuple[Range, ...]] = {}
    with (DATA / "measurements" / "hosts.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            hosts[row["preset"]] = (
                _range(row, "fixed_ms", "fixed"),
                _range(row, "link_ms_per_mib", "link"),
                _range(row, "output_ms_per_mib", "output"),
                (0.0, 0.0, 0.0),
            )
    return {**hosts, SESSION: _SESSION}


def _range(row: dict[str, str], value: str, name: str) -> Range:
    return float(row[value]), float(row[f"{name}_low"]), float(row[f"{name}_high"])


@dataclasses.dataclass(frozen=True)
class Constants:
    """What a prediction takes beside the work.

    Attributes:
        prices: ms per unit of each kind of work at 500 MHz. float64 [len(PRICES)].
        passes: How often parameters are fetched for ops that work in strips. float64 [3].
        hosts: Fixed ms, link, output and input above the link, of each host.
    """

    prices: Floats
    passes: Floats
    hosts: Mapping[str, Sequence[float]]


def known_constants() -> Constants:
    """The shipped prices, and hosts as hosts.csv has them."""
    hosts = {name: [value for value, _, _ in rows] for name, rows in host_ranges().items()}
    prices = np.array([price.value for price in PRICES])
    return Constants(prices, np.array(_PASSES), hosts)


class Design:
    """Runs as flat arrays, so that all their times are predicted at once."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = list(runs)
        works = [run.work for run in runs]
        self._row = np.repeat(np.arange(len(works)), [len(work.streamed_mib) for work in works])
        self._kinds = np.concatenate([work.kinds for work in works])
        self._streamed = np.concatenate([work.streamed_mib for work in works])
        self._step = np.concatenate([work.passes for work in works])
        self._slower = CLOCK_MHZ / np.array([run.clock_mhz for run in runs])
        self._input = np.array([work.input_mib for work in works])
        self._sent = np.array([work.sent_mib for work in works])
        self._output = np.array([_output_mib(run) for run in runs])
        self.ms = np.array([run.ms for run in runs])

    def predict(self, constants: Constants, host: str | None = None) -> Floats:
        """Predicted ms, on each run's host or on another one. float64 [num_runs]."""
        own = [constants.hosts[host or run.host] for run in self.runs]
        fixed, link, output, extra = np.array(own, np.float64).T
        compute = self._kinds @ constants.prices * self._slower[self._row]
        passes = np.concatenate([[1.0], constants.passes])[self._step]
        busy = np.maximum(compute, link[self._row] * passes * self._streamed)
        predicted: Floats = fixed + np.bincount(self._row, busy, len(self.ms))
        predicted += link * (self._sent + self._input) + extra * self._input
        return predicted + output * self._output

    def fit(self, chosen: Sequence[int], *, prices: bool = True) -> Constants:
        """Constants within their ranges that fit the chosen runs best, by relative error.

        A soft loss keeps single odd runs from deciding. Hosts of which no run is chosen stay as
        they are known.

        Args:
            chosen: Indices of runs.
            prices: Whether prices and passes are fitted too.
        """
        from scipy.optimize import least_squares

        names = sorted({self.runs[index].host for index in chosen})
        ranges = [*(_free_ranges() if prices else ()), *_host_rows(names)]
        start, low, high = np.array(ranges).T
        free = high > low
        index = np.array(chosen)
        sigma = np.array([_SIGMA[self.runs[i].group] for i in chosen])
        scale = np.maximum(np.abs(start[free]), 0.05)

        def whole(values: Floats) -> Constants:
            every = start.copy()
            every[free] = values
            return _constants(every, names, prices=prices)

        def residuals(values: Floats) -> Floats:
            misfit = self.predict(whole(values))[index] / self.ms[index] - 1
            return np.concatenate([misfit / sigma, _PRIOR * (values - start[free]) / scale])

        margin = 1e-6 * (high - low)[free]
        found = least_squares(
            residuals,
            np.clip(start[free], low[free] + margin, high[free] - margin),
            bounds=(low[free], high[free]),
            x_scale=scale,
            loss="soft_l1",
        )
        return whole(found.x)

    def left_out(self, names: Sequence[str], groups: Sequence[str]) -> Floats:
        """Predicted ms of each run of some groups by a fit that saw no run of its name.

        Args:
            names: One for each run; runs of one name are left out together.
            groups: The groups; runs of others are predicted by the fit to all.
        """
        everything = range(len(self.runs))
        predicted = self.predict(self.fit(everything))
        left = {name for name, run in zip(names, self.runs, strict=True) if run.group in groups}
        for name in sorted(left):
            out = [i for i in everything if names[i] == name]
            kept = [i for i in everything if names[i] != name]
            predicted[out] = self.predict(self.fit(kept))[out]
        return predicted


def _output_mib(run: Run) -> float:
    size = _REQUEST_BYTES[run.host.split("-", maxsplit=1)[0]]
    return sum(-(-int(made) // size) * size for made in run.work.outputs) / MIB


def _free_ranges() -> list[Range]:
    at_least = [_PEAK if "gmac" in price.name else 0.0 for price in PRICES]
    rows = [
        (price.value, low, 10 * price.value) for price, low in zip(PRICES, at_least, strict=True)
    ]
    passes = [(count, count * (1 - _PASS_RANGE), count * (1 + _PASS_RANGE)) for count in _PASSES]
    return [*rows, *passes]


def _host_rows(names: Sequence[str]) -> list[Range]:
    return [row for name in names for row in host_ranges()[name]]


def _constants(values: Floats, names: Sequence[str], *, prices: bool) -> Constants:
    known = known_constants()
    if prices:
        known = dataclasses.replace(
            known, prices=values[: len(PRICES)], passes=values[len(PRICES) :][: len(_PASSES)]
        )
        values = values[len(PRICES) + len(_PASSES) :]
    fitted = dict(zip(names, values.reshape(-1, 4).tolist(), strict=True))
    return dataclasses.replace(known, hosts={**known.hosts, **fitted})
