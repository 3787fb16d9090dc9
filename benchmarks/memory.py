"""How much memory `convert` takes at its peak, and TensorFlow's converter alone.

`python -m benchmarks.memory [MODEL ...]`; the ten models and VGG16 if none is named.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from benchmarks._models import TEN_MODELS
from benchmarks._peak_memory import NUM_SAMPLES
from benchmarks._tables import markdown, write_results

MODELS = (*TEN_MODELS, "VGG16")


def main() -> None:
    """Measure and write `results/memory.md`; of models that are named, print the table alone."""
    named = sys.argv[1:] if __name__ == "__main__" else []
    rows = [_row(name) for name in named or MODELS]
    if named:
        print(markdown(rows))
        return
    write_results("memory", "Peak memory of a conversion", rows, "\n".join(_notes(rows)))


def _row(name: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        weights = _child("build", name, folder)["weights"]
        # In processes of their own: memory that TensorFlow has used once stays.
        plain = _child("plain", folder)
        ours = _child("convert", folder)
    taken, above = plain["peak"] - plain["before"], ours["peak"] - ours["before"]
    return {
        "model": name,
        "weights MiB": weights,
        "before MiB": ours["before"],
        "TFLiteConverter peak MiB": plain["peak"],
        "convert peak MiB": ours["peak"],
        "TFLiteConverter above before": taken,
        "convert above before": above,
        "convert / TFLiteConverter": above / taken,
        "TFLiteConverter afterwards MiB": plain["after"],
        "convert afterwards MiB": ours["after"],
    }


def _child(*arguments: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks._peak_memory", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _notes(rows: list[dict[str, Any]]) -> Iterator[str]:
    ratios = [row["convert / TFLiteConverter"] for row in rows]
    largest = max(rows, key=lambda row: row["convert peak MiB"])
    yield f"""\
Resident memory of a process that has loaded the float model and {NUM_SAMPLES} samples ("before"),
at its peak from there on (`VmHWM`), and at the end. `convert` makes four segments for `usb3-pi5`
and proves them; "TFLiteConverter" is `from_keras_model` with full-integer settings and the same
samples, and nothing else. Above what was there before, `convert` takes {min(ratios):.2f} to
{max(ratios):.2f} times as much; most of all for {largest["model"]},
{largest["convert peak MiB"] / 1024:.1f} GiB in all. The peak is in TensorFlow's converter, in
floats or at its quantisation; scheduling, cutting and proving stay below it."""


if __name__ == "__main__":
    main()
