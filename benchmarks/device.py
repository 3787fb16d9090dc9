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

from benchmarks._device_data import (
    DATA,
    MIB,
    LogRow,
    TimeRow,
    is_right,
    log_rows,
    measurement,
    streams_as_logged,
    time_rows,
)
from benchmarks._models import int8_model
from benchmarks._tables import markdown, update_readme, write_results
from respect_tf.device import (
    Design,
    DeviceCosts,
    EdgeTpu,
    Measurement,
    fit_constants,
    op_parameters,
    stage_tensors,
    stage_work,
)
from respect_tf.graph import OpGraph

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Row = dict[str, Any]

_SINGLE = (
    "fixed_ms",
    "cpu_ms_per_mib",
    "ms_per_gmac",
    "ms_per_map_mib",
    "ms_per_cached_mib",
    "ms_per_streamed_mib",
    "ms_per_output_mib",
    "strip_passes",
)
_PIPELINE = ("ms_per_input_mib", "contention", "dispatch_ms")
_USB3 = ("fixed_ms", "ms_per_streamed_mib", "ms_per_input_mib", "ms_per_output_mib")
_FOLDS = 20
_TILE_KIB = np.arange(492, 517)  # what a tile may hold, when the logs choose
_NEARLY_FULL = 6.5  # MiB: below, every tile size gives the same answer
_COMPILER_1 = "10"  # min_runtime_version of what compiler 1.0 made
_NETWORKS = {"resnet50": "ResNet50", "inceptionv3": "InceptionV3", "densenet201": "DenseNet201"}


def main() -> None:
    """Measure and write `results/device_memory.md`, `results/device_time.md` and the README's."""
    if not DATA.is_dir():
        print(
            f"The public measurements are not at ../{DATA.parent.name}/{DATA.name}: there is "
            "nothing to compare the device model with."
        )
        return
    networks = {name: _network(name) for name in _NETWORKS}
    memory = [*_stored_rows(), *_log_table(), *_network_memory(networks)]
    time = [*_pcie_table(), *_usb3_table(networks)]
    write_results("device_memory", "The device model: memory", memory, _MEMORY_NOTES)
    write_results("device_time", "The device model: time", time, _TIME_NOTES)
    targets = _targets({row["kind"]: row for row in [*memory, *time]})
    write_results("device", "The device model: what it should reach", targets, _TARGET_NOTES)
    update_readme("device", markdown(targets))


_MEMORY_NOTES = """
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
_TIME_NOTES = """
"left out" is the error on models that the fit did not see: for stacks every row of a width, in
folds of widths, for USB 3 the whole network. Several runs of the same stack count once, with their
median; "runs differ" is how far a single run is, on average, from the median of the other runs of
the same stack, where there are any: no model of the layers can tell those apart. Which layers are
streamed is predicted, not read. Errors are relative; "sum" is the sum of absolute errors over the
sum of times. The stack's winner is that of stock and profiled cut, where they differ by more than 5
%; the profiled one nearly always wins, so this says little. Of a profiled cut, the log shows the
last one that the profiler tried, not always the one that ran; rows that would have to stream faster
than the interface can are left out, and so are times that 4 TOPS cannot reach. The script that
measured dense pipelines printed while it measured, and what it measured for one input jumps by a
millisecond from one stack to the next.
"""
_TARGET_NOTES = """
"left out" is the figure to judge by: of models, widths or networks that the fit did not see. Where
it is empty, formulas were found on these very files. See `device_memory.md` and `device_time.md`.
"""


def _targets(rows: dict[str, Row]) -> list[Row]:
    """What the model should reach, with the figures of the tables."""
    wanted = [
        ("stored bytes within 1 %, models of 1 MB and more", "stored, 1 MB and more", "within 1 %",
         "", ">= 90 %"),
        ("log figures to print rounding, cut known", "log, all, cut known", "exact",
         "left out: exact", ">= 99 %"),
        ("right number of streamed layers, cut known", "log, all, cut known", "streamed layers",
         "left out: layers", ">= 95 %"),
        ("room for parameters within 5 %, tails of networks",
         "room for parameters, tails of networks", "within 5 %", "", "100 %"),
        ("PCIe conv, all cached: mean error", "PCIe, one TPU, conv, all cached", "mean error",
         "left out: mean", "<= 5 %"),
        ("PCIe conv, all cached: sum of errors over sum of times",
         "PCIe, one TPU, conv, all cached", "sum", "left out: sum", "<= 5 %"),
        ("PCIe dense, all cached: mean error", "PCIe, one TPU, dense, all cached", "mean error",
         "left out: mean", "<= 5 %"),
        ("PCIe dense, all cached: sum of errors over sum of times",
         "PCIe, one TPU, dense, all cached", "sum", "left out: sum", "<= 5 %"),
        ("PCIe, streamed: mean error", "PCIe, one TPU, all, streamed", "mean error",
         "left out: mean", "<= 10 %"),
        ("USB 3, segments of networks: mean error", "USB 3, all networks", "mean error",
         "left out: mean", "<= 8 %"),
        ("pipelines on 2 and 4 TPUs: median error", "PCIe, pipelines, all", "median",
         "left out: median", "<= 10 %"),
        ("right winner of stock and profiled cut", _WINNER, "exact", "left out: exact", ">= 95 %"),
    ]  # fmt: skip
    table = []
    for what, kind, inside, outside, limit in wanted:
        row = rows[kind]
        judged = float((row[outside] if outside else row[inside]).rstrip("%"))
        bound = float(limit.strip("<>= %"))
        met = judged <= bound if limit.startswith("<") else judged >= bound
        table.append(
            {
                "what": what,
                "of": f"{row['count']:,} {row['of']}",
                "in sample": row[inside],
                "left out": row[outside] if outside else "",
                "wanted": limit,
                "met": "yes" if met else "no",
                "runs differ": row.get("runs differ", ""),
            }
        )
    return table


_WINNER = "PCIe, right winner of stock and profiled cut"
_MEMORY_COLUMNS = ("exact", "streamed layers", "within 1 %", "within 5 %", "mean error", "median",
                   "left out: exact", "left out: layers")  # fmt: skip
_TIME_COLUMNS = ("exact", "mean error", "median", "sum", "left out: exact", "left out: mean",
                 "left out: median", "left out: sum", "runs differ")  # fmt: skip


def _row(
    kind: str, count: int, unit: str, columns: Sequence[str], figures: dict[str, float]
) -> Row:
    shown = {name: f"{figures[name]:.1%}" if name in figures else "" for name in columns}
    return {"kind": kind, "count": count, "of": unit, **shown}


# Memory


def _stored_rows() -> list[Row]:
    with (DATA / "compiled" / "manifest.csv").open(newline="") as file:
        entries = list(csv.DictReader(file))
    errors: dict[str, list[float]] = collections.defaultdict(list)
    for entry in entries:
        folder = DATA / "compiled" / entry["repo"].split("/")[1]
        graph = OpGraph.from_tflite(folder / Path(entry["source"]).name)
        cost = _whole(DeviceCosts.of(graph, EdgeTpu.preset("usb3")))
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
    return _row(kind, len(size), unit, _MEMORY_COLUMNS, figures)


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
        rows.append(_row(kind, len(chosen), "segments", _MEMORY_COLUMNS, figures))
    return rows + [
        _row(f"log, left out: {why}", count, "segments", _MEMORY_COLUMNS, {})
        for why, count in skipped.items()
    ]


def _rights(rows: Sequence[LogRow], check: Callable[[LogRow, EdgeTpu], bool]) -> Bools:
    return np.array([check(row, EdgeTpu.preset("pcie")) for row in rows])


def _left_out_rights(rows: Sequence[LogRow]) -> dict[str, Bools]:
    """As in sample, with the tile's bytes that fit the other folds of widths best."""
    base = EdgeTpu.preset("pcie")
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
             _MEMORY_COLUMNS, {"exact": float((segment_size < 1e-3).mean())}),
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
        repeats[row.stack, row.num_inputs, row.profiled, row.through_runner].append(row)
    rows = [
        dataclasses.replace(same[0], ms=float(np.median([row.ms for row in same])))
        for same in repeats.values()
    ]
    measurements = [measurement(row, base) for row in rows]
    single = [len(row.stack.stages) == 1 and not row.through_runner for row in rows]
    pipeline = [len(row.stack.stages) > 1 for row in rows]

    def fit(chosen: Sequence[int]) -> EdgeTpu:
        alone = fit_constants([measurements[i] for i in chosen if single[i]], base, _SINGLE)
        together = [measurements[i] for i in chosen if pipeline[i]]
        return fit_constants(together, alone, _PIPELINE)

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
        for name in _groups(row, measurements[index]):
            groups[name].append(index)
    spread = [_spread([row.ms for row in same]) for same in repeats.values()]
    table = [
        _time_row(kind, "stacks", times[chosen], in_sample[chosen], left_out[chosen],
                  [value for i in chosen for value in spread[i]])
        for kind, chosen in sorted(groups.items())
    ]  # fmt: skip
    table += _winner_rows(rows, times, in_sample, left_out)
    return table + [
        _row(f"PCIe, left out: {why}", count, "rows", _TIME_COLUMNS, {})
        for why, count in skipped.items()
    ]


def _spread(times: Sequence[float]) -> list[float]:
    """How far each run is from the median of the others, relative; nothing for a single run."""
    if len(times) < 2:
        return []
    others = (np.median(np.delete(times, index)) for index in range(len(times)))
    return [abs(float(other) / ms - 1) for ms, other in zip(times, others, strict=True)]


def _groups(row: TimeRow, work: Measurement) -> list[str]:
    streams = any(op[3] for stage in work.stages for op in stage.ops)
    end = "streamed" if streams else "all cached"
    kind, stages = row.stack.kind, len(row.stack.stages)
    if row.through_runner:
        return [f"PCIe, one TPU through the runner, {kind}, {end}"]
    if stages == 1:
        layers = [f"PCIe, one TPU, conv of {row.stack.depth + 1} layers, {end}"]
        return [f"PCIe, one TPU, {kind}, {end}", f"PCIe, one TPU, all, {end}"] + (
            layers if kind == "conv" else []
        )
    mode = "latency" if row.num_inputs == 1 else "throughput"
    return [f"PCIe, {kind}, {stages} TPUs, {mode}, {end}", "PCIe, pipelines, all"]


def _winner_rows(
    rows: Sequence[TimeRow], times: Floats, in_sample: Floats, left_out: Floats
) -> list[Row]:
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

    figures = {"exact": right(in_sample), "left out: exact": right(left_out)}
    guess = {"exact": float((times[second] < times[first]).mean())}
    return [
        _row(_WINNER, len(pairs), "pairs", _TIME_COLUMNS, figures),
        _row(f"{_WINNER}, if it always were the profiled one", len(pairs), "pairs", _TIME_COLUMNS,
             guess),
    ]  # fmt: skip


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


def _time_row(
    kind: str,
    unit: str,
    times: Floats,
    in_sample: Floats,
    left_out: Floats,
    spread: Sequence[float] = (),
) -> Row:
    figures = {}
    for prefix, predicted in (("", in_sample), ("left out: ", left_out)):
        size = np.abs(predicted - times)
        figures[f"{prefix}mean" if prefix else "mean error"] = float((size / times).mean())
        figures[f"{prefix}median"] = float(np.median(size / times))
        figures[f"{prefix}sum"] = float(size.sum() / times.sum())
    if spread:
        figures["runs differ"] = float(np.mean(spread))
    return _row(kind, len(times), unit, _TIME_COLUMNS, figures)


if __name__ == "__main__":
    main()
