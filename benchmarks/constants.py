"""What each tuned number of the schedulers is for: as it is, half of it, and twice.

Where these change nothing, a tenth of it and ten times as much.

    python -m benchmarks constants

measures all of them, and `python -m benchmarks constants scheduling._pace._BACK ...` some, whose
rows take the place of those in `results/constants.json`. The comments of the constants say the same
in words. Every constant is judged on those cases that read it, its own value by turns with the
others in the same process; two processes share the cases, for two quiet cores.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import multiprocessing
import re
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from benchmarks._constant_cases import cases
from benchmarks._constant_comments import with_comments
from benchmarks._constant_outcomes import Case, Outcome
from benchmarks._constant_values import changed, reads
from benchmarks._constants import PACKAGE, Constant, tuned_constants
from benchmarks._tables import RESULTS, update_page, write_results

# Of cases that take longer, each value runs once.
_TWICE_BELOW = 0.1
_NUM_PROCESSES = 2
_TOGETHER = 4  # constants between two runs with the values that the package has
_ONLY_WITH_LIMIT = re.compile(
    r"(?<!_LIMIT)_SHARE$|SECONDS|PER_SECOND|_TIME$|WINDOWS|_cut_bounds\._ENOUGH"
)
_NOISE = 0.1  # of times, by which two runs of the same differ
_SIDES = ("half", "twice")
_SAME = "half the same; twice the same"
# Of what half and twice do not change: the factor that is tried, and what its sides are called.
_FAR, _FAR_SIDES = 10.0, ("a tenth", "ten times")
_ALL_SAME = "half, twice, a tenth and ten times the same"
SECTIONS = tuple(one.key for one in tuned_constants())


@dataclasses.dataclass(frozen=True)
class Run:
    """What a case came to with some value, and the least processor seconds that it took."""

    outcome: Outcome
    seconds: float


@dataclasses.dataclass(frozen=True)
class Effect:
    """What another value does to a case.

    Attributes:
        case: The case.
        cost: What it costs more, in percent of the best known.
        proofs: Proofs more.
        gap: Percent by which the mean gap is larger.
        crossing: Percent by which more bytes cross.
        seconds: Seconds that it takes.
        usual: Seconds with the package's value.
    """

    case: str
    cost: float
    proofs: int
    gap: float
    crossing: float
    seconds: float
    usual: float


def main() -> None:
    """Measure and write `results/constants.md`."""
    asked = [name for name in sys.argv[1:] if name in SECTIONS]
    chosen = [one for one in tuned_constants() if not asked or one.key in asked]
    effects = measured(chosen)
    rows = {one.key: row_of(one, effects.get(one.key, [])) for one in chosen}
    _write(rows, bool(asked))
    idle = [one for one in chosen if rows[one.key]["effect"].endswith(_SAME) and one.is_scaled]
    for key, far in measured(idle, _FAR).items():
        said_of = effect_of(far, _FAR_SIDES)
        both = rows[key]["effect"] + f"; {said_of}"
        rows[key]["effect"] = both.replace(
            f"{_SAME}; a tenth the same; ten times the same", _ALL_SAME
        )
    _write(rows, bool(asked))


def _write(rows: Mapping[str, dict[str, Any]], is_part: bool) -> None:
    """Write the table, of which a part takes the place of what stands there, and the comments."""
    path = RESULTS / "constants.json"
    if is_part and path.exists():
        rows = {row["constant"]: row for row in json.loads(path.read_text())} | dict(rows)
    known = [rows[one.key] for one in tuned_constants() if one.key in rows]
    write_results("constants", "What tuned numbers do", known, _NOTES)
    update_page("constants", summary(known))
    update_comments(known)


def update_comments(rows: Sequence[Mapping[str, Any]]) -> None:
    """Have the comments of the package say what the table says."""
    for path, effects in effects_by_file(rows).items():
        path.write_text(with_comments(path.read_text("utf-8"), effects), "utf-8")


def effects_by_file(rows: Sequence[Mapping[str, Any]]) -> dict[Path, dict[str, str]]:
    """The column "effect" by file and name."""
    found: dict[Path, dict[str, str]] = defaultdict(dict)
    for row in rows:
        *folders, name = row["constant"].split(".")
        found[PACKAGE.joinpath(*folders).with_suffix(".py")][name] = row["effect"]
    return found


def measured(
    constants: Sequence[Constant], factor: float = 2.0
) -> dict[str, list[tuple[Effect, Effect]]]:
    """By constant, what that part of it and that multiple do to each case that reads it."""
    found: dict[str, list[tuple[Effect, Effect]]] = defaultdict(list)
    numbers = range(len(cases()))[::-1]  # the longest ones are behind
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(_NUM_PROCESSES, mp_context=spawn) as pool:
        for effects in pool.map(
            _of_case, numbers, itertools.repeat(constants), itertools.repeat(factor)
        ):
            for key, pair in effects.items():
                found[key].append(pair)
    return found


def _of_case(
    number: int, constants: Sequence[Constant], factor: float
) -> dict[str, tuple[Effect, Effect]]:
    """By the key of each constant that a case reads, what other values do to it."""
    case = cases()[number]
    possible = [
        one
        for one in constants
        if bool(_ONLY_WITH_LIMIT.search(one.key)) == case.is_limited
        and re.search(case.only, one.key)
    ]
    if not possible:
        return {}
    started = time.process_time()
    case.run()
    read = reads(case.run, possible)
    if case.unseen:
        read += [one for one in possible if one not in read and re.search(case.unseen, one.key)]
    effects = _effects(case, read, factor) if read else {}
    spent = time.process_time() - started
    print(f"{case.name}: {len(read)} constants, {spent:.1f} s", file=sys.stderr, flush=True)
    return effects


def _effects(
    case: Case, constants: Sequence[Constant], factor: float
) -> dict[str, tuple[Effect, Effect]]:
    usual: dict[str, Run] = {}
    others: dict[str, list[Run]] = {}
    for first in range(0, len(constants), _TOGETHER):
        some = constants[first : first + _TOGETHER]
        todo: list[tuple[Constant | None, Any]] = [(None, None)]
        todo += [(one, value) for one in some for value in one.others(factor)]
        base, *rest = runs = _runs(case, todo)
        # Other work on the machine slows single runs down, and most values change no time.
        seconds = statistics.median(run.seconds for run in runs)
        base = dataclasses.replace(base, seconds=seconds)
        for number, one in enumerate(some):
            usual[one.key], others[one.key] = base, rest[2 * number : 2 * number + 2]
    every = [*usual.values(), *(run for pair in others.values() for run in pair)]
    optima = _least([run.outcome.optima for run in every])
    costs = {id(run): _costs(run.outcome, optima) for run in every}
    best = [min(values) for values in zip(*costs.values(), strict=True)]

    def effect(run: Run, base: Run) -> Effect:
        new, old = run.outcome, base.outcome
        pairs = zip(costs[id(run)], costs[id(base)], best, strict=True)
        return Effect(
            case.name,
            100 * statistics.fmean((one - two) / max(least, 1e-9) for one, two, least in pairs),
            new.num_proved - old.num_proved,
            100 * (new.gap - old.gap),
            100 * (new.crossing / old.crossing - 1) if old.crossing else 0.0,
            run.seconds,
            base.seconds,
        )

    return {
        key: (effect(half, usual[key]), effect(twice, usual[key]))
        for key, (half, twice) in others.items()
    }


def _runs(case: Case, todo: Sequence[tuple[Constant | None, Any]]) -> list[Run]:
    """Run with each value by turns, twice where that is short."""
    found: list[Run | None] = [None] * len(todo)
    for repeat in range(2):
        if repeat and not case.is_limited and found[0] and found[0].seconds > _TWICE_BELOW:
            break
        for number, (constant, value) in enumerate(todo):
            with changed(constant, value) if constant else nullcontext():
                started = time.process_time()
                outcome = case.run()
                run = Run(outcome, time.process_time() - started)
            known = found[number]
            if known is not None:
                run = dataclasses.replace(run, seconds=min(run.seconds, known.seconds))
            found[number] = run
    return [run for run in found if run is not None]


def _least(every: Sequence[tuple[tuple[float, ...], ...]]) -> list[list[float]]:
    return [
        [min(values) for values in zip(*schedules, strict=True)]
        for schedules in zip(*every, strict=True)
    ]


def _costs(outcome: Outcome, optima: Sequence[Sequence[float]]) -> list[float]:
    """Of each schedule, on the worst host, relative to the best optima that are known."""
    return [
        max(cost / max(least, 1e-12) for cost, least in zip(*pair, strict=True))
        for pair in zip(outcome.costs, optima, strict=True)
    ]


def row_of(constant: Constant, effects: Sequence[tuple[Effect, Effect]]) -> dict[str, Any]:
    """A row of the table."""
    row: dict[str, Any] = {
        "constant": constant.key,
        "value": _short(constant.value),
        "cases": len(effects),
    }
    sides = list(zip(*effects, strict=True)) or [(), ()]
    for name, value, side in zip(_SIDES, constant.others(), sides, strict=True):
        row[name] = _short(value)
        row |= {f"{name}: {column}": figure for column, figure in _figures(side).items()}
    row["effect"] = effect_of(effects, _SIDES)
    if not effects:
        row["effect"] = "read by no case that was run"
    elif _ONLY_WITH_LIMIT.search(constant.key):
        row["effect"] = f"with a time limit, {row['effect']}"
    return row


def effect_of(effects: Sequence[tuple[Effect, Effect]], names: tuple[str, str]) -> str:
    """What two other values do, in words."""
    sides = list(zip(*effects, strict=True)) or [(), ()]
    pairs = zip(names, sides, strict=True)
    return "; ".join(f"{name} {said(_figures(side))}" for name, side in pairs)


def _figures(side: Sequence[Effect]) -> dict[str, Any]:
    if not side:
        return dict.fromkeys(("cost %", "worst %", "proofs", "gap %", "crossing %", "time"), "-")
    usual = sum(one.usual for one in side)
    return {
        "cost %": round(statistics.fmean(one.cost for one in side), 4),
        "worst %": round(max(one.cost for one in side), 3),
        "proofs": sum(one.proofs for one in side),
        "gap %": round(statistics.fmean(one.gap for one in side), 3),
        "crossing %": round(statistics.fmean(one.crossing for one in side), 3),
        "time": round(sum(one.seconds for one in side) / usual, 3) if usual else math.nan,
    }


def said(figures: Mapping[str, Any]) -> str:
    """The figures of one side in words: what differs from the package's value."""
    return ", ".join(_words(figures)) or "the same"


def _words(figures: Mapping[str, Any]) -> Iterator[str]:
    if figures["cost %"] == "-":
        return
    worst, is_same = figures["worst %"], True
    if abs(figures["cost %"]) >= 0.005 or worst >= 0.05:
        is_same = False
        yield f"{figures['cost %']:+.2f} % cost" + (f" (worst {worst:+.1f})" if worst >= 1 else "")
    if figures["proofs"]:
        is_same = False
        yield f"{figures['proofs']:+d} proofs"
    if abs(figures["gap %"]) >= 0.05:
        is_same = False
        yield f"{figures['gap %']:+.2f} % gap"
    if is_same and abs(figures["crossing %"]) >= 0.05:
        yield f"{figures['crossing %']:+.2f} % crossing bytes"
    if abs(figures["time"] - 1) > _NOISE:
        yield f"{figures['time']:.2f} times the time"


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """What `docs/measured.md` says."""
    unread = sum(not row["cases"] for row in rows)
    idle = sum(row["effect"].endswith((_SAME, _ALL_SAME)) for row in rows)
    far = sum(f"; {_FAR_SIDES[0]}" in row["effect"] for row in rows)
    worst = max(
        (float(row[f"{side}: cost %"]), row["constant"], side)
        for row in rows
        if row["cases"]
        for side in _SIDES
    )
    return (
        f"{len(rows)} tuned numbers, each halved and doubled on the cases that read it: "
        f"{len(rows) - unread - idle - far} change cost, bound, proofs, crossing bytes or time so, "
        f"{far} with a tenth or ten times as much, {idle} change nothing on these cases and "
        f"{unread} are read by none of them. The largest mean "
        f"loss is {worst[0]:.2f} % of the cost (`{worst[1]}`, {worst[2]}). The table is in "
        "[constants.md](../benchmarks/results/constants.md)."
    )


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_short, value))})"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if abs(value) < 10**9 else f"{value:.0e}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


_NOTES = f"""
Half and twice the package's value; shares stay below 1, and of numbers near 1 the distance from it
is halved and doubled. Where that changes nothing, a tenth of it and ten times as much are tried.
"cases" read the constant, which is found by tracing; the others are left out. "cost %" is the mean
over them of what schedules cost more, in percent of the best known with any value, and "worst %"
the largest of one case; "proofs" are proofs more, "gap %" the percent by which mean gaps are
larger, "crossing %" those by which more bytes cross; "time" is the processor's, as a multiple of
what the same cases take otherwise, the median of what ran at about the same time; cases below
{_TWICE_BELOW} s count by the less of two runs each. Differences of time below {_NOISE:.0%} are
noise. Shares of a time limit are judged on cases with one, whose results depend on the machine.
"""


if __name__ == "__main__":
    main()
