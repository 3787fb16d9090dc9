"""Greedy and random orders of many graphs, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._compiled import compiled_once
from respect_tf.policy._forward import Forward
from respect_tf.scheduling._rollout import run_race
from respect_tf.training._batches import TrainingGraph, merged_tensor

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_MANY = 50  # graphs in one forward pass


def opinions(found: Forward, graphs: Sequence[TrainingGraph]) -> Iterator[tuple[Floats, Floats]]:
    """Priorities [num_orders, num_ops] and probabilities of orders [num_orders] of each graph."""
    ends = np.cumsum([graph.task.num_ops for graph in graphs])
    priorities = np.split(found.priorities.numpy().astype(np.float64), ends[:-1])
    gates = np.exp(found.gate.numpy().astype(np.float64) - found.gate.numpy().max(1, keepdims=True))
    for rows, gate in zip(priorities, gates / gates.sum(1, keepdims=True), strict=True):
        yield np.ascontiguousarray(rows.T), gate


def greedy_orders(forward: Callable[[Any], Forward], graphs: Sequence[TrainingGraph]) -> list[Ints]:
    """The likeliest order of each graph, each int64 [num_ops]."""
    race = compiled_once(run_race)
    nothing = np.empty(0)
    found = forward(merged_tensor(graphs))
    return [
        race(*graph.successors, priorities[gate.argmax()], nothing)[0]
        for graph, (priorities, gate) in zip(graphs, opinions(found, graphs), strict=True)
    ]


def greedy_costs(forward: Callable[[Any], Forward], graphs: Sequence[TrainingGraph]) -> Floats:
    """Costs of the best cuts of these, relative to the graphs' references. [len(graphs)]."""
    costs = []
    for start in range(0, len(graphs), _MANY):
        part = graphs[start : start + _MANY]
        orders = greedy_orders(forward, part)
        costs += [
            graph.cost(order) / graph.reference for graph, order in zip(part, orders, strict=True)
        ]
    return np.array(costs)
