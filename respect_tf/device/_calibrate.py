"""Fitting a device's times to a user's own measurements."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.device._bus import PipelineTime, fit_bus
from respect_tf.device._edge_tpu import EdgeTpu
from respect_tf.device._hosts import DeviceLike, devices_of, resolve_device
from respect_tf.device._measurement_rows import read_rows
from respect_tf.device._measurements import (
    EXPLAINED,
    FITTED,
    Design,
    Measurement,
    fit_device,
    misfit_of,
)
from respect_tf.device._presets import (
    CLOCKS,
    LINK_NAMES,
    has_clocks,
    host_of,
    hosts_of_link,
    preset_names,
    preset_of,
)

_CALIBRATED = " calibrated"
_OTHER_UNIT = 100.0  # times what is predicted: seconds and microseconds are 1000 away
_TINY_MS = 1e-6
_QUEUE_OPTION = "Usb.MaxBulkInQueueLength"

# Times of single segments tell nothing about a bus that devices share. Cuts for presets' half of
# the link's rate are dearer than those for less where the bus turns out to be free, and cuts for
# less are hardly dearer where it is not: over simulated hosts whose bus is anywhere between free
# and the link's rate (`benchmarks hosts`), regret is least for a tenth to a quarter of that rate.
_BUS_SHARE = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """A device that was fitted to measurements.

    Attributes:
        device: The fitted device.
        base: The device before: a known host, or the one that was given.
        host: Name of the preset that fits the measurements best.
        determined: Names of the constants that the measurements tell.
        kept: Names of those that they say too little about, which are as in the base.
        measured_ms: float64 [num_measurements].
        ms_before: float64 [num_measurements], predicted with the base.
        ms_after: float64 [num_measurements], predicted with the fitted device.
        ms_left_out: float64 [num_measurements], each predicted by a fit to the others.
    """

    device: EdgeTpu
    base: EdgeTpu
    host: str
    determined: tuple[str, ...]
    kept: tuple[str, ...]
    measured_ms: npt.NDArray[np.float64]
    ms_before: npt.NDArray[np.float64]
    ms_after: npt.NDArray[np.float64]
    ms_left_out: npt.NDArray[np.float64]

    @property
    def changes(self) -> tuple[tuple[str, float, float], ...]:
        """Name, value before and value after of each constant that was determined."""
        return tuple(
            (name, float(getattr(self.base, name)), float(getattr(self.device, name)))
            for name in self.determined
        )

    @property
    def error_before(self) -> float:
        """Mean relative error of the base."""
        return float(np.abs(self.ms_before / self.measured_ms - 1).mean())

    @property
    def error_after(self) -> float:
        """Mean relative error of the fitted device on the data it was fitted to."""
        return float(np.abs(self.ms_after / self.measured_ms - 1).mean())

    @property
    def error_left_out(self) -> float:
        """Mean relative error on measurements that were left out of the fit."""
        return float(np.abs(self.ms_left_out / self.measured_ms - 1).mean())

    @property
    def advice(self) -> str | None:
        """That outputs come back one request at a time, if so, and what may be done about it."""
        if self.device.link == "PCIe" or self.device.requests_in_flight > 1:
            return None
        return (
            "outputs come back one request at a time: with more of them in flight, they take less; "
            f"give the driver's option {_QUEUE_OPTION} (8, for example) when the delegate is loaded"
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted device to a JSON file, which `device=` takes.

        Raises:
            ArgumentError: The file cannot be written, or its name does not end in .json.
        """
        self.device.save(path)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: constants and mean relative errors, before and after."""
        return {
            "device": self.device.name,
            "host": self.host,
            "measurements": len(self.measured_ms),
            "error": {
                "before": self.error_before,
                "after": self.error_after,
                "left_out": self.error_left_out,
            },
            "determined": list(self.determined),
            "kept": list(self.kept),
            "constants": {name: {"before": old, "after": new} for name, old, new in self.changes},
            "advice": self.advice,
        }

    def __str__(self) -> str:
        lines = [
            f"{len(self.measured_ms)} measurements, nearest to {self.host} ({host_of(self.host)}); "
            f"mean error {self.error_before:.1%} before, {self.error_after:.1%} after, "
            f"{self.error_left_out:.1%} on measurements left out."
        ]
        lines += [f"  {name}: {old:.4g} -> {new:.4g}" for name, old, new in self.changes]
        if self.kept:
            lines.append(f"  as in {self.base.name}, for want of evidence: {', '.join(self.kept)}")
        bus = self.device.bus_ms_per_mib
        if bus != self.base.bus_ms_per_mib and "bus_ms_per_mib" not in self.determined:
            lines.append(
                "  bus_ms_per_mib, which only a whole pipeline that waits for the bus would tell: "
                f"{bus:.4g} is assumed; set your own where you know it"
            )
        if self.advice is not None:
            lines.append(f"  {self.advice}")
        return "\n".join(lines)


def calibrate(
    measurements: str | os.PathLike[str] | Sequence[Mapping[str, Any]],
    device: DeviceLike | None = None,
) -> Calibration:
    """Fit a device's times to measured inference times of single segments.

    The fit starts from a known host, the one that the measurements are likeliest for, and keeps to
    the ranges of its constants; what the measurements say nothing about stays, but for the shared
    bus, of which a quarter of the link's rate is assumed where nobody said otherwise and no row of
    a whole pipeline says more. One benchmark run is enough for a sensible device: a row for each
    stage, and one for the whole pipeline, or the whole model on one device.

    Args:
        measurements: A CSV file, or a list of its rows as mappings: the columns `ms` (one inference
            on one Edge TPU, invocation only) and either `model` (an uncompiled .tflite segment,
            its path relative to the file) or `macs` (multiply-accumulates), `cached_bytes`,
            `streamed_bytes`, `input_bytes` and `output_bytes`, and, where it is known,
            `instruction_bytes`. With `reload` 1, parameters were loaded at every inference (several
            models on one device). A `model` that lists segments, with "|" between their paths (or
            as a list), is a pipeline of them, all at work at once, and `ms` is the time between
            its results; a segment with several devices is listed as often. Rows whose `device` is
            "cpu" are passed over where there are others.
        device: Where the fit starts: a preset's name, a file of constants (.json), an `EdgeTpu`, or
            several to choose from; all hosts that are known if left out.

    Raises:
        ArgumentError: The file cannot be read, has no rows or lacks columns; a value is no finite
            number, is negative, or names no model; or the times are of another unit than ms. The
            message names line and column where there is one.
    """
    rows = read_rows(measurements)
    return calibrate_rows(rows.singles, device, pipelines=rows.pipelines, where=rows.where)


def calibrate_rows(
    rows: Sequence[Measurement],
    device: DeviceLike | None = None,
    *,
    pipelines: Sequence[PipelineTime] = (),
    where: str = "measurements",
) -> Calibration:
    """What `calibrate` does, once the rows are read.

    Args:
        rows: The measurements.
        device: See `calibrate`.
        pipelines: Times of whole pipelines.
        where: What messages call the measurements.

    Raises:
        ArgumentError: The times are of another unit than ms.
    """
    design = Design(rows)
    everything = _candidates(None)
    given = everything if device is None else _candidates(device)
    base = _likeliest(design, given)
    host = base if device is None else _likeliest(design, everything)
    fit = fit_device(design, base)
    _check_unit(where, design, base)
    left_out = np.array([_left_out(rows, index, base) for index in range(len(rows))])
    bus = fit_bus(pipelines, fit.device, _bus(base))
    name = f"{base.name.removesuffix(_CALIBRATED)}{_CALIBRATED}"
    return Calibration(
        device=dataclasses.replace(fit.device, name=name, bus_ms_per_mib=bus.ms_per_mib),
        base=base,
        host=_preset_name(host),
        determined=(*fit.determined, *(("bus_ms_per_mib",) if bus.determined else ())),
        kept=tuple(name for name in FITTED if name not in fit.determined),
        measured_ms=design.ms,
        ms_before=design.predict(base),
        ms_after=design.predict(fit.device),
        ms_left_out=left_out,
    )


def _bus(base: EdgeTpu) -> float:
    """Half of what a preset assumes of its bus; what a user says of his stays."""
    presets = [preset_of(name, "std") for name in preset_names()]
    assumed = {one.bus_ms_per_mib for one in presets if one.name == base.name.removesuffix(" max")}
    is_assumed = base.bus_ms_per_mib in assumed
    return base.bus_ms_per_mib * _BUS_SHARE if is_assumed else base.bus_ms_per_mib


def _candidates(device: DeviceLike | None) -> list[EdgeTpu]:
    """Devices to start from: those given, and each with one request in flight as well."""
    if device is None or (isinstance(device, str) and device in LINK_NAMES):
        names = preset_names() if device is None else hosts_of_link(device)
        devices = [
            preset_of(name, clock)
            for name, clock in itertools.product(names, CLOCKS)
            if clock == CLOCKS[0] or has_clocks(name)
        ]
    else:
        devices = list(devices_of(resolve_device(device)))
    found = []
    for one in devices:
        found.append(one)
        if one.requests_in_flight > 1 and one.range_of("requests_in_flight")[0] <= 1:
            found.append(dataclasses.replace(one, requests_in_flight=1))
    return found


def _likeliest(design: Design, candidates: Sequence[EdgeTpu]) -> EdgeTpu:
    """The candidate that measurements are likeliest for, the first of those that are alike.

    Times of single segments hardly tell a slow link from another. Most Edge TPUs are USB
    Accelerators, and a host with PCIe is taken only where no other explains the times as well.
    """
    misfits = [misfit_of(design, base) for base in candidates]
    best = min(range(len(candidates)), key=misfits.__getitem__)
    usb = [index for index, base in enumerate(candidates) if base.link != "PCIe"]
    if usb and candidates[best].link == "PCIe":
        rival = min(usb, key=misfits.__getitem__)
        if misfits[rival] - misfits[best] < EXPLAINED:
            best = rival
    return candidates[best]


def _preset_name(device: EdgeTpu) -> str:
    """The preset that a candidate was made of."""
    return next(name for name in preset_names() if device.name in (name, f"{name} max"))


def _left_out(rows: Sequence[Measurement], index: int, base: EdgeTpu) -> float:
    others = [*rows[:index], *rows[index + 1 :]]
    device = fit_device(Design(others), base).device if others else base
    return float(Design([rows[index]]).predict(device)[0])


def _check_unit(where: str, design: Design, base: EdgeTpu) -> None:
    """No host is so slow or so fast that the device takes hundreds of times as long or short."""
    predicted = design.predict(base)
    ratio = float(np.median(design.ms / np.maximum(predicted, _TINY_MS)))
    if not 1 / _OTHER_UNIT < ratio < _OTHER_UNIT:
        raise ArgumentError(
            f"{where}, column ms: the times are {ratio:.3g} times those predicted for "
            f"{base.name!r}. Expected milliseconds of one inference, and bytes and single "
            "multiply-accumulates in the other columns. Are they in another unit?"
        )
