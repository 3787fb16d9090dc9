"""What a plan says, as a table and lines, for terminals and pages alike."""

from __future__ import annotations

import html
from typing import Any

from respect_tf._reporting import printable
from respect_tf.device import MARGINS, devices_of, first_device
from respect_tf.planning import DevicePlan, PlanRow, TooLarge
from respect_tf.report._report_tables import ReportTable, spread
from respect_tf.report._text import table

# More devices are worth a line if they give so much more.
_WORTH = 1.1

_MIB = 2**20


def plan_text(plan: DevicePlan, title: str = "") -> str:
    """The whole plan as text."""
    part = plan_table(plan, title)
    return printable("\n".join([table(part.columns, part.rows, title=part.title), "",
                                *plan_lines(plan)]))  # fmt: skip


def plan_html(plan: DevicePlan, title: str = "") -> str:
    """The whole plan as a fragment of a page."""
    part = plan_table(plan, title)
    head = "".join(f"<th>{html.escape(column)}</th>" for column in part.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in part.rows
    )
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in plan_lines(plan))
    return printable(
        f"<div><b>{html.escape(part.title)}</b><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table>{lines}</div>"
    )


def plan_table(plan: DevicePlan, title: str = "") -> ReportTable:
    """A row for each number of devices, the host's own CPU first."""
    hosts = len(devices_of(plan.device)) > 1
    columns = ["TPUs", "segments", "replicas", "fps"]
    columns += ["all hosts"] if hosts else []
    columns += ["latency", "first", "MiB", "limit"]
    columns += ["copies"] if plan.copies else []
    columns += ["pipeline"] if plan.pipelines else []
    name = first_device(plan.device).name
    about = f"frames per second (fps) by number of Edge TPUs, predicted for {name}"
    return ReportTable(
        f"{title}: {about}" if title else about,
        columns,
        [_cells(plan, row, hosts=hosts) for row in plan.rows],
    )


def _cells(plan: DevicePlan, row: PlanRow, *, hosts: bool) -> list[Any]:
    place = row.num_devices - 1
    cells: list[Any] = [row.num_devices or "CPU", row.num_segments, spread(row.replicas)]
    cells.append(f"{row.frames_per_second:,.1f}")
    if hosts:
        cells.append("-".join(f"{frames:,.0f}" for frames in row.frames_per_second_range))
    streamed = f"{row.streamed_bytes / _MIB:.1f}" if row.streamed_bytes else ""
    cells += [f"{row.latency_ms:,.1f}", f"{row.first_ms:,.1f}", streamed]
    cells.append(row.limited_by)
    for kind in (plan.copies, plan.pipelines):
        if kind:
            cells.append(f"{kind[place].frames_per_second:,.1f}" if place >= 0 else "")
    return cells


def plan_lines(plan: DevicePlan) -> list[str]:
    """What is chosen and why, how many devices are enough, and how far to trust it."""
    known = "ms" if len(devices_of(plan.device)) == 1 else "ms_unknown_host"
    lines = [choice(plan)]
    fewest = next(row for row in plan.rows[1:] if row.frames_per_second * _WORTH >= _most(plan))
    if fewest.num_used < plan.num_devices:
        few, verb = _devices(fewest.num_used), "gives" if fewest.num_used == 1 else "give"
        lines.append(
            f"{few} {verb} {fewest.frames_per_second:,.1f} frames/s: more of them add less than "
            f"{_WORTH - 1:.0%}."
        )
    if plan.too_large is not None:
        lines.append(pictures(plan.too_large))
    if not plan.is_proved:
        lines.append("Not proved: a better way to use the devices may exist.")
    lines += [
        "replicas: Edge TPUs of each segment; latency and first inference in ms; MiB: parameters "
        "streamed at each inference; copies: fps of copies of the whole model; pipeline: fps "
        "without replicas.",
        f"Predicted times are within {MARGINS[known]:.0%} for most models; respect-tf calibrate "
        "fits them to your machine.",
    ]
    return lines


def _most(plan: DevicePlan) -> float:
    return max(row.frames_per_second for row in plan.rows[1:])


def choice(plan: DevicePlan) -> str:
    """What is best, and why, in a line."""
    best = plan.best
    name = first_device(plan.device).name
    count = "1 segment" if best.num_segments == 1 else f"{best.num_segments} segments"
    said = f"{count} on {_devices(best.num_used)}"
    if best.num_used > best.num_segments:
        said += f" ({spread(best.replicas)})" if best.num_segments > 1 else ", a copy on each"
    said += f": {best.frames_per_second:,.1f} frames/s predicted for {name}"
    rivals = []
    if best.num_devices > 1:
        if best.num_segments > 1 and plan.copies:
            frames = plan.copies[-1].frames_per_second
            rivals.append(f"copies of the whole model give {frames:,.1f}")
        pipeline = plan.pipelines[-1] if plan.pipelines else None
        if pipeline and best.num_used > best.num_segments and pipeline.num_segments > 1:
            rivals.append(
                f"{pipeline.num_segments} segments without replicas "
                f"{pipeline.frames_per_second:,.1f}"
            )
        rivals.append(f"one Edge TPU {plan.row(1).frames_per_second:,.1f}")
    if best.num_used < best.num_devices:
        rivals.append(f"more than {best.num_used} of {best.num_devices} devices add nothing")
    said += f"; {', '.join(rivals)}" if rivals else ""
    if plan.is_best_on_cpu:
        said += (
            f". The host's own CPU is faster: {plan.cpu.frames_per_second:,.1f} frames/s without "
            "an Edge TPU"
        )
    return said


def pictures(found: TooLarge) -> str:
    """Why pictures are too large, and what fits, in a line."""
    said = f"Pictures of {found.height}x{found.width} are too large: {found.reason}."
    ways = "; ".join(map(str, found.ways))
    said += f" What fits: {ways}." if ways else ""
    return said + (f" {found.note.removesuffix('.')}." if found.note else "")


def _devices(count: int) -> str:
    return "1 Edge TPU" if count == 1 else f"{count} Edge TPUs"


def plan_dict(plan: DevicePlan) -> dict[str, Any]:
    """Plain values for JSON; every figure is under `"predicted"`."""
    return {
        "device": plan.device.name,
        "first_host": first_device(plan.device).name,
        "objective": plan.objective,
        "num_devices": plan.num_devices,
        "is_proved": plan.is_proved,
        "is_best_on_cpu": plan.is_best_on_cpu,
        "choice": choice(plan),
        "too_large": None if plan.too_large is None else _too_large_dict(plan.too_large),
        "rows": [row_dict(row) for row in plan.rows],
        "copies": [row_dict(row) for row in plan.copies],
        "pipelines": [row_dict(row) for row in plan.pipelines],
    }


def _too_large_dict(found: TooLarge) -> dict[str, Any]:
    return {
        "height": found.height,
        "width": found.width,
        "reason": found.reason,
        "note": found.note,
        "ways": [
            {
                "height": way.height,
                "width": way.width,
                "tiles": way.tiles,
                "overlap": list(way.overlap),
                "num_segments": way.best.num_segments,
                "replicas": list(way.best.replicas),
                "predicted": {"pictures_per_second": way.pictures_per_second},
            }
            for way in found.ways
        ],
    }


def row_dict(row: PlanRow) -> dict[str, Any]:
    """A row as plain values for JSON."""
    return {
        "kind": row.kind,
        "num_devices": row.num_devices,
        "num_segments": row.num_segments,
        "replicas": list(row.replicas),
        "stages": None if row.schedule is None else row.schedule.stages.tolist(),
        "predicted": {
            "frames_per_second": row.frames_per_second,
            "interval_ms": row.interval_ms,
            "latency_ms": row.latency_ms,
            "latency_percentiles_ms": {
                f"p{percent}": ms for percent, ms in row.latency_percentiles_ms.items()
            },
            "first_inference_ms": row.first_ms,
            "streamed_bytes": row.streamed_bytes,
            "limited_by": row.limited_by,
            "interval_ms_by_host": dict(row.interval_ms_by_host),
        },
    }
