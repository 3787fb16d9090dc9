"""Results as Markdown tables and JSON, with what they were measured on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "measured.md"


def write_results(name: str, title: str, rows: Sequence[Mapping[str, Any]], notes: str) -> None:
    """Write `results/NAME.json` and `results/NAME.md`, and print the table."""
    RESULTS.mkdir(exist_ok=True)
    text = f"# {title}\n\n{markdown(rows)}\n\n{notes.strip()}\n\n{environment()}\n"
    (RESULTS / f"{name}.json").write_text(json.dumps(list(rows), indent=1) + "\n")
    (RESULTS / f"{name}.md").write_text(text)
    print(text)


def update_page(name: str, text: str) -> None:
    """Put a text between the marks `<!-- NAME -->` and `<!-- /NAME -->` of `docs/measured.md`."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, rest = PAGE.read_text("utf-8").split(begin)
    _, after = rest.split(end)
    PAGE.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}", "utf-8")


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table; the keys of the first row are its columns."""
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        lines.append("| " + " | ".join(_cell(row[column]) for column in columns) + " |")
    return "\n".join(lines)


def environment() -> str:
    """What the figures were measured on, without naming the machine."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "numpy"))
    return (
        f"Measured on {os.cpu_count()} {platform.machine()} cores, Python "
        f"{platform.python_version()}, {packages}."
    )


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
