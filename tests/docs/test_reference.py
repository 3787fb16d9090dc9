"""The API reference builds without a warning and has every public name."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    # In a process of its own: what is loaded at first use is loaded for pdoc at once.
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "docs.reference", str(folder)],
        cwd=_ROOT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return {
        ".".join(path.relative_to(folder).with_suffix("").parts): path.read_text("utf-8")
        for path in folder.rglob("*.html")
    }


def _packages():
    from docs.reference import public_modules

    return public_modules()


def test_every_package_has_a_page(pages):
    assert {"respect_tf", "respect_tf.scheduling", "respect_tf.run", "keras_callbacks"} < set(pages)
    assert set(_packages()) | {"index"} == set(pages)


@pytest.mark.parametrize("package", _packages())
def test_every_public_name_is_on_the_page_of_its_package(pages, package):
    shown = set(re.findall(r'<section id="([^".]+)"', pages[package]))
    public = set(importlib.import_module(package).__all__)
    assert public - {"__version__"} <= shown
    assert shown - {"__version__"} <= public


def test_functions_loaded_at_first_use_are_shown_as_functions(pages):
    for name in ("schedule", "segment"):
        section = pages["respect_tf"].split(f'<section id="{name}"')[1].split("</section>")[0]
        assert ">def<" in section
        assert "Raises" in section


def test_pages_name_no_address_in_memory(pages):
    for page in pages.values():
        assert not re.search(r"object at 0x|&lt;function", page)


def test_pages_can_be_read_without_a_network(pages):
    for page in pages.values():
        assert not re.search(r'<(?:script|img|link)[^>]+(?:src|href)="(?:https?:)?//', page)
