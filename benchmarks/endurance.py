"""What holds after hours of use: a row for every promise, and what was found.

`python -m benchmarks.endurance [SHARE]`; a share of 0.01 does a hundredth of the work.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import respect_tf
from benchmarks._endurance_bytes import ALL_AT_ONCE, BASE, OTHERS, Surroundings, hashes_of_saved
from benchmarks._endurance_growth import (
    NUM_POPPERS,
    NUM_PUSHERS,
    Growth,
    from_elsewhere,
    push_from_threads,
    repeated,
    small_model,
    small_samples,
    ticket_pipeline,
)
from benchmarks._endurance_names import (
    HOSTILE_NAMES,
    hook_in_nests_and_threads,
    names_that_inject,
)
from benchmarks._tables import write_results


@dataclass(frozen=True)
class Sizes:
    """How much is done.

    Attributes:
        pushes: Through the runner.
        conversions: Of a small model, in one process.
        runners: Made, used once, and closed.
        threads: That hold the hook open at the same time.
        surroundings: Of the processes whose bytes are compared.
    """

    pushes: int = 200_000
    conversions: int = 300
    runners: int = 100
    threads: int = 4
    surroundings: tuple[Surroundings, ...] = (*OTHERS, ALL_AT_ONCE)


@dataclass(frozen=True)
class Row:
    """One promise.

    Attributes:
        promise: What has to hold.
        tried: What was done.
        found: What came of it.
        kept: Whether it held.
    """

    promise: str
    tried: str
    found: str
    kept: bool


# Memory that may come between a tenth of the work and its end. Measured with the full sizes: 1 MiB
# for 180,000 pushes, none for 90 runners, less for 270 conversions. A quarter of a MiB lost by each
# conversion, or half a KiB by each push, is above it.
_MOST_MIB = 64.0


def main() -> None:
    """Try all promises and write `results/endurance.md`; ends with 1 where one is broken."""
    share = float(sys.argv[1]) if __name__ == "__main__" and sys.argv[1:] else 1.0
    full = Sizes()
    sizes = Sizes(
        pushes=int(full.pushes * share),
        conversions=int(full.conversions * share) or 1,
        runners=int(full.runners * share) or 1,
    )
    with tempfile.TemporaryDirectory() as folder:
        rows = list(promises(sizes, Path(folder)))
    notes = f"""
"A to B" is what the process holds after a tenth of the work and at its end: open files may not
grow, threads and processes by no more than two runners have, as some are still ending, resident
memory by {_MOST_MIB:.0f} MiB at most. Inputs of the runner carry the number of their pusher and
their own, and the segments hand them through as they are; models "from elsewhere" run in processes
of their own. Hostile names are those of the file, its tensors, its signature and the device; a page
may differ from that of plain names in texts alone, and `compile.sh` is run with a compiler that
writes down its arguments. Bytes are those of every file of a saved folder, compared by their sha256
with those made with hash seed 0, one thread, C.UTF-8, UTC and umask 022.
"""
    write_results("endurance", "What keeps holding", [asdict(row) for row in rows], notes)
    if not all(row.kept for row in rows):
        sys.exit("A promise is broken.")


def promises(sizes: Sizes, folder: Path) -> Iterator[Row]:
    """Try them one after another.

    Args:
        sizes: How much is done.
        folder: An empty one, for files.
    """
    yield from _runner_rows(sizes)
    model, samples = small_model(), small_samples()
    growth = repeated(
        lambda: respect_tf.convert(model, 2, samples, device="usb3-pi5", verbose=0),
        sizes.conversions,
    )
    yield _flat_row("conversions leave nothing", f"{sizes.conversions:,} in one process", growth)
    faults = hook_in_nests_and_threads(sizes.threads)
    yield _faults_row(
        "the hook sees its own block's conversions alone, and changes none",
        f"a block in a block in each of {sizes.threads} threads, and a thread without one",
        faults,
    )
    (folder / "names").mkdir()
    yield _faults_row(
        "names stay names in report.html, compile.sh and the Dockerfile",
        f"{len(HOSTILE_NAMES)} names",
        names_that_inject(folder / "names"),
    )
    (folder / "bytes").mkdir()
    wanted = hashes_of_saved(BASE, folder / "bytes" / "base")
    for number, other in enumerate(sizes.surroundings):
        found = hashes_of_saved(other, folder / "bytes" / str(number))
        names = sorted(wanted.keys() | found.keys())
        differing = [name for name in names if wanted.get(name) != found.get(name)]
        yield _faults_row(
            f"the same bytes with {other.name}",
            f"{len(wanted)} files of a saved folder",
            [f"{name} differs" for name in differing],
        )


def _runner_rows(sizes: Sizes) -> Iterator[Row]:
    made_here = ticket_pipeline()
    pipelines = {"made here": made_here, "from elsewhere": from_elsewhere(made_here)}
    for kind, pipeline in pipelines.items():
        pushed = push_from_threads(pipeline, sizes.pushes)
        tried = f"{pushed.pushed:,} by {NUM_PUSHERS} threads, popped by {NUM_POPPERS}, {kind}"
        yield Row(
            "every input comes out once, and those of each pusher in order",
            tried,
            f"{pushed.popped:,} popped, {pushed.distinct:,} distinct, "
            f"{'in' if pushed.in_order else 'NOT in'} order, counted as {set(pushed.counted)}"
            + "".join(f"; {error}" for error in pushed.errors),
            pushed.right,
        )
        yield _flat_row("pushes leave nothing", tried, pushed.growth)
        growth = repeated(functools.partial(_used_once, pipeline), sizes.runners)
        yield _flat_row(
            "runners leave nothing", f"{sizes.runners:,} made and closed, {kind}", growth
        )


def _used_once(pipeline: respect_tf.Pipeline) -> None:
    inputs = {name: np.zeros(spec.shape, np.int8) for name, spec in pipeline.inputs.items()}
    with pipeline.runner("cpu", verbose=0) as runner:
        runner.push(inputs)
        if runner.pop() is None:
            raise AssertionError("a runner gives no result")


def _flat_row(promise: str, tried: str, growth: Growth) -> Row:
    return Row(promise, tried, str(growth), growth.flat(_MOST_MIB))


def _faults_row(promise: str, tried: str, faults: list[str]) -> Row:
    return Row(promise, tried, "; ".join(faults) or "as promised", not faults)


if __name__ == "__main__":
    main()
