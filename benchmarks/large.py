"""Graphs of up to 100,000 ops, and up to 64 stages, through "policy".

Run one section by name: `python -m benchmarks.large memory` (`throughput`, `stages`). Each graph
has a process of its own, whose rows are kept in a folder of temporary files: a run that was stopped
goes on.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._models import TEN_MODELS
from benchmarks._tables import markdown, update_page, write_results
from benchmarks.scheduling import narrow_graphs, placement_instances
from respect_tf import OpGraph, PeakMemory, Throughput, estimate, predict, schedule
from respect_tf._beam import Done, Item, Job, as_json, map_items
from respect_tf._places import Place, place_of
from respect_tf.graph import links_of, load_tfgnn, structural_orders
from respect_tf.run import simulate
from respect_tf.scheduling import Objective, Schedule, check_schedule, search, slice_order

Row = dict[str, Any]

FAMILIES = (
    *("chain", "4 lanes with links", "residual blocks", "inception-like blocks"),
    "random layers",
)
SIZES = (1_000, 10_000, 40_000, 100_000)
OBJECTIVES = ("memory", "throughput")
_NUM_STAGES = 8
# Seconds that the issue allows, by objective and ops; and megabytes.
_TARGETS = {
    ("memory", 10_000): 2,
    ("memory", 40_000): 8,
    ("memory", 100_000): 25,
    ("throughput", 10_000): 10,
    ("throughput", 40_000): 40,
    ("throughput", 100_000): 120,
}
STAGES = (2, 4, 8, 16, 32, 64)
_LAYER = 10  # ops
# Gaps from which on it is looked for something better, of graphs of up to so many ops; moves per
# op, ten times those of "policy" for 1,000 ops; and one of so many hosts is cut for by itself.
_WELL_KNOWN, _MOST_RIVALS, _BUDGET, _HOST = 0.01, 10_000, 8_000, 9
_COLUMNS = (
    *("objective", "graph", "ops", "K", "cost", "bound", "gap", "above best known", "status", "s"),
    "from_arrays s",
    *("policy s", "target s", "MB", "predict s", "simulate s", "GraphTensor s"),
)
_WITH_TENSOR = ("memory", "4 lanes with links")  # TensorFlow takes seconds to load each time


def main() -> None:
    """Run the sections that the command line names, or all."""
    chosen = [name for name in sys.argv[1:] if name in SECTIONS] or list(SECTIONS)
    for name in chosen:
        title, items, notes = SECTIONS[name]
        rows = _measured(name, list(items()))
        if name in OBJECTIVES:
            rows = _with_exponents(rows)
        write_results(f"large_{name}", title, rows, notes)
        update_page(f"large_{name}", markdown(rows if name in OBJECTIVES else _summary(rows)))


def _measured(section: str, items: list[Item]) -> list[Row]:
    folder = str(Path(tempfile.gettempdir()) / "respect_tf_large" / section)
    jobs = []
    for item in items:
        name = "-".join(str(value).replace(" ", "_") for value in item.values())
        jobs.append(Job(name, (f"{name}.json",), {**item, "name": name}))
    found = map_items(measure_apart, jobs, folder)
    if found.failures:
        raise SystemExit("\n".join(found.failures.values()))
    place = place_of(folder)
    rows = [row for job in jobs for row in json.loads(place.read(job.outputs[0]))]
    return [{name: row[name] for name in _COLUMNS if name in row} for row in rows]


def measure_apart(item: Item, place: Place) -> Done:
    """The rows of a graph, in a process of its own: it starts with as little as any other."""
    del place
    command = [sys.executable, "-m", "benchmarks.large", "--rows", json.dumps(item)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Done({f"{item['name']}.json": as_json(json.loads(done.stdout.splitlines()[-1]))})


def size_items(objective: str) -> Iterator[Item]:
    """Every family and size."""
    for num_ops in SIZES:
        for family in FAMILIES:
            yield {"objective": objective, "family": family, "ops": num_ops}


def size_row(objective: str, family: str, ops: int) -> Row:
    """Processor seconds of each step for one graph."""
    made = large_graph(family, ops)
    arrays = (made.parameter_bytes, made.tensor_bytes, made.edges)
    options: dict[str, Any] = {}
    if objective == "memory":
        options["objective"] = PeakMemory(1.0)
    times = [time.process_time()]
    graph = OpGraph.from_arrays(*arrays, macs=made.macs)
    times.append(time.process_time())
    found = schedule(graph, _NUM_STAGES, **options)
    times.append(time.process_time())
    prediction = predict(graph, found)
    times.append(time.process_time())
    simulate(prediction, num_inputs=100)
    times.append(time.process_time())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    check_schedule(graph, found, options.get("objective"))
    seconds = np.diff(times).tolist()
    above = "-"
    if found.gap >= _WELL_KNOWN and ops <= _MOST_RIVALS:
        above = f"{above_best_known(graph, found, **options):.3%}"
    return {
        "objective": objective,
        "graph": family,
        "ops": ops,
        "from_arrays s": seconds[0],
        "policy s": seconds[1],
        "target s": _TARGETS.get((objective, ops), "-"),
        "MB": round(memory),
        "predict s": seconds[2],
        "simulate s": seconds[3],
        "GraphTensor s": tensor_seconds(graph) if (objective, family) == _WITH_TENSOR else "-",
        "status": found.status,
        "gap": f"{found.gap:.3%}",
        "above best known": above,
    }


def above_best_known(graph: OpGraph, found: Schedule, objective: Objective | None = None) -> float:
    """By how much a schedule costs more than the best of it and of what more work finds.

    Memory: ten times the moves of the search, with two seeds. Throughput: the best cuts of all
    structural orders for some hosts and for all of them together, and another seed; what is best on
    a host counts as its optimum for all of them.
    """
    if objective is not None:
        rivals = [
            search(graph, _NUM_STAGES, objective=objective, budget=_BUDGET, seed=seed)
            for seed in (1, 2)
        ]
        return float(found.cost / min(found.cost, *(rival.cost for rival in rivals)) - 1)
    throughput = Throughput(found.device, _NUM_STAGES, found.optima)
    made = graph.producer >= 0
    num_bytes = np.bincount(graph.producer[made], graph.tensor_bytes[made], graph.num_ops)
    weights = graph.parameter_bytes.astype(float)
    links = links_of(graph.edges, graph.num_ops)
    orders = list(structural_orders(links, weights, num_bytes.astype(float), _NUM_STAGES))
    objectives = [throughput, *(throughput.of_one(one) for one in throughput.devices[::_HOST])]
    every = [found] + [
        slice_order(graph, order, _NUM_STAGES, one) for order in orders for one in objectives
    ]
    if graph.num_ops <= SIZES[0]:
        every.append(schedule(graph, _NUM_STAGES, seed=1))
    times = np.array([throughput.times(graph, one) for one in every])
    costs = (times / times.min(axis=0)).max(axis=1)
    return float(costs[0] / costs.min() - 1)


def tensor_seconds(graph: OpGraph) -> float:
    """What a GraphTensor takes, TensorFlow apart."""
    load_tfgnn()
    OpGraph.from_arrays([1, 1], [1, 1], [[0, 1]]).to_graph_tensor(2)
    started = time.process_time()
    graph.to_graph_tensor(_NUM_STAGES)
    return time.process_time() - started


def large_graph(family: str, num_ops: int) -> OpGraph:
    """A graph with random bytes and MACs."""
    random = np.random.default_rng(1)
    if family == "random layers":
        edges = [
            (_LAYER * (op // _LAYER - 1) + int(maker), op)
            for op in range(_LAYER, num_ops)
            for maker in random.choice(_LAYER, 2, replace=False)
        ]
        sizes = random.integers(0, 100_000, (2, num_ops))
        graph = OpGraph.from_arrays(sizes[0], sizes[1], edges)
    else:
        graph = narrow_graphs(num_ops)[family]
    return dataclasses.replace(graph, macs=random.integers(0, 10**8, num_ops))


def _summary(rows: list[Row]) -> list[Row]:
    """A row for each number of stages and objective, of the graphs that have so many."""
    summary = []
    for objective in OBJECTIVES:
        for num_stages in STAGES:
            few = [
                row
                for row in rows
                if (row["objective"], row["K"]) == (objective, num_stages) and row["s"] != "-"
            ]
            gaps = [row["cost"] / row["bound"] - 1 for row in few]
            summary.append(
                {
                    "objective": objective,
                    "K": num_stages,
                    "graphs": len(few),
                    "proved": sum(row["status"] == "optimal" for row in few),
                    "median gap": f"{np.median(gaps):.2%}",
                    "largest gap": f"{max(gaps):.2%}",
                    "largest s": max(row["s"] for row in few),
                }
            )
    return summary


def _with_exponents(rows: list[Row]) -> list[Row]:
    """Of time against size, from 10,000 ops to the most."""
    found = {(row["objective"], row["graph"], row["ops"]): row["policy s"] for row in rows}
    most = {(row["objective"], row["graph"]): row["ops"] for row in rows}
    low = SIZES[1]
    for row in rows:
        kind, high = (row["objective"], row["graph"]), row["ops"]
        if high == most[kind] and high > low:
            ratio = found[(*kind, high)] / found[(*kind, low)]
            row["exponent"] = math.log(ratio) / math.log(high / low)
        else:
            row["exponent"] = "-"
    return rows


def stages_items() -> Iterator[Item]:
    """The ten models and the public instances."""
    yield from ({"kind": "model", "number": number} for number in range(len(TEN_MODELS)))
    for number, _ in enumerate(placement_instances()):
        yield {"kind": "instance", "number": number}


def stages_rows(kind: str, number: int) -> Iterator[Row]:
    """A graph in 2 to 64 stages."""
    if kind == "instance":
        name, graph, _ = list(placement_instances())[number]
    else:
        import keras

        name = TEN_MODELS[number]
        model = getattr(keras.applications, name)(weights=None)
        graph = estimate(model, 1, verbose=0).graph
    for objective in OBJECTIVES if kind == "model" else OBJECTIVES[:1]:
        for num_stages in STAGES:
            yield {
                "objective": objective,
                "graph": name,
                **stages_row(graph, objective, num_stages),
            }


def stages_row(graph: OpGraph, objective: str, num_stages: int) -> Row:
    """Cost, bound and time of a graph in so many stages."""
    options: dict[str, Any] = {"device": "usb3-pi5"}
    if objective == "memory":
        options = {"objective": PeakMemory(1.0)}
    row: Row = {"ops": graph.num_ops, "K": num_stages}
    started = time.process_time()
    try:
        found = schedule(graph, num_stages, **options)
    except ValueError as error:  # fewer groups of ops than stages
        return {**row, "cost": "-", "bound": "-", "gap": "-", "status": str(error)[:60], "s": "-"}
    seconds = time.process_time() - started
    check_schedule(graph, found, options.get("objective"))
    return {
        **row,
        "cost": found.cost,
        "bound": found.lower_bound,
        "gap": f"{found.gap:.2%}",
        "status": found.status,
        "s": seconds,
    }


def _print_rows(item: Item) -> None:
    """What a process of its own does."""
    schedule(OpGraph.from_arrays([1, 1], [1, 1], [[0, 1]]), 2)  # what is loaded once
    if "family" in item:
        rows = [size_row(item["objective"], item["family"], item["ops"])]
    else:
        rows = list(stages_rows(item["kind"], item["number"]))
    print(json.dumps(rows))


_SIZE_NOTES = """
"memory" is `PeakMemory(1.0)`, "throughput" the default objective, for all USB 3 hosts together.
Times are the processor's in seconds, of a process of its own that has scheduled a small graph
before; "MB" is its peak memory up to the simulation, which includes what the package loads.
"exponent" is that of "policy s" against the ops, from 10,000 on. "gap" is against the bound
that the schedule states; "above best known" is by how much the schedule costs more than the best
of it and of what more work found: ten times the moves with two other seeds for "memory", for
"throughput" the best cuts of all structural orders for single hosts and for all of them, and
another seed. It was looked for up to 10,000 ops where the gap is 1 % or more. "simulate s" is for
100 inputs.
"""
SECTIONS = {
    **{
        objective: (
            f'{objective.capitalize()} of graphs of 1,000 to 100,000 ops by "policy", 8 stages',
            functools.partial(size_items, objective),
            _SIZE_NOTES,
        )
        for objective in OBJECTIVES
    },
    "stages": (
        "2 to 64 stages",
        stages_items,
        """
"memory" is `PeakMemory(1.0)` in bytes (public instances, of Tarnawski et al. 2020: in picoseconds),
"throughput" is in ms on "usb3-pi5". Times are the processor's. Instances are left out where their
files are absent.
""",
    ),
}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--rows"]:
        _print_rows(json.loads(sys.argv[2]))
    else:
        main()
