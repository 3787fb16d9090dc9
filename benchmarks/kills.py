"""Savers that are killed at random moments: what is left, and what the next save makes of it.

`python -m benchmarks.kills [MODEL.tflite]`; MobileNetV2 if no model is named.
"""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import respect_tf
from benchmarks._models import int8_model
from benchmarks._tables import write_results
from respect_tf._manifest import pipeline_files
from respect_tf.cli import main as command

NUM_KILLS = 200
_NUM_TIMED = 5


@dataclasses.dataclass
class Tally:
    """What was found after the kills of one kind of saver."""

    saver: str
    milliseconds: float
    kills: int = 0
    ended_before: int = 0
    old_folder: int = 0
    new_folder: int = 0
    damaged_folder: int = 0
    with_strays: int = 0
    strays_after_next_save: int = 0


def main() -> None:
    """Kill and write `results/kills.md`."""
    named = sys.argv[1:] if __name__ == "__main__" else []
    content = Path(named[0]).read_bytes() if named else int8_model("MobileNetV2")
    with tempfile.TemporaryDirectory() as folder:
        rows = _rows(content, Path(folder))
    notes = """
Each saver is a process of its own that replaces a saved pipeline, and is killed (SIGKILL) after a
time that is uniform between 0 and 1.1 times what the saver takes. Then the folder is compared, byte
for byte, with the one before and the one that is being written, and another process saves once
more: strays are hidden files and folders beside the target.
"""
    write_results(
        "kills", "Savers that are killed", [dataclasses.asdict(row) for row in rows], notes
    )


def _rows(content: bytes, folder: Path) -> list[Tally]:
    model = folder / "network.tflite"
    model.write_bytes(content)
    options: Any = {"scheduler": "slicing", "objective": "memory", "verify": False, "verbose": 0}
    old, new = (respect_tf.convert(model, count, **options) for count in (3, 2))
    target = folder / "place" / "out"
    arguments = ["convert", str(model), "-n", "2", "--scheduler", "slicing", "--objective"]
    arguments += ["memory", "--no-verify", "--overwrite", "-q", "-o", str(target)]
    savers: dict[str, Callable[[], object]] = {
        "Pipeline.save(overwrite=True)": lambda: new.save(target, overwrite=True, verbose=0),
        "respect-tf convert -o --overwrite": lambda: command(arguments, standalone_mode=False),
    }
    return [_tally(name, save, old, target) for name, save in savers.items()]


def _tally(
    name: str,
    save: Callable[[], object],
    old: respect_tf.Pipeline,
    target: Path,
) -> Tally:
    times = []
    for _ in range(_NUM_TIMED):
        old.save(target, overwrite=True, verbose=0)
        started = time.perf_counter()
        _ended(_started(save), patience=60.0)
        times.append(time.perf_counter() - started)
    before, after = pipeline_files(old), _held(target)
    assert before != after, "a saver that nobody kills does not save"
    usual = statistics.median(times)
    tally, moments = Tally(name, 1000 * usual), random.Random(0)
    for _ in range(NUM_KILLS):
        old.save(target, overwrite=True, verbose=0)
        ended = _ended(_started(save), patience=moments.uniform(0, 1.1 * usual))
        found = _held(target)
        tally.kills += 1
        tally.ended_before += ended
        tally.old_folder += found == before
        tally.new_folder += found == after
        tally.damaged_folder += found not in (before, after)
        tally.with_strays += _num_strays(target) > 0
        old.save(target, overwrite=True, verbose=0)
        tally.strays_after_next_save += _num_strays(target)
    return tally


def _started(save: Callable[[], object]) -> int:
    """A copy of this process that saves; its number."""
    sys.stdout.flush()
    number = os.fork()
    if number:
        return number
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        save()
    finally:
        os._exit(0)


def _ended(number: int, *, patience: float) -> bool:
    """Kill a process after some seconds; whether it had ended by itself."""
    deadline = time.perf_counter() + patience
    while time.perf_counter() < deadline:
        if os.waitpid(number, os.WNOHANG)[0]:
            return True
        time.sleep(1e-4)
    os.kill(number, signal.SIGKILL)
    return os.WIFEXITED(os.waitpid(number, 0)[1])


def _held(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        return {}
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _num_strays(target: Path) -> int:
    return sum(path != target for path in target.parent.iterdir())


if __name__ == "__main__":
    main()
