"""Errors of the device model's memory on public data."""

from __future__ import annotations

import collections
import csv
import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from benchmarks._device_data import DATA, MIB, LogRow, is_right, log_rows, streams_as_logged
from benchmarks._device_instructions import Sample, instruction_samples, left_out_errors
from benchmarks._device_pairs import Pair, compiled_pairs
from benchmarks._device_rows import Network, Row, table_row
from respect_tf.device import DeviceCosts, EdgeTpu, stage_tensors

Bools = npt.NDArray[np.bool_]

_FOLDS = 20
_TILE_KIB = np.arange(492, 517)  # what a tile may hold, when the logs choose
_NEARLY_FULL = 6.5  # MiB: below, every tile size gives the same answer
_MEMORY_COLUMNS = ("exact", "streamed layers", "within 1 %", "within 2 %", "within 5 %",
                   "mean error", "median", "left out: exact", "left out: layers",
                   "left out: median")  # fmt: skip

MEMORY_NOTES = """
One set of formulas and constants predicts all rows. "stored" compares parameter bytes of all public
pairs, ops on the CPU left out; compiler 1.0 keeps biases of zeros, which later ones drop, and is
predicted with them. "streamed" compares what is sent at every inference; compiler 1.0 puts block k
of every layer into tile k, which is not predicted, and srgan was compiled into three parts that
share the memory. "ops on the CPU" asks whether those of each type are as many as in the compiled
file, in models of several parts by what an op alone says. "instructions" compares what is sent at
every inference with the shipped constants, and "left out" with a fit without the model; of networks
in segments only the sizes of the compiled files are known. "log" compares what compiler logs of
layer stacks print; a segment is right when both of its figures are, to print rounding, and
"streamed layers" when as many layers are streamed as the log shows. Where the cut is known, layers
and cut follow from the row's count of multiply-accumulates and the script that made it, and the
printed figures are used for nothing but the comparison; rows whose printed total is of other layers
than the row names are left out and counted. Where a profiler cut, the log's totals are needed to
infer the layers of each segment, so only what of them is cached is predicted. The formulas were
found on these files and logs. "left out" chooses the one constant that decides what is cached, the
bytes of a tile, on other widths, in folds. "streamed by network" compares off-chip MiB of Keras
networks in eight segments; "room for parameters" what is streamed of their tails, as part of what
is not.
"""


def memory_table(networks: Mapping[str, Network]) -> list[Row]:
    """Rows of compiled files, compiler logs, and networks."""
    pairs = compiled_pairs()
    return [
        *pair_rows(pairs),
        *instruction_rows(pairs, networks),
        *_log_table(),
        *_network_memory(networks),
    ]


def pair_rows(pairs: Sequence[Pair]) -> list[Row]:
    """What compiled files store, stream and leave on the CPU."""
    errors: dict[str, list[float]] = collections.defaultdict(list)
    for pair in pairs:
        compiled = pair.compiled
        real = compiled.cached_bytes + compiled.streamed_bytes
        size = "1 MB and more" if real >= 1e6 else "below 1 MB"
        errors[f"stored, {size}"].append(pair.stored_bytes / real - 1)
        difference = pair.cost.streamed_bytes - compiled.streamed_bytes
        streamed = difference / max(1, compiled.streamed_bytes)
        errors["streamed, all compilers"].append(streamed)
        if not pair.by_first_compiler:
            errors["streamed, without compiler 1.0"].append(streamed)
        left = collections.Counter(pair.graph.op_types[op] for op in pair.cpu_ops)
        errors["ops on the CPU"].append(float(left != collections.Counter(compiled.cpu_ops)))
    shares = [_share_row(kind, values, "models") for kind, values in sorted(errors.items())]
    only_exact = ("within 1 %", "within 2 %", "within 5 %", "mean error", "median")
    for row in shares:
        if row["kind"] == "ops on the CPU":  # right or wrong
            row.update(dict.fromkeys(only_exact, ""))
        if row["kind"].startswith("streamed"):  # of 0 bytes there is no relative error
            row.update(dict.fromkeys(("mean error", "median"), ""))
    return shares


def instruction_rows(pairs: Sequence[Pair], networks: Mapping[str, Network]) -> list[Row]:
    """Instructions at every inference, each model left out in turn."""
    files, segments = instruction_samples(pairs, networks)
    seen = [*files, *segments]
    return [
        _instruction_row("instructions, compiled files", files, seen, "models"),
        *(
            [_instruction_row("instructions, networks by size", segments, seen, "segments")]
            if segments
            else []
        ),
    ]


def _instruction_row(kind: str, judged: Sequence[Sample], seen: Sequence[Sample], unit: str) -> Row:
    row = _share_row(kind, [sample.predicted / sample.sent - 1 for sample in judged], unit)
    median = np.median(np.abs(left_out_errors(seen, judged)))
    return row | {"left out: median": f"{median:.1%}"}


def _share_row(kind: str, values: Sequence[float], unit: str) -> Row:
    size = np.abs(values)
    figures = {
        "exact": float((size == 0).mean()),
        "within 1 %": float((size <= 0.01).mean()),
        "within 2 %": float((size <= 0.02).mean()),
        "within 5 %": float((size <= 0.05).mean()),
        "mean error": float(size.mean()),
        "median": float(np.median(size)),
    }
    return table_row(kind, len(size), unit, _MEMORY_COLUMNS, figures)


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
