"""axe-core finds no error of contrast or structure in report.html and the documentation."""

from pathlib import Path

import browser
import pytest
from model_builder import ModelBuilder

from respect_tf._convert import segment_at

# What `make docs` has built; CI does that first.
_DOCS = Path(__file__).resolve().parents[2] / "out" / "docs"
_PAGES = (
    "index.html",
    "concepts.html",
    "command_line.html",
    "deploying.html",
    "measured.html",
    "troubleshooting.html",
    "reference/converting.html",
)


@pytest.fixture(scope="module")
def chromium():
    return browser.chromium()


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_report_can_be_read_by_everybody(chromium, tmp_path, dark):
    builder = ModelBuilder()
    tensor = builder.conv(builder.input("image"))
    for _ in range(9):
        tensor = builder.add(builder.conv(tensor), tensor)
    content = builder.build([tensor])
    made = segment_at(content, stages=[min(op // 3, 6) for op in range(19)], verbose=0)
    page = tmp_path / "report.html"
    page.write_text(made.report.to_html(), "utf-8")
    assert browser.violations(chromium, page, dark=dark) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", _PAGES)
def test_the_pages_can_be_read_by_everybody(chromium, name):
    if not (_DOCS / name).is_file():
        pytest.skip("the documentation is not built: make docs")
    for dark in (False, True):
        assert browser.violations(chromium, _DOCS / name, dark=dark) == []


def test_the_check_finds_what_is_wrong(chromium, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(
        '<!doctype html><html lang="en"><head><title>t</title></head><body><main><h1>t</h1>'
        '<p style="color:#fff;background:#9cf">white on light blue</p></main></body></html>'
    )
    assert [name for name, _ in browser.violations(chromium, page)] == ["color-contrast"]
