"""The documentation builds without a warning, leads nowhere wrong, and has every public name."""

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import respect_tf

_ROOT = Path(__file__).resolve().parents[2]


class _Page(HTMLParser):
    """What a page links to, and where it can be linked to."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors.add(given.get("id"))
        for name in ("href", "src"):
            if given.get(name) and tag in ("a", "img", "link", "script"):
                self.links.add(given[name])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    # In a process of its own: what is loaded at first use is loaded for Sphinx at once.
    done = subprocess.run(
        [sys.executable, "-m", "docs", str(folder)],
        cwd=_ROOT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path: _Page(path.read_text("utf-8")) for path in site.rglob("*.html")}


def _packages():
    for name in ("respect_tf", "keras_callbacks"):
        package = importlib.import_module(name)
        yield name
        for folder in pkgutil.iter_modules(package.__path__, f"{name}."):
            if folder.ispkg and not folder.name.split(".")[-1].startswith("_"):
                yield folder.name


def test_every_public_name_is_in_the_reference(pages):
    shown = set().union(
        *(page.anchors for path, page in pages.items() if "reference" in path.parts)
    )
    for package in _packages():
        for name in importlib.import_module(package).__all__:
            names = {f"{package}.{name}", f"respect_tf._errors.{name}", f"respect_tf.{name}"}
            value = getattr(importlib.import_module(package), name)
            if inspect.isclass(value) or inspect.isfunction(value):  # not constants, not aliases
                assert names & shown, f"{package}.{name}"


def test_functions_that_are_loaded_at_first_use_are_shown_with_their_arguments(site):
    text = re.sub(r"<[^>]+>", "", (site / "reference" / "converting.html").read_text("utf-8"))
    assert "representative_dataset" in text
    assert "respect_tf.convert(" in re.sub(r"\s", "", text)


def test_every_link_and_anchor_leads_somewhere_and_nothing_comes_from_the_network(site, pages):
    by_path = {path.resolve(): page for path, page in pages.items()}
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "mailto"):
                assert not link.endswith((".js", ".css")), (path, link)
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
            assert target.exists() or link.startswith("data:"), (path, link)
            if parts.fragment and target in by_path:
                assert unquote(parts.fragment) in by_path[target].anchors, (path, link)


def test_the_search_works_without_a_network(site):
    index = (site / "searchindex.js").read_text("utf-8")
    assert "regret" in index
    assert "respect_tf" in index


def test_errors_have_a_page(site):
    text = (site / "reference" / "errors.html").read_text("utf-8")
    assert {name for name in respect_tf.__all__ if name.endswith("Error")} <= set(
        re.findall(r"\w+Error", text)
    )
