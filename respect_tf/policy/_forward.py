"""The network's forward pass for one graph, without TensorFlow: there is nothing to wait for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from respect_tf._compiled import loop
from respect_tf.graph._features import (
    FIRST_RANK,
    GRAPH_FEATURES,
    OP_FEATURES,
    GraphFeatures,
)
from respect_tf.graph._structural import ORDERS, Ints, Rows, links_of

Floats = npt.NDArray[np.float32]

# Priorities of ops that are a stage apart differ by this much: random orders are about those of the
# structural order, with ops moved by some part of a stage.
_PER_STAGE = 8.0

# OpenBLAS multiplies in one thread up to about so many multiplications.
_ONE_THREAD = 1 << 18


class Forward(NamedTuple):
    """What the network says of a graph.

    Attributes:
        priorities: float32 [num_ops, num_orders], logarithms of the rates of Plackett-Luce, for
            each of the structural orders that the network may start from.
        places: float32 [num_ops, 2], where in the pipeline each op belongs and how surely; see
            `respect_tf.training._losses.stage_logits`.
        gate: float32 [num_orders], logits of the structural orders.
        states: float32 [num_ops, units], which the pointer decoder reads.
    """

    priorities: Any
    places: Any
    gate: Any
    states: Any

    @property
    def greedy_priorities(self) -> Any:
        """The priorities from the order that the network prefers; numpy, one graph. [num_ops]."""
        return self.priorities[:, np.argmax(self.gate)]


def priorities_of(residual: Any, ranks: Any, num_stages: Any) -> Any:
    """Priorities from places in an order, 0 to 1, and by how many stages ops move up in it."""
    return _PER_STAGE * (residual - num_stages * ranks)


def layer_sizes(units: int, rounds: int) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of every dense layer of `build_network`.

    Args:
        units: Width of the states.
        rounds: How often ops exchange messages.
    """
    ops, graph, orders = len(OP_FEATURES), len(GRAPH_FEATURES), len(ORDERS)
    sizes = {
        "encode_op": (ops, units),
        "encode_graph": (graph, units),
        "head_inner": (2 * units + ops, units),
        "head_outer": (units + ops, 2),
        "residual": (units, orders),
        "gate_inner": (units + graph, units),
        "gate": (units + graph, orders),
    }
    for number in range(rounds):
        name = f"round_{number}"
        sizes |= {f"{name}_{way}": (2 * units, units) for way in ("feeds", "fed_by")}
        sizes[f"{name}_op_inner"] = (6 * units, units)
        sizes[f"{name}_op_outer"] = (units, units)
        sizes[f"{name}_graph"] = (3 * units, units)
    return sizes


def forward(weights: Mapping[str, Floats], features: GraphFeatures, num_stages: int) -> Forward:
    """What `build_network` computes, up to rounding.

    Args:
        weights: What `named_weights` returns.
        features: The graph.
        num_stages: Number of stages.
    """
    num_ops = len(features.ops)
    links = links_of(features.edges, num_ops)
    # In the order in which TF-GNN concatenates: edge sets by name.
    ways = {"fed_by": links.after, "feeds": links.before}
    states = _dense(weights, "encode_op", features.ops)
    whole = _dense(weights, "encode_graph", features.graph)
    number = 0
    while f"round_{number}_op_inner/kernel" in weights:
        name = f"round_{number}"
        pooled = _pooled(weights, name, states, ways)
        # The part that the graph's state adds is the same for all ops.
        kernel, bias = weights[f"{name}_op_inner/kernel"], weights[f"{name}_op_inner/bias"]
        own = pooled.shape[1]
        inner = _product(pooled, kernel[:own])
        inner += whole @ kernel[own:] + bias
        block = _dense(
            weights, f"{name}_op_outer", np.maximum(inner, 0, out=inner), rectified=False
        )
        block += states
        states = np.maximum(block, 0, out=block)
        mean = np.add.reduce(states) / np.float32(num_ops)
        summary = np.concatenate([whole, mean, np.maximum.reduce(states)])
        whole = _dense(weights, f"{name}_graph", summary)
        number += 1
    spread = np.broadcast_to(whole, (len(states), len(whole)))
    inner = _dense(weights, "head_inner", np.concatenate([states, features.ops, spread], axis=1))
    places = _dense(
        weights, "head_outer", np.concatenate([inner, features.ops], axis=1), rectified=False
    )
    residual = _dense(weights, "residual", inner, rectified=False)
    gate_inner = _dense(weights, "gate_inner", np.concatenate([whole, features.graph]))
    gate = _dense(weights, "gate", np.concatenate([gate_inner, features.graph]), rectified=False)
    ranks = features.ops[:, FIRST_RANK:]
    return Forward(priorities_of(residual, ranks, np.float32(num_stages)), places, gate, states)


def _product(values: Floats, kernel: Floats) -> Floats:
    """`values @ kernel` in blocks of rows that BLAS does not share out among threads.

    On a busy machine it would wait for these a hundred times as long as the product takes.
    """
    rows = max(1, _ONE_THREAD // kernel.size)
    if len(values) <= rows:
        return values @ kernel
    whole = len(values) // rows * rows
    result = np.empty((len(values), kernel.shape[1]), np.float32)
    blocks = values[:whole].reshape(-1, rows, len(kernel))
    np.matmul(blocks, kernel, out=result[:whole].reshape(-1, rows, kernel.shape[1]))
    np.matmul(values[whole:], kernel, out=result[whole:])
    return result


def _dense(
    weights: Mapping[str, Floats], name: str, values: Floats, *, rectified: bool = True
) -> Floats:
    kernel = weights[f"{name}/kernel"]
    result: Floats = values @ kernel if values.ndim == 1 else _product(values, kernel)
    result += weights[f"{name}/bias"]
    return np.maximum(result, 0, out=result) if rectified else result


def _pooled(
    weights: Mapping[str, Floats], name: str, states: Floats, ways: Mapping[str, Rows]
) -> Floats:
    """The state of each op, and mean and maximum of the messages to it, 0 without any.

    Args:
        weights: See `forward`.
        name: The round.
        states: float32 [num_ops, units].
        ways: By edge set, the ops that each op has messages from.

    Returns:
        float32 [num_ops, units + 2 * width for each edge set].
    """
    num_ops, units = states.shape
    # A dense layer of two concatenated states is the sum of two, each once per op.
    kernels = [weights[f"{name}_{edges}/kernel"] for edges in ways]
    width = kernels[0].shape[1]
    both = [half for kernel in kernels for half in (kernel[:units], kernel[units:])]
    halves = _product(states, np.concatenate(both, axis=1))
    pooled = np.empty((num_ops, units + 2 * width * len(ways)), np.float32)
    pooled[:, :units] = states
    for way, (edges, rows) in enumerate(ways.items()):
        pool = loop(run_pool, (num_ops + len(rows.nodes)) * width)
        pool(*rows, halves, weights[f"{name}_{edges}/bias"].copy(), 2 * width * way, pooled)
    return pooled


def run_pool(
    offsets: Ints, sources: Ints, halves: Floats, bias: Floats, column: int, pooled: Floats
) -> None:
    """Mean and maximum of the messages to each op. A loop for `_compiled.loop`.

    Args:
        offsets: This and the next one are the ops that each op has messages from.
        sources: See there.
        halves: float32 [num_ops, num_halves], what ops add to messages that they send, and, in
            columns after these, to those that they receive.
        bias: float32 [width], what is added to all messages.
        column: Where `halves` begin for these messages.
        pooled: float32 [num_ops, num_columns], what results, in the same place from the end of the
            states on: means, and maxima after them.
    """
    width = len(bias)
    first = pooled.shape[1] - halves.shape[1] + column
    received = np.empty(width, np.float32)
    for op in range(len(pooled)):
        # Slices, because compiled loops over them are the fast ones.
        mean, largest = pooled[op, first : first + width], pooled[op, first + width :][:width]
        mean[:] = 0
        largest[:] = 0
        half = halves[op, column + width :]
        for unit in range(width):
            received[unit] = half[unit] + bias[unit]
        for row in range(offsets[op], offsets[op + 1]):
            sent = halves[sources[row], column:]
            for unit in range(width):
                message = max(sent[unit] + received[unit], np.float32(0))
                mean[unit] += message
                largest[unit] = max(largest[unit], message)
        share = np.float32(1 / max(offsets[op + 1] - offsets[op], 1))
        for unit in range(width):
            mean[unit] *= share
