"""Schedulers on the authors' graphs, the ten models, synthetic families and placement instances.

Run one section by name: `python -m benchmarks.scheduling authors` (`models`, `synthetic`,
`placement`, `size`).
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._models import TEN_MODELS, int8_model
from benchmarks._tables import RESULTS, environment, markdown, update_page, write_results
from respect_tf import OpGraph, PeakMemory, schedule
from respect_tf.scheduling import Schedule, check_agreement, check_schedule, improve
from respect_tf.training import FAMILIES, random_graph

GRAPHS = Path(__file__).parents[2] / "shared" / "data" / "graphs"

Row = dict[str, Any]

# Published cuts of RESPECT that differ from the optimum, bytes (arXiv 2304.04716 and its code).
PUBLISHED = {
    ("densenet201", 5): 4_043_648,
    ("densenet201", 6): 3_229_248,
    ("xception", 6): 4_350_312,
}
# Milliseconds of the placement instances become whole picoseconds: sums are exact then.
_PER_MS = 10**9
_SIZES = (30, 100, 300, 1000)
# Seconds for "exact" on placement instances; elsewhere it does its own fixed amount of work.
_PLACEMENT_SECONDS = 60.0
# Seconds for "milp", and the most ops that it gets.
_MILP_SECONDS, _MILP_OPS = 3.0, 1000


def main() -> None:
    """Run the sections that the command line names, or all."""
    chosen = [name for name in sys.argv[1:] if name in SECTIONS] or list(SECTIONS)
    for name in chosen:
        title, make_rows, notes = SECTIONS[name]
        rows = list(make_rows())
        if rows:
            columns = "" if name == "size" else _COLUMNS
            write_results(f"scheduling_{name}", title, rows, f"{notes}\n{columns}")
    results = {name: RESULTS / f"scheduling_{name}.json" for name in SECTIONS}
    if all(path.exists() for path in results.values()):
        found = {name: json.loads(path.read_text()) for name, path in results.items()}
        update_page("scheduling", _summary(found))


def _summary(found: dict[str, list[Row]]) -> str:
    """What `docs/measured.md` says: a row per section, and the speed on large graphs."""
    size = found.pop("size")
    rows = [_section_row(name, rows) for name, rows in found.items()]
    return f"{markdown(rows)}\n\n{markdown(size)}\n\n{environment()}"


def _section_row(name: str, rows: list[Row]) -> Row:
    proved = [row for row in rows if row["status"].startswith("optimal")]  # or within 1e-6
    worst = max(_number(row["gap"]) for row in rows)
    summary = {
        "instances": f"[{name}](../benchmarks/results/scheduling_{name}.md)",
        "proved": f"{len(proved)} of {len(rows)}",
        "largest gap": f"{worst:.1f} %",
        "median s": float(np.median([row["s"] for row in rows])),
        "largest s": max(row["s"] for row in rows),
    }
    for rival in ("milp", *RIVALS, "local"):
        gaps = [_number(row[f"{rival} gap"]) for row in proved]
        known = [gap for gap in gaps if not math.isnan(gap)]
        summary[f"{rival} above it"] = f"{np.mean(known):.1f} %, at most {max(known):.1f} %"
    return summary


def _number(gap: str) -> float:
    return float(gap.split(maxsplit=1)[0]) if gap != "-" else math.nan


def authors_rows() -> Iterator[Row]:
    """The sixteen graphs of the RESPECT authors; none where the data is absent."""
    for name, graph in authors_graphs().items():
        for num_stages in (4, 5, 6):
            row = _row(name, graph, num_stages, PeakMemory(), None)
            yield {**row, "published": PUBLISHED.get((name, num_stages), "")}


def models_rows() -> Iterator[Row]:
    """The ten models as int8 TFLite graphs."""
    for name in TEN_MODELS:
        graph = OpGraph.from_tflite(int8_model(name))
        for objective in (PeakMemory(), PeakMemory(1.0)):
            for num_stages in (4, 5, 6):
                row = _row(name, graph, num_stages, objective, None)
                yield {"model": row.pop("graph"), "objective": objective.name, **row}


def synthetic_rows() -> Iterator[Row]:
    """Generated graphs with transfer in the cost."""
    for family in FAMILIES:
        for num_ops in _SIZES:
            graph = random_graph(family, num_ops, seed=0)
            yield _row(family, graph, 4, PeakMemory(1.0), None)


def placement_rows() -> Iterator[Row]:
    """Maximum load of public placement instances; none where the data is absent."""
    for name, graph, num_stages in placement_instances():
        row = _row(name, graph, num_stages, PeakMemory(1.0), _PLACEMENT_SECONDS)
        for column in ("cost", "bound"):
            row[column] = row[column] / _PER_MS
        yield row


def size_rows() -> Iterator[Row]:
    """Processor seconds for large narrow graphs, and for the file's order of very large ones."""
    for num_ops, most in ((1_000, 0.5), (10_000, 10.0)):
        for name, graph in narrow_graphs(num_ops).items():
            seconds = {}
            for weight in (0.0, 1.0):
                timed = [_timed(graph, num_stages, "exact", weight) for num_stages in (4, 6, 8)]
                seconds[weight] = max(
                    taken if found.status == "optimal" else math.inf for found, taken in timed
                )
            yield {
                "graph": name,
                "ops": graph.num_ops,
                "scheduler": "exact",
                "parameters s": seconds[0.0],
                "with transfer s": seconds[1.0],
                "target s": f"{most}",
            }
    graph = _lanes(100_000, 4, 0.5)
    seconds = {weight: _timed(graph, 6, "slicing", weight)[1] for weight in (0.0, 1.0)}
    yield {
        "graph": "4 lanes with links",
        "ops": graph.num_ops,
        "scheduler": "slicing",
        "parameters s": seconds[0.0],
        "with transfer s": seconds[1.0],
        "target s": "2 and 15",
    }


def _timed(
    graph: OpGraph, num_stages: int, scheduler: str, weight: float
) -> tuple[Schedule, float]:
    """A schedule, and the processor's seconds: the least of some runs that all read a new graph."""
    best = math.inf
    for _ in range(3 if graph.num_ops <= 1000 else 1):
        again = dataclasses.replace(graph)
        started = time.process_time()
        found = schedule(again, num_stages, scheduler, objective=PeakMemory(weight))
        best = min(best, time.process_time() - started)
    return found, best


def narrow_graphs(num_ops: int) -> dict[str, OpGraph]:
    """Graphs of width up to 4 like those of vision networks, with random bytes."""
    graphs = {f"{k} lanes with links": _lanes(num_ops, k, 0.5) for k in (2, 3, 4)}
    blocks = {"residual blocks": (3, 0), "inception-like blocks": (3, 3, 2, 1)}
    graphs |= {name: _blocks(num_ops, lengths) for name, lengths in blocks.items()}
    return {"chain": _lanes(num_ops, 1, 0.0)} | graphs


def _lanes(num_ops: int, num_lanes: int, links: float) -> OpGraph:
    """Chains side by side; a part of the ops reads from the end of any of them, too."""
    random = np.random.default_rng(0)
    ends: list[int | None] = [None] * num_lanes
    edges = set()
    for op in range(num_ops):
        sources = [ends[op % num_lanes]]
        if random.random() < links:
            sources.append(ends[random.integers(num_lanes)])
        edges.update((source, op) for source in sources if source is not None)
        ends[op % num_lanes] = op
    sizes = random.integers(0, 100_000, (2, num_ops))
    return OpGraph.from_arrays(sizes[0], sizes[1], sorted(edges))


def _blocks(num_ops: int, lengths: Sequence[int]) -> OpGraph:
    """Blocks one after the other: branches of that many ops each, and an op that reads them all."""
    random = np.random.default_rng(0)
    edges, join = set(), 0
    while join + sum(lengths) + 1 < num_ops:
        op = join + 1
        ends = []
        for length in lengths:
            path = [join, *range(op, op + length)]
            edges.update(itertools.pairwise(path))
            ends.append(path[-1])
            op += length
        edges.update((end, op) for end in ends)
        join = op
    edges.update((op, op + 1) for op in range(join, num_ops - 1))
    sizes = random.integers(0, 100_000, (2, num_ops))
    return OpGraph.from_arrays(sizes[0], sizes[1], sorted(edges))


def authors_graphs() -> dict[str, OpGraph]:
    """The sixteen graphs by name. Weights are counted as int8; transfer is not known."""
    path = GRAPHS / "respect_imagenet_graphs.json"
    if not path.exists():
        return {}
    found = {}
    for name, content in json.loads(path.read_text()).items():
        nodes = sorted(content["nodes"], key=lambda node: node["id"])
        found[name] = OpGraph.from_arrays(
            np.array([node["mem_bytes_f32"] / 4 for node in nodes]),
            np.zeros(len(nodes), np.int64),
            np.array(content["edges"]),
            names=[node["name"] for node in nodes],
        )
    return found


def placement_instances() -> Iterator[tuple[str, OpGraph, int]]:
    """The instances of Tarnawski et al. 2020 (arXiv 2006.16423), accelerators only.

    The load of an accelerator is the processing time of its nodes, plus the transfer time of each
    node outside that one of them reads, plus that of each of them that is read outside: the cost of
    a stage under `PeakMemory(1.0)`, with processing time as parameters and transfer time as output.
    What nobody reads is not transferred. Nodes of a colour share a device; instances where that
    matters appear with and without it.

    Yields:
        Name, graph in picoseconds, and number of accelerators.
    """
    for path in sorted((GRAPHS / "msr").glob("*.json")):
        content = json.loads(path.read_text())
        nodes = content["nodes"]
        index = {node["id"]: op for op, node in enumerate(nodes)}
        transfer = np.zeros(len(nodes))
        for edge in content["edges"]:
            transfer[index[edge["sourceId"]]] = edge["cost"]
        graph = OpGraph.from_arrays(
            _picoseconds([node["fpgaLatency"] for node in nodes]),
            _picoseconds(transfer),
            [(index[edge["sourceId"]], index[edge["destId"]]) for edge in content["edges"]],
            names=[str(node["name"]) for node in nodes],
        )
        first: dict[int, int] = {}
        pairs = [
            (first[colour], op)
            for op, colour in enumerate(node.get("colorClass") for node in nodes)
            if colour is not None and first.setdefault(colour, op) != op
        ]
        yield path.stem, graph, content["maxFPGAs"]
        if pairs:
            coloured = dataclasses.replace(graph, colocated=np.array(pairs, np.int32))
            yield f"{path.stem}, colours", coloured, content["maxFPGAs"]


def _picoseconds(milliseconds: Any) -> np.ndarray:
    return np.rint(np.asarray(milliseconds, float) * _PER_MS).astype(np.int64)


def _row(
    name: str,
    graph: OpGraph,
    num_stages: int,
    objective: PeakMemory,
    time_limit: float | None,
) -> Row:
    """What the schedulers make of one instance. All schedules are checked again here."""
    rivals = {rival: schedule(graph, num_stages, rival, objective=objective) for rival in RIVALS}
    ends = [time.process_time()]
    rivals["local"] = improve(graph, rivals["slicing"])
    ends.append(time.process_time())
    if graph.num_ops <= _MILP_OPS:
        rivals["milp"] = schedule(
            graph, num_stages, "milp", objective=objective, time_limit=_MILP_SECONDS
        )
    ends.append(time.process_time())
    exact = schedule(graph, num_stages, "exact", objective=objective, time_limit=time_limit)
    ends.append(time.process_time())
    local_seconds, milp_seconds, exact_seconds = (b - a for a, b in itertools.pairwise(ends))
    for found in (exact, *rivals.values()):
        check_schedule(graph, found, objective)
        check_agreement(graph, exact, found, objective)
    best = min((exact, *rivals.values()), key=lambda found: found.cost)
    bound = max(found.lower_bound for found in (exact, *rivals.values()))
    return {
        "graph": name,
        "ops": graph.num_ops,
        "K": num_stages,
        "cost": exact.cost,
        "bound": bound,
        "gap": _percent(exact, bound),
        "status": exact.status,
        "s": exact_seconds,
        **{
            f"{rival} gap": _percent(rivals[rival], bound) if rival in rivals else "-"
            for rival in (*RIVALS, "local", "milp")
        },
        "local s": local_seconds,
        "milp s": milp_seconds,
        "best": next(k for k, v in {"exact": exact, **rivals}.items() if v.cost == best.cost),
    }


def _percent(found: Schedule, bound: float) -> str:
    return f"{100 * (found.cost / bound - 1):.2f} %" if bound else "-"


RIVALS = ("slicing", "compiler")
_COLUMNS = """
"cost", "gap", "status" and "s" are those of "exact"; "bound" is the best lower bound known, and all
gaps are against it. "slicing" is the best cut of the file's own order, "compiler" the rule of
`edgetpu_compiler --num_segments`, "local" moves ops across the borders of "slicing", "milp" is
HiGHS with 3 s. Times are the processor's, of all threads, in seconds.
"""
SECTIONS: dict[str, tuple[str, Callable[[], Iterator[Row]], str]] = {
    "authors": (
        "Peak parameter bytes of the RESPECT authors' graphs",
        authors_rows,
        '"published" are cuts of the paper that are not optimal.',
    ),
    "models": ("Peak memory of the ten int8 models", models_rows, ""),
    "synthetic": (
        "Synthetic graphs, parameter bytes and bytes that enter and leave",
        synthetic_rows,
        "Four stages; exact search stops after a fixed amount of work.",
    ),
    "placement": (
        "Maximum load of public placement instances, milliseconds",
        placement_rows,
        f"Exact search stops after {_PLACEMENT_SECONDS:.0f} s.",
    ),
    "size": (
        "Processor seconds on large graphs",
        size_rows,
        'The slowest of 4, 6 and 8 stages for "exact", all proved optimal (else "inf"); the first '
        "sweep of the slicing loads its compiled loops.",
    ),
}


if __name__ == "__main__":
    main()
