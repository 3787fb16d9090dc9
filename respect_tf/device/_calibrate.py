"""Fitting a device's times to a user's own measurements."""

from __future__ import annotations

import csv
import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf.device._costs import DeviceCosts
from respect_tf.device._edge_tpu import MIB, EdgeTpu, resolve_device
from respect_tf.device._measurements import (
    Design,
    Measurement,
    StageWork,
    fit_constants,
    stage_work,
)
from respect_tf.device._prediction import stage_tensors
from respect_tf.graph import OpGraph

_FITTED = (
    "fixed_ms",
    "ms_per_gmac",
    "ms_per_streamed_mib",
    "ms_per_input_mib",
    "ms_per_output_mib",
)
_WORK = ("macs", "cached_bytes", "streamed_bytes", "input_bytes", "output_bytes")
_RELOAD = "reload"
_CALIBRATED = " calibrated"
_OTHER_UNIT = 100.0  # times what is predicted: seconds and microseconds are 1000 away
_TINY_MS = 1e-6
_MOST = 2.0**53  # a graph's own limit; squares of such numbers, over the tiniest time, are finite
_FORMAT = (
    f"Expected a CSV file with a column `ms` and either a column `model` (path of an uncompiled "
    f".tflite segment) or the columns {', '.join(f'`{name}`' for name in _WORK)}; a column "
    f"`{_RELOAD}` (0 or 1) may say that parameters were loaded anew at every inference"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """A device that was fitted to measurements.

    Attributes:
        device: The fitted device.
        base: The device before.
        measured_ms: float64 [num_measurements].
        ms_before: float64 [num_measurements], predicted with the base.
        ms_after: float64 [num_measurements], predicted with the fitted device.
        ms_left_out: float64 [num_measurements], each predicted by a fit to the others.
        changes: Name, value before and value after of each fitted constant.
    """

    device: EdgeTpu
    base: EdgeTpu
    measured_ms: npt.NDArray[np.float64]
    ms_before: npt.NDArray[np.float64]
    ms_after: npt.NDArray[np.float64]
    ms_left_out: npt.NDArray[np.float64]
    changes: tuple[tuple[str, float, float], ...]

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
            "measurements": len(self.measured_ms),
            "error": {
                "before": self.error_before,
                "after": self.error_after,
                "left_out": self.error_left_out,
            },
            "constants": {name: {"before": old, "after": new} for name, old, new in self.changes},
        }

    def __str__(self) -> str:
        lines = [
            f"{len(self.measured_ms)} measurements, mean error {self.error_before:.1%} before, "
            f"{self.error_after:.1%} after, {self.error_left_out:.1%} on measurements left out."
        ]
        lines += [f"  {name}: {old:.4g} -> {new:.4g}" for name, old, new in self.changes]
        return "\n".join(lines)


def calibrate(
    measurements_csv: str | os.PathLike[str],
    base: str | os.PathLike[str] | EdgeTpu = "usb3",
) -> Calibration:
    """Fit a device's times to measured inference times of single segments.

    The overhead of an inference, the compute, and the times to stream parameters and to move
    inputs and outputs are fitted; what the measurements say nothing about stays as in the base.

    Args:
        measurements_csv: A row per measurement, with the columns `ms` (one inference on one Edge
            TPU, invocation only) and either `model` (an uncompiled .tflite segment, relative to
            the file) or `macs` (multiply-accumulates), `cached_bytes`, `streamed_bytes`,
            `input_bytes` and `output_bytes`. With `reload` 1, parameters were loaded at every
            inference (several models on one device).
        base: Where the fit starts: a preset's name, a file of constants (.json), or an `EdgeTpu`.

    Raises:
        ArgumentError: The file cannot be read, has no rows or lacks columns; a value is no finite
            number, is negative, or names no model; or the times are of another unit than ms. The
            message names line and column where there is one.
    """
    base = resolve_device(base)
    path = Path(measurements_csv)
    measurements = _read(path, base)
    _check_unit(path, measurements, base)
    device = fit_constants(measurements, base, _FITTED)
    design = Design(measurements)
    left_out = np.array(
        [_left_out(measurements, index, base) for index in range(len(measurements))]
    )
    return Calibration(
        device=dataclasses.replace(
            device, name=f"{base.name.removesuffix(_CALIBRATED)}{_CALIBRATED}"
        ),
        base=base,
        measured_ms=design.ms,
        ms_before=design.predict(base),
        ms_after=design.predict(device),
        ms_left_out=left_out,
        changes=tuple(
            (name, float(getattr(base, name)), float(getattr(device, name))) for name in _FITTED
        ),
    )


def _left_out(measurements: Sequence[Measurement], index: int, base: EdgeTpu) -> float:
    others = [*measurements[:index], *measurements[index + 1 :]]
    device = fit_constants(others, base, _FITTED) if others else base
    return float(Design([measurements[index]]).predict(device)[0])


def _check_unit(path: Path, measurements: Sequence[Measurement], base: EdgeTpu) -> None:
    """No host is so slow or so fast that the device takes hundreds of times as long or short."""
    design = Design(measurements)
    predicted = design.predict(base)
    ratio = float(np.median(design.ms / np.maximum(predicted, _TINY_MS)))
    if not 1 / _OTHER_UNIT < ratio < _OTHER_UNIT:
        raise ArgumentError(
            f"{path}, column ms: the times are {ratio:.3g} times those predicted for "
            f"{base.name!r}. Expected milliseconds of one inference, and bytes and single "
            "multiply-accumulates in the other columns. Are they in another unit?"
        )


def _read(path: Path, base: EdgeTpu) -> list[Measurement]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ArgumentError(f"{path} cannot be read: {error}. {_FORMAT}.") from error
    missing = [
        name for name in ("ms", *(() if "model" in columns else _WORK)) if name not in columns
    ]
    if missing:
        raise ArgumentError(
            f"{path} has no column {', '.join(missing)}. {_FORMAT}. Received the columns: "
            f"{', '.join(columns) or 'none'}."
        )
    if len(set(columns)) < len(columns):
        raise ArgumentError(
            f"{path}: expected each column once. Received the columns: {', '.join(columns)}."
        )
    if not rows:
        raise ArgumentError(f"{path} has no measurements. {_FORMAT}.")
    for line, row in rows:
        if None in row:
            raise ArgumentError(
                f"{path}, line {line}: expected {len(columns)} values, one for each column. "
                f"Received: {len(columns) + len(row[None])}."
            )
    return [_measurement(path, line, row, base) for line, row in rows]


def _measurement(path: Path, line: int, row: Mapping[str, str], base: EdgeTpu) -> Measurement:
    def number(column: str) -> float:
        text = row.get(column)
        try:
            value = float(text or "")
        except ValueError:
            value = math.nan
        least = _TINY_MS if column == "ms" else 0.0
        if not least <= value <= _MOST:
            wanted = f"above 0 (from {_TINY_MS:g} on)" if column == "ms" else "0 or more"
            raise ArgumentError(
                f"{path}, line {line}, column {column}: expected a finite number, {wanted} and "
                f"{_MOST:g} at most. Received: {str(text)[:100]!r}."
            )
        return value

    reload = bool(row.get(_RELOAD)) and number(_RELOAD) > 0
    ms = number("ms")
    if "model" in row:
        return Measurement((_model_work(path, line, row["model"], base, reload=reload),), ms)
    macs, cached, streamed, read, made = (number(name) for name in _WORK)
    work = StageWork(
        ops=((macs / 1e9, 0.0, 0.0, 0.0, 0), (0.0, 0.0, 0.0, streamed / MIB, 0)),
        input_mib=read / MIB,
        output_mib=made / MIB,
        reload_mib=cached / MIB if reload else 0.0,
    )
    return Measurement((work,), ms)


def _model_work(path: Path, line: int, model: str, base: EdgeTpu, *, reload: bool) -> StageWork:
    file = path.parent / (model or "")
    try:
        there = bool(model) and file.is_file()
    except OSError:  # a name that no file can have
        there = False
    if not there:
        raise ArgumentError(
            f"{path}, line {line}, column model: {str(file)!r} is no file. Expected the path of an "
            f"uncompiled .tflite model, relative to {path.name}."
        )
    graph = OpGraph.from_tflite(file)
    if any("edgetpu" in kind for kind in graph.op_types):
        raise ArgumentError(
            f"{path}, line {line}, column model: {str(file)!r} is compiled, so its layers "
            "cannot be read. Expected the model that it was compiled from."
        )
    costs = DeviceCosts.of(graph, base)
    entering, leaving = stage_tensors(graph, np.zeros(graph.num_ops, np.int64), 0)
    cost = costs.stage(range(graph.num_ops), entering, leaving)
    if cost.cpu_ops:
        raise ArgumentError(
            f"{path}, line {line}, column model: {graph.describe_op(cost.cpu_ops[0])} of "
            f"{str(file)!r} stays on the CPU, which the fit does not cover. Expected a segment "
            "that is mapped as a whole."
        )
    return stage_work(costs, cost, entering, leaving, reload=reload)
