"""The network's forward pass for one graph, without TensorFlow, the same bits on every machine.

Weights are multiples of 2**-14 below 16 in size, states and messages are rounded to multiples of
2**-16 and kept below 256. Sums of up to 2,000 products of such numbers are exact in float64, so no
order of additions, no fused multiplication and no library gives another result.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from respect_tf._loops.twins import loop
from respect_tf.graph import GRAPH_FEATURES, OP_FEATURES, GraphFeatures, Ints, Rows

Floats = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]

# Weights are multiples of the first up to the second, and states up to the third: sums of their
# products are exact in float64, whatever their order.
WEIGHT_GRID, MOST_WEIGHT = 2.0**-14, 16.0
_MOST_STATE = 256.0
# Adding this and taking it away again rounds to multiples of 2**-16.
_TO_GRID = 1.5 * 2.0**36


def layer_sizes(units: int, rounds: int, heads: int) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of every dense layer of `respect_tf.training`'s `build_network`.

    Heads have no bias: it would move all ops alike.
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


class Network(NamedTuple):
    """Weights as the forward pass takes them: float64, on the grid."""

    units: int  # the width of the states
    rounds: int  # how often ops exchange messages
    # [num_weights], kernel (by rows) and bias of each layer before the heads, as in `layer_sizes`
    layers: Floats
    heads: Floats  # [units + len(OP_FEATURES) + 1, num_heads], the kernel of the heads


def trunk(network: Network, features: GraphFeatures) -> Floats:
    """What the layers before the heads of `build_network` compute, up to rounding.

    float64 [num_ops, units], multiples of 2**-16.
    """
    states = np.empty((len(features.ops), network.units))
    rows = (*features.links.before, *features.links.after)
    loop(run_trunk)(*rows, features.ops, features.graph, network.layers, states, network.rounds)
    return states


def head_inputs(states: Floats, features: GraphFeatures, rule: Ints) -> Floats:
    """What the heads read: the states, the ops' features, and their places in the rule's order.

    float64 [num_ops, units + len(OP_FEATURES) + 1], multiples of 2**-16.
    """
    return np.concatenate([states, on_grid(features.ops), on_grid(ranks_of(rule))], axis=1)


def ranks_of(order: Ints) -> Floats:
    """The ops' places in an order, 0 to 1. float64 [num_ops, 1]."""
    ranks = np.empty((len(order), 1))
    ranks[order, 0] = (np.arange(len(order)) + 0.5) / len(order)
    return ranks


def on_grid(values: npt.ArrayLike) -> Floats:
    """Values rounded to multiples of 2**-16."""
    rounded: Floats = np.asarray(values, np.float64) + _TO_GRID - _TO_GRID
    return rounded


def run_trunk(
    before_offsets: Ints,
    before: Ints,
    after_offsets: Ints,
    after: Ints,
    ops: Features,
    graph: Features,
    layers: Floats,
    states: Floats,
    rounds: int,
) -> None:
    """See `trunk`; `states` are filled in. A loop for `_loops.loop`."""
    num_ops, units = states.shape
    weights = _unpacked(layers, units, rounds)

    def dense(name: str, values: Floats) -> Floats:
        kernel, bias = weights[name]
        result: Floats = values @ kernel + bias
        return result

    # In the order in which TF-GNN concatenates: edge sets by name.
    ways = {"fed_by": Rows(after_offsets, after), "feeds": Rows(before_offsets, before)}
    # [num_ops, units] and [units]
    states[:] = _rectified(dense("encode_op", on_grid(ops)))
    whole = _rectified(dense("encode_graph", on_grid(graph)))
    for number in range(rounds):
        name = f"round_{number}"
        messages = [_pooled(weights[f"{name}_{way}"], states, rows) for way, rows in ways.items()]
        # [num_ops, 6 * units]
        read = np.concatenate([states, *messages, np.tile(whole, (num_ops, 1))], axis=1)
        inner = _rectified(dense(f"{name}_op_inner", read))
        states[:] = _rectified(dense(f"{name}_op_outer", inner) + states)
        if number < rounds - 1:
            # [3 * units]
            mean = np.add.reduce(states) / num_ops
            summary = on_grid(np.concatenate([whole, mean, np.maximum.reduce(states)]))
            whole = _rectified(dense(f"{name}_graph", summary))


def _unpacked(layers: Floats, units: int, rounds: int) -> dict[str, tuple[Floats, Floats]]:
    """Kernel and bias by the name of the layer."""
    weights, start = {}, 0
    for name, (inputs, outputs) in layer_sizes(units, rounds, 0).items():
        middle = start + inputs * outputs
        end = middle + outputs
        weights[name] = layers[start:middle].reshape(inputs, outputs), layers[middle:end]
        start = end
    return weights


def _rectified(values: Floats) -> Floats:
    """On the grid, from 0 to `_MOST_STATE`."""
    return np.clip(on_grid(values), 0.0, _MOST_STATE)


def _pooled(layer: tuple[Floats, Floats], states: Floats, rows: Rows) -> Floats:
    """Mean and maximum of the messages to each op, 0 without any. float64 [num_ops, 2 * units].

    The layer makes them of the states, [num_ops, units], of sender and receiver.
    """
    kernel, bias = layer
    units = states.shape[1]
    # A dense layer of two concatenated states is the sum of two, each once per op.
    sent, received = on_grid(states @ kernel[:units]), on_grid(states @ kernel[units:]) + bias
    counts = rows.counts
    # [num_edges, units]
    messages = np.maximum(sent[rows.nodes] + np.repeat(received, counts, axis=0), 0.0)
    pooled = np.zeros((2, *states.shape))
    some = counts > 0
    if some.any():
        starts = rows.offsets[:-1][some]
        pooled[0, some] = np.add.reduceat(messages, starts) / counts[some, None]
        pooled[1, some] = np.maximum.reduceat(messages, starts)
    return np.concatenate([*np.minimum(on_grid(pooled), _MOST_STATE)], axis=1)
