"""Held-out graphs for the benchmark of the policy, and what HiGHS makes of them, kept on disk."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from respect_tf import OpGraph, PeakMemory, schedule
from respect_tf.scheduling import Schedule, search
from respect_tf.training import random_graph

CACHE = Path(__file__).parents[1] / ".cache" / "milp"
# What HiGHS found, so that tables of new weights or another search take minutes and not hours.
MEASURED = Path(__file__).parent / "data" / "policy_milp.json"
MILP_SECONDS = 60.0
# Moves per op of the search that says what the best known cost is.
_LONG = 300

# Held out: training and tuning use other seeds.
_FIRST_SEED = 5000
RANDOM_FAMILIES = ("levels", "wide")
# What is random: all bytes, evenly distributed, or the wiring of what has the bytes of layers.
RANDOM_BYTES, LAYER_BYTES = "random bytes", "layers' bytes"
_MAX_BYTES = 1_000_000
STRUCTURED_FAMILIES = ("fpn", "hrnet", "nasnet", "randwire", "towers", "transformer", "unet")
RANDOM_SIZES = (30, 50, 100)
STRUCTURED_SIZES = (50, 200, 500, 1000)
NUM_RANDOM = 54  # of each kind and size
# In the table of proposals: random graphs of each kind and size, structured ones of each family and
# size. With a third of them, differences of a tenth of a per cent are noise.
NUM_PROPOSED = 162
_PER_FAMILY = 33
# Of the random graphs of each size, HiGHS gets so many.
_NUM_MILP = {30: 36, 50: 48, 100: 24}


@dataclasses.dataclass(frozen=True)
class Instance:
    """A graph to schedule, by the arguments that make it.

    Attributes:
        family: Family of `random_graph`; after `RANDOM_BYTES` and a comma, only its wiring.
        num_ops: Number of ops.
        seed: Its seed.
        num_stages: Number of stages.
        weight: Communication weight of `PeakMemory`.
    """

    family: str
    num_ops: int
    seed: int
    num_stages: int
    weight: float

    @property
    def objective(self) -> PeakMemory:
        """What to minimise."""
        return PeakMemory(self.weight)

    def graph(self) -> OpGraph:
        """The graph, made anew."""
        *kind, family = self.family.split(", ")
        graph = random_graph(family, self.num_ops, self.seed)
        if not kind:
            return graph
        draw = np.random.Generator(np.random.PCG64(self.seed))
        sizes = draw.integers(1, _MAX_BYTES, (2, self.num_ops))
        return OpGraph.from_arrays(sizes[0], sizes[1], graph.edges)


def random_instances(kind: str, num_ops: int, count: int = NUM_RANDOM) -> list[Instance]:
    """Random DAGs of in-degree 2-6; K = 3, 4, 6 and weights 0, 1 by turns."""
    prefix = f"{RANDOM_BYTES}, " if kind == RANDOM_BYTES else ""
    return [
        Instance(
            prefix + RANDOM_FAMILIES[index % 2],
            num_ops,
            _FIRST_SEED + index,
            (3, 4, 6)[index // 2 % 3],
            float(index // 6 % 2),
        )
        for index in range(count)
    ]


def timed_random_instances(kind: str, num_ops: int) -> list[Instance]:
    """Those of them that HiGHS solves, too."""
    return random_instances(kind, num_ops)[: _NUM_MILP[num_ops]]


def structured_instances(num_ops: int) -> list[Instance]:
    """Two graphs of each structured family; K = 4, 8 and weights 0, 1 by turns."""
    return [
        Instance(
            family,
            num_ops,
            _FIRST_SEED + number,
            (4, 8)[(index + number) % 2],
            float((index // 2 + STRUCTURED_SIZES.index(num_ops) + number) % 2),
        )
        for index, family in enumerate(STRUCTURED_FAMILIES)
        for number in range(2)
    ]


def held_out_structured() -> list[Instance]:
    """924 graphs of the structured families: 33 of each and of each size, all K and weights."""
    return [
        Instance(
            family, num_ops, _FIRST_SEED + 100 + number, (4, 8)[number % 2], float(number // 2 % 2)
        )
        for num_ops in STRUCTURED_SIZES
        for family in STRUCTURED_FAMILIES
        for number in range(_PER_FAMILY)
    ]


def least_seconds(run: Callable[[], Schedule], repeats: int = 2) -> tuple[Schedule, float]:
    """A schedule and the least time that it takes: wall time, or the processor's where less."""
    best = math.inf
    for _ in range(repeats):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        found = run()
        best = min(best, time.perf_counter() - begin, time.process_time() - begin_cpu)
    return found, best


def best_known(instance: Instance) -> float:
    """The cost of a long search, once per graph; HiGHS may know better."""
    path = CACHE / f"{_key(instance)}.search"
    if not path.exists():
        found = search(
            instance.graph(), instance.num_stages, objective=instance.objective, budget=_LONG
        )
        _write(path, repr(float(found.cost or 0.0)))
    return float(path.read_text())


@dataclasses.dataclass(frozen=True)
class MilpResult:
    """What HiGHS found.

    Attributes:
        cost: Of its best schedule.
        lower_bound: That it proved.
        seconds: Wall time, or processor time where that is less: other work may slow it down.
        version: Of HiGHS.
        date: When.
    """

    cost: float
    lower_bound: float
    seconds: float
    version: str
    date: str

    @property
    def is_proved(self) -> bool:
        """Whether the cost is the least there is, to the tolerance of HiGHS."""
        return self.lower_bound >= self.cost * (1 - 1e-6)


def solve_milp(instance: Instance, stretch: float = 1.0) -> MilpResult:
    """The plain integer program, for at most `MILP_SECONDS`; once per graph.

    Where other work shares the processor, HiGHS may get more time; what it has more than its due
    does not count as its time.
    """
    known = known_milp(instance)
    if known is not None:
        return known
    graph = instance.graph()
    begin, begin_cpu = time.perf_counter(), time.process_time()
    found = schedule(
        graph,
        instance.num_stages,
        "milp",
        objective=instance.objective,
        time_limit=stretch * MILP_SECONDS,
    )
    wall, processor = time.perf_counter() - begin, time.process_time() - begin_cpu
    result = MilpResult(
        float(found.cost or 0.0),
        float(found.lower_bound or 0.0),
        round(min(wall, processor, MILP_SECONDS), 4),
        version("highspy"),
        time.strftime("%Y-%m-%d", time.gmtime()),
    )
    _write(CACHE / f"{_key(instance)}.json", json.dumps(dataclasses.asdict(result)))
    return result


def known_milp(instance: Instance) -> MilpResult | None:
    """What HiGHS found, `None` where it was not run."""
    key = _key(instance)
    path = CACHE / f"{key}.json"
    known = _measured().get(key)
    if known is None and path.exists():
        known = json.loads(path.read_text())
    return None if known is None else MilpResult(**known)


@functools.cache
def _measured() -> dict[str, dict[str, Any]]:
    known: dict[str, dict[str, Any]] = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    return known


def milp_note() -> str:
    """When, and with what, the columns that say MILP were measured."""
    known = [MilpResult(**one) for one in _measured().values()]
    if not known:
        return (
            "What concerns MILP is of 2026-11-23, of the HiGHS and the policy of that day, because "
            "it takes hours; the other columns are new."
        )
    versions, dates = {one.version for one in known}, {one.date for one in known}
    days = " to ".join(sorted({min(dates), max(dates)}))
    return f"MILP is HiGHS {', '.join(sorted(versions))}, of {days}."


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


def _key(instance: Instance) -> str:
    graph = instance.graph()
    about = {"instance": dataclasses.asdict(instance), "seconds": MILP_SECONDS}
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for array in (graph.parameter_bytes, graph.activation_bytes, graph.edges):
        digest.update(array.tobytes())
    return digest.hexdigest()[:24]


def milp_instances() -> Iterator[Instance]:
    """All that HiGHS is run on."""
    for kind in (RANDOM_BYTES, LAYER_BYTES):
        for num_ops in RANDOM_SIZES:
            yield from timed_random_instances(kind, num_ops)
    for num_ops in STRUCTURED_SIZES:
        yield from structured_instances(num_ops)


def main() -> None:
    """Run HiGHS on the whole suite, or on a part: `python -m benchmarks._policy_suite 0 2 1.5`.

    That is every second graph from the first, and HiGHS gets half as much time again. What all
    parts found is put together in `MEASURED` as soon as nothing is missing.
    """
    given = sys.argv[1:4]
    first, step, stretch = given + ["0", "1", "1"][len(given) :]
    suite = list(dict.fromkeys(milp_instances()))
    for instance in suite[int(first) :: int(step)]:
        result = solve_milp(instance, float(stretch))
        print(instance, f"{result.cost:.0f} {result.seconds:.2f} s", flush=True)
    paths = {key: CACHE / f"{key}.json" for key in sorted(map(_key, suite))}
    if all(path.exists() for path in paths.values()):
        rows = (f'"{key}": {path.read_text()}' for key, path in paths.items())
        _write(MEASURED, "{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    main()
