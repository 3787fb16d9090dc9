"""Labels: optimal schedules of synthetic graphs, to learn from and to be measured by."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError, TrainingError
from respect_tf.graph import OpGraph
from respect_tf.scheduling import (
    MilpClaim,
    Objective,
    PeakMemory,
    Schedule,
    check_agreement,
    schedule,
    schedule_by_program,
    search,
)
from respect_tf.training._generators import random_graph
from respect_tf.training._label_program import run_cvxpy
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
_INDEX_BITS = 2**40 - 1  # of a graph's seed: its number in the sequence
_STAGES = (2, 3, 4, 5, 6, 7, 8)
# Communication weight and MACs per byte: memory alone, with transfers, and time.
_COSTS = ((0.0, 0.0), (0.0, 0.0), (1.0, 0.0), (1.0, 0.0), (1.0, 1000.0), (1.0, 100.0))
# Moves per op for labels that need no proof: on graphs of 30-120 ops a median of 0 % and a mean of
# 0.03 % above ten times as many.
# benchmarks constants: half the same; twice -0.02 % cost.
_FEW_MOVES = 60
# Nodes of HiGHS's search tree: work, not time, so that every machine gives the same label.
# benchmarks constants: half and twice the same.
_MILP_NODES = 500


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
    return LabelTask(
        family,
        size,
        ((seed + 1) << _INDEX_BITS.bit_length()) + index,
        num_stages,
        weight,
        macs_per_byte,
    )


def solve_task(
    task: LabelTask, *, cross_check: bool = False, time_limit: float | None = None
) -> Label:
    """Find the optimum: by search where that proves it, else by the DP over ideals or the MILP.

    Each does a fixed amount of work: the label is the same on every machine, and under any load.

    Args:
        task: The task.
        cross_check: Solve by the DP and by the MILP, and compare what they say.
        time_limit: Seconds after which no further method is begun; `None` for no limit.

    Raises:
        SolverError: The methods contradict each other.
        DependencyError: cvxpy is not installed, and the MILP is needed.
        TrainingError: The time has passed before the optimum is proved.
    """
    graph, objective, started = task.graph(), task.objective, time.monotonic()
    best = search(graph, task.num_stages, objective=objective)
    for method in (_solve_exactly, _solve_program):
        if not cross_check and best.status == "optimal":
            break
        if time_limit is not None and time.monotonic() - started > time_limit:
            raise TrainingError(
                f"Task {task.seed & _INDEX_BITS} ({task.family}, {task.num_ops} ops, "
                f"{task.num_stages} stages) has no proved optimum after {time_limit:g} s. Give it "
                "more time, or leave it out."
            )
        best = _better(graph, best, method(graph, task), objective)
    return _label_of(task, best)


def search_task(task: LabelTask) -> Label:
    """Find a schedule by a short search: cheap, and hardly ever above the optimum."""
    found = search(task.graph(), task.num_stages, objective=task.objective, budget=_FEW_MOVES)
    return _label_of(task, found)


def _solve_exactly(graph: OpGraph, task: LabelTask) -> Schedule:
    return schedule(graph, task.num_stages, "exact", objective=task.objective, verbose=0)


def _solve_program(graph: OpGraph, task: LabelTask) -> Schedule:
    """What the scheduler "milp" does, through cvxpy. `check_agreement` checks it."""

    def run(*arguments: Any, max_nodes: int, **options: Any) -> MilpClaim:
        return run_cvxpy(*arguments, max_nodes=min(max_nodes, _MILP_NODES), **options)

    return schedule_by_program(graph, task.num_stages, task.objective, run=run)


def _better(graph: OpGraph, one: Schedule, two: Schedule, objective: Objective) -> Schedule:
    check_agreement(graph, one, two, objective)
    low = max(one.lower_bound or 0, two.lower_bound or 0)
    best = min((one, two), key=lambda found: (found.cost, -(found.lower_bound or 0)))
    return best.with_bound(low)


def _label_of(task: LabelTask, best: Schedule) -> Label:
    if best.cost is None or best.lower_bound is None:
        raise ArgumentError("A label needs a schedule whose cost and lower bound are known.")
    return Label(task, best.stages, float(best.cost), float(best.lower_bound))
