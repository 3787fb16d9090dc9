"""The network's forward pass for one graph, without TensorFlow, the same bits on every machine.

Weights are multiples of 2**-14 below 16 in size, states and messages are rounded to multiples of
2**-16 and kept below 256. Sums of up to 2,000 products of such numbers are exact in float64, so no
order of additions, no fused multiplication and no library gives another result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._loops.twins import loop
from respect_tf.graph import GRAPH_FEATURES, OP_FEATURES, GraphFeatures, Ints, Rows, links_of

Floats = npt.NDArray[np.float64]

WEIGHT_GRID, MOST_WEIGHT = 2.0**-14, 16.0
_MOST_STATE = 256.0
# Adding this and taking it away again rounds to multiples of 2**-16.
_TO_GRID = 1.5 * 2.0**36

# OpenBLAS multiplies in one thread up to about so many multiplications.
_ONE_THREAD = 1 << 18


def layer_sizes(units: int, rounds: int, heads: int) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of every dense layer of `respect_tf.training`'s `build_network`.

    Args:
        units: Width of the states.
        rounds: How often ops exchange messages.
        heads: How many orders there are. Heads have no bias: it would move all ops alike.
    """
    sizes = {"encode_op": (len(OP_FEATURES), units), "encode_graph": (len(GRAPH_FEATURES), units)}
    for number in range(rounds):
        name = f"round_{number}"
        sizes |= {f"{name}_{way}": (2 * units, units) for way in ("feeds", "fed_by")}
        sizes[f"{name}_op_inner"] = (6 * units, units)
        sizes[f"{name}_op_outer"] = (units, units)
        if number < rounds - 1:  # nobody reads the graph's state after the last round
            sizes[f"{name}_graph"] = (3 * units, units)
    sizes["heads"] = (units + len(OP_FEATURES) + 1, heads)
    return sizes


def trunk(weights: Mapping[str, npt.NDArray[Any]], features: GraphFeatures) -> Floats:
    """What the layers before the heads of `build_network` compute, up to rounding.

    Args:
        weights: By the names of `layer_sizes` and `"/kernel"` or `"/bias"`, on the grid.
        features: The graph.

    Returns:
        float64 [num_ops, units], multiples of 2**-16.
    """
    num_ops = len(features.ops)
    links = links_of(features.edges, num_ops)
    # In the order in which TF-GNN concatenates: edge sets by name.
    ways = {"fed_by": links.after, "feeds": links.before}
    # [num_ops, units] and [units]
    states = _dense(weights, "encode_op", on_grid(features.ops))
    whole = _dense(weights, "encode_graph", on_grid(features.graph))
    number = 0
    while f"round_{number}_op_inner/kernel" in weights:
        name = f"round_{number}"
        # [num_ops, units + 2 * units for each edge set]
        pooled = _pooled(weights, name, states, ways)
        # The part that the graph's state adds is the same for all ops.
        kernel, bias = weights[f"{name}_op_inner/kernel"], weights[f"{name}_op_inner/bias"]
        own = pooled.shape[1]
        # [num_ops, units]
        inner = _product(pooled, kernel[:own])
        inner += whole @ kernel[own:] + bias
        block = _dense(weights, f"{name}_op_outer", _rectified(inner), rectified=False)
        block += states
        states = _rectified(block)
        number += 1
        if f"{name}_graph/kernel" in weights:
            # [3 * units]
            mean = np.add.reduce(states) / num_ops
            summary = on_grid(np.concatenate([whole, mean, np.maximum.reduce(states)]))
            whole = _dense(weights, f"{name}_graph", summary)
    return states


def head_inputs(states: Floats, features: GraphFeatures, rule: Ints) -> Floats:
    """What the heads read: the states, the ops' features, and their places in the rule's order.

    Args:
        states: float64 [num_ops, units], of `trunk`.
        features: The graph.
        rule: int64 [num_ops], the order that the rule picks.

    Returns:
        float64 [num_ops, units + len(OP_FEATURES) + 1], multiples of 2**-16.
    """
    num_ops = len(states)
    # [num_ops, 1]
    rank = np.empty((num_ops, 1))
    rank[rule, 0] = (np.arange(num_ops) + 0.5) / num_ops
    return np.concatenate([states, on_grid(features.ops), on_grid(rank)], axis=1)


def on_grid(values: npt.ArrayLike) -> Floats:
    """Values rounded to multiples of 2**-16."""
    rounded = np.array(values, np.float64)
    rounded += _TO_GRID
    rounded -= _TO_GRID
    return rounded


def _rectified(values: Floats) -> Floats:
    """In place: on the grid, from 0 to less than `_MOST_STATE`."""
    values += _TO_GRID
    values -= _TO_GRID
    np.maximum(values, 0.0, out=values)
    return np.minimum(values, _MOST_STATE, out=values)


def _product(values: Floats, kernel: Floats) -> Floats:
    """`values @ kernel` in blocks of rows that BLAS does not share out among threads.

    On a busy machine it would wait for these a hundred times as long as the product takes.
    """
    rows = max(1, _ONE_THREAD // kernel.size)
    if len(values) <= rows:
        return values @ kernel
    whole = len(values) // rows * rows
    result = np.empty((len(values), kernel.shape[1]))
    blocks = values[:whole].reshape(-1, rows, len(kernel))
    np.matmul(blocks, kernel, out=result[:whole].reshape(-1, rows, kernel.shape[1]))
    np.matmul(values[whole:], kernel, out=result[whole:])
    return result


def _dense(
    weights: Mapping[str, npt.NDArray[Any]], name: str, values: Floats, *, rectified: bool = True
) -> Floats:
    kernel = weights[f"{name}/kernel"]
    result: Floats = values @ kernel if values.ndim == 1 else _product(values, kernel)
    result += weights[f"{name}/bias"]
    return _rectified(result) if rectified else result


def _pooled(
    weights: Mapping[str, npt.NDArray[Any]], name: str, states: Floats, ways: Mapping[str, Rows]
) -> Floats:
    """The state of each op, and mean and maximum of the messages to it, 0 without any.

    Args:
        weights: See `trunk`.
        name: The round.
        states: float64 [num_ops, units].
        ways: By edge set, the ops that each op has messages from.

    Returns:
        float64 [num_ops, units + 2 * width for each edge set].
    """
    num_ops, units = states.shape
    # A dense layer of two concatenated states is the sum of two, each once per op.
    kernels = [weights[f"{name}_{edges}/kernel"] for edges in ways]
    width = kernels[0].shape[1]
    # [units, 2 * width for each edge set]
    both = [half for kernel in kernels for half in (kernel[:units], kernel[units:])]
    # [num_ops, 2 * width for each edge set]
    halves = on_grid(_product(states, np.concatenate(both, axis=1)))
    pooled = np.empty((num_ops, units + 2 * width * len(ways)))
    pooled[:, :units] = states
    for way, (edges, rows) in enumerate(ways.items()):
        pool = loop(run_pool)
        bias = np.array(weights[f"{name}_{edges}/bias"], np.float64)
        pool(*rows, halves, bias, 2 * width * way, pooled)
    pooled += _TO_GRID
    pooled -= _TO_GRID
    return np.minimum(pooled, _MOST_STATE, out=pooled)


def run_pool(
    offsets: Ints, sources: Ints, halves: Floats, bias: Floats, column: int, pooled: Floats
) -> None:
    """Mean and maximum of the messages to each op. A loop for `_loops.loop`.

    Args:
        offsets: This and the next one are the ops that each op has messages from.
        sources: See there.
        halves: float64 [num_ops, num_halves], what ops add to messages that they send, and, in
            columns after these, to those that they receive.
        bias: float64 [width], what is added to all messages.
        column: Where `halves` begin for these messages.
        pooled: float64 [num_ops, num_columns], what results, in the same place from the end of the
            states on: means, and maxima after them.
    """
    width = len(bias)
    first = pooled.shape[1] - halves.shape[1] + column
    received = np.empty(width)
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
                message = max(sent[unit] + received[unit], 0.0)
                mean[unit] += message
                largest[unit] = max(largest[unit], message)
        count = max(offsets[op + 1] - offsets[op], 1)
        for unit in range(width):
            mean[unit] /= count
