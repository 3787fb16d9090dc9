"""Reading measured inference times: CSV files, and rows as mappings."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from respect_tf._errors import ArgumentError
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
# Squares of such numbers, divided by the least time, are finite.
_MOST, _LEAST_MS = 2.0**53, 1e-6
_FORMAT = (
    f"Expected a CSV file with a column `ms` and either a column `model` (path of an uncompiled "
    f".tflite segment) or the columns {', '.join(f'`{name}`' for name in _WORK)}; a column "
    f"`{_RELOAD}` (0 or 1) may say that parameters were loaded anew at every inference"
)


def read_rows(
    source: str | os.PathLike[str] | Sequence[Mapping[str, Any]],
) -> tuple[str, list[Measurement]]:
    """What messages call a source of measurements, and its rows.

    Raises:
        ArgumentError: See `calibrate`.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        return str(path), _read_file(path)
    given: Any = source
    if not isinstance(given, Sequence) or not all(isinstance(row, Mapping) for row in given):
        raise ArgumentError(
            "measurements must be the path of a CSV file or a list of mappings from its columns. "
            f"Received: {type(source).__name__}."
        )
    rows = [{str(key): value for key, value in row.items()} for row in given]
    _check_columns("measurements", sorted({key for row in rows for key in row}), len(rows))
    return "measurements", [
        _measurement(f"measurements, row {index}", Path(), row) for index, row in enumerate(rows)
    ]


def _read_file(path: Path) -> list[Measurement]:
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
    return [_measurement(f"{path}, line {line}", path.parent, row) for line, row in rows]


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


def _measurement(where: str, folder: Path, row: Mapping[str, Any]) -> Measurement:
    def number(column: str) -> float:
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

    reload = row.get(_RELOAD) not in (None, "") and number(_RELOAD) > 0
    ms = number("ms")
    if "model" in row:
        return _of_model(where, folder, row["model"], ms, reload=reload)
    macs, cached, streamed, read, made = (number(name) for name in _WORK)
    instructions = number(_INSTRUCTIONS) if row.get(_INSTRUCTIONS) not in (None, "") else 0.0
    return Measurement(
        ms=ms,
        ops=((array_ms(macs), 0.0), (0.0, streamed / MIB)),
        sent_mib=(read + instructions + (cached if reload else 0.0)) / MIB,
        returned_bytes=(math.ceil(made),),
    )


def _shown(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 100 else f"{text[:100]} ..."


def _of_model(where: str, folder: Path, model: Any, ms: float, *, reload: bool) -> Measurement:
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
    # The chip is the same everywhere, and so is what it holds: any host will do.
    costs = DeviceCosts.of(graph, preset_of(preset_names()[0], "std"))
    entering, leaving = stage_tensors(graph, np.zeros(graph.num_ops, np.int64), 0)
    cost = costs.stage(range(graph.num_ops), entering, leaving)
    if cost.cpu_ops:
        raise ArgumentError(
            f"{where}, column model: {graph.describe_op(cost.cpu_ops[0])} of {name} stays on the "
            "CPU, which the fit does not cover. Expected a segment that is mapped as a whole."
        )
    return measurement_of(costs.chip, cost, leaving, ms, reload=reload)
