"""How Sphinx builds these pages: `make docs`, or `python -m docs`."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import respect_tf  # noqa: E402 - it is found by the line above

project = "respect_tf"
author = "the respect_tf authors"
copyright = author
version = release = respect_tf.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["__pycache__"]
# Annotations name classes by their short names, which several packages offer.
suppress_warnings = ["ref.python"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 4

html_theme = "furo"
html_title = "respect_tf"
html_static_path = ["_static"]
html_css_files = ["respect.css"]
html_show_sourcelink = False

autodoc_member_order = "groupwise"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
napoleon_use_rtype = False
napoleon_use_ivar = True


RESULTS = ROOT / "benchmarks" / "results"
PAGES = Path(__file__).parent / "results"  # made anew by each build


def setup(app: Any) -> None:
    """Load what the packages load at first use, and make pages of the benchmarks' tables."""
    for package in ("respect_tf", "keras_callbacks"):
        module = importlib.import_module(package)
        for name in module.__all__:
            setattr(module, name, getattr(module, name))
    app.connect("builder-inited", make_result_pages)
    app.connect("source-read", link_result_pages)
    app.connect("autodoc-skip-member", skip_what_has_a_page)
    app.connect("build-finished", mend_pages)


# What Sphinx and its theme write, and what readers who do not see the page need instead; a list
# inside the head of a definition is no list at all in HTML.
_MENDED = (
    (
        re.compile('<p class="caption" role="heading">'),
        '<p class="caption" role="heading" aria-level="2">',
    ),
    (
        re.compile('<aside class="sidebar-drawer">'),
        '<aside class="sidebar-drawer" aria-label="All pages">',
    ),
    (
        re.compile('<aside class="toc-drawer'),
        '<aside aria-label="On this page" class="toc-drawer',
    ),
    (re.compile('<div class="highlight"><pre>'), '<div class="highlight"><pre tabindex="0">'),
    (re.compile('<table class="docutils'), '<table tabindex="0" class="docutils'),
    (re.compile('<dl>\n(?=<dd><em class="sig-param)'), '<span class="sig-list">\n'),
    (
        re.compile(r'<dd>(<em class="sig-param">.*?</em>,?)</dd>\n(?:</dl>\n)?'),
        lambda found: (
            f'<span class="sig-item">{found[1]}</span>\n'
            + ("</span>\n" if found[0].endswith("</dl>\n") else "")
        ),
    ),
)


def mend_pages(app: Any, error: Exception | None) -> None:
    """Make the pages ones that screen readers can follow."""
    if error is not None:
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text("utf-8")
        for wrong, right in _MENDED:
            text = wrong.sub(right, text)
        page.write_text(text, "utf-8")


def make_result_pages(app: Any) -> None:
    """One page per table, and one that lists them."""
    del app
    PAGES.mkdir(exist_ok=True)
    for old in PAGES.glob("*.md"):
        old.unlink()
    tables = sorted(RESULTS.glob("*.md"))
    for table in tables:
        (PAGES / table.name).write_text(table.read_text("utf-8"), "utf-8")
    names = "\n".join(table.stem for table in tables)
    index = f"# All tables\n\n```{{toctree}}\n:maxdepth: 1\n\n{names}\n```\n"
    (PAGES / "index.md").write_text(index, "utf-8")


def link_result_pages(app: Any, page: str, source: list[str]) -> None:
    """Links to tables in the repository lead to their pages here."""
    del app
    up = "../" * (1 + page.count("/"))
    source[0] = source[0].replace(f"]({up}benchmarks/results/", f"]({up[3:]}results/")


def skip_what_has_a_page(
    app: Any, what: str, name: str, value: object, skip: bool, options: Any
) -> bool:
    """Names of `respect_tf` itself are on pages of their own, and not on those of packages too."""
    del app, options
    again = what == "module" and getattr(respect_tf, name, None) is value
    return skip or (again and name in respect_tf.__all__ and not name.endswith("Error"))
