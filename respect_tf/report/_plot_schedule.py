"""The op graph, coloured by stage."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.report._colours import stage_colour
from respect_tf.report._figure import finish, new_axes
from respect_tf.report._layout import Link, ScheduleLayout, lay_out
from respect_tf.report._placed_graph import PlacedGraph

_INCHES = 0.30  # between two layers
_LINE, _CROSSING_LINE = "#8a8a8a", "#202020"


def op_radii(placed: PlacedGraph) -> npt.NDArray[np.float64]:
    """Radius of each op's circle in units of the layout: its area grows with its parameters."""
    held = placed.graph.parameter_bytes.astype(np.float64)
    radii: npt.NDArray[np.float64] = 0.14 + 0.28 * np.sqrt(held / max(1.0, held.max(initial=0)))
    return radii


def plot_schedule(
    placed: PlacedGraph,
    *,
    title: str = "",
    ax: Any = None,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Draw every op in the colour of its stage, with what crosses from stage to stage.

    Args:
        placed: The graph in stages.
        title: A line above the picture.
        ax: matplotlib axes to draw into; a new figure if left out.
        path: A file to write (.png, .svg, .pdf).

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    layout = lay_out(placed.graph, placed.stages)
    if ax is None:
        ax = new_axes(max(6.4, layout.width * _INCHES), layout.height * _INCHES + 0.9)
    ax.set(xlim=(0, layout.width), ylim=(layout.height, 0), aspect="equal", title=title)
    ax.title.set_fontsize(10)
    ax.axis("off")
    _draw_bands(ax, placed, layout)
    _draw_links(ax, layout)
    _draw_ops(ax, placed, layout)
    _draw_legend(ax, placed, layout)
    return finish(ax, path)


def _draw_bands(ax: Any, placed: PlacedGraph, layout: ScheduleLayout) -> None:
    from matplotlib.patches import Rectangle

    for band in layout.bands:
        colour = stage_colour(band.stage)
        ax.add_patch(
            Rectangle(
                (0.02, band.top), layout.width - 0.04, band.bottom - band.top,
                facecolor=colour, alpha=0.13, linewidth=0,
            )
        )  # fmt: skip
        ax.add_patch(Rectangle((0.02, band.top), 0.16, band.bottom - band.top, facecolor=colour))
        ax.text(0.95, band.top + 0.6, placed.describe_stage(band.stage), fontsize=8, va="center")


def _draw_links(ax: Any, layout: ScheduleLayout) -> None:
    from matplotlib.collections import PathCollection

    for crosses, colour, width in ((False, _LINE, 0.7), (True, _CROSSING_LINE, 1.5)):
        paths = [_path(link) for link in layout.links if link.crosses == crosses]
        ax.add_collection(
            PathCollection(paths, facecolors="none", edgecolors=colour, linewidths=width)
        )


def _path(link: Link) -> Any:
    from matplotlib.path import Path

    if len(link.points) > 2:
        return Path(link.points)
    (x, y), (to_x, to_y) = link.points
    middle = (x + to_x) / 2
    points = [(x, y), (middle, y), (middle, to_y), (to_x, to_y)]
    return Path(points, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])


def _draw_ops(ax: Any, placed: PlacedGraph, layout: ScheduleLayout) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Circle, Rectangle

    radii = op_radii(placed)
    shapes: list[Any] = []
    for x, y, radius, on_cpu in zip(layout.x, layout.y, radii, placed.on_cpu, strict=True):
        if on_cpu:
            shapes.append(Rectangle((x - radius, y - radius), 2 * radius, 2 * radius))
        else:
            shapes.append(Circle((x, y), radius))
    colours = [stage_colour(int(stage)) for stage in placed.stages]
    edges = ["#000000" if on_cpu else "#ffffff" for on_cpu in placed.on_cpu]
    ax.add_collection(
        PatchCollection(shapes, facecolors=colours, edgecolors=edges, linewidths=0.5, zorder=3)
    )
    starts, ends = border_ops(placed)
    for ops, side in ((starts, -1), (ends, 1)):
        ax.plot(
            layout.x[ops] + side * (radii[ops] + 0.16), layout.y[ops], linestyle="none",
            marker=9 if side > 0 else 5, markersize=4, color="#202020", zorder=4,
        )  # fmt: skip


def border_ops(placed: PlacedGraph) -> tuple[list[int], list[int]]:
    """Ops that read an input of the model, and ops that make an output of it, ascending."""
    graph = placed.graph
    ops, tensors = graph.reads
    readers = set(ops[np.isin(tensors, graph.model_inputs)].tolist())
    makers = set(graph.producer[graph.model_outputs].tolist()) - {-1}
    return sorted(readers), sorted(makers)


def _draw_legend(ax: Any, placed: PlacedGraph, layout: ScheduleLayout) -> None:
    from matplotlib.lines import Line2D

    def mark(label: str, **style: Any) -> Any:
        return Line2D([], [], label=label, **{"linestyle": "none", "color": "#707070", **style})

    entries = [
        mark("op without parameters", marker="o", markersize=3.5),
        mark("op with many", marker="o", markersize=9),
        mark("crosses stages", linestyle="-", color=_CROSSING_LINE, linewidth=1.5),
        mark("model input, output", marker=5, markersize=5, color="#202020"),
    ]
    if placed.on_cpu.any():
        entries.append(mark("op on the CPU", marker="s", markersize=6, markeredgecolor="#000000"))
    columns = len(entries) if layout.width > 24 else 3
    ax.legend(
        handles=entries, loc="upper left", bbox_to_anchor=(0, 0), ncols=columns,
        frameon=False, fontsize=8, borderpad=0, handletextpad=0.4, columnspacing=1.4,
    )  # fmt: skip
