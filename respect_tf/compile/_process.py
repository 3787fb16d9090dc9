"""Running a program that may hang, crash or start others, and stopping it for certain."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

_FIRST_POLL_SECONDS, _POLL_SECONDS = 0.001, 0.05
_MOST_SCANS = 20  # for what is started while others are stopped; a killed one is gone in a few
_TOKEN = "RESPECT_TF_PROGRAM"  # in the environment of all that a program starts

MOST_LOG_BYTES = 2**20
"""Of what a program prints; a compiler that loops must not fill the memory."""


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
    starts a program that starts another one, and all of them have to go, also those that are left
    in the background when it ends. Those that leave the session are known by their environment.

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
    token = secrets.token_hex(16)
    printed = folder / ".printed"
    with printed.open("wb") as file:
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, _TOKEN: token},
        )
        try:
            ended = _wait(process, started + timeout, stop)
        finally:
            _kill(process, token)
    with printed.open("rb") as file:
        text = file.read(MOST_LOG_BYTES).decode("utf-8", "backslashreplace")
    return ProgramRun(process.returncode if ended else None, text, time.monotonic() - started)


def _wait(process: subprocess.Popen[bytes], deadline: float, stop: threading.Event | None) -> bool:
    """Wait for a program; whether it ended in time. Its number stays taken until it is killed."""
    stopped = stop or threading.Event()
    delay = _FIRST_POLL_SECONDS
    while time.monotonic() < deadline:
        try:
            ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True  # this process lets the system forget its children
        if ended is not None:
            return True
        if stopped.wait(delay):
            raise Stopped
        delay = min(2 * delay, _POLL_SECONDS)
    return False


def _kill(process: subprocess.Popen[bytes], token: str) -> None:
    """Stop a program with all that it started; what has ended is not there any more."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for _ in range(_MOST_SCANS):
        left = _with_environment(f"{_TOKEN}={token}".encode())
        for number in left:
            with contextlib.suppress(OSError):
                os.kill(number, signal.SIGKILL)
        if not left:
            return


def _with_environment(entry: bytes) -> list[int]:
    """Numbers of the processes with this entry in their environment; none where /proc is not."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # another user's, or gone meanwhile
            if entry in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found
