"""The one place that writes to the user's terminal.

Everything goes to standard error, so that standard output stays free for results. While
`respect_tf.tflite._silence` has taken file descriptor 2 away from TensorFlow's chatter, this
module keeps writing to the real one.
"""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Literal, TextIO

Verbosity = Literal["auto", 0, 1, 2]

_PROGRESS_AFTER_SECONDS = 2.0

# The stream that messages go to. `redirect` swaps it while file descriptor 2 is captured.
_stream: TextIO | None = None


# What a terminal obeys, or shows elsewhere than where it stands, and what has no UTF-8: controls
# but for tabs and new lines, line separators, marks that turn the direction of writing, surrogates.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""A text that no terminal obeys: controls in it, as in names, become `\x1b` and so on."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _target() -> TextIO:
    return _stream if _stream is not None else sys.stderr


@contextlib.contextmanager
def redirect(stream: TextIO) -> Iterator[None]:
    """Send messages to `stream` instead of `sys.stderr` inside the block."""
    global _stream  # noqa: PLW0603 - one process has one terminal
    previous, _stream = _stream, stream
    try:
        yield
    finally:
        _stream = previous


def report(message: str, *, verbose: Verbosity = "auto", level: int = 1) -> None:
    """Write one line for the user.

    Args:
        message: The line, without a newline at its end.
        verbose: The caller's verbosity. `0` is silence, `"auto"` and `1` show messages of level
            1, `2` shows everything.
        level: 1 for what every user wants to see, 2 for details.
    """
    if _shown(verbose) >= level:
        _write(_target(), printable(message) + "\n")


def _write(stream: TextIO, text: str) -> None:
    with contextlib.suppress(OSError):  # a full disk, a closed pipe: the work itself goes on
        stream.write(text)
        stream.flush()


def _shown(verbose: Verbosity) -> int:
    return 1 if verbose == "auto" else int(verbose)


@contextlib.contextmanager
def progress(label: str, *, verbose: Verbosity = "auto") -> Iterator[Callable[[str], None]]:
    """Show that work goes on, once it has taken longer than two seconds.

    On a terminal, a line with the elapsed seconds is kept up to date and removed at the end. In a
    file or a notebook, one line at the start and one at the end are all.

    Args:
        label: What is being done, as a user would say it.
        verbose: The caller's verbosity; `0` is silence.

    Yields:
        A function that replaces the text shown behind the label, for work with steps.
    """
    if _shown(verbose) < 1:
        yield lambda _detail: None
        return
    label, detail = printable(label), ""
    started = time.monotonic()
    done = threading.Event()
    stream = _target()
    live = bool(getattr(stream, "isatty", lambda: False)())
    shown = threading.Event()

    def set_detail(text: str) -> None:
        nonlocal detail
        detail = printable(text)

    def show() -> None:
        if done.wait(_PROGRESS_AFTER_SECONDS):
            return
        shown.set()
        if not live:
            _write(stream, f"{label} ...\n")
            return
        while True:
            seconds = time.monotonic() - started
            _write(stream, f"\r\x1b[2K{label} ... {seconds:.0f} s {detail}".rstrip())
            if done.wait(0.5):
                _write(stream, "\r\x1b[2K")
                return

    thread = threading.Thread(target=show, name="respect_tf-progress", daemon=True)
    thread.start()
    try:
        yield set_detail
    finally:
        done.set()
        thread.join()
    if shown.is_set():
        report(f"{label}: {time.monotonic() - started:.1f} s", verbose=verbose)
