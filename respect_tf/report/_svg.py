"""Pictures as SVG inside HTML.

Bars are placed in percent and text in pixels, so that both stay readable on a telephone and on a
wide screen. A picture with a width of its own lies in a frame that scrolls.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterable

from respect_tf.report._picture import (
    Arrow,
    Circle,
    Lines,
    Picture,
    Point,
    Rect,
    Shape,
    Strip,
    Text,
)


def picture_html(picture: Picture) -> str:
    """A picture for a page whose style sheet knows its classes."""
    parts = [f'<p class="row">{html.escape(picture.above)}</p>'] if picture.above else []
    if picture.legend:
        entries = "".join(
            f'<span class="key">{_swatch(mark)}{html.escape(label)}</span>'
            for mark, label in picture.legend
        )
        parts.append(f'<p class="legend">{entries}</p>')
    parts += [_strip(strip, picture.width) for strip in picture.strips]
    if picture.below:
        parts.append(f'<p class="row">{html.escape(picture.below)}</p>')
    return "".join(parts)


def _swatch(mark: str) -> str:
    if mark.startswith("#"):
        return f'<i style="background:{mark}"></i>'
    return f"{mark} " if len(mark) == 1 else f'<i class="{mark}"></i>'


def _strip(strip: Strip, width: int | None) -> str:
    label = ""
    if strip.label:
        text = f" {html.escape(strip.text)}" if strip.text else ""
        label = f'<p class="row"><b>{html.escape(strip.label)}</b>{text}</p>'
    drawn = (
        f'<svg width="{"100%" if width is None else width}" height="{strip.height:g}" role="img" '
        f'aria-label="{html.escape(strip.name)}">'
        f"{_shapes(strip.shapes, '%' if width is None else '')}</svg>"
    )
    kind = "strip" if width is None else "scroll"
    return f'<div class="{kind}{" marked" if strip.marked else ""}">{label}{drawn}</div>'


def _shapes(shapes: Iterable[Shape], unit: str) -> str:
    """Shapes, where neighbours of one colour say it once."""
    parts = []
    for fill, group in itertools.groupby(shapes, key=lambda shape: getattr(shape, "fill", "")):
        drawn = "".join(_shape(shape, unit) for shape in group)
        parts.append(f'<g fill="{fill}">{drawn}</g>' if fill else drawn)
    return "".join(parts)


def _shape(shape: Shape, unit: str) -> str:
    digits = 3 if unit else 1
    if isinstance(shape, Rect):
        if shape.style == "room":
            x = f"{shape.x:.{digits}f}{unit}"
            return f'<line class="room" x1="{x}" x2="{x}" y1="0" y2="{shape.height:g}"/>'
        opacity = "" if shape.opacity == 1 else f' opacity="{shape.opacity:g}"'
        return _tipped(
            f'rect{_class(shape.style)} x="{shape.x:.{digits}f}{unit}" y="{shape.y:.1f}" '
            f'width="{shape.width:.{digits}f}{unit}" height="{shape.height:.1f}"{opacity}',
            shape.tip,
        )
    if isinstance(shape, Circle):
        return _tipped(
            f'circle cx="{shape.x:.1f}{unit}" cy="{shape.y:.1f}" r="{shape.radius:.1f}"', shape.tip
        )
    if isinstance(shape, Text):
        anchor = "" if shape.style == "number" else f' text-anchor="{shape.anchor}"'
        return (
            f'<text{_class(shape.style)} x="{shape.x:.{digits}f}{unit}" y="{shape.y:.1f}"{anchor}>'
            f"{html.escape(shape.text)}</text>"
        )
    if isinstance(shape, Lines):
        if shape.style == "crossing":  # each above a broad line in the page's colour
            return "".join(
                f'<path class="beside" d="{path}"/><path class="crossing" d="{path}"/>'
                for path in map(_path, shape.lines)
            )
        return f'<path{_class(shape.style)} d="{"".join(map(_path, shape.lines))}"/>'
    return _arrow(shape)


def _arrow(arrow: Arrow) -> str:
    return f'<path class="border" d="M{arrow.x:.1f} {arrow.y - 3:.1f}l4 3l-4 3z"/>'


def _class(style: str) -> str:
    return f' class="{"bar followed" if style == "followed" else style}"' if style else ""


def _tipped(element: str, tip: str) -> str:
    if not tip:
        return f"<{element}/>"
    return f"<{element}><title>{html.escape(tip)}</title></{element.partition(' ')[0]}>"


def _path(points: tuple[Point, ...]) -> str:
    (x, y), *others = points
    if len(points) > 2:
        return f"M{x:.0f} {y:.0f}" + "".join(f"L{to_x:.0f} {to_y:.0f}" for to_x, to_y in others)
    to_x, to_y = others[0]
    if y == to_y:
        return f"M{x:.0f} {y:.1f}H{to_x:.0f}"
    middle = (x + to_x) / 2
    return f"M{x:.0f} {y:.1f}C{middle:.0f} {y:.1f} {middle:.0f} {to_y:.1f} {to_x:.0f} {to_y:.1f}"
