"""The one place that writes to the user's terminal.

Everything goes to standard error, so that standard output stays free for results. While
`respect_tf.tflite._silence` has taken file descriptor 2 away from TensorFlow's chatter, this
module keeps writing to the real one.
"""

from __future__ import annotations

import contextlib
import contextvars
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, TextIO, TypeVar

Verbosity = Literal["auto", 0, 1, 2]

Item = TypeVar("Item")

_PROGRESS_AFTER_SECONDS = 2.0
_LIVE_SECONDS, _FILE_SECONDS = 0.5, 2.0  # between two signs of life
_TICKS_PER_LINE = 5  # of them, in files: ten seconds

# The stream that messages go to. `redirect` swaps it while file descriptor 2 is captured.
_stream: TextIO | None = None


_words: Callable[[str], str] = str
_writing = threading.RLock()
_display: _Display | None = None  # what a `progress` block shows now

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
        with _writing:
            if _display is not None:
                _display.step_aside()
            _write(_target(), printable(_words(message)) + "\n")


@contextlib.contextmanager
def speaking(words: Callable[[str], str]) -> Iterator[None]:
    """Put messages into a user's own words inside the block: options of a command line, say.

    Args:
        words: Makes of a message in Python's words, such as `overwrite=True`, another one.
    """
    global _words  # noqa: PLW0603 - one process has one terminal
    previous, _words = _words, words
    try:
        yield
    finally:
        _words = previous


def make_room() -> None:
    """Take away the line that a `progress` block shows, for a result on standard output."""
    with _writing:
        if _display is not None:
            _display.step_aside()


def in_words(message: str) -> str:
    """A message in the words of the `speaking` block that is open, if one is."""
    return _words(message)


def _write(stream: TextIO, text: str) -> None:
    # A full disk, a closed pipe or stream: the work itself goes on.
    with contextlib.suppress(OSError, ValueError):
        stream.write(text)
        stream.flush()


def _shown(verbose: Verbosity) -> int:
    return 1 if verbose == "auto" else int(verbose)


Tell = Callable[[str], None]

# Of the innermost block of `progress` in this context; None outside of all.
_telling: contextvars.ContextVar[Tell | None] = contextvars.ContextVar(
    "respect_tf_telling", default=None
)


def tell(detail: str) -> None:
    """Say how far the work has come, behind the label of the `progress` block that it is part of.

    Args:
        detail: Such as `"calibrating: 12 of 100 samples"`. Outside of all blocks nothing is shown.
    """
    shown = _telling.get()
    if shown is not None:
        shown(detail)


def counted(label: str, items: Iterable[Item], total: int, *, unit: str) -> Iterator[Item]:
    """The items, while `tell` says how many of them are done and how long the rest will take.

    Args:
        label: What is done with them.
        items: They; the time that is said is that between one and the next.
        total: How many there are.
        unit: What they are, in the plural.
    """
    started = time.monotonic()
    for done, item in enumerate(items):
        left = ""
        if done:
            seconds = (time.monotonic() - started) / done * (total - done)
            left = f", {seconds:.0f} s left"
        tell(f"{label}: {done:,} of {total:,} {unit}{left}")
        yield item


@contextlib.contextmanager
def progress(label: str, *, verbose: Verbosity = "auto", summary: bool = True) -> Iterator[Tell]:
    """Show that work goes on, once it has taken longer than two seconds.

    On a terminal and in a notebook, a line with the elapsed seconds is kept up to date and removed
    at the end. Elsewhere, each new phase is a line, and dots say that it goes on. A block inside
    another one is a detail of that.

    Args:
        label: What is being done, as a user would say it.
        verbose: The caller's verbosity; `0` is silence.
        summary: Whether to say at the end how long it took, where it was shown.

    Yields:
        A function that replaces the text shown behind the label, for work with steps; `tell` is the
        same for whoever does not know of the block.
    """
    outer = _telling.get()
    if outer is not None or _shown(verbose) < 1:
        token = _telling.set(_nothing if outer is None else outer)
        try:
            tell(f"{label[:1].lower()}{label[1:]}")
            yield tell
        finally:
            _telling.reset(token)
        return
    display = _Display(printable(label))
    started = time.monotonic()
    token = _telling.set(display.set_detail)
    display.thread.start()
    try:
        yield display.set_detail
    finally:
        _telling.reset(token)
        display.done.set()
        display.thread.join()
    if summary and display.shown.is_set():
        report(f"{printable(label)}: {time.monotonic() - started:.1f} s", verbose=verbose)


def _nothing(detail: str) -> None:
    """What `tell` does where nothing is to be shown."""
    del detail


class _Display:
    """What a `progress` block shows, written by a thread of its own."""

    def __init__(self, label: str) -> None:
        self.done = threading.Event()
        self.shown = threading.Event()
        self.thread = threading.Thread(target=self._show, name="respect_tf-progress", daemon=True)
        self._label = label
        self._detail = ""
        self._erase = ""  # what makes a terminal forget a line
        self._overwritten = 0  # characters of the line that changes
        self._phase: str | None = None  # of the line that stays and is not ended yet
        self._ticks = 0

    def set_detail(self, text: str) -> None:
        """Replace what is shown behind the label."""
        self._detail = printable(text).replace("\n", " ")

    def step_aside(self) -> None:
        """Leave the line to a message; `_writing` is held."""
        if self._overwritten:
            self._overwrite("")
        elif self._phase is not None:
            _write(_target(), "\n")
            self._phase = None

    def _show(self) -> None:
        global _display  # noqa: PLW0603 - one process has one terminal
        if self.done.wait(_PROGRESS_AFTER_SECONDS):
            return
        self.shown.set()
        started = time.monotonic() - _PROGRESS_AFTER_SECONDS
        terminal = bool(getattr(_target(), "isatty", lambda: False)())
        live = terminal or type(_target()).__module__.startswith("ipykernel")
        self._erase = "\r\x1b[2K" if terminal else ""
        wait = _LIVE_SECONDS if live else _FILE_SECONDS
        _display = self
        while not self.done.is_set():
            with _writing:
                if live:
                    seconds = time.monotonic() - started
                    self._overwrite(f"{self._label} ... {seconds:.0f} s {self._detail}".rstrip())
                else:
                    self._go_on()
            self.done.wait(wait)
        with _writing:
            _display = None
            self.step_aside()

    def _overwrite(self, line: str) -> None:
        """One line that changes, and is gone at the end."""
        if self._erase:
            line = line[: shutil.get_terminal_size().columns - 1]
            text = f"{self._erase}{line}"
        else:  # a notebook knows no more than carriage returns
            text = f"\r{line:<{self._overwritten}}" + ("" if line else "\r")
        _write(_target(), text)
        self._overwritten = len(line)

    def _go_on(self) -> None:
        """Lines that stay: one for each phase, and for the same phase after some time."""
        self._ticks += 1
        phase = re.split(r"[\d:]", self._detail, maxsplit=1)[0]
        if phase == self._phase and self._ticks <= _TICKS_PER_LINE:
            _write(_target(), ".")
            return
        start = "" if self._phase is None else "\n"
        _write(_target(), f"{start}{self._label} ... {self._detail}".rstrip(" "))
        self._phase, self._ticks = phase, 0
