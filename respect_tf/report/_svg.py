"""The pictures of a report as SVG inside HTML.

Bars are placed in percent and text in pixels, so that both stay readable on a telephone and on a
wide screen. The op graph has a size of its own, in a frame that scrolls.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from respect_tf.report._colours import (
    ACTIVATIONS,
    CACHED,
    STREAMED,
    stage_colour,
    text_colour,
)
from respect_tf.report._gantt import Gantt
from respect_tf.report._layout import Link, ScheduleLayout, lay_out
from respect_tf.report._placed_graph import PlacedGraph
from respect_tf.report._plot_schedule import border_ops, op_radii
from respect_tf.report._plots import bar_colour, row_label
from respect_tf.report._prediction import StageOnDevice
from respect_tf.report._text import format_bytes

_UNIT = 22  # pixels between two layers
_NUM_TICKS = 5
_NARROWEST_NUMBER = 3.0  # percent of the width that a bar needs to have its number inside


def memory_svg(stages: Sequence[StageOnDevice], room_bytes: int) -> str:
    """A bar per stage: activations, parameters on chip, parameters streamed; a line for the room.

    Args:
        stages: The stages on their devices.
        room_bytes: What an Edge TPU holds of parameters and activations.
    """
    longest = max(
        1,
        room_bytes,
        *(s.predicted.cost.activation_bytes + s.predicted.stored_bytes for s in stages),
        *(s.predicted.cost.activation_bytes + _logged_bytes(s) for s in stages),
    )
    scale = 98.0 / longest
    legend = _legend(
        [
            (ACTIVATIONS, "activations"),
            (CACHED, "parameters on chip"),
            (STREAMED, "parameters streamed at every inference"),
        ]
    )
    line = f'<span class="key"><i class="room"></i>room: {format_bytes(room_bytes)}</span>'
    rows = [f'<p class="legend">{legend}{line}</p>']
    for number, stage in enumerate(stages):
        memory = stage.predicted.cost
        parts = (
            (memory.activation_bytes, ACTIVATIONS),
            (memory.cached_bytes, CACHED),
            (memory.streamed_bytes, STREAMED),
        )
        said = (
            f"{format_bytes(memory.cached_bytes)} on chip, {format_bytes(memory.streamed_bytes)} "
            f"streamed, {format_bytes(memory.activation_bytes)} of activations"
        )
        bars = _stacked(parts, scale, y=2, height=16)
        if stage.logged is not None:
            used, out = stage.logged.on_chip_used_bytes or 0, stage.logged.off_chip_bytes or 0
            said += (
                f"; compiler log: {format_bytes(used)} on chip, {format_bytes(out)} streamed "
                "(lower bar)"
            )
            shown = ((memory.activation_bytes, ""), (used, "currentColor"), (out, "#777777"))
            bars += _stacked(shown, scale, y=20, height=5)
        limit = f"{room_bytes * scale:.3f}%"
        bars += f'<line class="room" x1="{limit}" x2="{limit}" y1="0" y2="26"/>'
        rows.append(
            f'<p class="row"><b>stage {number}</b> {html.escape(said)}</p>'
            f'<svg width="100%" height="26" role="img" aria-label="memory of stage {number}">'
            f"{bars}</svg>"
        )
    return "".join(rows)


def _logged_bytes(stage: StageOnDevice) -> int:
    if stage.logged is None:
        return 0
    return (stage.logged.on_chip_used_bytes or 0) + (stage.logged.off_chip_bytes or 0)


def _stacked(parts: Iterable[tuple[int, str]], scale: float, *, y: int, height: int) -> str:
    left, bars = 0.0, ""
    for size, colour in parts:
        width = size * scale
        if colour and size:
            bars += (
                f'<rect x="{left:.3f}%" y="{y}" width="{width:.3f}%" height="{height}" '
                f'fill="{colour}"/>'
            )
        left += width
    return bars


def pipeline_svg(gantt: Gantt) -> str:
    """A row of bars per stage, with the bottleneck marked.

    Args:
        gantt: A stretch of the simulated pipeline.
    """
    span = gantt.end_ms - gantt.start_ms
    rows = [f'<p class="row">{html.escape(gantt.title)}</p>']
    for row in gantt.rows:
        colour = bar_colour(row.stage)
        bars = ""
        # The outlined bar comes last, on top of its neighbours.
        for bar in sorted(gantt.bars, key=lambda bar: bar.input == gantt.highlighted):
            if (bar.stage, bar.replica) != row:
                continue
            left = 100 * (max(bar.start_ms, gantt.start_ms) - gantt.start_ms) / span
            width = 100 * (min(bar.end_ms, gantt.end_ms) - gantt.start_ms) / span - left
            kind = "bar followed" if bar.input == gantt.highlighted else "bar"
            opacity = "" if bar.input % 2 else ' opacity="0.75"'
            bars += (
                f'<rect class="{kind}" x="{left:.3f}%" y="2" width="{width:.3f}%" height="20"'
                f'{opacity} fill="{colour}"><title>input {bar.input}: '
                f"{bar.end_ms - bar.start_ms:.3f} ms</title></rect>"
            )
            if width > _NARROWEST_NUMBER:
                bars += (
                    f'<text class="number" x="{left + width / 2:.3f}%" y="16" '
                    f'fill="{text_colour(colour)}">{bar.input}</text>'
                )
        marked = " bottleneck" if gantt.is_bottleneck(row) else ""
        rows.append(
            f'<div class="gantt{marked}"><p class="row"><b>{row_label(gantt, row)}</b></p>'
            f'<svg width="100%" height="24" role="img" aria-label="{gantt.row_label(row)}">{bars}'
            "</svg></div>"
        )
    ticks = ""
    for tick in range(_NUM_TICKS):
        share = tick / (_NUM_TICKS - 1)
        anchor = "start" if tick == 0 else "end" if tick == _NUM_TICKS - 1 else "middle"
        ticks += (
            f'<text class="tick" x="{100 * share:g}%" y="14" text-anchor="{anchor}">'
            f"{share * span:.4g} ms</text>"
        )
    rows.append(f'<svg width="100%" height="18" role="img" aria-label="time">{ticks}</svg>')
    rows.append(f'<p class="row">Input {gantt.highlighted} is outlined.</p>')
    return "".join(rows)


def schedule_svg(placed: PlacedGraph) -> str:
    """The op graph, coloured by stage, with a tooltip for every op.

    Args:
        placed: The graph in stages.
    """
    layout = lay_out(placed.graph, placed.stages)
    width, height = max(400, round(layout.width * _UNIT)), round(layout.height * _UNIT)
    parts = [_band_svg(placed, layout, width)]
    for crosses, kind in ((False, "inner"), (True, "crossing")):
        lines = "".join(_path(link) for link in layout.links if link.crosses == crosses)
        parts.append(f'<path class="{kind}" d="{lines}"/>')
    parts.append(_op_svg(placed, layout))
    legend = (
        '<p class="legend"><span class="key">small: an op without parameters; the larger, the more '
        'parameters</span><span class="key"><i class="crossing"></i>crosses stages</span>'
        '<span class="key">&#9654; input or output of the model</span>'
        + ('<span class="key">&#9632; op on the CPU</span>' if placed.on_cpu.any() else "")
        + "</p>"
    )
    return (
        f'{legend}<div class="scroll"><svg class="graph" width="{width}" height="{height}" '
        f'role="img" aria-label="op graph by stage">{"".join(parts)}</svg></div>'
    )


def _band_svg(placed: PlacedGraph, layout: ScheduleLayout, width: int) -> str:
    parts = ""
    for band in layout.bands:
        colour, top = stage_colour(band.stage), band.top * _UNIT
        height = (band.bottom - band.top) * _UNIT
        parts += (
            f'<rect x="0" y="{top:.1f}" width="{width}" height="{height:.1f}" fill="{colour}" '
            f'opacity="0.15"/><rect x="0" y="{top:.1f}" width="4" height="{height:.1f}" '
            f'fill="{colour}"/><text class="band" x="22" y="{top + 17:.1f}">'
            f"{html.escape(placed.describe_stage(band.stage))}</text>"
        )
    return parts


def _path(link: Link) -> str:
    points = [(x * _UNIT, y * _UNIT) for x, y in link.points]
    (x, y), *others = points
    if len(points) > 2:
        return f"M{x:.0f} {y:.0f}" + "".join(f"L{to_x:.0f} {to_y:.0f}" for to_x, to_y in others)
    to_x, to_y = others[0]
    if y == to_y:
        return f"M{x:.0f} {y:.1f}H{to_x:.0f}"
    middle = (x + to_x) / 2
    return f"M{x:.0f} {y:.1f}C{middle:.0f} {y:.1f} {middle:.0f} {to_y:.1f} {to_x:.0f} {to_y:.1f}"


def _op_svg(placed: PlacedGraph, layout: ScheduleLayout) -> str:
    radii = op_radii(placed) * _UNIT
    xs, ys = layout.x * _UNIT, layout.y * _UNIT
    parts = []
    for stage in range(placed.num_stages):
        parts.append(f'<g fill="{stage_colour(stage)}">')
        for op in (placed.stages == stage).nonzero()[0].tolist():
            x, y, radius = xs[op], ys[op], radii[op]
            tip = f"<title>{html.escape(placed.describe_op(op))}</title>"
            if placed.on_cpu[op]:
                parts.append(
                    f'<rect class="cpu" x="{x - radius:.1f}" y="{y - radius:.1f}" '
                    f'width="{2 * radius:.1f}" height="{2 * radius:.1f}">{tip}</rect>'
                )
            else:
                parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">{tip}</circle>')
        parts.append("</g>")
    for ops, side in zip(border_ops(placed), (-1, 1), strict=True):
        for op in ops:
            x, y = xs[op] + side * (radii[op] + 4) - 2, ys[op]
            parts.append(f'<path class="border" d="M{x:.1f} {y - 3:.1f}l4 3l-4 3z"/>')
    return "".join(parts)


def _legend(entries: Iterable[tuple[str, str]]) -> str:
    return "".join(
        f'<span class="key"><i style="background:{colour}"></i>{label}</span>'
        for colour, label in entries
    )
