"""Frames per second against the number of Edge TPUs."""

from __future__ import annotations

import os
from typing import Any

from respect_tf.device import devices_of, first_device
from respect_tf.planning import DevicePlan
from respect_tf.report._colours import stage_colour
from respect_tf.report._figure import finish, new_axes
from respect_tf.report._report_tables import spread


def plot_plan(
    plan: DevicePlan,
    *,
    title: str = "",
    ax: Any = None,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Draw frames per second against devices: the plan, copies, pipelines, the host's own CPU.

    Args:
        plan: The plan.
        title: A line above the picture.
        ax: matplotlib axes to draw into; a new figure if left out.
        path: A file to write (.png, .svg, .pdf).

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    if ax is None:
        ax = new_axes(8.0, 4.2)
    from matplotlib.ticker import MaxNLocator

    rows = plan.rows[1:]
    counts = [row.num_devices for row in rows]
    if len(devices_of(plan.device)) > 1:
        low, high = zip(*(row.frames_per_second_range for row in rows), strict=True)
        ax.fill_between(counts, low, high, color=stage_colour(0), alpha=0.15, linewidth=0,
                        label=f"best, over all hosts of {plan.device.name}")  # fmt: skip
    for label, kind, style in (
        ("pipeline without replicas", plan.pipelines, "--"),
        ("copies of the whole model", plan.copies, ":"),
    ):
        if kind:
            ax.plot(counts, [row.frames_per_second for row in kind], style, color="#777777",
                    label=label)  # fmt: skip
    frames = [row.frames_per_second for row in rows]
    ax.plot(counts, frames, "o-", color=stage_colour(0), label="best")
    for row, height in zip(rows, frames, strict=True):
        ax.annotate(spread(row.replicas), (row.num_devices, height), (0, 6),
                    textcoords="offset points", ha="center", fontsize=7)  # fmt: skip
    ax.axhline(plan.cpu.frames_per_second, color="black", linewidth=0.8, label="the host's CPU")
    ax.set(xlabel="Edge TPUs", ylabel=f"frames per second on {first_device(plan.device).name}")
    ax.set_ylim(bottom=0)
    ax.margins(y=0.12)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False, fontsize=8)
    ax.set_title(f"{title}: predicted" if title else "predicted", fontsize=10)
    ax.spines[["top", "right"]].set_visible(False)
    return finish(ax, path)
