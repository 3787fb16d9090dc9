"""The process in which mutants are opened; it says what it is about to do, and how it went."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from benchmarks.fuzz._entries import ENTRIES, Entry, RefusedError
from benchmarks.fuzz._seeds import Files

MOST_MIB = 2048  # that a mutant may take beyond what the process has when it begins
_SPARE_MIB = 1024  # from there until allocations fail, so that it is seen who took too much


def main(name: str, seed: int, numbers: list[int], own: bool, pipe: int) -> None:
    """Open mutants one after the other; a line of JSON before and after each."""
    entry = ENTRIES[name]
    seeds = entry.seeds()[: 1 if own else None]

    def say(**line: Any) -> None:
        os.write(pipe, json.dumps(line).encode() + b"\n")

    with tempfile.TemporaryDirectory() as folder:
        # What is whole is opened first: all is imported then, and it has to be accepted.
        say(**_attempt(entry, seeds[0], Path(folder)))
        most = (_mib("VmSize") + MOST_MIB + _SPARE_MIB) * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        for number in numbers:
            mutant = entry.mutant(seed, number, seeds)
            before = _mib("VmRSS")
            Path("/proc/self/clear_refs").write_text("5")  # the peak is looked for anew
            say(begin=number)
            started = time.perf_counter()
            said = _attempt(entry, mutant, Path(folder))
            seconds, peak = time.perf_counter() - started, max(0, _mib("VmHWM") - before)
            if peak > MOST_MIB:
                said = {"outcome": "memory", "detail": f"{peak} MiB"}
            say(number=number, seconds=seconds, peak=peak, **said)


def _attempt(entry: Entry, files: Files, work: Path) -> dict[str, str]:
    from respect_tf import RespectError

    # A folder of its own each time, because weights are read once for each path.
    folder = Path(tempfile.mkdtemp(dir=work))
    shutil.rmtree(work / "out", ignore_errors=True)
    write(folder, files)
    try:
        entry.open(folder, work)
    except (RespectError, RefusedError) as error:
        return {"outcome": "refused", "detail": str(error)[:300]}
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "respect_tf" in frame.filename] or frames
        where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
        return {"outcome": "raw", "detail": f"{type(error).__name__} at {where}: {error}"[:300]}
    finally:
        shutil.rmtree(folder)
    return {"outcome": "accepted", "detail": ""}


def write(folder: Path, files: Files) -> None:
    """Write a mutant."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _mib(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(field))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
