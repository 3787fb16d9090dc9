"""A picture as plain shapes: composed once, then drawn into a page or a figure.

Sizes and positions are in pixels, y downwards from the strip's top; x is in percent of the width
where a picture has no width of its own. How a style looks is known where it is drawn.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple

Style = Literal["", "room", "bar", "followed", "number", "tick", "inner", "crossing", "cpu", "band"]
Point = tuple[float, float]


class Rect(NamedTuple):
    """A rectangle; `tip` is shown where a pointer rests on it."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    style: Style = ""
    opacity: float = 1.0
    tip: str = ""


class Circle(NamedTuple):
    """A disc."""

    x: float
    y: float
    radius: float
    fill: str
    tip: str = ""


class Text(NamedTuple):
    """A line of text, whose baseline is at `y`."""

    x: float
    y: float
    text: str
    style: Style
    fill: str = ""
    anchor: Literal["start", "middle", "end"] = "middle"


class Lines(NamedTuple):
    """Lines: two points are the ends of a curve that leaves and arrives horizontally."""

    lines: tuple[tuple[Point, ...], ...]
    style: Style


class Arrow(NamedTuple):
    """A small arrowhead that points to the right and begins at `x`."""

    x: float
    y: float


Shape = Rect | Circle | Text | Lines | Arrow


@dataclasses.dataclass(frozen=True)
class Strip:
    """A part of a picture, over its whole width.

    Attributes:
        height: Of its shapes.
        shapes: From the lowest to the uppermost.
        name: What it shows, for readers who do not see it.
        label: What stands above it in bold.
        text: What follows there.
        marked: Whether it stands out.
    """

    height: float
    shapes: tuple[Shape, ...]
    name: str
    label: str = ""
    text: str = ""
    marked: bool = False


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture.

    Attributes:
        strips: From top to bottom.
        legend: What marks mean: a colour `"#rrggbb"`, `"room"`, `"crossing"` or a character, and
            words.
        above: A line above it.
        below: A line below it.
        width: In pixels; None where x is in percent.
    """

    strips: tuple[Strip, ...]
    legend: tuple[tuple[str, str], ...] = ()
    above: str = ""
    below: str = ""
    width: int | None = None
