"""Graphs to learn from and to measure by: tasks, their optimal schedules, what orders cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.graph import Ints, OpGraph, graph_features, merged_graph_tensor
from respect_tf.policy import GraphView, ranks_of, view_of
from respect_tf.scheduling import LinearCost, Number, Objective, OrderCuts, PeakMemory
from respect_tf.training._generators import random_graph
from respect_tf.training._synthetic import Random

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
_INDEX_BITS = 40  # of a graph's seed: its number in the sequence
_STAGES = (2, 3, 4, 5, 6, 7, 8)
# Communication weight and MACs per byte: memory alone, with transfers, and time.
_COSTS = ((0.0, 0.0), (0.0, 0.0), (1.0, 0.0), (1.0, 0.0), (1.0, 1000.0), (1.0, 100.0))


@dataclasses.dataclass(frozen=True)
class LinearTime(Objective):
    """The slowest stage, by a device that computes, streams and transfers at constant rates.

    What an Edge TPU does is no sum, but this is near to it, and its costs mix as they do there.
    They are in bytes that could be transferred meanwhile.

    Attributes:
        macs_per_byte: Multiply-accumulates in the time in which a byte is streamed or transferred;
            above 0. On a USB 3 Edge TPU some thousands at best, some hundreds for most layers.
    """

    macs_per_byte: float

    @property
    def name(self) -> str:
        """`"linear_time(MACS_PER_BYTE)"`."""
        return f"linear_time({self.macs_per_byte!r})"

    def stage_cost(
        self, graph: OpGraph, ops: Sequence[int], entering: Sequence[int], leaving: Sequence[int]
    ) -> Number:
        """The sum that `linear_cost` says."""
        moved = graph.tensor_bytes[[*entering, *leaving]].sum()
        return int(self.linear_cost(graph).op_costs[list(ops)].sum() + moved)

    def linear_cost(self, graph: OpGraph) -> LinearCost:
        """The definition itself: it is a sum already."""
        computing = np.rint(graph.macs / self.macs_per_byte).astype(np.int64)
        return LinearCost(graph.parameter_bytes + computing, enter=1.0, leave=1.0)


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
        parameter_bytes, output_bytes = (
            [random.integer(1, _MAX_BYTES) for _ in range(self.num_ops)] for _ in range(2)
        )
        return OpGraph.from_arrays(parameter_bytes, output_bytes, graph.edges, macs=graph.macs)

    @property
    def objective(self) -> Objective:
        """The objective."""
        if self.macs_per_byte > 0:
            return LinearTime(self.macs_per_byte)
        return PeakMemory(self.communication_weight)

    @property
    def number(self) -> int:
        """Its number in its sequence."""
        return self.seed % (1 << _INDEX_BITS)


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
    graph_seed = ((seed + 1) << _INDEX_BITS) + index
    return LabelTask(family, size, graph_seed, random.pick(_STAGES), *random.pick(_COSTS))


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """A task with all that training asks of it.

    Attributes:
        task: The task.
        graph: Its graph.
        view: The graph's features, its edges and the rule's order.
        cuts: What cuts orders of the ops.
        rule_cost: What the best cut of the rule's order costs.
        reference: What costs are divided by: the label's cost, or the rule's.
        stages: The label, int32 [num_ops]; `None` without one.
    """

    task: LabelTask
    graph: OpGraph
    view: GraphView
    cuts: OrderCuts
    rule_cost: float
    reference: float
    stages: npt.NDArray[np.int32] | None

    def cost(self, order: Ints, limit: float = np.inf) -> float:
        """What an order's best cut costs, relative to the reference; infinite above the limit."""
        return self.cuts.cost(order, limit * self.reference) / self.reference

    @property
    def rule_ratio(self) -> float:
        """What the rule's order costs, relative to the reference."""
        return self.rule_cost / self.reference


def example_of(given: LabelTask | Label) -> Example:
    """Make the graph of a task or a label, and what belongs to it."""
    label = given if isinstance(given, Label) else None
    task = given.task if isinstance(given, Label) else given
    graph = task.graph()
    cuts = OrderCuts(graph, task.num_stages, task.objective)
    features = graph_features(
        graph, task.num_stages, op_costs=cuts.op_costs, transfer_cost=cuts.transfer_cost
    )
    view = view_of(features, task.num_stages)
    rule_cost = cuts.cost(view.rule)
    reference = rule_cost if label is None else label.cost
    stages = None if label is None else label.stages
    return Example(task, graph, view, cuts, rule_cost, reference or 1.0, stages)


def network_inputs(examples: Sequence[Example]) -> tuple[Any, npt.NDArray[np.float32]]:
    """What `build_network` takes of several graphs: one scalar `GraphTensor`, and `ranks_of`."""
    tensor = merged_graph_tensor(
        [example.view.features for example in examples],
        [example.task.num_stages for example in examples],
    )
    ranks = np.concatenate([ranks_of(example.view.rule) for example in examples])
    return tensor, ranks.astype(np.float32)
