"""Batches of mutants in child processes, with a watchdog."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.fuzz._seeds import ROOT

FAULTS = ("raw", "death", "hang", "memory")
_CHILD = (sys.executable, "-m", "benchmarks.fuzz._child")
_IMPORT_SECONDS = 600  # for imports and the whole file, which do not count


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How one mutant went.

    Attributes:
        number: Which.
        outcome: `"accepted"`, `"refused"` with an error of ours, or one of `FAULTS`.
        detail: The error.
        seconds: How long it took.
        peak: What it took of memory at most, in MiB.
    """

    number: int
    outcome: str
    detail: str
    seconds: float = 0.0
    peak: int = 0


def run(
    name: str, seed: int, numbers: range, *, limit: float, own: bool = False
) -> Iterator[Outcome]:
    """Open mutants of an entry; a new process goes on where one died or hung.

    Args:
        name: The entry.
        seed: Of all mutants.
        numbers: Which of them.
        limit: Seconds that one may take.
        own: Without public files beside the project.

    Raises:
        RuntimeError: The whole file is refused, or the process ends between mutants.
    """
    left = list(numbers)
    while left:
        for outcome in _batch({"name": name, "seed": seed, "numbers": left, "own": own}, limit):
            left = [number for number in left if number > outcome.number]
            yield outcome


def _batch(given: dict[str, object], limit: float) -> Iterator[Outcome]:
    source, sink = os.pipe()
    child = subprocess.Popen(
        [*_CHILD, json.dumps({**given, "pipe": sink})],
        cwd=ROOT, pass_fds=[sink], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    os.close(sink)
    buffer, begun, silent = b"", None, False
    try:
        while not silent:
            wait = _IMPORT_SECONDS if begun is None else limit
            silent = not select.select([source], [], [], wait)[0]
            chunk = b"" if silent else os.read(source, 2**16)
            if not chunk:
                break
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                said = json.loads(line)
                begun = said.pop("begin", None)
                if "number" in said:
                    yield Outcome(**said)
                elif said and said["outcome"] != "accepted":
                    raise RuntimeError(f"{given['name']}: the whole file is refused: {said}")
    finally:
        # What is done has a moment to end; what is left of it and of its children is ended.
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(None if not silent and begun is None else 0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        os.close(source)
    if begun is not None:
        told = f"nothing for {limit:g} s" if silent else f"exit code {child.returncode}"
        yield Outcome(begun, "hang" if silent else "death", told, limit if silent else 0.0)
    elif silent or child.returncode:
        raise RuntimeError(f"{given['name']}: the process ended with {child.returncode}")
