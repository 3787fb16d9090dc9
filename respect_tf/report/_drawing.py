"""Pictures as matplotlib figures, for files and notebooks."""

from __future__ import annotations

import os
from typing import Any

from respect_tf.report._figure import finish, new_axes
from respect_tf.report._picture import Arrow, Circle, Lines, Picture, Point, Rect, Shape, Text

_WIDTH = 9.0  # inches of a picture that has no width of its own
_INCHES = 0.0136  # per pixel
_LABEL = 18  # pixels above a strip for its label
_GAP = 8  # pixels between strips
_INK, _SOFT, _LINE, _MARK = "#202020", "#595959", "#8a8a8a", "#ebebeb"
_EDGES = {"bar": ("#ffffff", 0.6), "followed": ("#000000", 1.8), "cpu": ("#000000", 0.8)}
_LINES = {"inner": (_LINE, 0.7), "crossing": (_INK, 1.5)}
_MARKERS = {"•": "o", "▶": 5, "■": "s"}


def draw_figure(
    picture: Picture,
    *,
    title: str = "",
    ax: Any = None,
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """Draw a picture.

    Args:
        picture: The picture.
        title: A line above it.
        ax: matplotlib axes to draw into; a new figure if left out.
        path: A file to write (.png, .svg, .pdf).

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        DependencyError: matplotlib is not installed.
        ArgumentError: matplotlib knows no such format.
        SavedPipelineError: The file cannot be written.
    """
    tops, height = [], 0.0
    for strip in picture.strips:
        height += _LABEL if strip.label else 0
        tops.append(height)
        height += strip.height + (0 if strip is picture.strips[-1] else _GAP)
    width = 100.0 if picture.width is None else float(picture.width)
    if ax is None:
        inches = _WIDTH if picture.width is None else max(6.4, width * _INCHES)
        ax = new_axes(inches, height * _INCHES + 1.2)
    ax.axis("off")
    ax.set(xlim=(0, width), ylim=(height, 0))
    if picture.width is not None:
        ax.set_aspect("equal")
    for strip, top in zip(picture.strips, tops, strict=True):
        if strip.marked:
            around = Rect(0, -_LABEL, width, strip.height + _LABEL, _MARK)
            _draw(ax, (around,), top)
        _draw(ax, strip.shapes, top)
        if strip.label:
            bold = ax.annotate(strip.label, (0, top - 5), fontsize=8, fontweight="bold")
            ax.annotate(
                strip.text, (1, 0), xycoords=bold, xytext=(5, 0), textcoords="offset points",
                fontsize=8, verticalalignment="bottom",
            )  # fmt: skip
    line = ": ".join(filter(None, (title, picture.above)))
    ax.set_title(line, fontsize=10, pad=12.0 + 14.0 * _draw_legend(ax, picture))
    if picture.below:
        ax.annotate(
            picture.below, (0, 0), xycoords="axes fraction", xytext=(0, -12),
            textcoords="offset points", fontsize=8,
        )  # fmt: skip
    return finish(ax, path)


def _draw(ax: Any, shapes: tuple[Shape, ...], top: float) -> None:
    """Shapes in the order in which they lie; those of a kind together, which is faster."""
    from matplotlib.collections import PatchCollection, PathCollection

    patches: list[Any] = []
    for shape in shapes:
        if isinstance(shape, Rect | Circle):
            patches.append(_patch(shape, top))
        elif isinstance(shape, Lines):
            colour, width = _LINES[shape.style]
            paths = [_path([(x, y + top) for x, y in line]) for line in shape.lines]
            ax.add_collection(
                PathCollection(paths, facecolors="none", edgecolors=colour, linewidths=width)
            )
        elif isinstance(shape, Text):
            ax.text(
                shape.x, shape.y + top, shape.text, fontsize=8, zorder=4,
                color=shape.fill or (_SOFT if shape.style == "tick" else _INK),
                ha={"start": "left", "middle": "center", "end": "right"}[shape.anchor],
            )  # fmt: skip
    if patches:
        ax.add_collection(PatchCollection(patches, match_original=True, zorder=3))
    arrows = [shape for shape in shapes if isinstance(shape, Arrow)]
    if arrows:
        ax.plot(
            [arrow.x + 2 for arrow in arrows], [arrow.y + top for arrow in arrows],
            linestyle="none", marker=5, markersize=4, color=_INK, zorder=4,
        )  # fmt: skip


def _patch(shape: Rect | Circle, top: float) -> Any:
    from matplotlib import patches

    if isinstance(shape, Circle):
        return patches.Circle(
            (shape.x, shape.y + top), shape.radius, facecolor=shape.fill, edgecolor="#ffffff",
            linewidth=0.5,
        )  # fmt: skip
    if shape.style == "room":
        return patches.Rectangle(
            (shape.x, shape.y + top), 0, shape.height, edgecolor="#000000", linewidth=1.2,
            linestyle="--",
        )  # fmt: skip
    edge, width = _EDGES.get(shape.style, ("none", 0.0))
    return patches.Rectangle(
        (shape.x, shape.y + top), shape.width, shape.height, facecolor=shape.fill,
        alpha=None if shape.opacity == 1 else shape.opacity, edgecolor=edge, linewidth=width,
    )  # fmt: skip


def _path(points: list[Point]) -> Any:
    from matplotlib.path import Path

    if len(points) > 2:
        return Path(points)
    (x, y), (to_x, to_y) = points
    middle = (x + to_x) / 2
    ends = [(x, y), (middle, y), (middle, to_y), (to_x, to_y)]
    return Path(ends, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])


def _draw_legend(ax: Any, picture: Picture) -> int:
    """Draw what marks mean above the picture; how many rows that takes."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    for mark, label in picture.legend:
        if mark.startswith("#"):
            handles.append(Patch(facecolor=mark, label=label))
        elif mark in _MARKERS:
            handles.append(
                Line2D([], [], linestyle="none", marker=_MARKERS[mark], color=_SOFT, label=label)
            )
        else:
            dashes = "--" if mark == "room" else "-"
            handles.append(Line2D([], [], linestyle=dashes, color=_INK, label=label))
    if not handles:
        return 0
    narrow = picture.width is not None and picture.width < _WIDTH / _INCHES
    columns = min(2 if narrow else 4, len(handles))
    ax.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns,
        frameon=False, fontsize=8, borderpad=0.2, handlelength=1.6, columnspacing=1.2,
    )  # fmt: skip
    return -(-len(handles) // columns)
