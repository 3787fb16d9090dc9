"""What a report says in tables, for terminals and pages alike."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from respect_tf.report._prediction import COMPILER_LOG, PREDICTED
from respect_tf.report._text import format_bytes

if TYPE_CHECKING:
    from respect_tf.report._report import Report, StageReport


_MANY = 4  # of more segments, equal neighbours are put together


class ReportTable(NamedTuple):
    """A table: its title, its columns, and a list of cells per row."""

    title: str
    columns: list[str]
    rows: list[list[Any]]


def report_title(report: Report) -> str:
    """The model, and in how many segments it is."""
    count = len(report.stages)
    return f"{report.name} in {count} segment{'s' * (count != 1)}"


def report_tables(report: Report) -> list[ReportTable]:
    """What each segment is, holds and takes."""
    return [
        ReportTable(
            report_title(report),
            ["stage", "ops", "parameters", "bytes in", "bytes out", "MACs", "file", "ends after"],
            [_model_row(stage) for stage in report.stages],
        ),
        ReportTable(
            f"parameters on each Edge TPU ({report.speed.device})",
            ["stage", "stored", "cached", "streamed", "activations", "room left", "source"],
            [
                row
                for stage in report.stages
                if not stage.on_device.predicted.on_cpu
                for row in _memory_rows(stage)
            ],
        ),
        ReportTable(
            "milliseconds per inference",
            ["stage", "compute", "streaming", "instr.", "input", "output", "overhead",
             "CPU ops", "total", "source"],
            [_time_row(stage) for stage in report.stages],
        ),
        *_host_tables(report),
        *_device_tables(report),
    ]  # fmt: skip


def _host_tables(report: Report) -> list[ReportTable]:
    """What the cut gives on each host, where it may be several."""
    hosts = report.speed.by_host
    if len(hosts) < 2:
        return []
    rows: dict[tuple[str, ...], list[str]] = {}
    for host in hosts:
        cells = (
            f"{host.frames_per_second:,.1f}",
            f"{host.interval_ms:.3f}",
            "unknown" if host.optimum_ms is None else f"{host.optimum_ms:.3f}",
            "" if host.regret is None else f"{max(0.0, host.regret):.1%}",
            host.limited_by,
        )
        machine = re.split(r"[ ,]", host.device, maxsplit=1)[0]
        rows.setdefault((machine, *cells), []).append(host.device)
    columns = ["host", "frames/s", "ms", "best possible ms", "above it", "limited by"]
    alike = [[_together(names), *cells] for (_, *cells), names in rows.items()]
    return [ReportTable("on each host that it may be (predicted)", columns, alike)]


def _together(names: Sequence[str]) -> str:
    """Variants of a host that are alike: `"usb3-pi5, shared bus or own bus"`."""
    variants = [name.partition(", ")[::2] for name in names]
    bases = list(dict.fromkeys(base for base, _ in variants))
    said = []
    for base in bases:
        buses = [bus for of, bus in variants if of == base and bus]
        about = "any bus" if len(buses) > 1 else "".join(buses)
        said.append(f"{base}, {about}" if about else base)
    return " and ".join(said)


def _device_tables(report: Report) -> list[ReportTable]:
    """What other numbers of Edge TPUs would give."""
    if not report.frames:
        return []
    rows = [
        [
            known.num_devices or "none: the host's CPU",
            spread(known.replicas),
            f"{known.frames_per_second:,.1f}",
        ]
        for known in report.frames
    ]
    title = f"frames/s by number of Edge TPUs (predicted for {report.speed.device})"
    return [ReportTable(title, ["Edge TPUs", "of each segment", "frames/s"], rows)]


def spread(replicas: tuple[int, ...]) -> str:
    """Devices of each segment as a person reads them: `"2+1+1"`; many of one are put together."""
    groups = [(count, len(list(same))) for count, same in itertools.groupby(replicas)]
    if len(replicas) > _MANY:
        return "+".join(f"{times}x{count}" if times > 1 else f"{count}" for count, times in groups)
    return "+".join(map(str, replicas))


def _model_row(stage: StageReport) -> list[Any]:
    return [
        _named(stage),
        stage.num_ops,
        format_bytes(stage.parameter_bytes),
        format_bytes(stage.input_bytes),
        format_bytes(stage.output_bytes),
        f"{stage.macs / 1e6:,.1f} M",
        format_bytes(stage.file_bytes),
        stage.ends_after,
    ]


def _memory_rows(stage: StageReport) -> list[list[Any]]:
    """What is predicted, and below it what the compiler said."""
    predicted, logged = stage.on_device.predicted, stage.on_device.logged
    sizes = [
        predicted.stored_bytes,
        predicted.cost.cached_bytes,
        predicted.cost.streamed_bytes,
        predicted.cost.activation_bytes,
        predicted.room_left_bytes,
    ]
    rows = [[stage.index, *map(format_bytes, sizes), PREDICTED]]
    if logged is not None:
        said = [
            None,
            logged.on_chip_used_bytes,
            logged.off_chip_bytes,
            None,
            logged.on_chip_remaining_bytes,
        ]
        cells = ["" if size is None else format_bytes(size) for size in said]
        rows.append([stage.index, *cells, COMPILER_LOG])
    return rows


def _time_row(stage: StageReport) -> list[Any]:
    ms = stage.on_device.predicted.cost
    parts = (
        ms.compute_ms,
        ms.stream_ms,
        ms.instruction_ms,
        ms.input_ms,
        ms.output_ms,
        ms.fixed_ms,
        ms.cpu_ms,
        ms.total_ms,
    )
    return [_named(stage), *(f"{part:.3f}" for part in parts), PREDICTED]


def _named(stage: StageReport) -> Any:
    """A stage in the first column of a table."""
    return f"{stage.index} (CPU)" if stage.on_device.predicted.on_cpu else stage.index
