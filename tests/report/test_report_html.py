"""The HTML report: what it holds, and what a real browser makes of it."""

import dataclasses
import html.parser
import json
import re

import browser
import pytest
from model_builder import ModelBuilder

import respect_tf
from respect_tf._convert import segment_at
from respect_tf.compile import ModelLog
from respect_tf.device import EdgeTpu
from respect_tf.report._html_parts import SCRIPT


@pytest.fixture(scope="module")
def pipeline():
    builder = ModelBuilder()
    first, second = builder.input("left <&> right"), builder.input("depth")
    tensor = builder.conv(builder.add(builder.conv(first), second))
    for _ in range(3):
        tensor = builder.add(builder.conv(tensor), tensor)
    return segment_at(
        builder.build([tensor, builder.conv(first)]),
        stages=[0, 0, 1, 1, 1, 2, 2, 2, 2, 2],
        verbose=0,
    )


class Page(html.parser.HTMLParser):
    """Checks that tags are closed in order, and collects what refers to something."""

    def __init__(self, text):
        super().__init__()
        self.open, self.counts, self.references, self.text = [], {}, [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.references += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in ("meta", "link", "br", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_is_whole_and_refers_to_nothing_outside(pipeline):
    text = pipeline.report.to_html()
    page = Page(text)
    assert not page.open
    assert page.references == ["data:,"]
    assert page.counts.get("script", 0) == 1  # it is the package's own, see below
    assert not re.search(r"@import|url\(|https?://", text)


def test_every_figure_of_the_table_is_on_the_page(pipeline):
    page = Page(pipeline.report.to_html())
    for stage in pipeline.report.stages:
        assert f"{stage.on_device.predicted.total_ms:.3f}" in page.text
    for source in ("predicted for usb3-pi5", "Figures without a source", "Simulated"):
        assert source in page.text
    assert page.counts["table"] == 5
    assert page.counts["circle"] + page.text.count("op on the CPU") >= pipeline.graph.num_ops


def test_names_from_a_model_are_text_and_not_markup(pipeline):
    report = dataclasses.replace(
        pipeline.report, name="<script>alert(1)</script>", warnings=("</dd><b onclick=x>",)
    )
    page = Page(report.to_html())
    assert page.counts.get("script", 0) == 1
    assert report.to_html().count(SCRIPT) == 1  # names are written around it, never into it
    assert "script" not in Page(report._repr_html_()).counts
    assert "<script>alert(1)</script> in 3 segments" in page.text
    assert "</dd><b onclick=x>" in page.text


def test_a_page_holds_nothing_that_a_terminal_obeys(pipeline):
    report = dataclasses.replace(pipeline.report, name="\x1b[2J\u202eowned")
    for text in (report.to_html(), report._repr_html_()):
        assert r"<h1>\x1b[2J\u202eowned in 3 segments" in text


def test_the_time_that_the_scheduler_took_is_not_on_the_page(pipeline):
    slow = dataclasses.replace(pipeline.report, solve_seconds=123.456)
    assert slow.to_html() == pipeline.report.to_html()
    assert "123.456" in str(slow)


def test_a_device_that_takes_no_time_still_has_a_page(pipeline):
    usb3 = EdgeTpu.preset("usb3-pi5")
    free = dataclasses.replace(
        usb3,
        clock_mhz=1e300,
        **{f.name: 0.0 for f in dataclasses.fields(usb3) if "ms" in f.name.split("_")},
    )
    made = dataclasses.replace(pipeline, device=free)
    assert made.report.speed.frames_per_second > 1e9
    assert not Page(made.report.to_html()).open


def test_a_notebook_gets_a_fragment_without_the_op_graph(pipeline):
    fragment = pipeline._repr_html_()
    page = Page(fragment)
    assert not page.open
    assert "html" not in page.counts
    assert "circle" not in page.counts
    assert page.counts["table"] == 5


def test_figures_of_the_compiler_get_a_bar_of_their_own(pipeline):
    stage = pipeline.report.stages[0]
    logged = ModelLog(
        "in.tflite",
        on_chip_used_bytes=5632,
        on_chip_remaining_bytes=7_864_320,
        off_chip_bytes=1024,
    )
    on_device = dataclasses.replace(stage.on_device, logged=logged)
    stages = (dataclasses.replace(stage, on_device=on_device), *pipeline.report.stages[1:])
    page = Page(dataclasses.replace(pipeline.report, stages=stages).to_html())
    assert "compiler log: 5.50 KiB on chip, 1.00 KiB streamed" in page.text
    assert page.text.count("compiler log") == 3  # above the bar, in its legend and in the table


def test_the_page_is_saved_with_the_pipeline_and_always_the_same(pipeline, tmp_path):
    folder = pipeline.save(tmp_path / "out", verbose=0)
    manifest = json.loads((folder / "pipeline.json").read_text())
    saved = (folder / "report.html").read_text("utf-8")
    assert "report.html" in manifest["files"]
    assert saved == pipeline.report.to_html()
    again = respect_tf.load(folder).save(tmp_path / "again", verbose=0)
    assert (again / "report.html").read_text("utf-8") == saved


@pytest.fixture(scope="module")
def chromium():
    return browser.chromium()


# The page in a frame of the given width; its parent measures it and writes down what it found.
_FRAME = """<!doctype html><link rel="icon" href="data:,"><body style="margin:0">
<iframe id="frame" style="width:{width}px;height:3000px;border:0" srcdoc="{page}"></iframe>
<script>
document.getElementById("frame").onload = event => {{
  const inner = event.target.contentDocument;
  const sizes = [...inner.querySelectorAll("p, td, dd, text")].map(
    element => parseFloat(inner.defaultView.getComputedStyle(element).fontSize));
  const wide = [...inner.querySelectorAll(".respect-tf > *")].filter(
    element => element.getBoundingClientRect().right > {width}).map(element => element.className);
  const requests = inner.defaultView.performance.getEntriesByType("resource").map(e => e.name);
  document.body.dataset.found = JSON.stringify(
    {{scroll: inner.documentElement.scrollWidth, smallest: Math.min(...sizes), wide, requests}});
}};
</script>"""


@pytest.mark.parametrize("width", [400, 1400])
def test_a_browser_shows_the_page_without_errors_requests_or_overflow(
    pipeline, chromium, tmp_path, width
):
    page = html.escape(pipeline.report.to_html())
    (tmp_path / "frame.html").write_text(_FRAME.format(width=width, page=page), "utf-8")
    shown, said = browser.dump(chromium, tmp_path / "frame.html")
    assert "CONSOLE" not in said
    found = json.loads(html.unescape(re.search(r'data-found="([^"]*)"', shown)[1]))
    assert found["scroll"] <= width
    assert found["wide"] == []
    assert found["smallest"] >= 11
    assert found["requests"] == []


# What a reader does, and what the page shows then.
_FIND = """<script>
const box = document.querySelector("input"), buttons = document.querySelectorAll(".tools button");
const svg = document.querySelector(".tools + div svg"), before = svg.width.baseVal.value;
box.value = "ADD"; box.dispatchEvent(new Event("input"));
buttons[1].click();
document.documentElement.dataset.found = JSON.stringify({
  said: document.querySelector(".tools output").textContent,
  marked: svg.querySelectorAll(".found").length,
  hidden: document.querySelector(".tools").hidden,
  larger: svg.width.baseVal.value / before});
</script></body>"""


def test_ops_are_found_by_name_and_the_picture_zooms(pipeline, chromium, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(pipeline.report.to_html().replace("</body>", _FIND), "utf-8")
    shown, said = browser.dump(chromium, page)
    assert "CONSOLE" not in said
    found = json.loads(html.unescape(re.search(r'data-found="([^"]*)"', shown)[1]))
    count = sum(kind == "ADD" for kind in pipeline.graph.op_types)
    assert count > 1
    assert found["marked"] == count
    assert found["said"] == f"{count} of {pipeline.graph.num_ops} ops"
    assert found["hidden"] is False
    assert found["larger"] == pytest.approx(1.25)
