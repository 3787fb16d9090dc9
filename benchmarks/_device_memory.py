"""Errors of the device model's memory on public data."""

from __future__ import annotations

import collections
import csv
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks._device_data import DATA, MIB, LogRow, is_right, log_rows, streams_as_logged
from benchmarks._device_rows import Network, Row, table_row
from respect_tf.device import DeviceCosts, EdgeTpu, op_parameters, stage_tensors
from respect_tf.graph import OpGraph

Bools = npt.NDArray[np.bool_]

_FOLDS = 20
_TILE_KIB = np.arange(492, 517)  # what a tile may hold, when the logs choose
_NEARLY_FULL = 6.5  # MiB: below, every tile size gives the same answer
_COMPILER_1 = "10"  # min_runtime_version of what compiler 1.0 made
_MEMORY_COLUMNS = ("exact", "streamed layers", "within 1 %", "within 5 %", "mean error", "median",
                   "left out: exact", "left out: layers")  # fmt: skip

MEMORY_NOTES = """
One set of formulas and constants predicts all rows. "stored" compares parameter bytes of compiled
files (`manifest.csv`), ops on the CPU left out; compiler 1.0 keeps biases of zeros, which later
ones drop, and is predicted with them. "log" compares what compiler logs of layer stacks print; a
segment is right when both of its figures are, to print rounding, and "streamed layers" when as many
layers are streamed as the log shows. Where the cut is known, layers and cut follow from the row's
count of multiply-accumulates and the script that made it, and the printed figures are used for
nothing but the comparison; rows whose printed total is of other layers than the row names are left
out and counted. Where a profiler cut, the log's totals are needed to infer the layers of each
segment, so only what of them is cached is predicted. The formulas were found on these files and
logs. "left out" chooses the one constant that decides what is cached, the bytes of a tile, on other
widths, in folds. "streamed by network" compares off-chip MiB of Keras networks in eight segments;
"room for parameters" what is streamed of their tails, as part of what is not.
"""


def memory_table(networks: Mapping[str, Network]) -> list[Row]:
    """Rows of compiled files, compiler logs, and networks."""
    return [*_stored_rows(), *_log_table(), *_network_memory(networks)]


def _stored_rows() -> list[Row]:
    with (DATA / "compiled" / "manifest.csv").open(newline="") as file:
        entries = list(csv.DictReader(file))
    errors: dict[str, list[float]] = collections.defaultdict(list)
    for entry in entries:
        folder = DATA / "compiled" / entry["repo"].split("/")[1]
        graph = OpGraph.from_tflite(folder / Path(entry["source"]).name)
        cost = _whole(DeviceCosts.of(graph, EdgeTpu.preset("usb3-pi5")))
        mapped = [op for op in range(graph.num_ops) if op not in set(cost.cpu_ops)]
        keeps = entry["min_runtime_version"] == _COMPILER_1
        predicted = int(op_parameters(graph, keeps_zero_biases=keeps).stored[mapped].sum())
        real = int(entry["cached_param_bytes"]) + int(entry["streamed_param_bytes"])
        size = "1 MB and more" if real >= 1e6 else "below 1 MB"
        errors[f"stored, {size}"].append(predicted / real - 1)
    return [_share_row(kind, values, "models") for kind, values in sorted(errors.items())]


def _share_row(kind: str, values: Sequence[float], unit: str) -> Row:
    size = np.abs(values)
    figures = {
        "exact": float((size == 0).mean()),
        "within 1 %": float((size <= 0.01).mean()),
        "within 5 %": float((size <= 0.05).mean()),
        "mean error": float(size.mean()),
        "median": float(np.median(size)),
    }
    return table_row(kind, len(size), unit, _MEMORY_COLUMNS, figures)


def _whole(costs: DeviceCosts) -> Any:
    graph = costs.graph
    entering, leaving = stage_tensors(graph, np.zeros(graph.num_ops, np.int64), 0)
    return costs.stage(range(graph.num_ops), entering, leaving)


def _log_table() -> list[Row]:
    found, skipped = log_rows()
    groups: dict[str, list[int]] = collections.defaultdict(list)
    for index, row in enumerate(found):
        cut = "cut inferred" if row.profiled else "cut known"
        streams = "streamed" if row.off_chip else "all cached"
        groups[f"log, {row.stack.kind}, {cut}, {streams}"].append(index)
        groups[f"log, all, {cut}"].append(index)
    inside = {
        "exact": _rights(found, is_right),
        "streamed layers": _rights(found, streams_as_logged),
    }
    outside = _left_out_rights(found)
    rows = []
    for kind, chosen in sorted(groups.items()):
        figures = {name: float(right[chosen].mean()) for name, right in inside.items()}
        figures |= {name: float(right[chosen].mean()) for name, right in outside.items()}
        rows.append(table_row(kind, len(chosen), "segments", _MEMORY_COLUMNS, figures))
    return rows + [
        table_row(f"log, left out: {why}", count, "segments", _MEMORY_COLUMNS, {})
        for why, count in skipped.items()
    ]


def _rights(rows: Sequence[LogRow], check: Callable[[LogRow, EdgeTpu], bool]) -> Bools:
    return np.array([check(row, EdgeTpu.preset("pcie-m2")) for row in rows])


def _left_out_rights(rows: Sequence[LogRow]) -> dict[str, Bools]:
    """As in sample, with the tile's bytes that fit the other folds of widths best."""
    base = EdgeTpu.preset("pcie-m2")
    devices = [dataclasses.replace(base, tile_bytes=1024.0 * kib) for kib in _TILE_KIB]
    widths = sorted({(row.stack.kind, row.stack.width) for row in rows})
    fold = np.array([widths.index((row.stack.kind, row.stack.width)) % _FOLDS for row in rows])
    exact, layers = (
        np.array([[check(row, device) for device in _tried(row, devices)] for row in rows])
        for check in (is_right, streams_as_logged)
    )  # [num_rows, num_devices]
    result = {"left out: exact": np.zeros(len(rows), bool)}
    result["left out: layers"] = np.zeros(len(rows), bool)
    for left in range(_FOLDS):
        score = exact[fold != left].sum(axis=0)
        best = np.flatnonzero(score == score.max())
        chosen = int(best[len(best) // 2])
        result["left out: exact"][fold == left] = exact[fold == left, chosen]
        result["left out: layers"][fold == left] = layers[fold == left, chosen]
    return result


def _tried(row: LogRow, devices: Sequence[EdgeTpu]) -> Sequence[EdgeTpu]:
    """The devices, or as often one of them where it makes no difference which."""
    if row.on_chip + row.off_chip < _NEARLY_FULL and not row.off_chip:
        return [devices[0]] * len(devices)
    return devices


def _network_memory(networks: Mapping[str, Network]) -> list[Row]:
    with (DATA / "measurements" / "measured_tail_memory.csv").open(newline="") as file:
        tails = {(row["model"], row["tail"]): row for row in csv.DictReader(file)}
    segment_errors: list[float] = []
    tail_errors: list[float] = []
    for name, (graph, rows, segments) in networks.items():
        costs = DeviceCosts.of(graph, EdgeTpu.preset("usb3-pi5"))
        for index, row in enumerate(rows):
            streamed = _streamed_mib(costs, segments[index])
            segment_errors.append(streamed - float(row["off_chip_mib"]))
            tail = tails.get((name, f"seg{index + 1}to{len(rows)}"))
            if tail is not None:
                rest = [op for ops in segments[index:] for op in ops]
                # What is not streamed is what there was room for.
                difference = _streamed_mib(costs, rest) - float(tail["off_chip_mib"])
                tail_errors.append(difference / float(tail["on_chip_used_mib"]))
    segment_size = np.abs(segment_errors)
    return [
        table_row("streamed by network, to 0.001 MiB", len(segment_errors), "segments",
             _MEMORY_COLUMNS, {"exact": float((segment_size < 1e-3).mean())}),
        _share_row("room for parameters, tails of networks", tail_errors, "tails"),
    ]  # fmt: skip


def _streamed_mib(costs: DeviceCosts, ops: Sequence[int]) -> float:
    stage_of = np.full(costs.graph.num_ops, 2, np.int64)
    stage_of[: min(ops)] = 0
    stage_of[list(ops)] = 1
    return float(costs.stage(ops, *stage_tensors(costs.graph, stage_of, 1)).streamed_bytes) / MIB
