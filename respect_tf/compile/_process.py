"""Running a program that may hang, crash or start others, and stopping it for certain."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

_POLL_SECONDS = 0.05
_MOST_BYTES = 2**20  # of what a program prints; a compiler that loops must not fill the memory


@dataclasses.dataclass(frozen=True)
class ProgramRun:
    """How a program ended.

    Attributes:
        exit_code: Its exit code, negative for the signal that ended it; None if it was stopped.
        text: What it printed, to standard output and standard error.
        seconds: How long it ran.
    """

    exit_code: int | None
    text: str
    seconds: float


class Stopped(Exception):
    """Someone asked for all programs to be stopped."""


def run_program(
    command: Sequence[str], folder: Path, *, timeout: float, stop: threading.Event | None = None
) -> ProgramRun:
    """Run a program to its end, or stop it and everything that it started.

    It has no standard input, and a session of its own: `edgetpu_compiler` is a shell script that
    starts a program that starts another one, and all of them have to go.

    Args:
        command: Program and arguments.
        folder: Where it runs; a file for what it prints is made there.
        timeout: Seconds after which it is stopped.
        stop: Once set, it is stopped at once.

    Raises:
        OSError: It cannot be started.
        Stopped: `stop` was set.
    """
    started = time.monotonic()
    printed = folder / ".printed"
    with printed.open("wb") as file:
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            exit_code = _wait(process, started + timeout, stop)
        finally:
            _kill(process)
    with printed.open("rb") as file:
        text = file.read(_MOST_BYTES).decode("utf-8", "backslashreplace")
    return ProgramRun(exit_code, text, time.monotonic() - started)


def _wait(
    process: subprocess.Popen[bytes], deadline: float, stop: threading.Event | None
) -> int | None:
    while time.monotonic() < deadline:
        if stop is not None and stop.is_set():
            raise Stopped
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(_POLL_SECONDS)
    return None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Stop a program with all that it started; nothing happens if it has ended."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
