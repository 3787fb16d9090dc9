"""`python -m benchmarks.fuzz [--mutants N] [--seed S] [--entry NAME] [--number I]`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks._tables import markdown, write_results
from benchmarks.fuzz._child import MOST_MIB, write
from benchmarks.fuzz._entries import ENTRIES
from benchmarks.fuzz._run import FAULTS, run

_LIMIT = 20.0  # seconds that a mutant may take, imports not counted
_NOTES = (
    "Mutants of small files, opened through the command line or the function that users call. "
    "Refused: with an error of respect_tf that says what is wrong. Faults: any other exception, "
    f"the death of the process, more than {_LIMIT:.0f} s, more than {MOST_MIB} MiB. Made by "
    "`python -m benchmarks.fuzz --mutants 25000 --write`."
)


def main() -> None:
    """Run what the command line asks for; the exit code is 1 if there was a fault."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--mutants", type=int, default=2500, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--entry", choices=ENTRIES, help="one instead of all by their shares")
    parser.add_argument("--number", type=int, help="one mutant of an entry; it is kept")
    parser.add_argument("--own", action="store_true", help="without public files")
    parser.add_argument("--keep", type=Path, default=Path(".cache/fuzz"), help="where faults go")
    parser.add_argument("--write", action="store_true", help="write the table to the results")
    given = parser.parse_args()
    if given.number is not None and given.entry is None:
        parser.error("--number needs --entry")
    chosen = [ENTRIES[given.entry]] if given.entry else list(ENTRIES.values())
    shares = sum(entry.share for entry in chosen)
    rows = []
    for entry in chosen:
        numbers = range(max(1, round(entry.share / shares * given.mutants)))
        if given.number is not None:
            numbers = range(given.number, given.number + 1)
        rows.append(_row(entry.name, numbers, given))
    every = {key: [row[key] for row in rows] for key in rows[0] if key != "entry"}
    most = {key: (max if " " in key else sum)(values) for key, values in every.items()}
    rows.append({"entry": "all", **most})
    if given.write:
        write_results("fuzz", "Damaged files", rows, _NOTES)
    else:
        print(markdown(rows))
    sys.exit(any(rows[-1][fault] for fault in FAULTS))


def _row(name: str, numbers: range, given: argparse.Namespace) -> dict[str, Any]:
    """A row of the table; faults are kept, and printed as the command that repeats them."""
    counts: Counter[str] = Counter()
    slowest, peak = 0.0, 0
    seeds = ENTRIES[name].seeds()[: 1 if given.own else None]
    for found in run(name, given.seed, numbers, limit=_LIMIT, own=given.own):
        counts[found.outcome] += 1
        slowest, peak = max(slowest, found.seconds), max(peak, found.peak)
        if found.outcome in FAULTS or given.number is not None:
            kept = given.keep / f"{name}-{given.seed}-{found.number}"
            write(kept, ENTRIES[name].mutant(given.seed, found.number, seeds))
            print(
                f"python -m benchmarks.fuzz --entry {name} --seed {given.seed} --number "
                f"{found.number}{' --own' * given.own}  # {found.outcome}: {found.detail!r}, "
                f"kept in {kept}",
                flush=True,
            )
    kinds = {kind: counts[kind] for kind in ("accepted", "refused", *FAULTS)}
    return {"entry": name, "mutants": sum(counts.values()), **kinds, "slowest s": slowest,
            "most MiB": peak}  # fmt: skip


if __name__ == "__main__":
    main()
