"""A real browser without a window, and axe-core in it, for tests of pages."""

from __future__ import annotations

import html
import importlib.util
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_AXE = """<script>{axe}</script><script>
axe.run(document, {{resultTypes: ["violations"]}}).then(found => {{
  document.documentElement.dataset.found = JSON.stringify(found.violations.map(
    one => [one.id, one.nodes.slice(0, 3).map(node => [node.html.slice(0, 200),
                                                       node.failureSummary])]));
}});
</script></body>"""


def chromium() -> str:
    """The system's Chromium; the test is skipped where there is none."""
    for name in _NAMES:
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium is installed")


def dump(program: str, page: Path, *, dark: bool = False, width: int = 1500) -> tuple[str, str]:
    """What a browser makes of a page in the end, and what it says about it."""
    with_profile = page.parent / "profile"
    done = subprocess.run(
        [
            program,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--enable-logging=stderr",
            f"--user-data-dir={with_profile}",
            "--host-resolver-rules=MAP * ~NOTFOUND",  # the browser's own requests
            f"--window-size={width},1000",
            "--virtual-time-budget=10000",
            *(["--blink-settings=preferredColorScheme=0"] if dark else []),
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "HOME": str(page.parent)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, done.stderr


def violations(program: str, page: Path, *, dark: bool = False) -> list[tuple[str, object]]:
    """What axe-core finds in a page; the test is skipped where axe-core is not installed.

    Args:
        program: The browser.
        page: The page, beside which a copy is written.
        dark: Whether the user likes it dark.
    """
    spec = importlib.util.find_spec("axe_core_python")
    if spec is None or spec.origin is None:
        pytest.skip("axe-core is not installed (PyPI: axe-core-python)")
    axe = Path(spec.origin).with_name("axe.min.js").read_text("utf-8")
    text = page.read_text("utf-8")
    assert "</body>" in text
    copy = page.with_name(f"axe_{page.name}")
    before, _, after = text.rpartition("</body>")
    copy.write_text(
        before + _AXE.format(axe=axe.replace("</script", "<\\/script")) + after, "utf-8"
    )
    try:
        shown, _ = dump(program, copy, dark=dark)
    finally:
        copy.unlink()
    found = re.search(r'<html[^>]* data-found="([^"]*)"', shown)
    assert found is not None, "axe-core did not end"
    return [(name, nodes) for name, nodes in json.loads(html.unescape(found[1]))]
