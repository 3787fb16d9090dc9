"""Tables as plain text."""

from __future__ import annotations

import io
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from respect_tf._reporting import printable

_WORD = 20  # only longer words than any label of ours, which are names of users, may be broken
_WIDTH = 100  # where there is no terminal


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "") -> str:
    """A table as text: numbers right-aligned, names and sentences left-aligned."""
    from rich import box
    from rich.table import Table

    cells = [[str(value) for value in row] for row in rows]
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for position, column in enumerate(columns):
        own = [row[position] for row in cells]
        words = " ".join([column, *own]).split()
        numbers = sum(cell.lstrip("+-±~")[:1].isdigit() for cell in own)
        is_number = position > 0 and 2 * numbers >= sum(map(bool, own))
        made.add_column(
            column, justify="right" if is_number else "left", overflow="fold",
            min_width=max((len(word) for word in words if len(word) <= _WORD), default=1),
        )  # fmt: skip
    for row in cells:
        made.add_row(*row)
    drawn = render(made)
    return f"{printable(wrapped(title))}\n{drawn}" if title else drawn


def terminal_width() -> int | None:
    """Columns of the terminal that standard output is, from 40 to 200; None where it is none."""
    columns = shutil.get_terminal_size((0, 0)).columns if _is_terminal() else 0
    return min(max(columns, 40), 200) if columns else None


def _is_terminal() -> bool:
    try:
        return bool(sys.stdout.isatty())
    except (AttributeError, ValueError):  # None or closed
        return False


def wrapped(text: str, indent: int = 0) -> str:
    """A line, broken between words for the terminal; as it is where there is none."""
    width = terminal_width()
    if width is None:
        return text
    return "\n".join(
        textwrap.fill(
            line,
            width,
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in text.split("\n")
    )


def render(what: Any) -> str:
    """What rich would show on a terminal without colours, trailing blanks removed.

    It is as wide as the terminal, and 100 columns where there is none.
    """
    from rich.console import Console

    text = io.StringIO()
    # In a notebook, rich would show the table there and then, and write nothing.
    width = terminal_width() or _WIDTH
    console = Console(file=text, width=width, color_system=None, markup=False, force_jupyter=False)
    console.print(what)
    lines = [line.rstrip() for line in printable(text.getvalue()).splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return "\n".join(lines)


def format_bytes(count: float) -> str:
    """Bytes as a person reads them: `"512 B"`, `"6.05 MiB"`."""
    if count < 1024:
        return f"{count:g} B"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1024 or unit == "GiB":
            break
    return f"{count:.2f} {unit}"
