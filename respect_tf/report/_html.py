"""A report as HTML: one file, no network; a script of its own for the op graph alone."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from respect_tf._reporting import printable
from respect_tf.report._advice import GLOSSARY
from respect_tf.report._gantt import draw_gantt
from respect_tf.report._html_parts import SCRIPT, STYLE, TOOLS
from respect_tf.report._report_tables import ReportTable, report_tables, report_title
from respect_tf.report._report_text import SOURCES, WORTH, report_lines
from respect_tf.report._schedule_picture import schedule_picture
from respect_tf.report._stage_pictures import memory_picture, pipeline_picture
from respect_tf.report._svg import picture_html

if TYPE_CHECKING:
    from respect_tf.report._report import Report

# Beyond this, the picture of the graph would make the page megabytes large.
_MAX_OPS = 3000


def html_page(report: Report) -> str:
    """The report as a page of its own: tables, pictures, and where every figure comes from."""
    title = html.escape(report_title(report))
    return printable(
        '<!doctype html>\n<html lang="en" class="respect-tf-page">\n<head>\n'
        '<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{title}</title>\n</head>\n'
        f'<body style="margin:0">\n<main>\n{_body(report, graph=True)}\n</main>\n</body>\n</html>\n'
    )


def html_fragment(report: Report) -> str:
    """The report for a notebook: as the page, without the op graph."""
    return printable(_body(report, graph=False))


def _body(report: Report, *, graph: bool) -> str:
    title = html.escape(report_title(report))
    return "\n".join(
        [
            f'<div class="respect-tf"><style>{STYLE}</style>',
            f"<h1>{title}</h1>",
            _tiles(report),
            _lines(report),
            *_pictures(report, graph=graph),
            *map(_table, _titled(report)),
            _glossary(),
            '<p class="source">' + html.escape(f"{SOURCES} {WORTH}") + "</p>",
            "</div>",
        ]
    )


def _titled(report: Report) -> list[ReportTable]:
    """The tables; the page has the first one's title at its top."""
    first, *others = report_tables(report)
    return [first._replace(title="Segments"), *others]


def _glossary() -> str:
    entries = "".join(
        f"<dt>{html.escape(word)}</dt><dd>{html.escape(meaning)}</dd>" for word, meaning in GLOSSARY
    )
    return f"<h2>What the words mean</h2><dl>{entries}</dl>"


def _tiles(report: Report) -> str:
    speed = report.speed
    alone = speed.one_tpu_frames_per_second
    gain = [] if alone is None else [f"{speed.frames_per_second / alone:.2f} times"]
    tiles = [
        (f"{speed.frames_per_second:,.1f} frames/s", f"{speed.source} for {speed.device}"),
        *((text, "as fast as one Edge TPU") for text in gain),
        (f"{speed.latency_ms:,.1f} ms", "from end to end"),
        (speed.limited_by, "is the bottleneck"),
        ("not verified" if report.parity is None else "bit-exact", "parity with the whole model"),
    ]
    if report.gap is not None and report.gap < 1:  # a looser bound says little
        tiles.append(
            ("optimal", "cut, proved")
            if report.status.startswith("optimal")
            else (f"{report.gap:.2%}", "above the optimum at most")
        )
    cells = [
        f'<div class="tile"><b>{html.escape(value)}</b><span>{html.escape(what)}</span></div>'
        for value, what in tiles
    ]
    if report.warnings:
        *others, worst = report.warnings
        more = f", and {len(others)} more below" if others else ""
        cells.append(
            f'<div class="tile warning"><b>{html.escape(worst)}</b><span>warning{more}</span></div>'
        )
    return f'<div class="tiles">{"".join(cells)}</div>'


def _lines(report: Report) -> str:
    warned = ' class="warning"'
    entries = "".join(
        f"<dt>{html.escape(label)}</dt>"
        f"<dd{warned if label == 'warning' else ''}>{html.escape(said)}</dd>"
        for label, said in report_lines(report, solve_seconds=False)
    )
    return f"<dl>{entries}</dl>"


def _pictures(report: Report, *, graph: bool) -> list[str]:
    placed = report.placed
    if placed is None:
        return []
    device = html.escape(report.speed.device)
    compiled = any(stage.on_device.logged is not None for stage in report.stages)
    rest = "lower bars are from the compiler's logs" if compiled else "nothing is measured"
    parts = [
        "<h2>Memory of each Edge TPU</h2>",
        picture_html(
            memory_picture([stage.on_device for stage in report.stages], placed.room_bytes)
        ),
        f'<p class="source">Predicted for {device}; {rest}.</p>',
        "<h2>The pipeline at work</h2>",
        picture_html(pipeline_picture(draw_gantt(placed.prediction))),
        f'<p class="source">Simulated from what is predicted for {device}.</p>',
    ]
    if graph:
        parts.append("<h2>The ops and their stages</h2>")
        if placed.graph.num_ops <= _MAX_OPS:
            parts += [TOOLS, f"<div>{picture_html(schedule_picture(placed))}</div>", SCRIPT]
        else:
            parts.append(
                f"<p>{placed.graph.num_ops:,} ops are too many for this page; plot_schedule() "
                "draws them.</p>"
            )
    return parts


def _table(part: ReportTable) -> str:
    title = html.escape(part.title[:1].upper() + part.title[1:])
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in part.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in part.rows
    )
    return (
        f'<h2>{title}</h2><div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
