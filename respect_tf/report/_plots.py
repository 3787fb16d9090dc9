"""Memory of the stages, and the simulated pipeline, as matplotlib figures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from respect_tf.report._colours import (
    ACTIVATIONS,
    CACHED,
    SHARED,
    STREAMED,
    stage_colour,
    text_colour,
)
from respect_tf.report._figure import finish, new_axes
from respect_tf.report._gantt import BUS, Gantt, Row
from respect_tf.report._prediction import StageOnDevice

_MIB = 2**20
_ROW_INCHES = 0.42


def plot_memory(
    stages: Sequence[StageOnDevice],
    room_bytes: int,
    *,
    title: str = "",
    ax: Any = None,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Draw what each stage keeps on its Edge TPU, and what is streamed, against the room there.

    Bars are predicted; where a stage is compiled, a narrow bar below has the compiler's figures.

    Args:
        stages: The stages on their devices.
        room_bytes: What an Edge TPU holds of parameters and activations.
        title: A line above the picture.
        ax: matplotlib axes to draw into; a new figure if left out.
        path: A file to write (.png, .svg, .pdf).

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    if ax is None:
        ax = new_axes(8.0, 1.6 + _ROW_INCHES * len(stages))
    parts: list[tuple[str, str, str, list[int]]] = [
        ("activations", ACTIVATIONS, "", [s.predicted.cost.activation_bytes for s in stages]),
        ("parameters on chip", CACHED, "", [s.predicted.cost.cached_bytes for s in stages]),
        ("parameters streamed", STREAMED, "///", [s.predicted.cost.streamed_bytes for s in stages]),
    ]
    rows = range(len(stages))
    lefts = [0.0] * len(stages)
    for label, colour, hatch, sizes in parts:
        widths = [size / _MIB for size in sizes]
        ax.barh(
            rows, widths, 0.62, lefts, color=colour, hatch=hatch, edgecolor="white",
            linewidth=0, label=label,
        )  # fmt: skip
        lefts = [left + width for left, width in zip(lefts, widths, strict=True)]
    _draw_logged(ax, stages)
    ax.axvline(room_bytes / _MIB, color="black", linestyle="--", linewidth=1.2, label="room")
    ax.set_yticks(rows, [f"stage {row}" for row in rows])
    ax.set(ylim=(len(stages) - 0.4, -0.6), xlabel="MiB (predicted)")
    ax.set_title(title, fontsize=10, pad=26 if title else None)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(
        loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, frameon=False, fontsize=8,
        borderpad=0.2, handlelength=1.6, columnspacing=1.2,
    )  # fmt: skip
    return finish(ax, path)


def _draw_logged(ax: Any, stages: Sequence[StageOnDevice]) -> None:
    """What the compiler said, below the bars of the stages that are compiled."""
    found = [(row, stage.logged) for row, stage in enumerate(stages) if stage.logged is not None]
    if not found:
        return
    rows = [row + 0.38 for row, _ in found]
    used = [(logged.on_chip_used_bytes or 0) / _MIB for _, logged in found]
    streamed = [(logged.off_chip_bytes or 0) / _MIB for _, logged in found]
    # Parameters begin where the prediction has them, so that the two can be compared.
    lefts = [stages[row].predicted.cost.activation_bytes / _MIB for row, _ in found]
    ax.barh(rows, used, 0.12, lefts, color="black", label="compiler log: on chip")
    ends = [left + width for left, width in zip(lefts, used, strict=True)]
    ax.barh(rows, streamed, 0.12, ends, color="#777777", label="compiler log: streamed")


def plot_pipeline(
    gantt: Gantt,
    *,
    title: str = "",
    ax: Any = None,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Draw which stage works on which input when, with the bottleneck marked.

    Args:
        gantt: A stretch of the simulated pipeline.
        title: A line above the picture, before what it says itself.
        ax: matplotlib axes to draw into; a new figure if left out.
        path: A file to write (.png, .svg, .pdf).

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    rows = gantt.rows
    if ax is None:
        ax = new_axes(9.0, 1.3 + _ROW_INCHES * len(rows))
    span = gantt.end_ms - gantt.start_ms
    for bar in gantt.bars:
        y = rows.index(Row(bar.stage, bar.replica))
        start = max(bar.start_ms, gantt.start_ms) - gantt.start_ms
        end = min(bar.end_ms, gantt.end_ms) - gantt.start_ms
        colour = bar_colour(bar.stage)
        followed = bar.input == gantt.highlighted
        ax.barh(
            y, end - start, 0.7, start, color=colour, alpha=1.0 if bar.input % 2 else 0.75,
            edgecolor="black" if followed else "white", linewidth=1.8 if followed else 0.6,
            zorder=3 if followed else 2,
        )  # fmt: skip
        if end - start > 0.025 * span:
            ax.text(
                (start + end) / 2, y, str(bar.input), ha="center", va="center", fontsize=8,
                color=text_colour(colour), zorder=4,
            )  # fmt: skip
    for y, row in enumerate(rows):
        if gantt.is_bottleneck(row):
            ax.axhspan(y - 0.46, y + 0.46, facecolor="#000000", alpha=0.1, linewidth=0, zorder=0)
    ax.set_yticks(range(len(rows)), [row_label(gantt, row) for row in rows])
    for label, row in zip(ax.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if gantt.is_bottleneck(row) else "normal")
    ax.set(xlim=(0, span), ylim=(len(rows) - 0.45, -0.55))
    ax.set_xlabel(f"ms (simulated from predictions); input {gantt.highlighted} is outlined")
    ax.set_title(f"{title}: {gantt.title}" if title else gantt.title, fontsize=10)
    ax.spines[["top", "right"]].set_visible(False)
    return finish(ax, path)


def bar_colour(stage: int) -> str:
    """The colour of a stage's bars."""
    return SHARED if stage == BUS else stage_colour(stage)


def row_label(gantt: Gantt, row: Row) -> str:
    """What stands beside a row."""
    return f"{gantt.row_label(row)}{' (bottleneck)' if gantt.is_bottleneck(row) else ''}"
