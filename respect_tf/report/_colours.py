"""Colours that people with any kind of colour vision tell apart."""

from __future__ import annotations

# M. Okabe and K. Ito, "Color Universal Design" (2008), without black, in an order in which
# neighbours differ in lightness too.
_STAGES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")

CACHED = "#0072B2"
STREAMED = "#E69F00"
ACTIVATIONS = "#9A9A9A"
LOGGED, LOGGED_STREAMED = "#6E6E6E", "#A6A6A6"  # by the compiler's log
SHARED = "#6E6E6E"  # what no stage has for itself: the bus

# sRGB to relative luminance: WCAG 2.1, with the exponent 2.2 for its two-part curve.
_LUMINANCE = (0.2126, 0.7152, 0.0722)
_LIGHT = 0.179  # where black and white are as far away


def stage_colour(stage: int) -> str:
    """The colour of a stage, `"#rrggbb"`; they come round again after seven."""
    return _STAGES[stage % len(_STAGES)]


def text_colour(background: str) -> str:
    """Black or white, whichever can be read on a background `"#rrggbb"`."""
    parts = [int(background[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    luminance = sum(weight * part**2.2 for weight, part in zip(_LUMINANCE, parts, strict=True))
    return "#000000" if luminance > _LIGHT else "#ffffff"


def lighter(colour: str) -> str:
    """A colour `"#rrggbb"` with a quarter of white in it."""
    parts = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(0.75 * part + 0.25 * 255):02X}" for part in parts)
