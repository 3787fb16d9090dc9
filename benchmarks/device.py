"""Errors of the device model on public data, by kind: of the fit, and of what it left out."""

from __future__ import annotations

import collections
import csv
import dataclasses
import re
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks._device_data import DATA, MIB, TimeRow, is_right, log_rows, measurement, time_rows
from benchmarks._models import int8_model
from benchmarks._tables import write_results
from respect_tf.device import (
    Design,
    DeviceCosts,
    EdgeTpu,
    Measurement,
    fit_constants,
    stage_tensors,
    stage_work,
)
from respect_tf.graph import OpGraph

Floats = npt.NDArray[np.float64]
Row = dict[str, Any]

_SINGLE = (
    "fixed_ms",
    "ms_per_gmac",
    "ms_per_map_mib",
    "ms_per_cached_mib",
    "ms_per_streamed_mib",
    "ms_per_output_mib",
    "strip_passes",
)
_PIPELINE = ("ms_per_input_mib", "contention", "contention_exponent", "dispatch_ms")
_USB3 = ("fixed_ms", "ms_per_streamed_mib", "ms_per_input_mib", "ms_per_output_mib")
_FOLDS = 20
_NETWORKS = {"resnet50": "ResNet50", "inceptionv3": "InceptionV3", "densenet201": "DenseNet201"}


def main() -> None:
    """Measure and write `results/device_memory.md` and `results/device_time.md`."""
    if not DATA.is_dir():
        print(
            f"The public measurements are not at ../{DATA.parent.name}/{DATA.name}: there is "
            "nothing to compare the device model with."
        )
        return
    networks = {name: _network(name) for name in _NETWORKS}
    write_results(
        "device_memory",
        "The device model: memory",
        [*_stored_rows(), *_log_table(), *_network_memory(networks)],
        _MEMORY_NOTES,
    )
    write_results(
        "device_time",
        "The device model: time",
        [*_pcie_table(), *_usb3_table(networks)],
        _TIME_NOTES,
    )


_MEMORY_NOTES = """
One set of formulas and constants predicts all rows. They were found on these very files and logs,
so this table is in sample: no compiled model or log was left out. "stored" compares parameter bytes
of compiled files (`manifest.csv`), ops on the CPU left out. "log" compares what compiler logs of
layer stacks print; rows whose totals fit no stack of layers are left out, and their number is
given; a segment is right when both of its figures are, to print rounding. "streamed by network"
compares off-chip MiB of Keras networks in eight segments; "room for parameters" what is streamed of
their tails, as part of what is not.
"""
_TIME_NOTES = """
"left out" is the error on models that the fit did not see: for stacks every row of a width, in
folds of widths, for USB 3 the whole network. Several runs of the same stack count once, with their
median. Which layers are streamed is predicted, not read. Errors are relative; "sum" is the sum of
absolute errors over the sum of times. The pipeline's winner is that of stock and profiled cut of
the same stack, where they differ by more than 5 %.
"""


def _row(kind: str, count: int, unit: str, **figures: float | str) -> Row:
    row: Row = {"kind": kind, "count": count, "of": unit}
    names = ("exact", "within 1 %", "mean error", "median", "sum", "left out: mean", "median ",
             "sum ")  # fmt: skip
    for name in names:
        value = figures.get(name, "")
        row[name] = f"{value:.1%}" if isinstance(value, float) else value
    return row


# Memory


def _stored_rows() -> list[Row]:
    with (DATA / "compiled" / "manifest.csv").open(newline="") as file:
        entries = list(csv.DictReader(file))
    errors: dict[str, list[float]] = collections.defaultdict(list)
    for entry in entries:
        folder = DATA / "compiled" / entry["repo"].split("/")[1]
        graph = OpGraph.from_tflite(folder / Path(entry["source"]).name)
        costs = DeviceCosts.of(graph, EdgeTpu.preset("usb3"))
        cost = _whole(costs)
        predicted = cost.cached_bytes + cost.streamed_bytes
        real = int(entry["cached_param_bytes"]) + int(entry["streamed_param_bytes"])
        size = "1 MB and more" if real >= 1e6 else "below 1 MB"
        age = ", compiler 1.0" if entry["min_runtime_version"] == "10" else ""
        errors[f"stored, {size}{age}"].append(predicted / real - 1)
    return [_share_row(kind, values, "models") for kind, values in sorted(errors.items())]


def _share_row(kind: str, values: Sequence[float], unit: str) -> Row:
    size = np.abs(values)
    return _row(
        kind,
        len(size),
        unit,
        **{
            "exact": float((size == 0).mean()),
            "within 1 %": float((size <= 0.01).mean()),
            "mean error": float(size.mean()),
            "median": float(np.median(size)),
        },
    )


def _whole(costs: DeviceCosts) -> Any:
    graph = costs.graph
    entering, leaving = stage_tensors(graph, np.zeros(graph.num_ops, np.int64), 0)
    return costs.stage(range(graph.num_ops), entering, leaving)


def _log_table() -> list[Row]:
    found, skipped = log_rows()
    right: dict[str, list[bool]] = collections.defaultdict(list)
    for row in found:
        streams = "streamed" if row.off_chip else "all cached"
        right[f"log, {row.stack.kind}, {streams}"].append(is_right(row))
    rows = [
        _row(kind, len(values), "segments", exact=float(np.mean(values)))
        for kind, values in sorted(right.items())
    ]
    return [*rows, _row("log, rows that fit no stack", skipped, "segments")]


def _network(name: str) -> tuple[OpGraph, list[dict[str, str]], list[list[int]]]:
    """A network, its measured segments, and the ops of each."""
    graph = OpGraph.from_tflite(int8_model(_NETWORKS[name]))
    with (DATA / "measurements" / "measured_segments_usb3.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == name]
    segments, start = [], 0
    for row in rows:
        layer = re.compile(rf"(^|/){row['last_layer']}(_\d+)?(/|$|;)")
        ends = [op for op in range(graph.num_ops) if layer.search(graph.op_names[op])]
        end = ends[0] if ends else graph.num_ops - 1
        segments.append(list(range(start, end + 1)))
        start = end + 1
    return graph, rows, segments


def _network_memory(networks: dict[str, Any]) -> list[Row]:
    with (DATA / "measurements" / "measured_tail_memory.csv").open(newline="") as file:
        tails = {(row["model"], row["tail"]): row for row in csv.DictReader(file)}
    segment_errors: list[float] = []
    tail_errors: list[float] = []
    for name, (graph, rows, segments) in networks.items():
        costs = DeviceCosts.of(graph, EdgeTpu.preset("usb3"))
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
        _row("streamed by network, to 0.001 MiB", len(segment_errors), "segments",
             exact=float((segment_size < 1e-3).mean())),
        _share_row("room for parameters, tails of networks", tail_errors, "tails"),
    ]  # fmt: skip


def _streamed_mib(costs: DeviceCosts, ops: Sequence[int]) -> float:
    stage_of = np.full(costs.graph.num_ops, 2, np.int64)
    stage_of[: min(ops)] = 0
    stage_of[list(ops)] = 1
    return float(costs.stage(ops, *stage_tensors(costs.graph, stage_of, 1)).streamed_bytes) / MIB


# Time


def _pcie_table() -> list[Row]:
    base = EdgeTpu.preset("pcie")
    found, skipped = time_rows()
    repeats: dict[Hashable, list[TimeRow]] = collections.defaultdict(list)
    for row in found:
        repeats[row.stack, row.num_inputs, row.profiled].append(row)
    rows = [
        dataclasses.replace(same[0], ms=float(np.median([row.ms for row in same])))
        for same in repeats.values()
    ]
    measurements = [measurement(row, base) for row in rows]
    single = [len(row.stack.stages) == 1 for row in rows]

    def fit(chosen: Sequence[int]) -> EdgeTpu:
        alone = fit_constants([measurements[i] for i in chosen if single[i]], base, _SINGLE)
        pipelines = [measurements[i] for i in chosen if not single[i]]
        return fit_constants(pipelines, alone, _PIPELINE)

    widths = sorted({(row.stack.kind, row.stack.width) for row in rows})
    folds = [
        [i for i, row in enumerate(rows) if widths.index((row.stack.kind, row.stack.width)) % _FOLDS
         == fold]
        for fold in range(_FOLDS)
    ]  # fmt: skip
    in_sample, left_out = _both(measurements, folds, fit)
    times = np.array([row.ms for row in rows])
    groups: dict[str, list[int]] = collections.defaultdict(list)
    for index, row in enumerate(rows):
        groups[_group(row, measurements[index])].append(index)
    groups["PCIe, pipelines, all"] = [i for i, alone in enumerate(single) if not alone]
    table = [
        _time_row(kind, "stacks", times[chosen], in_sample[chosen], left_out[chosen])
        for kind, chosen in sorted(groups.items())
    ]
    table.append(_winner_row(rows, times, in_sample, left_out))
    return [*table, _row("PCIe, rows that fit no stack", skipped, "rows")]


def _group(row: TimeRow, work: Measurement) -> str:
    stages = len(row.stack.stages)
    streams = any(op[3] for stage in work.stages for op in stage.ops)
    layers = f" of {row.stack.depth + 1} layers" if row.stack.kind == "conv" else ""
    mode = "one TPU" if stages == 1 else "latency" if row.num_inputs == 1 else "throughput"
    devices = "" if stages == 1 else f" {stages} TPUs,"
    return f"PCIe, {row.stack.kind}{layers},{devices} {mode}, " + (
        "streamed" if streams else "all cached"
    )


def _winner_row(rows: Sequence[TimeRow], times: Floats, in_sample: Floats, left_out: Floats) -> Row:
    cuts: dict[Hashable, dict[bool, list[int]]] = collections.defaultdict(dict)
    for index, row in enumerate(rows):
        stack = row.stack
        if len(stack.stages) > 1 and row.num_inputs > 1:
            key = (stack.kind, stack.width, stack.depth, len(stack.stages), row.num_inputs)
            cuts[key].setdefault(row.profiled, []).append(index)
    pairs = [
        (i, j)
        for cut in cuts.values()
        for i in cut.get(False, [])
        for j in cut.get(True, [])
        if abs(times[i] / times[j] - 1) > 0.05
    ]
    first, second = np.array(pairs).T

    def right(predicted: Floats) -> float:
        same = (predicted[first] < predicted[second]) == (times[first] < times[second])
        return float(same.mean())

    return _row(
        "PCIe, right winner of stock and profiled cut", len(pairs), "pairs",
        **{"exact": right(in_sample), "left out: mean": f"{right(left_out):.1%} right"},
    )  # fmt: skip


def _usb3_table(networks: dict[str, Any]) -> list[Row]:
    base = EdgeTpu.preset("usb3")
    measurements: list[Measurement] = []
    names: list[str] = []
    for name, (graph, rows, segments) in networks.items():
        costs = DeviceCosts.of(graph, base)
        stage_of = np.empty(graph.num_ops, np.int64)
        for index, ops in enumerate(segments):
            stage_of[ops] = index
        for index, (row, ops) in enumerate(zip(rows, segments, strict=True)):
            entering, leaving = stage_tensors(graph, stage_of, index)
            cost = costs.stage(ops, entering, leaving)
            work = stage_work(costs, cost, entering, leaving, reload=True)
            measurements.append(Measurement((work,), float(row["invoke_ms"])))
            names.append(name)
    folds = [[i for i, other in enumerate(names) if other == name] for name in networks]

    def fit(chosen: Sequence[int]) -> EdgeTpu:
        return fit_constants([measurements[i] for i in chosen], base, _USB3)

    in_sample, left_out = _both(measurements, folds, fit)
    times = np.array([item.ms for item in measurements])
    table = [
        _time_row(f"USB 3, {name}", "segments", times[fold], in_sample[fold], left_out[fold])
        for name, fold in zip(networks, folds, strict=True)
    ]
    return [*table, _time_row("USB 3, all networks", "segments", times, in_sample, left_out)]


def _both(
    measurements: Sequence[Measurement],
    folds: Sequence[Sequence[int]],
    fit: Callable[[Sequence[int]], EdgeTpu],
) -> tuple[Floats, Floats]:
    """Predicted ms by a fit to all, and by fits to all but the fold; float64 [num_measurements]."""
    everything = range(len(measurements))
    in_sample = Design(measurements).predict(fit(everything))
    left_out = np.empty(len(measurements))
    for fold in folds:
        if fold:
            left = set(fold)
            device = fit([i for i in everything if i not in left])
            left_out[list(fold)] = Design([measurements[i] for i in fold]).predict(device)
    return in_sample, left_out


def _time_row(kind: str, unit: str, times: Floats, in_sample: Floats, left_out: Floats) -> Row:
    def errors(predicted: Floats) -> tuple[float, float, float]:
        size = np.abs(predicted - times)
        relative = size / times
        return float(relative.mean()), float(np.median(relative)), float(size.sum() / times.sum())

    mean, median, total = errors(in_sample)
    mean_out, median_out, total_out = errors(left_out)
    return _row(
        kind, len(times), unit,
        **{"mean error": mean, "median": median, "sum": total, "left out: mean": mean_out,
           "median ": median_out, "sum ": total_out},
    )  # fmt: skip


if __name__ == "__main__":
    main()
