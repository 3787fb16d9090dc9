"""`respect-tf labels`: one process against two, and what a million labels would take."""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._tables import markdown, update_page, write_results
from respect_tf.training import UNPROVED, WIDE_MIX, WIDE_OPS, LabelRun, run_labels

Row = dict[str, Any]

_MILLION = 1_000_000
_KINDS: dict[str, dict[str, Any]] = {
    "proved": {"seed": 0},
    "unproved": {"seed": UNPROVED, "num_ops": WIDE_OPS, "mix": WIDE_MIX, "exact": False},
}


def main() -> None:
    """Measure and write `results/labels.md`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--proved", type=int, default=1000)
    parser.add_argument("--unproved", type=int, default=10000)
    given = vars(parser.parse_known_args()[0])
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, options in _KINDS.items():
            made = [
                _row(Path(folder) / f"{kind}{count}", given[kind], count, options)
                for count in (1, 2)
            ]
            same = _bytes(Path(folder) / f"{kind}1") == _bytes(Path(folder) / f"{kind}2")
            rows += [{"labels": kind, **row, "same bytes": same} for row in made]
    notes = (
        "Labels with their records. Processor seconds are of all processes, Beam's own start "
        '(some seconds for each) included. "core hours" are those for a million labels, from the '
        "processor's time with one process."
    )
    write_results("labels", "Labels in one process and in two", rows, notes)
    update_page("labels", f"{markdown(rows)}\n\n{notes}")


def _row(folder: Path, count: int, processes: int, options: dict[str, Any]) -> Row:
    started, before = time.monotonic(), _processor()
    found: LabelRun = run_labels(str(folder), count, num_processes=processes, verbose=0, **options)
    seconds, used = time.monotonic() - started, _processor() - before
    made = count - len(found.failures)
    return {
        "processes": processes,
        "number": made,
        "left out": len(found.failures),
        "clock s": seconds,
        "processor s": used,
        "per clock s": made / seconds,
        "core hours": used / made * _MILLION / 3600 if processes == 1 else "-",
    }


def _processor() -> float:
    """Seconds of this process and of those that it has waited for."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(sum(resource.getrusage(kind)[:2]) for kind in kinds)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("labels-*")}


if __name__ == "__main__":
    main()
