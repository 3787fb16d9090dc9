"""The network's forward pass in numpy, for one graph: no TensorFlow to wait for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from respect_tf.graph._features import FIRST_RANK, GraphFeatures

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


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
            `respect_tf.policy._losses.stage_logits`.
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


def forward(weights: Mapping[str, Floats], features: GraphFeatures, num_stages: int) -> Forward:
    """What `build_network` computes, up to rounding.

    Args:
        weights: What `named_weights` returns.
        features: The graph.
        num_stages: Number of stages.
    """
    makers, readers = features.edges[:, 0], features.edges[:, 1]
    num_ops = len(features.ops)
    ways = {"feeds": _Way(makers, readers, num_ops), "fed_by": _Way(readers, makers, num_ops)}
    states = _dense(weights, "encode_op", features.ops)
    whole = _dense(weights, "encode_graph", features.graph)
    number = 0
    while f"round_{number}_op_inner/kernel" in weights:
        name = f"round_{number}"
        # In the order in which TF-GNN concatenates: edge sets by name.
        messages = [
            ways[edges].pool(
                states, weights[f"{name}_{edges}/kernel"], weights[f"{name}_{edges}/bias"]
            )
            for edges in ("fed_by", "feeds")
        ]
        # The part that the graph's state adds is the same for all ops.
        parts = [states, *messages]
        kernel, bias = weights[f"{name}_op_inner/kernel"], weights[f"{name}_op_inner/bias"]
        own = sum(part.shape[1] for part in parts)
        inner = _product(np.concatenate(parts, axis=1), kernel[:own])
        inner += whole @ kernel[own:] + bias
        block = _dense(weights, f"{name}_op_outer", np.maximum(inner, 0), rectified=False)
        states = np.maximum(states + block, 0)
        pooled = np.concatenate([whole, states.mean(axis=0), states.max(axis=0)])
        whole = _dense(weights, f"{name}_graph", pooled)
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
    product = values @ kernel if values.ndim == 1 else _product(values, kernel)
    result = product + weights[f"{name}/bias"]
    return np.maximum(result, 0) if rectified else result


class _Way:
    """Edges in one direction, arranged so that messages are pooled by slices.

    Ops are put in the order of their numbers of messages, most first. The first messages of all
    ops come first, then the second ones of those ops that have a second one, and so on: the n-th
    messages belong to the first ops in that order.

    Args:
        sources: int32 [num_edges].
        targets: int32 [num_edges].
        num_ops: Number of ops.
    """

    def __init__(self, sources: Ints, targets: Ints, num_ops: int) -> None:
        counts = np.bincount(targets, minlength=num_ops)
        self._ops = np.argsort(-counts, kind="stable")
        rank = np.empty(num_ops, np.int64)
        rank[self._ops] = np.arange(num_ops)
        by_target = np.argsort(targets, kind="stable")
        number = np.arange(len(targets)) - (np.cumsum(counts) - counts)[targets[by_target]]
        arranged = by_target[np.lexsort((rank[targets[by_target]], number))]
        self._sources = sources[arranged]
        self._sizes = np.bincount(number).tolist()
        self._shares = (1 / np.maximum(counts[self._ops], 1)).astype(np.float32)[:, None]

    def pool(self, states: Floats, kernel: Floats, bias: Floats) -> Floats:
        """Mean and maximum of the messages to each op, 0 without any. [num_ops, 2 * units]."""
        num_ops, units = states.shape
        # A dense layer of two concatenated states is the sum of two, each once per op.
        sent = _product(states, kernel[:units])
        received = _product(states[self._ops], kernel[units:]) + bias
        width = kernel.shape[1]
        mean, largest = np.zeros((2, num_ops, width), np.float32)
        start = 0
        for size in self._sizes:
            messages = sent[self._sources[start : start + size]]
            messages += received[:size]
            np.maximum(messages, 0, out=messages)
            mean[:size] += messages
            np.maximum(largest[:size], messages, out=largest[:size])
            start += size
        mean *= self._shares
        pooled = np.empty((num_ops, 2 * width), np.float32)
        pooled[self._ops, :width] = mean
        pooled[self._ops, width:] = largest
        return pooled
