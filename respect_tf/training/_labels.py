"""Labels: optimal schedules of synthetic graphs, to learn from and to be measured by."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError, PolicyFileError
from respect_tf._reporting import Verbosity, progress
from respect_tf.graph import OpGraph
from respect_tf.policy import damaged, read_npz, write_npz
from respect_tf.scheduling import (
    Objective,
    PeakMemory,
    Schedule,
    check_agreement,
    schedule,
    schedule_by_program,
    search,
)
from respect_tf.training._generators import random_graph
from respect_tf.training._label_program import load_cvxpy, run_cvxpy
from respect_tf.training._linear_time import LinearTime
from respect_tf.training._synthetic import Random

Ints = npt.NDArray[np.int64]

# All that training draws from, spelled out: a new family must not change the tasks of a sequence.
STRUCTURED = (
    *("densenet", "fpn", "hrnet", "inception", "mobilenet", "nasnet", "randwire", "resnet"),
    *("towers", "transformer", "unet"),
)
# A third of all graphs are random DAGs, as in RESPECT; the others have the structure of networks.
MIX = ("levels", "wide", "levels", "wide", "levels", *STRUCTURED)
# Before the name of a family: only its wiring, and bytes that are evenly distributed.
RANDOM_BYTES = "random bytes, "
# What is random, in both ways, as often as networks.
WIDE_MIX = (
    *("levels", "wide", "levels", "wide"),
    *(f"{RANDOM_BYTES}{family}" for family in ("levels", "wide") * 4),
    *STRUCTURED,
)
# Fewest and most ops of graphs in that mix.
WIDE_OPS = (30, 120)
# Sequences of labels: `label_task`.
TRAINING, VALIDATION, UNPROVED = range(3)
_MAX_BYTES = 1_000_000
_STAGES = (2, 3, 4, 5, 6, 7, 8)
# Communication weight and MACs per byte: memory alone, with transfers, and time.
_COSTS = ((0.0, 0.0), (0.0, 0.0), (1.0, 0.0), (1.0, 0.0), (1.0, 1000.0), (1.0, 100.0))
_PURPOSE = "labels"
# Labels in a file, exact ones and others: what is lost when a run is stopped.
_EXACT_SHARD, _SHARD = 50, 500
# Moves per op for labels that need no proof: on graphs of 30-120 ops a median of 0 % and a mean of
# 0.03 % above ten times as many.
_FEW_MOVES = 60
_CROSS_CHECK = 25  # one label in so many is solved by both exact methods
_EXACT_SECONDS, _MILP_SECONDS = 3.0, 8.0


@dataclasses.dataclass(frozen=True)
class LabelTask:
    """A graph and what is asked about it. `graph()` makes the same graph everywhere.

    Attributes:
        family: One of `FAMILIES`; after `RANDOM_BYTES` only its wiring, and random bytes.
        num_ops: Number of ops.
        seed: Seed of the graph.
        num_stages: Number of stages.
        communication_weight: That of `PeakMemory`.
        macs_per_byte: That of `LinearTime`; 0 for `PeakMemory`.
    """

    family: str
    num_ops: int
    seed: int
    num_stages: int
    communication_weight: float
    macs_per_byte: float = 0.0

    def graph(self) -> OpGraph:
        """The graph."""
        family = self.family.removeprefix(RANDOM_BYTES)
        graph = random_graph(family, self.num_ops, self.seed)
        if family == self.family:
            return graph
        random = Random(self.seed, self.num_ops)
        sizes = [[random.integer(1, _MAX_BYTES) for _ in range(self.num_ops)] for _ in range(2)]
        parameter_bytes, output_bytes = sizes
        return OpGraph.from_arrays(parameter_bytes, output_bytes, graph.edges, macs=graph.macs)

    @property
    def objective(self) -> Objective:
        """The objective."""
        if self.macs_per_byte > 0:
            return LinearTime(self.macs_per_byte)
        return PeakMemory(self.communication_weight)


@dataclasses.dataclass(frozen=True, eq=False)
class Label:
    """The best schedule known of a task.

    Attributes:
        task: The task.
        stages: int32 [num_ops].
        cost: Its cost in bytes.
        lower_bound: No schedule costs less, in bytes; equal to the cost where that is proved.
    """

    task: LabelTask
    stages: npt.NDArray[np.int32]
    cost: float
    lower_bound: float


def label_task(
    index: int, seed: int = 0, *, num_ops: tuple[int, int] = (30, 50), mix: Sequence[str] = MIX
) -> LabelTask:
    """The task of one number in an endless sequence.

    Args:
        index: 0 or more.
        seed: Which sequence. Sequences share no graph: the graphs' seeds are 2**40 * (seed + 1) +
            index, so none is one of a small seed either.
        num_ops: Fewest and most ops.
        mix: Families to draw from, with their frequencies.
    """
    random = Random(seed, index)
    family, size = random.pick(mix), random.integer(*num_ops)
    num_stages, (weight, macs_per_byte) = random.pick(_STAGES), random.pick(_COSTS)
    return LabelTask(family, size, ((seed + 1) << 40) + index, num_stages, weight, macs_per_byte)


def solve_task(task: LabelTask, *, cross_check: bool = False) -> Label:
    """Find the optimum: by search where that proves it, else by the DP over ideals or the MILP.

    Args:
        task: The task.
        cross_check: Solve by the DP and by the MILP, and compare what they say.

    Raises:
        SolverError: The methods contradict each other.
        DependencyError: cvxpy is not installed, and the MILP is needed.
    """
    graph, objective = task.graph(), task.objective
    best = search(graph, task.num_stages, objective=objective)
    if cross_check or best.status != "optimal":
        other = schedule(
            graph, task.num_stages, "exact", objective=objective, time_limit=_EXACT_SECONDS
        )
        best = _better(graph, best, other, objective)
    if cross_check or best.status != "optimal":
        best = _better(graph, best, _solve_program(graph, task), objective)
    return _label_of(task, best)


def search_task(task: LabelTask) -> Label:
    """Find a schedule by a short search: cheap, and hardly ever above the optimum."""
    found = search(task.graph(), task.num_stages, objective=task.objective, budget=_FEW_MOVES)
    return _label_of(task, found)


def _solve_program(graph: OpGraph, task: LabelTask) -> Schedule:
    """What the scheduler "milp" does, through cvxpy. `check_agreement` checks it."""
    return schedule_by_program(
        graph, task.num_stages, task.objective, run=run_cvxpy, time_limit=_MILP_SECONDS
    )


def _better(graph: OpGraph, one: Schedule, two: Schedule, objective: Objective) -> Schedule:
    check_agreement(graph, one, two, objective)
    low = max(one.lower_bound or 0, two.lower_bound or 0)
    best = min((one, two), key=lambda found: (found.cost, -(found.lower_bound or 0)))
    proved = best.status == "optimal" or best.cost == low
    return dataclasses.replace(best, lower_bound=low, status="optimal" if proved else "feasible")


def _label_of(task: LabelTask, best: Schedule) -> Label:
    if best.cost is None or best.lower_bound is None:
        raise ArgumentError("A label needs a schedule whose cost and lower bound are known.")
    return Label(task, best.stages, float(best.cost), float(best.lower_bound))


def make_labels(
    folder: str | os.PathLike[str],
    num_labels: int,
    *,
    seed: int = 0,
    num_ops: tuple[int, int] = (30, 50),
    mix: Sequence[str] = MIX,
    exact: bool = True,
    verbose: Verbosity = "auto",
) -> list[Path]:
    """Solve the first tasks of a sequence. What an earlier run has left is kept.

    Args:
        folder: Where to put the files, `labels-SEED-NNNNN.npz`, each written in one go.
        num_labels: How many; a multiple of those in a file, 50 exact ones or 500, is made.
        seed: Which sequence: 0 for training, 1 for validation, 2 for training without proofs.
        num_ops: Fewest and most ops.
        mix: Families to draw from, with their frequencies.
        exact: Whether labels have to be optimal, as far as three exact methods can tell; else a
            short search has to do, which takes some hundredths of a second.
        verbose: 0 for silence.

    Returns:
        The files, in order.

    Raises:
        ArgumentError: num_labels is out of range.
        DependencyError: cvxpy is not installed, and labels are to be exact.
    """
    if num_labels < 1:
        raise ArgumentError(f"num_labels must be 1 or more. Received: {num_labels}.")
    if exact:
        load_cvxpy()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    size = _EXACT_SHARD if exact else _SHARD
    num_shards = math.ceil(num_labels / size)
    paths = [folder / f"labels-{seed}-{shard:05d}.npz" for shard in range(num_shards)]
    with progress("Solving graphs for labels", verbose=verbose) as show:
        for shard, path in enumerate(paths):
            if path.exists():
                continue
            labels = []
            for index in range(shard * size, (shard + 1) * size):
                show(f"{index} of {num_shards * size}")
                task = label_task(index, seed, num_ops=num_ops, mix=mix)
                labels.append(
                    solve_task(task, cross_check=index % _CROSS_CHECK == 0)
                    if exact
                    else search_task(task)
                )
            save_labels(path, labels)
    return paths


def label_files(folder: str | os.PathLike[str], seed: int) -> list[Path]:
    """The files in a folder that hold labels of one sequence, in order.

    Raises:
        PolicyFileError: There is none.
    """
    paths = sorted(Path(folder).glob(f"labels-{seed}-*.npz"))
    if not paths:
        raise PolicyFileError(
            f"There are no labels-{seed}-*.npz in {Path(folder)}. Expected the folder that "
            "'respect-tf labels FOLDER' or make_labels has filled."
        )
    return paths


def save_labels(path: str | os.PathLike[str], labels: Sequence[Label]) -> None:
    """Write labels into one file, some 40 bytes each: graphs are made anew from their seeds."""
    tasks = [label.task for label in labels]
    write_npz(
        Path(path),
        {
            "family": np.array([task.family for task in tasks]),
            "num_ops": np.array([task.num_ops for task in tasks], np.int32),
            "seed": np.array([task.seed for task in tasks], np.int64),
            "num_stages": np.array([task.num_stages for task in tasks], np.int32),
            "communication_weight": np.array([task.communication_weight for task in tasks]),
            "macs_per_byte": np.array([task.macs_per_byte for task in tasks]),
            "cost": np.array([label.cost for label in labels]),
            "lower_bound": np.array([label.lower_bound for label in labels]),
            "stages": np.concatenate([label.stages.astype(np.uint8) for label in labels]),
        },
    )


def load_all_labels(folder: str | os.PathLike[str]) -> tuple[list[Label], list[Label]]:
    """The labels in a folder: for training, those without proofs among them, and for validation.

    Raises:
        PolicyFileError: There are none, or a file is damaged.
    """
    paths = label_files(folder, TRAINING)
    if list(Path(folder).glob(f"labels-{UNPROVED}-*.npz")):
        paths += label_files(folder, UNPROVED)
    return load_labels(paths), load_labels(label_files(folder, VALIDATION))


def load_labels(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Label]:
    """Read files of labels.

    Raises:
        PolicyFileError: A file is damaged.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    return [label for path in paths for label in _read_labels(Path(path))]


def _read_labels(path: Path) -> Iterator[Label]:
    columns = read_npz(path, _PURPOSE)
    try:
        macs_per_byte = columns.get("macs_per_byte", np.zeros(len(columns["family"])))
        offsets = np.concatenate([[0], np.cumsum(columns["num_ops"])])
        stages = columns["stages"].astype(np.int32)
        stages = stages[: int(offsets[-1])].reshape(offsets[-1])  # as many as there are ops
        for row in range(len(columns["family"])):
            task = LabelTask(
                str(columns["family"][row]),
                int(columns["num_ops"][row]),
                int(columns["seed"][row]),
                int(columns["num_stages"][row]),
                float(columns["communication_weight"][row]),
                float(macs_per_byte[row]),
            )
            yield Label(
                task,
                stages[offsets[row] : offsets[row + 1]],
                float(columns["cost"][row]),
                float(columns["lower_bound"][row]),
            )
    except (ValueError, LookupError, TypeError, ArithmeticError, MemoryError) as error:
        raise damaged(path, _PURPOSE, f"{type(error).__name__}: {error}") from error
