"""Public measurements and compiler logs of layer stacks, as op graphs and stages."""

from __future__ import annotations

import csv
import dataclasses
import functools
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks._stacks import conv_stack, dense_stack
from respect_tf.device import DeviceCosts, EdgeTpu, Measurement, op_parameters, stage_work
from respect_tf.graph import OpGraph

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
MIB = 2**20
_SMALLEST_MS = 0.05  # the smallest op takes 0.1 ms over PCIe: less is a broken row
_MEASUREMENTS = "measurements"

Range = tuple[int, int]  # first op, op after the last


@dataclasses.dataclass(frozen=True)
class Stack:
    """A stack of layers in stages.

    Attributes:
        kind: `"conv"` or `"dense"`.
        width: Channels or units.
        depth: As in `conv_stack` and `dense_stack`.
        inputs: Values that the first dense layer reads; 0 for convolutions.
        stages: First op and op after the last of each stage; they may be empty.
    """

    kind: str
    width: int
    depth: int
    inputs: int
    stages: tuple[Range, ...]

    @property
    def graph(self) -> OpGraph:
        return _graph(self.kind, self.width, self.depth, self.inputs)

    def tensors(self, stage: Range) -> tuple[list[int], list[int]]:
        """Tensors that enter and leave a stage; one of no ops passes its input on."""
        first, end = stage
        return [2 * first], [2 * end]


@dataclasses.dataclass(frozen=True)
class LogRow:
    """One compiled segment: what the log printed, MiB."""

    stack: Stack
    stage: Range
    on_chip: float
    off_chip: float


@dataclasses.dataclass(frozen=True)
class TimeRow:
    """One measured time, ms per inference."""

    stack: Stack
    ms: float
    num_inputs: int
    profiled: bool


@functools.cache
def _graph(kind: str, width: int, depth: int, inputs: int) -> OpGraph:
    if kind == "conv":
        return conv_stack(width, depth)
    return dense_stack(width, depth, inputs=inputs)


def log_rows() -> tuple[list[LogRow], int]:
    """Rows of compiler_memory_segments.csv, and the number of rows that fit no known stack."""
    groups: list[list[dict[str, str]]] = []
    for row in _read("compiler_memory_segments.csv"):
        key = (row["file"], row["F_or_N"], row["n_segments"])
        last = groups[-1][0] if groups else None
        same = last is not None and key == (last["file"], last["F_or_N"], last["n_segments"])
        if not same or row["segment"] == "0":
            groups.append([])
        groups[-1].append(row)
    rows, skipped = [], 0
    for group in groups:
        kind = "conv" if group[0]["kind"] == "conv" else "dense"
        printed = [
            (float(row["on_chip_mib"]), float(row["off_chip_mib"]))
            for row in group
            if row["on_chip_mib"] and row["off_chip_mib"]
        ]
        complete = len(printed) == len(group) == int(group[0]["n_segments"])
        stack = (
            _stack(kind, int(group[0]["F_or_N"]), float(group[0]["macs"] or 0), printed)
            if complete
            else None
        )
        if stack is None:
            skipped += len(group)
            continue
        rows += [
            LogRow(stack, stage, *figures)
            for stage, figures in zip(stack.stages, printed, strict=True)
        ]
    return rows, skipped


def is_right(row: LogRow) -> bool:
    """Whether both predicted figures are those that the log printed, to their decimals."""
    costs = _costs(row.stack, EdgeTpu.preset("pcie"))
    cost = costs.stage(range(*row.stage), *row.stack.tensors(row.stage))
    figures = ((cost.logged_bytes, row.on_chip), (cost.streamed_bytes, row.off_chip))
    return all(
        abs(predicted / MIB - printed) <= (0.0051 if printed >= 1 else 2e-5)
        for predicted, printed in figures
    )


def time_rows() -> tuple[list[TimeRow], int]:
    """Rows of latency.csv on PCIe stacks, and the number of rows that fit no known stack."""
    rows, skipped = [], 0
    for row in _read("latency.csv"):
        match = re.search(r"(filters|neurons)=(\d+)", row["model"])
        if not row["source"].startswith("Jorgitou98") or match is None:
            continue
        on, off = (_numbers(row[name]) for name in ("on_chip_mib", "off_chip_mib"))
        ms = float(row["latency_ms"])
        kind = "conv" if match[1] == "filters" else "dense"
        usable = len(on) == len(off) == int(row["n_tpus"]) and ms > _SMALLEST_MS
        printed = list(zip(on, off, strict=True)) if usable else []
        stack = _stack(kind, int(match[2]), float(row["macs"] or 0), printed) if usable else None
        if stack is None:
            skipped += 1
            continue
        batch = re.search(r"batch (\d+)", row["mode"])
        rows.append(TimeRow(stack, ms, int(batch[1]) if batch else 1, "profiled" in row["mode"]))
    return rows, skipped


def measurement(row: TimeRow, device: EdgeTpu) -> Measurement:
    """A row as what its stages do; which parameters are streamed is predicted."""
    costs = _costs(row.stack, device)
    stages = []
    for stage in row.stack.stages:
        entering, leaving = row.stack.tensors(stage)
        cost = costs.stage(range(*stage), entering, leaving)
        stages.append(stage_work(costs, cost, entering, leaving))
    return Measurement(tuple(stages), row.ms, row.num_inputs)


def _costs(stack: Stack, device: EdgeTpu) -> DeviceCosts:
    return _costs_of(stack.kind, stack.width, stack.depth, stack.inputs, device)


@functools.lru_cache(maxsize=4096)
def _costs_of(kind: str, width: int, depth: int, inputs: int, device: EdgeTpu) -> DeviceCosts:
    return DeviceCosts.of(_graph(kind, width, depth, inputs), device)


def _stack(
    kind: str, width: int, macs: float, printed: Sequence[tuple[float, float]]
) -> Stack | None:
    """The stack and the cut whose parameter bytes are those that the log printed in all.

    Some rows name a width that is one less than what their figures show.
    """
    best: tuple[float, Stack] | None = None
    shapes = _shapes(kind, width, macs)
    for actual, (depth, inputs) in itertools.product((width, width + 1), shapes):
        if best is not None and best[1].width < actual:
            break
        graph = _graph(kind, actual, depth, inputs)
        parameters = op_parameters(graph)
        for stages in _cuts(graph.num_ops, len(printed)):
            worst = 0.0
            for (first, end), (on, off) in zip(stages, printed, strict=True):
                expected = float(parameters.logged[first:end].sum()) / MIB
                # Figures from 1 MiB on have two decimals; what is streamed is padded less.
                slack = 1e-4 + 0.0051 * ((on >= 1) + (off >= 1))
                slack += 0.1 if off and kind == "dense" else 0.0
                worst = max(worst, abs(on + off - expected) / slack)
            if worst < 1 and (best is None or worst < best[0]):
                best = (worst, Stack(kind, actual, depth, inputs, stages))
    return None if best is None else best[1]


def _shapes(kind: str, width: int, macs: float) -> list[tuple[int, int]]:
    """Depths and inputs that give a count of MACs, as the measurements' authors counted."""
    if kind == "conv":
        per_pixel = macs / (64 * 64 * 9)
        forms = {
            4 * width * width + 3 * width: 4,
            4 * width * width + 8 * width: 4,
            width * width + 3 * width: 1,
            3 * width: 0,
            4 * width: 0,
        }
        return [(depth, 0) for count, depth in forms.items() if abs(per_pixel - count) < 1]
    forms_dense = {
        (3, 64): 74 * width + 3 * width * width,
        (4, 6912): 6922 * width + 5 * width * width,
        (0, 6912): 6922 * width,
    }
    return [shape for shape, count in forms_dense.items() if abs(macs - count) < 1]


def _cuts(num_ops: int, num_stages: int) -> Iterator[tuple[Range, ...]]:
    """All ways to cut a chain; the first stage may be empty (the input's QUANTIZE alone)."""
    for inner in itertools.combinations_with_replacement(range(num_ops + 1), num_stages - 1):
        borders = (0, *inner, num_ops)
        stages = tuple(itertools.pairwise(borders))
        if all(first < end for first, end in stages[1:]):
            yield stages


def _numbers(text: str) -> list[float]:
    if not text:
        return []
    value = json.loads(text)
    return [float(number) for number in (value if isinstance(value, list) else [value])]


def _read(name: str) -> list[dict[str, str]]:
    with (DATA / _MEASUREMENTS / name).open(newline="") as file:
        return list(csv.DictReader(file))
