"""Schedulers on the authors' graphs, the ten models, synthetic families and placement instances.

Run one section by name: `python -m benchmarks.scheduling authors` (`models`, `synthetic`,
`placement`).
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._models import TEN_MODELS, int8_model
from benchmarks._tables import write_results
from respect_tf import OpGraph, PeakMemory, schedule
from respect_tf.graph import FAMILIES, random_graph
from respect_tf.schedule import Schedule, check_schedule, improve

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
_SYNTHETIC_SECONDS, _PLACEMENT_SECONDS = 10.0, 60.0


def main() -> None:
    """Run the sections that the command line names, or all."""
    chosen = [name for name in sys.argv[1:] if name in SECTIONS] or list(SECTIONS)
    for name in chosen:
        title, make_rows, notes = SECTIONS[name]
        rows = list(make_rows())
        if rows:
            write_results(f"scheduling_{name}", title, rows, f"{notes}\n{_COLUMNS}")


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
            yield _row(family, graph, 4, PeakMemory(1.0), _SYNTHETIC_SECONDS)


def placement_rows() -> Iterator[Row]:
    """Maximum load of public placement instances; none where the data is absent."""
    for name, graph, num_stages in placement_instances():
        row = _row(name, graph, num_stages, PeakMemory(1.0), _PLACEMENT_SECONDS)
        for column in ("cost", "bound"):
            row[column] = row[column] / _PER_MS
        yield row


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
    started = time.perf_counter()
    rivals["local"] = improve(graph, rivals["slicing"])
    local_seconds = time.perf_counter() - started
    exact = schedule(graph, num_stages, "exact", objective=objective, time_limit=time_limit)
    for found in (exact, *rivals.values()):
        check_schedule(graph, found, objective)
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
        "s": exact.solve_seconds,
        **{f"{rival} gap": _percent(found, bound) for rival, found in rivals.items()},
        "local s": local_seconds,
        "best": next(k for k, v in {"exact": exact, **rivals}.items() if v.cost == best.cost),
    }


def _percent(found: Schedule, bound: float) -> str:
    return f"{100 * (found.cost / bound - 1):.2f} %" if bound else "-"


RIVALS = ("slicing", "compiler")
_COLUMNS = """
"cost", "gap", "status" and "s" are those of "exact"; "bound" is the best lower bound known, and all
gaps are against it. "slicing" is the best cut of the file's own order, "compiler" the rule of
`edgetpu_compiler --num_segments`, "local" moves ops across the borders of "slicing".
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
        f"Four stages; exact search stops after {_SYNTHETIC_SECONDS:.0f} s.",
    ),
    "placement": (
        "Maximum load of public placement instances, milliseconds",
        placement_rows,
        f"Exact search stops after {_PLACEMENT_SECONDS:.0f} s.",
    ),
}


if __name__ == "__main__":
    main()
