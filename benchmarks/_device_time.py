"""Errors of the device model's times on public data."""

from __future__ import annotations

import collections
import csv
import dataclasses
import math
from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from benchmarks._device_data import DATA, TimeRow, measurement, time_rows
from benchmarks._device_rows import Network, Row, table_row
from benchmarks._models import int8_model
from respect_tf.device import (
    Design,
    DeviceCosts,
    EdgeTpu,
    Measurement,
    fit_constants,
    predict,
    stage_tensors,
    stage_work,
)
from respect_tf.graph import OpGraph

Floats = npt.NDArray[np.float64]

WINNER = "PCIe, right winner of stock and profiled cut"
_SINGLE = (
    "fixed_ms",
    "ms_per_gmac",
    "ms_per_map_mib",
    "ms_per_vector_mib",
    "ms_per_streamed_mib",
    "ms_per_output_mib",
    "strip_passes",
)
_PIPELINE = ("ms_per_input_mib", "contention", "dispatch_ms")
_USB3 = ("fixed_ms", "ms_per_streamed_mib", "ms_per_input_mib", "ms_per_output_mib")
_FOLDS = 20
_TIME_COLUMNS = ("exact", "mean error", "median", "sum", "left out: exact", "left out: mean",
                 "left out: median", "left out: sum", "runs differ", "least possible",
                 "least, left out")  # fmt: skip


TIME_NOTES = """
"left out" is the error on models that the fit did not see: for stacks every row of a width, in
folds of widths, for USB 3 the whole network. Several runs of the same stack count once, with their
median. Errors are relative; "sum" is the sum of absolute errors over the sum of times. Which layers
are streamed is predicted, not read.

What no model can do better shows in two columns. "runs differ" is how far a single run is, on
average, from the median of the other runs of the same stack, where there are any. "least possible"
is the mean error of the best function of the width for each kind of stack that never falls, chosen
with all the times known: a model by which more channels take no less time errs at least so much.
For dense stacks, which take 0.1 to 0.3 ms, it is above 5 % already. "least, left out" is the mean
error of that function where it was chosen on the other folds of widths, with straight lines between
them: what neighbours tell without a model. It is above 5 % for convolutions and dense layers whose
parameters are cached, so what is left of the error is mostly not the width's but the run's. Stacks
of two convolutions show it: those of 34, 37 and 40 filters take 1.0 to 1.1 ms, those of 35, 36 and
39 take 1.9 to 2.2 ms, which alone is more than one point of the mean error of the 96 stacks; and of
175 to 280 filters one file's times are on average a fifth above another's. Convolutions are priced
one by one and added up; if prices may also depend on whether a layer is the first or the last of
its segment, a fit to convolutions alone errs 6 % on other widths, and not 5 %.

The winner is that of stock and profiled cut of the stack that two rows name, where their times
differ by more than 5 %; the profiled one nearly always wins, so this says little. Of a profiled
cut, the log shows the last one that the profiler tried, not always the one that ran; rows that
would have to stream faster than the interface can are left out, and so are times that 4 TOPS cannot
reach; no pair is lost by that. The script that measured dense pipelines printed while it measured,
and what it measured for one input jumps by a millisecond from one stack to the next.

The networks on a Dev Board were measured by Google (coral.ai) on another host than the stacks. The
fit saw none of them. MobileNet v2 is compared with one of 965 classes, DenseNet with DenseNet121;
that page's Inception-ResNet V2 takes less time than streaming its parameters, and is left out.
"""


def time_table(networks: Mapping[str, Network]) -> list[Row]:
    """Rows of stacks over PCIe and of networks over USB 3."""
    return [*_pcie_table(), *_dev_board_table(), *_usb3_table(networks)]


def _pcie_table() -> list[Row]:
    base = EdgeTpu.preset("pcie-m2")
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
    fold_of = {i: number for number, fold in enumerate(folds) for i in fold}
    in_sample, left_out = _both(measurements, folds, fit)
    times = np.array([row.ms for row in rows])
    groups: dict[str, list[int]] = collections.defaultdict(list)
    for index, row in enumerate(rows):
        for name in _groups(row, measurements[index]):
            groups[name].append(index)
    spread = [_spread([row.ms for row in same]) for same in repeats.values()]
    table = [
        _time_row(kind, "stacks", times[chosen], in_sample[chosen], left_out[chosen],
                  [value for i in chosen for value in spread[i]], [rows[i] for i in chosen],
                  [fold_of[i] for i in chosen])
        for kind, chosen in sorted(groups.items())
    ]  # fmt: skip
    table += _winner_rows(rows, times, in_sample, left_out)
    return table + [
        table_row(f"PCIe, left out: {why}", count, "rows", _TIME_COLUMNS, {})
        for why, count in skipped.items()
    ]


def _least_error(rows: Sequence[TimeRow]) -> float:
    """Mean error of the best model, chosen with all times known, that rises with the width.

    For each kind of stack by itself, of all functions of the width that never fall, the one that
    errs least is found by dynamic programming: it takes no other values than the times.
    """
    series: dict[Hashable, list[TimeRow]] = collections.defaultdict(list)
    for row in rows:
        series[row.stack.kind, row.stack.depth, row.stack.inputs].append(row)
    total = 0.0
    for same in series.values():
        values = np.unique([row.ms for row in same])
        least = np.zeros(len(values))  # errors so far, if the function is at this value by now
        for row in sorted(same, key=lambda row: row.stack.width):
            least = np.minimum.accumulate(least) + np.abs(values / row.ms - 1)
        total += float(least.min())
    return total / len(rows)


def _least_error_left_out(rows: Sequence[TimeRow], folds: Sequence[int]) -> float:
    """As `_least_error`, but each fold is read off the best function of the other widths.

    Between widths it is a straight line; beyond them, time is in proportion to the width.
    """
    errors: list[float] = []
    series: dict[Hashable, list[int]] = collections.defaultdict(list)
    for index, row in enumerate(rows):
        series[row.stack.kind, row.stack.depth, row.stack.inputs].append(index)
    for same in series.values():
        for fold in sorted({folds[i] for i in same}):
            known = sorted((rows[i].stack.width, rows[i].ms) for i in same if folds[i] != fold)
            if not known:
                continue
            widths, times = np.array(known).T
            fitted = _best_rising(times)
            for row in (rows[i] for i in same if folds[i] == fold):
                width = row.stack.width
                inside = float(np.clip(width, widths[0], widths[-1]))
                found = float(np.interp(inside, widths, fitted)) * width / inside
                errors.append(abs(found / row.ms - 1))
    return float(np.mean(errors)) if errors else math.nan


def _best_rising(times: Floats) -> Floats:
    """Values that never fall and have the least sum of relative errors. float64 [num_times]."""
    values = np.unique(times)
    steps = []
    least = np.zeros(len(values))
    for ms in times:
        least = np.minimum.accumulate(least) + np.abs(values / ms - 1)
        steps.append(least)
    fitted = np.empty(len(times))
    end = len(values)
    for index in reversed(range(len(times))):
        at = int(np.argmin(steps[index][:end]))
        fitted[index], end = values[at], at + 1
    return fitted


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
            key = (stack.kind, row.named_width, stack.depth, len(stack.stages), row.num_inputs)
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
        table_row(kind, len(pairs), "pairs", _TIME_COLUMNS, shares)
        for kind, shares in (
            (WINNER, figures),
            (f"{WINNER}, if it always were the profiled one", guess),
        )
    ]


def _dev_board_table() -> list[Row]:
    device = EdgeTpu.preset("pcie-m2")
    mobilenet = (
        DATA / "compiled" / "Segments-Runner" / "mobilenet_v2_1.0_224_inat_bird_quant.tflite"
    )
    models = {
        "MobileNet v2 (224x224)": mobilenet.read_bytes(),
        "DenseNet (224x224)": int8_model("DenseNet121"),
        "ResNet-152 V2 (299x299)": int8_model("ResNet152V2"),
    }
    with (DATA / "measurements" / "latency.csv").open(newline="") as file:
        measured = {
            row["model"]: float(row["latency_ms"])
            for row in csv.DictReader(file)
            if row["device"].startswith("Dev Board (") and row["source"].startswith("coral.ai")
        }
    table = []
    for name, content in models.items():
        graph = OpGraph.from_tflite(content)
        prediction = predict(graph, np.zeros(graph.num_ops, np.int64), device)
        error = abs(prediction.latency_ms / measured[name] - 1)
        table.append(
            table_row(f"PCIe, Dev Board, {name}", 1, "network", _TIME_COLUMNS,
                      {"mean error": error, "left out: mean": error})
        )  # fmt: skip
    return table


def _usb3_table(networks: Mapping[str, Network]) -> list[Row]:
    base = EdgeTpu.preset("usb3-pi5")
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
    rows: Sequence[TimeRow] = (),
    folds: Sequence[int] = (),
) -> Row:
    figures = {}
    for prefix, predicted in (("", in_sample), ("left out: ", left_out)):
        size = np.abs(predicted - times)
        figures[f"{prefix}mean" if prefix else "mean error"] = float((size / times).mean())
        figures[f"{prefix}median"] = float(np.median(size / times))
        figures[f"{prefix}sum"] = float(size.sum() / times.sum())
    if spread:
        figures["runs differ"] = float(np.mean(spread))
    if rows and all(len(row.stack.stages) == 1 for row in rows):
        figures["least possible"] = _least_error(rows)
        figures["least, left out"] = _least_error_left_out(rows, folds)
    return table_row(kind, len(times), unit, _TIME_COLUMNS, figures)
