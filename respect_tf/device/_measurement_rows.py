"""Reading measured inference times: CSV files, and rows as mappings."""

from __future__ import annotations

import csv
import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from respect_tf._errors import ArgumentError
from respect_tf.device._bus import PipelineTime
from respect_tf.device._chip import ChipStage
from respect_tf.device._compute import array_ms
from respect_tf.device._costs import DeviceCosts
from respect_tf.device._edge_tpu import MIB
from respect_tf.device._measurements import Measurement, measurement_of
from respect_tf.device._presets import preset_names, preset_of
from respect_tf.device._transfers import stage_tensors
from respect_tf.graph import OpGraph

_WORK = ("macs", "cached_bytes", "streamed_bytes", "input_bytes", "output_bytes")
_INSTRUCTIONS = "instruction_bytes"
_RELOAD = "reload"
_DEVICE, _HOST = "device", "cpu"
_SEPARATOR = "|"
# Squares of such numbers, divided by the least time, are finite.
_MOST, _LEAST_MS = 2.0**53, 1e-6
_FORMAT = (
    f"Expected a CSV file with a column `ms` and either a column `model` (path of an uncompiled "
    f".tflite segment) or the columns {', '.join(f'`{name}`' for name in _WORK)}; a column "
    f"`{_RELOAD}` (0 or 1) may say that parameters were loaded anew at every inference"
)


@dataclasses.dataclass(frozen=True)
class Rows:
    """A source of measurements.

    Attributes:
        where: What messages call it.
        singles: Times of single segments.
        pipelines: Times of segments that worked at once.
    """

    where: str
    singles: tuple[Measurement, ...]
    pipelines: tuple[PipelineTime, ...]


def read_rows(source: str | os.PathLike[str] | Sequence[Mapping[str, Any]]) -> Rows:
    """What a source of measurements holds.

    Raises:
        ArgumentError: See `calibrate`.
    """
    labelled = labelled_rows(source)
    where, folder = "measurements", Path()
    if isinstance(source, str | os.PathLike):
        where, folder = str(Path(source)), Path(source).parent
    on_device = [(label, row) for label, row in labelled if row.get(_DEVICE) != _HOST]
    singles, pipelines = [], []
    for label, row in on_device or labelled:  # stages on the host say nothing of an Edge TPU
        models = _listed(row["model"]) if "model" in row else [None]
        if len(models) > 1:
            pipelines.append(_pipeline(label, folder, row, models))
        else:
            singles.append(_measurement(label, folder, row))
    if not singles:
        raise ArgumentError(
            f"{where} has times of whole pipelines only. Expected a row for each segment, too."
        )
    return Rows(where, tuple(singles), tuple(pipelines))


def labelled_rows(
    source: str | os.PathLike[str] | Sequence[Mapping[str, Any]],
) -> list[tuple[str, Mapping[str, Any]]]:
    """Each row of a source of measurements, with what messages call it.

    Raises:
        ArgumentError: The source cannot be read, or lacks a column that `calibrate` asks for.
    """
    if isinstance(source, str | os.PathLike):
        return _read_file(Path(source))
    given: Any = source
    if not isinstance(given, Sequence) or not all(isinstance(row, Mapping) for row in given):
        raise ArgumentError(
            "measurements must be the path of a CSV file or a list of mappings from its columns. "
            f"Received: {type(source).__name__}."
        )
    rows = [{str(key): value for key, value in row.items()} for row in given]
    _check_columns("measurements", sorted({key for row in rows for key in row}), len(rows))
    return [(f"measurements, row {i}", row) for i, row in enumerate(rows)]


def _listed(models: Any) -> list[Any]:
    """The models of a row: one, or those of a pipeline; None for what names none."""
    if isinstance(models, str) and _SEPARATOR in models:
        return models.split(_SEPARATOR)
    given = list(models) if isinstance(models, list | tuple) else [models]
    return [one if isinstance(one, str | bytes | os.PathLike) else None for one in given] or [None]


def _read_file(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ArgumentError(f"{path} cannot be read: {error}. {_FORMAT}.") from error
    _check_columns(str(path), columns, len(rows))
    for line, row in rows:
        if None in row:
            raise ArgumentError(
                f"{path}, line {line}: expected {len(columns)} values, one for each column. "
                f"Received: {len(columns) + len(row[None])}."
            )
    return [(f"{path}, line {line}", row) for line, row in rows]


def _check_columns(where: str, columns: Sequence[str], num_rows: int) -> None:
    missing = [
        name for name in ("ms", *(() if "model" in columns else _WORK)) if name not in columns
    ]
    if missing and (columns or not num_rows):
        raise ArgumentError(
            f"{where} has no column {', '.join(missing)}. {_FORMAT}. Received the columns: "
            f"{', '.join(columns) or 'none'}."
        )
    if len(set(columns)) < len(columns):
        raise ArgumentError(
            f"{where}: expected each column once. Received the columns: {', '.join(columns)}."
        )
    if not num_rows:
        raise ArgumentError(f"{where} has no measurements. {_FORMAT}.")


def _number(where: str, row: Mapping[str, Any], column: str) -> float:
    given = row.get(column)
    try:
        value = float(given if given is not None else "")
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not (_LEAST_MS if column == "ms" else 0.0) <= value <= _MOST:
        wanted = f"above 0 (from {_LEAST_MS:g} on)" if column == "ms" else "0 or more"
        raise ArgumentError(
            f"{where}, column {column}: expected a finite number, {wanted} and {_MOST:g} at "
            f"most. Received: {_shown(given)}."
        )
    return value


def _measurement(where: str, folder: Path, row: Mapping[str, Any]) -> Measurement:
    def number(column: str) -> float:
        return _number(where, row, column)

    reload = row.get(_RELOAD) not in (None, "") and number(_RELOAD) > 0
    ms = number("ms")
    if "model" in row:
        [model] = _listed(row["model"])
        whole = _whole(where, folder, model)
        cost = whole.costs.time(whole.stage)
        return measurement_of(whole.costs.chip, cost, whole.leaving, ms, reload=reload)
    macs, cached, streamed, read, made = (number(name) for name in _WORK)
    instructions = number(_INSTRUCTIONS) if row.get(_INSTRUCTIONS) not in (None, "") else 0.0
    return Measurement(
        ms=ms,
        ops=((array_ms(macs), 0.0), (0.0, streamed / MIB)),
        sent_mib=(read + instructions + (cached if reload else 0.0)) / MIB,
        returned_bytes=(math.ceil(made),),
    )


def _pipeline(
    where: str, folder: Path, row: Mapping[str, Any], models: Sequence[Any]
) -> PipelineTime:
    """A pipeline's time; a model that is listed several times has as many devices."""
    counts = [(model, models.count(model)) for model in dict.fromkeys(models)]
    ms = _number(where, row, "ms")
    segments = []
    for model, count in counts:
        whole = _whole(where, folder, model)
        segments.append((whole.costs.graph, whole.stage, count))
    return PipelineTime(ms, tuple(segments))


def _shown(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 100 else f"{text[:100]} ..."


class _Whole(NamedTuple):
    """A model that is mapped as a whole, as one stage of it; on any host, as chips are alike."""

    costs: DeviceCosts
    stage: ChipStage
    leaving: Sequence[int]


def _whole(where: str, folder: Path, model: Any) -> _Whole:
    if isinstance(model, bytes):
        name, content = "the model", model
    else:
        file = folder / os.fspath(model) if isinstance(model, str | os.PathLike) else folder
        name = repr(str(file))
        try:
            there = bool(model) and file.is_file()
        except OSError:  # a name that no file can have
            there = False
        if not there:
            raise ArgumentError(
                f"{where}, column model: {name} is no file. Expected the path of an uncompiled "
                ".tflite model, relative to the file that names it."
            )
        content = file.read_bytes()
    graph = OpGraph.from_tflite(content)
    if any("edgetpu" in kind for kind in graph.op_types):
        raise ArgumentError(
            f"{where}, column model: {name} is compiled, so its layers cannot be read. Expected "
            "the model that it was compiled from."
        )
    costs = DeviceCosts.of(graph, preset_of(preset_names()[0], "std"))
    entering, leaving = stage_tensors(graph, np.zeros(graph.num_ops, np.int64), 0)
    stage = costs.chip.stage(range(graph.num_ops), entering, leaving)
    if stage.on_cpu:
        raise ArgumentError(
            f"{where}, column model: {graph.describe_op(stage.on_cpu[0])} of {name} stays on the "
            "CPU, which the fit does not cover. Expected a segment that is mapped as a whole."
        )
    return _Whole(costs, stage, leaving)
