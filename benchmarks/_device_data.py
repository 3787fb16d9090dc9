"""Public measurements and compiler logs of layer stacks, as op graphs and stages.

What a row measures follows from the scripts that made it (Jorgitou98/EdgeTPU-QuantRL-Evaluation):
the count of multiply-accumulates names the layers, and all but profiled cuts are known as well. The
compiler cuts convolutions by its own rule, and the authors cut dense layers evenly. For a profiled
cut the log only shows the last one that the profiler tried, which need not be the one that ran: its
layers are inferred from the parameter bytes that the log prints, cached and streamed together.
"""

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
from respect_tf.device import DeviceCosts, EdgeTpu, op_parameters
from respect_tf.graph import OpGraph

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
MIB = 2**20
_SMALLEST_MS = 0.05  # the smallest op takes 0.1 ms over PCIe
_MOST_GMACS_PER_MS = 2.0  # 4 TOPS, the chip's peak
_STREAM_MS_PER_MIB = 2.5  # PCIe streams a MiB in 2.7 ms: nobody has seen less
_PRINTED = 0.0051  # MiB: figures from 1 MiB on have two decimals
_MOST_ON_CHIP = 8.1  # MiB: figures above are KiB that were not converted
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
    """One compiled segment.

    Attributes:
        stack: The stack in its stages.
        stage: The stage.
        on_chip: MiB that the log printed as cached.
        off_chip: MiB that it printed as streamed.
        profiled: Whether the cut is inferred from the figures.
    """

    stack: Stack
    stage: Range
    on_chip: float
    off_chip: float
    profiled: bool


@dataclasses.dataclass(frozen=True)
class TimeRow:
    """One measured time.

    Attributes:
        stack: The stack in its stages.
        named_width: Its width as the row names it; some stacks are one wider.
        ms: Time per inference.
        num_inputs: Inputs that went through the pipeline one after the other.
        profiled: Whether a profiler chose the cut.
        through_runner: Whether one TPU was measured through the runner of pipelines, with its
            threads and buffers, and not by calling the interpreter.
    """

    stack: Stack
    named_width: int
    ms: float
    num_inputs: int
    profiled: bool
    through_runner: bool


@functools.cache
def _graph(kind: str, width: int, depth: int, inputs: int) -> OpGraph:
    if kind == "conv":
        return conv_stack(width, depth)
    return dense_stack(width, depth, inputs=inputs)


def log_rows() -> tuple[list[LogRow], dict[str, int]]:
    """Rows of compiler_memory_segments.csv, and why so many others are left out."""
    groups: list[list[dict[str, str]]] = []
    for row in _read("compiler_memory_segments.csv"):
        key = (row["file"], row["F_or_N"], row["n_segments"])
        last = groups[-1][0] if groups else None
        same = last is not None and key == (last["file"], last["F_or_N"], last["n_segments"])
        if not same or row["segment"] == "0":
            groups.append([])
        groups[-1].append(row)
    rows: list[LogRow] = []
    skipped = dict.fromkeys(("flagged in the data", "without figures", "of no stack"), 0)
    for group in groups:
        profiled = group[0]["cut"] == "profiled"
        printed = [
            (_on_chip(row["on_chip_mib"]), float(row["off_chip_mib"]))
            for row in group
            if row["on_chip_mib"] and _is_printed(row["off_chip_mib"])
        ]
        if group[0]["suspect"]:
            skipped["flagged in the data"] += len(group)
            continue
        if not len(printed) == len(group) == int(group[0]["n_segments"]):
            skipped["without figures"] += len(group)
            continue
        kind = "conv" if group[0]["kind"] == "conv" else "dense"
        stack = _stack(
            kind, int(group[0]["F_or_N"]), float(group[0]["macs"]), printed, profiled=profiled
        )
        if stack is None:
            skipped["of no stack"] += len(group)
            continue
        rows += [
            LogRow(stack, stage, *figures, profiled)
            for stage, figures in zip(stack.stages, printed, strict=True)
        ]
    return rows, skipped


def is_right(row: LogRow, device: EdgeTpu) -> bool:
    """Whether both predicted figures are those that the log printed, to their decimals."""
    cost = _costs(row.stack, device).stage(range(*row.stage), *row.stack.tensors(row.stage))
    figures = ((cost.logged_bytes, row.on_chip), (cost.streamed_bytes, row.off_chip))
    return all(
        abs(predicted / MIB - printed) <= (_PRINTED if printed >= 1 else 2e-5)
        for predicted, printed in figures
    )


def streams_as_logged(row: LogRow, device: EdgeTpu) -> bool:
    """Whether as many layers are predicted to be streamed as the log shows."""
    first, end = row.stage
    cost = _costs(row.stack, device).stage(range(first, end), *row.stack.tensors(row.stage))
    count = len(cost.streamed_ops)
    if not row.off_chip or not count:
        return not row.off_chip and not count
    sizes = op_parameters(row.stack.graph).stored[first:end] / MIB
    return any(
        abs(sum(layers) - row.off_chip) <= _PRINTED
        for layers in itertools.combinations(sizes.tolist(), count)
    )


def time_rows() -> tuple[list[TimeRow], dict[str, int]]:
    """Rows of latency.csv on PCIe stacks, and why so many others are left out.

    Files that hold the same run, to the last digit of its time, count once: the one that says how
    many inputs it measured.
    """
    rows: dict[tuple[Stack, bool, str], TimeRow] = {}
    skipped = dict.fromkeys(
        ("without figures", "of no stack", "of a run that another file holds",
         "faster than the chip's peak", "with a profiled cut that cannot have run"), 0,
    )  # fmt: skip
    for row in _read("latency.csv"):
        match = re.search(r"(filters|neurons)=(\d+)", row["model"])
        if not row["source"].startswith("Jorgitou98") or match is None:
            continue
        on, off = (_numbers(row[name]) for name in ("on_chip_mib", "off_chip_mib"))
        ms, num_tpus = float(row["latency_ms"]), int(row["n_tpus"])
        if len(on) != num_tpus or len(off) != num_tpus:
            skipped["without figures"] += 1
            continue
        kind = "conv" if match[1] == "filters" else "dense"
        profiled = "profiled" in row["mode"]
        stack = _stack(
            kind, int(match[2]), float(row["macs"]), list(zip(on, off, strict=True)),
            profiled=profiled,
        )  # fmt: skip
        if stack is None:
            skipped["of no stack"] += 1
            continue
        busiest = max(float(stack.graph.macs[first:end].sum()) for first, end in stack.stages) / 1e9
        if ms < _SMALLEST_MS or ms * _MOST_GMACS_PER_MS < busiest:
            skipped["faster than the chip's peak"] += 1
            continue
        if profiled and max(off) * _STREAM_MS_PER_MIB > ms:
            skipped["with a profiled cut that cannot have run"] += 1
            continue
        batch = re.search(r"batch (\d+)", row["mode"])
        found = TimeRow(
            stack, int(match[2]), ms, int(batch[1]) if batch else 1, profiled,
            through_runner=num_tpus == 1 and "-seg1-" in row["file_or_url"],
        )  # fmt: skip
        key = (stack, profiled, row["latency_ms"])
        if key in rows:
            skipped["of a run that another file holds"] += 1
            found = max(found, rows[key], key=lambda item: item.num_inputs)
        rows[key] = found
    return list(rows.values()), skipped


def _costs(stack: Stack, device: EdgeTpu) -> DeviceCosts:
    return _costs_of(stack.kind, stack.width, stack.depth, stack.inputs, device)


@functools.lru_cache(maxsize=8192)
def _costs_of(kind: str, width: int, depth: int, inputs: int, device: EdgeTpu) -> DeviceCosts:
    return DeviceCosts.of(_graph(kind, width, depth, inputs), device)


def _stack(
    kind: str, width: int, macs: float, printed: Sequence[tuple[float, float]], *, profiled: bool
) -> Stack | None:
    """The stack of a row in its stages.

    None where the parameter bytes that the log printed, cached and streamed together, are not
    those of the layers that the row names. Some rows name a width that is one less than that.
    """
    for actual, (depth, inputs) in itertools.product(
        (width, width + 1), _shapes(kind, width, macs)
    ):
        graph = _graph(kind, actual, depth, inputs)
        known = [_known_cut(kind, graph, len(printed))] if not profiled else []
        best: tuple[float, Stack] | None = None
        for stages in known or _cuts(graph.num_ops, len(printed)):
            worst = _mismatch(kind, graph, stages, printed)
            if worst < 1 and (best is None or worst < best[0]):
                best = (worst, Stack(kind, actual, depth, inputs, stages))
        if best is not None:
            return best[1]
    return None


def _mismatch(
    kind: str, graph: OpGraph, stages: Sequence[Range], printed: Sequence[tuple[float, float]]
) -> float:
    """How far parameter bytes are from printed ones, in units of what rounding explains."""
    parameters = op_parameters(graph)
    worst = 0.0
    for (first, end), (on, off) in zip(stages, printed, strict=True):
        expected = float(parameters.logged[first:end].sum()) / MIB
        # What is streamed is padded less.
        slack = 1e-4 + _PRINTED * ((on >= 1) + (off >= 1))
        slack += 0.1 if off and kind == "dense" else 0.0
        worst = max(worst, abs(on + off - expected) / slack)
    return worst


def _known_cut(kind: str, graph: OpGraph, num_stages: int) -> tuple[Range, ...]:
    """How a chain was cut without a profiler."""
    num_ops = graph.num_ops
    if kind == "dense":  # as many layers each, the later ones more
        sizes = [num_ops // num_stages] * num_stages
        for late in range(num_ops % num_stages):
            sizes[-late - 1] += 1
        borders = [0, *itertools.accumulate(sizes)]
    else:  # the compiler's --num_segments; biases are 4 bytes a channel
        layers = graph.parameter_bytes + 4 * graph.tensor_bytes[graph.output_tensors] // 64**2
        target = float(layers.sum()) / num_stages + 1
        borders, held = [0], 0.0
        for op in range(num_ops):
            stages_left, ops_left = num_stages - len(borders), num_ops - op
            full = held + layers[op] > target or ops_left == stages_left
            if full and op > borders[-1] and stages_left:
                borders.append(op)
                held = 0.0
            held += float(layers[op])
        borders.append(num_ops)
    return tuple(itertools.pairwise(borders))


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


def _is_printed(text: str) -> bool:
    """Whether a log prints such MiB: with two decimals of a unit. Some columns hold times."""
    if not text:
        return False
    amounts = (float(text) * 1024**power * 100 for power in range(3))
    return any(abs(amount - round(amount)) < 1e-5 for amount in amounts)


def _on_chip(text: str) -> float:
    mib = float(text)
    return mib if mib <= _MOST_ON_CHIP else mib / 1024


def _read(name: str) -> list[dict[str, str]]:
    with (DATA / _MEASUREMENTS / name).open(newline="") as file:
        return list(csv.DictReader(file))
