"""What pipelines of M.2 modules on one host tell: the host's time per stage, and contention.

python -m benchmarks._device_pipelines
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Hashable, Sequence

import numpy as np

from benchmarks._device_data import DATA, TimeRow, time_rows
from benchmarks._device_rows import Row
from benchmarks._network_fit import Constants, Design
from benchmarks._network_runs import Run, stack_runs, work_of
from benchmarks._tables import markdown

_HOST = "pcie-m2"
_STAGE_MS = np.arange(0.0, 2.5, 0.01)
_CONTENTION = np.arange(0.0, 2.0, 0.01)
_SHIPPED_STAGE_MS = 0.246  # of version 0.1: what full pipelines of dense layers show

PIPELINE_NOTES = """
"best" is the one value with the least mean error, "quartiles" what single rows would want. Full
pipelines of dense layers are bound by the host and agree to 2 %: 0.24 to 0.25 ms per stage. One
input at a time is another matter: two files agree with that (0.27 and 0.33 ms per stage), the
others jump between nothing, 0.7 and 2 ms per stage from one stack to the next, at the same work: no
single value fits them, and the data do not say what the host did in between. About 0.4 has the
least median error. Contention is seen with
convolutions only, whose maps are large. Three modules are 17 pipelines of four whose first segment
holds nothing but the input's QUANTIZE. Why transfers should take twice as long with two modules and
hardly longer with four, the data do not tell.
"""


@dataclasses.dataclass(frozen=True, eq=False)
class _Pipeline:
    """A measured pipeline: ms of each stage on the chip and link, and of its inputs and outputs."""

    row: TimeRow
    ms: float
    own: tuple[float, ...]
    moved: tuple[float, ...]
    streams: bool

    def predict(self, stage_ms: float, contention: float) -> float:
        """Predicted ms per inference."""
        served = stage_ms * len(self.own)
        latency = sum(self.own) + sum(self.moved) + served
        slowest = max(
            own + (1 + contention) * moved for own, moved in zip(self.own, self.moved, strict=True)
        )
        count = self.row.num_inputs
        return (latency + (count - 1) * max(slowest, served)) / count


def pipelines_table() -> list[Row]:
    """Best stage_ms and contention by kind of pipeline, and the error that is left."""
    groups: dict[tuple[str, int, str], list[_Pipeline]] = collections.defaultdict(list)
    for found in _pipelines():
        if found.streams:
            continue
        flow = "one at a time" if found.row.num_inputs == 1 else "full"
        groups[found.row.stack.kind, len(found.own), flow].append(found)
    rows: list[Row] = []
    for (kind, modules, flow), same in sorted(groups.items()):
        if kind == "dense":
            what, values = "stage_ms", _STAGE_MS
        elif flow == "full":
            what, values = "contention", _CONTENTION
        else:
            continue
        rows.append(
            {"pipelines": f"{kind}, {flow}", "modules": modules, "count": len(same), "of": what,
             **_best(same, what, values)}
        )  # fmt: skip
    return rows


def _best(same: Sequence[_Pipeline], what: str, values: np.ndarray) -> Row:
    def predict(found: _Pipeline, value: float) -> float:
        if what == "stage_ms":
            return found.predict(value, 0.0)
        return found.predict(_SHIPPED_STAGE_MS, value)

    misses = np.array(
        [[abs(predict(found, value) / found.ms - 1) for value in values] for found in same]
    )
    means = misses.mean(axis=0)
    own = values[misses.argmin(axis=1)]
    low, high = np.quantile(own, [0.25, 0.75])
    return {
        "best": f"{values[means.argmin()]:.2f}",
        "quartiles": f"{low:.2f} to {high:.2f}",
        "mean error": f"{means.min():.1%}",
        "median error": f"{np.median(misses[:, means.argmin()]):.1%}",
    }


def _pipelines() -> list[_Pipeline]:
    repeats: dict[Hashable, list[TimeRow]] = collections.defaultdict(list)
    for row in time_rows()[0]:
        if len(row.stack.stages) > 1:
            repeats[row.stack, row.num_inputs, row.profiled].append(row)
    stacks = stack_runs()
    constants = Design(stacks).fit(range(len(stacks)), prices=False)
    return [_pipeline(rows, constants) for rows in repeats.values()]


def _pipeline(rows: Sequence[TimeRow], constants: Constants) -> _Pipeline:
    stack = rows[0].stack
    runs = []
    for index, (first, end) in enumerate(stack.stages):
        if first == end:
            continue
        stage_of = np.zeros(stack.graph.num_ops, np.int64)
        for other, (start, _) in enumerate(stack.stages):
            stage_of[start:] = other
        work = work_of(stack.graph, range(first, end), stage_of)
        runs.append(Run("stacks", str(index), _HOST, 500.0, "Jorgitou98", 1.0, work))
    still = [
        dataclasses.replace(run, work=dataclasses.replace(run.work, input_mib=0.0, outputs=(0.0,)))
        for run in runs
    ]
    whole, own = (Design(kind).predict(constants) for kind in (runs, still))
    return _Pipeline(
        row=rows[0],
        ms=float(np.median([row.ms for row in rows])),
        own=tuple(own),
        moved=tuple(whole - own),
        streams=any(run.streams for run in runs),
    )


def main() -> None:
    """Print the table."""
    if not DATA.is_dir():
        print(f"The public measurements are not at ../{DATA.parent.name}/{DATA.name}.")
        return
    print(markdown(pipelines_table()) + "\n")
    print(PIPELINE_NOTES.strip())


if __name__ == "__main__":
    main()
