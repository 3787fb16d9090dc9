"""A report as HTML: one file, no network, no script."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from respect_tf._reporting import printable
from respect_tf.report._advice import GLOSSARY
from respect_tf.report._gantt import draw_gantt
from respect_tf.report._report_text import (
    SOURCES,
    WORTH,
    ReportTable,
    report_lines,
    report_tables,
    report_title,
)
from respect_tf.report._schedule_picture import schedule_picture
from respect_tf.report._stage_pictures import memory_picture, pipeline_picture
from respect_tf.report._svg import picture_html

if TYPE_CHECKING:
    from respect_tf.report._report import Report

# Beyond this, the picture of the graph would make the page megabytes large.
_MAX_OPS = 3000

_STYLE = """
.respect-tf{--ink:#1b1b1b;--soft:#595959;--line:#8a8a8a;--rule:#d5d5d5;--page:#fff;--mark:#0001;
font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:1320px;
margin:0 auto;padding:16px;box-sizing:border-box}
.respect-tf h1{font-size:22px;margin:0 0 12px;overflow-wrap:anywhere}
.respect-tf h2{font-size:17px;margin:28px 0 8px}
.respect-tf p{margin:4px 0}
.respect-tf .tiles{display:flex;flex-wrap:wrap;gap:10px;margin:0 0 16px}
.respect-tf .tile{flex:1 1 150px;border:1px solid var(--rule);border-radius:8px;padding:8px 12px}
.respect-tf .tile b{display:block;font-size:20px}
.respect-tf .tile span,.respect-tf .source{color:var(--soft);font-size:13px}
.respect-tf dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 16px;margin:0}
.respect-tf dt{color:var(--soft)}
.respect-tf dd{margin:0;overflow-wrap:anywhere}
.respect-tf .warning{border-left:4px solid #D55E00;padding-left:8px}
.respect-tf .scroll{overflow-x:auto;max-width:100%}
.respect-tf table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:14px;
color:inherit;background:none}
.respect-tf th,.respect-tf td{padding:3px 12px 3px 0;text-align:right;white-space:nowrap;
border-bottom:1px solid var(--rule);background:none}
.respect-tf th:first-child,.respect-tf td:first-child{text-align:left}
.respect-tf svg{display:block}
.respect-tf .row{font-size:13px;margin:8px 0 2px}
.respect-tf .legend{font-size:13px;display:flex;flex-wrap:wrap;gap:2px 16px}
.respect-tf .key i{display:inline-block;width:14px;height:12px;margin-right:5px;
vertical-align:-1px}
.respect-tf i.room{width:0;border-left:2px dashed var(--ink)}
.respect-tf i.crossing{height:0;border-top:2px solid var(--ink);vertical-align:4px}
.respect-tf line.room{stroke:var(--ink);stroke-width:2;stroke-dasharray:4 2}
.respect-tf .strip{padding:0 0 2px}
.respect-tf .marked{background:var(--mark)}
.respect-tf .bar{stroke:var(--page);stroke-width:1}
.respect-tf .followed{stroke:var(--ink);stroke-width:2.5}
.respect-tf .number{font-size:11px;text-anchor:middle;pointer-events:none}
.respect-tf .tick{font-size:11px;fill:var(--soft)}
.respect-tf .inner{fill:none;stroke:var(--line);stroke-width:1}
.respect-tf path.crossing{fill:none;stroke:var(--ink);stroke-width:2}
.respect-tf .border{fill:var(--ink)}
.respect-tf .cpu{stroke:var(--ink);stroke-width:1.5}
.respect-tf .band{font-size:12px;fill:var(--ink)}
@media (prefers-color-scheme:dark){html.respect-tf-page{background:#181818}
.respect-tf-page .respect-tf{--ink:#ececec;--soft:#ababab;--line:#8f8f8f;--rule:#444;
--page:#181818;--mark:#fff2}}
"""


def html_page(report: Report) -> str:
    """The report as a page of its own: tables, pictures, and where every figure comes from."""
    title = html.escape(report_title(report))
    return printable(
        '<!doctype html>\n<html lang="en" class="respect-tf-page">\n<head>\n'
        '<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{title}</title>\n</head>\n'
        f'<body style="margin:0">\n{_body(report, graph=True)}\n</body>\n</html>\n'
    )


def html_fragment(report: Report) -> str:
    """The report for a notebook: as the page, without the op graph."""
    return printable(_body(report, graph=False))


def _body(report: Report, *, graph: bool) -> str:
    title = html.escape(report_title(report))
    return "\n".join(
        [
            f'<div class="respect-tf"><style>{_STYLE}</style>',
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
    cells = "".join(
        f'<div class="tile"><b>{html.escape(value)}</b><span>{html.escape(what)}</span></div>'
        for value, what in tiles
    )
    return f'<div class="tiles">{cells}</div>'


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
            parts.append(picture_html(schedule_picture(placed)))
        else:
            parts.append(
                f"<p>{placed.graph.num_ops:,} ops are too many for this page; plot_schedule() "
                "draws them.</p>"
            )
    return parts


def _table(part: ReportTable) -> str:
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in part.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in part.rows
    )
    return (
        f'<h2>{html.escape(part.title)}</h2><div class="scroll"><table><thead><tr>{head}</tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
    )
