"""Keeping TensorFlow's chatter off the user's terminal.

The converter writes some sixty lines per model: C++ code straight to file descriptor 2, Python code
through `print`, `logging` and `warnings`. Inside `silenced` all of it goes to an unnamed temporary
file, from which an error can quote, and the package's own messages still reach the terminal.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from typing import IO, TextIO

from respect_tf import _reporting
from respect_tf._reporting import Verbosity

_STDERR = 2
_TAIL_BYTES = 65536
_LOGGERS = ("tensorflow", "absl")
_CHATTY_MODULES = r"(tensorflow|keras|tf_keras|numpy|flatbuffers|absl|google|ml_dtypes|h5py)(\.|$)"


class Chatter:
    """What was written inside one `silenced` block."""

    def __init__(self, file: IO[bytes] | None) -> None:
        self._file = file
        self._start = _size(file)
        self._lines: list[str] = []

    def lines(self) -> list[str]:
        """The last lines written since the block began and before it ended, without empty ones."""
        if self._file is not None:
            end = _size(self._file)
            start = max(self._start, end - _TAIL_BYTES)
            # `pread` leaves the position alone, which the redirected descriptors share.
            written = os.pread(self._file.fileno(), end - start, start)
            self._lines = written.decode("utf-8", "replace").splitlines()
        return [line for line in self._lines if line.strip()]

    def _end(self) -> None:
        self.lines()
        self._file = None


@contextlib.contextmanager
def silenced(*, verbose: Verbosity = "auto") -> Iterator[Chatter]:
    """Keep TensorFlow quiet inside the block, and its warnings from becoming errors.

    Blocks may be nested and may overlap in several threads; file descriptor 2, `sys.stdout`,
    log levels and warning filters come back when the last one ends, however it ends. Those are the
    process's: what other threads print meanwhile is swallowed too.

    Args:
        verbose: `2` lets the chatter through.

    Yields:
        What was written, for error messages; always empty when it was let through.
    """
    if verbose == 2:
        with _quiet_warnings():
            yield Chatter(None)
        return
    file = _enter()
    chatter = Chatter(file)
    try:
        yield chatter
    finally:
        chatter._end()
        _leave()


# One process has one file descriptor 2, so its state is the module's.
_lock = threading.Lock()
_depth = 0
_file: IO[bytes] | None = None  # None while nothing is silenced
_restore = contextlib.ExitStack()


def _enter() -> IO[bytes]:
    global _depth, _file, _restore  # noqa: PLW0603
    with _lock:
        if _file is None:
            # On any exception, Ctrl-C included, the inner stack takes back what was done so far.
            with contextlib.ExitStack() as stack:
                _file = _redirect(stack)
                _restore = stack.pop_all()
        _depth += 1
        return _file


def _leave() -> None:
    global _depth, _file  # noqa: PLW0603
    with _lock:
        _depth -= 1
        if _depth == 0:
            _file = None
            _restore.close()


def _redirect(stack: contextlib.ExitStack) -> IO[bytes]:
    file: IO[bytes] = stack.enter_context(_capture_file())
    with contextlib.suppress(AttributeError, OSError, ValueError):  # None or closed: nothing to do
        sys.stderr.flush()
    stack.enter_context(_reporting.redirect(_terminal(stack)))
    with contextlib.suppress(OSError):  # a daemon may have closed it: nothing to take away then
        saved = os.dup(_STDERR)
        stack.callback(os.close, saved)
        stack.callback(os.dup2, saved, _STDERR)
        os.dup2(file.fileno(), _STDERR)
    # `sys.stderr` itself stays: a log handler made inside the block keeps whatever is there.
    stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.ERROR)
    stack.enter_context(_quiet_warnings())
    return file


def _capture_file() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError:  # no room anywhere: be silent without a record
        return open(os.devnull, "w+b")  # noqa: PTH123


def _terminal(stack: contextlib.ExitStack) -> TextIO:
    """A stream that still reaches the user once descriptor 2 is redirected."""
    stream = sys.stderr
    if stream is None:
        return stack.enter_context(open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123
    try:
        on_descriptor = stream.fileno() == _STDERR
    except (AttributeError, OSError, ValueError):  # notebooks and captured streams have none
        return stream
    if not on_descriptor:
        return stream
    copy = os.dup(_STDERR)
    return stack.enter_context(
        open(copy, "w", buffering=1, encoding=stream.encoding, errors="backslashreplace")  # noqa: PTH123
    )


@contextlib.contextmanager
def _quiet_warnings() -> Iterator[None]:
    """Ignore warnings that arise in TensorFlow and its kin; those of user code stay."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=_CHATTY_MODULES)
        yield


def _size(file: IO[bytes] | None) -> int:
    return os.fstat(file.fileno()).st_size if file is not None else 0
