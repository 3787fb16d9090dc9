"""What a report says in lines, for terminals and pages alike, and the whole of it as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from respect_tf.device import MARGINS
from respect_tf.report._advice import next_steps, proof_of
from respect_tf.report._prediction import PREDICTED, is_throughput
from respect_tf.report._report_tables import report_tables, spread
from respect_tf.report._text import format_bytes, table, wrapped

if TYPE_CHECKING:
    from respect_tf.report._report import Report

SOURCES = (
    "Figures without a source are read from the .tflite models; predictions are the device model's."
)
WORTH = (
    f"Predicted times are within {MARGINS['ms']:.0%} for 9 of 10 models on a known host, within "
    f"{MARGINS['ms_unknown_host']:.0%} for 3 of 4 on an unknown one; respect-tf calibrate "
    "fits them to yours."
)
_MAX_CPU_OPS = 8  # lines about ops on the CPU
_LABEL_WIDTH = 16


def report_text(report: Report) -> str:
    """The whole report as text."""
    parts = []
    for part in report_tables(report):
        parts += [table(part.columns, part.rows, title=part.title), ""]
    parts += [
        wrapped(f"{label:<{_LABEL_WIDTH}}{said}", _LABEL_WIDTH)
        for label, said in report_lines(report)
    ]
    return "\n".join([*parts, wrapped(SOURCES), wrapped(WORTH)])


def report_lines(report: Report, *, solve_seconds: bool = True) -> list[tuple[str, str]]:
    """What there is to say about the whole pipeline, each with a label.

    Args:
        report: The report.
        solve_seconds: Whether to say how long the scheduler took.
    """
    total = sum(stage.parameter_bytes for stage in report.stages)
    lines = [
        *_choice_lines(report),
        *_speed_lines(report),
        *_cpu_stage_lines(report),
        (
            "largest stage",
            f"{format_bytes(report.peak_parameter_bytes)} of {format_bytes(total)} parameters",
        ),
    ]
    if report.cost is not None and report.lower_bound is not None:
        proof = proof_of(report.status, report.gap)
        lines.append(
            (
                "cost",
                f"{_cost(report, report.cost)} ({_what(report)}), bound "
                f"{_cost(report, report.lower_bound)}: {proof}",
            )
        )
    if report.proposal_cost is not None and report.proposal_gap is not None:
        alone = f"{_cost(report, report.proposal_cost)} by the network alone"
        lines.append(("proposal", f"{alone}, {report.proposal_gap:.2%} above this cut"))
    timed = solve_seconds and report.solve_seconds is not None
    lines.append(
        ("cut by", report.scheduler + (f" in {report.solve_seconds:.3f} s" if timed else ""))
    )
    if report.parity is None:
        lines.append(("parity", "not verified"))
    else:
        lines.append(
            (
                "parity",
                f"bit-exact: {report.parity.num_tensors} tensors, {report.parity.num_inputs} "
                f"inputs, {report.parity.num_bytes:,} bytes compared",
            )
        )
    lines += [("rewritten", line) for line in report.rewritten]
    lines += [("compiled", line) for line in report.recuts]
    lines += _streaming_lines(report)
    lines += _cpu_lines(report)
    if report.made:
        lines.append(("made", report.made))
    lines += [("next", step) for step in next_steps(report)]
    lines += [("warning", warning) for warning in report.warnings]
    return lines


def _cost(report: Report, cost: float) -> str:
    return format_cost(cost, report.objective, is_relative=report.is_relative)


def _what(report: Report) -> str:
    """What a cost means."""
    if report.is_relative:
        above = max(0.0, (report.cost or 1.0) - 1)
        return (
            f"{report.objective}: at worst {above:.2%} above the best for one of these hosts alone"
        )
    return str(report.objective)


def format_cost(cost: float | None, objective: str | None, *, is_relative: bool = False) -> str:
    """A cost as a person reads it.

    Args:
        cost: The cost.
        objective: What it is about.
        is_relative: Whether it is relative to the optima of several hosts.
    """
    if cost is None:
        return "unknown"
    if is_relative:
        return f"{cost:.4f}"
    if is_throughput(objective) or (objective or "").partition("(")[0] == "latency":
        return f"{cost:,.3f} ms"
    return f"{cost:,.15g}"


def _speed_lines(report: Report) -> list[tuple[str, str]]:
    speed = report.speed
    fps = speed.frames_per_second
    one, stock = speed.one_tpu_frames_per_second, speed.compiler_frames_per_second
    gains = []
    if one is not None and stock is not None:
        gains = [
            (
                "speed-up",
                f"{fps / one:.2f} over one Edge TPU ({one:,.1f} frames/s), {fps / stock:.2f} over "
                f"the compiler's own cut ({stock:,.1f}; {speed.source})",
            )
        ]
    elif _cpu_stage_lines(report):
        gains = [
            (
                "speed-up",
                "over one Edge TPU or the compiler's own cut: none to tell where the compiler "
                "refuses the whole model",
            )
        ]
    each = [host.frames_per_second for host in speed.by_host]
    over = f"; {min(each):,.1f} to {max(each):,.1f} over all hosts" if len(each) > 1 else ""
    return [
        (
            "throughput",
            f"{fps:,.1f} frames/s ({speed.source} for {speed.device}{over}), one every "
            f"{speed.interval_ms:.3f} ms; limited by: {speed.limited_by}",
        ),
        *gains,
        (
            "latency",
            f"{speed.latency_ms:.3f} ms, the first inference {speed.first_inference_ms:.3f} ms "
            f"({speed.source})",
        ),
    ]


def _choice_lines(report: Report) -> list[tuple[str, str]]:
    """What a plan chose, and how many Edge TPUs run each segment."""
    lines = [("chosen", report.choice)] if report.choice else []
    if set(report.replicas) - {1}:
        total = sum(
            count
            for count, stage in zip(report.replicas, report.stages, strict=True)
            if not stage.on_device.predicted.on_cpu
        )
        lines.append(
            ("Edge TPUs", f"{total}: {spread(report.replicas)} of the segments, which share inputs")
        )
    return lines


def _cpu_stage_lines(report: Report) -> list[tuple[str, str]]:
    """Which stages need no Edge TPU."""
    return [
        (
            "CPU stage",
            f"stage {stage.index} runs on the host and is never compiled: "
            f"{stage.on_device.predicted.total_ms:.3f} ms ({PREDICTED})",
        )
        for stage in report.stages
        if stage.on_device.predicted.on_cpu
    ]


def _streaming_lines(report: Report) -> list[tuple[str, str]]:
    """Why parameters are streamed where there is room left."""
    return [
        (
            "streaming",
            f"stage {stage.index} streams {format_bytes(predicted.streamed_bytes)} beside "
            f"{format_bytes(predicted.room_left_bytes)} of room: a layer is kept as a whole or "
            "streamed as a whole, its blocks of channels must each fit into one of the chip's "
            "memories, and constants of elementwise ops are always streamed",
        )
        for stage in report.stages
        for predicted in [stage.on_device.predicted]
        if predicted.streamed_bytes and predicted.room_left_bytes
    ]


def _cpu_lines(report: Report) -> list[tuple[str, str]]:
    found = [
        ("on the CPU", f"stage {stage.index}: {op.description}: {op.reason}")
        for stage in report.stages
        for op in stage.on_device.predicted.cpu_ops
    ]
    if len(found) > _MAX_CPU_OPS:
        more = len(found) - _MAX_CPU_OPS
        return [*found[:_MAX_CPU_OPS], ("on the CPU", f"and {more} more ops")]
    return found
