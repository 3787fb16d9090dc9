"""RESPECT's network (arXiv 2304.04716): an LSTM that points at one op after the other.

As there, an LSTM reads the ops in the file's order, each by its level, its parents' levels and
numbers, its own number and its bytes; a second one looks at all ready ops (a glimpse, Bello et al.
2017) and points at the next (Vinyals et al. 2015). Other than there, a mask leaves ready ops only,
so that no sequence needs a repair, and bytes and numbers are parts of the graph's.

TensorFlow loads with this module: import it only where it is needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from respect_tf._errors import ArgumentError
from respect_tf.graph import OpGraph, load_tf_keras

_NEVER = -1e9
_CLIP = 10.0  # logits are kept within this distance of 0
_PARENTS = 6  # the largest in-degree of the published training graphs; further ones are left out
NUM_FEATURES = 3 + 2 * _PARENTS


def graph_batch(graphs: list[OpGraph]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """What the network reads of graphs of one size.

    Features, float32 [num_graphs, num_ops, NUM_FEATURES], and edges, float32 [num_graphs, num_ops,
    num_ops], 1 where the row's op feeds the column's.

    Raises:
        ArgumentError: The ops of a graph are not numbered in a topological order.
    """
    for graph in graphs:
        if np.any(graph.edges[:, 0] >= graph.edges[:, 1]):
            raise ArgumentError(
                "The pointer network reads ops in the order of their numbers, which must be a "
                "topological one. Received a graph with an edge from an op to one before it."
            )
    edges = np.zeros((len(graphs), graphs[0].num_ops, graphs[0].num_ops), np.float32)
    for dense, graph in zip(edges, graphs, strict=True):
        dense[graph.edges[:, 0], graph.edges[:, 1]] = 1
    return np.stack([_features(graph) for graph in graphs]), edges


def _features(graph: OpGraph) -> npt.NDArray[np.float32]:
    num_ops = graph.num_ops
    parents: list[list[int]] = [[] for _ in range(num_ops)]
    for maker, reader in graph.edges.tolist():
        parents[reader].append(maker)
    level = np.zeros(num_ops)
    for op, before in enumerate(parents):
        level[op] = 1 + max((level[one] for one in before), default=-1)
    level /= max(level.max(), 1)
    number = np.arange(num_ops) / num_ops
    features = np.full((num_ops, NUM_FEATURES), -1.0, np.float32)
    features[:, 0], features[:, 1] = level, number
    features[:, 2] = graph.parameter_bytes * num_ops / max(graph.parameter_bytes.sum(), 1)
    for op, before in enumerate(parents):
        near = before[-_PARENTS:]
        features[op, 3 : 3 + len(near)] = level[near]
        features[op, 3 + _PARENTS : 3 + _PARENTS + len(near)] = number[near]
    return features


def pointer_network(units: int) -> Any:
    """Make the network with fresh weights; units are the width of LSTMs and attention.

    Returns:
        A `tf_keras.Model` called with a `graph_batch` and a seed, int32 [2], for random sequences
        or `None` for the likeliest ones. It returns sequences of ops, int32 [num_graphs, num_ops],
        and the logarithms of their probabilities, float32 [num_graphs].
    """
    keras: Any = load_tf_keras()
    layers = keras.layers

    class PointerNetwork(keras.Model):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__(name="pointer")
            self.embed = layers.Dense(units, name="embed")
            self.encoder = layers.LSTM(
                units, return_sequences=True, return_state=True, name="encoder"
            )
            self.cell = layers.LSTMCell(units, name="cell")
            self.look_key = layers.Dense(units, use_bias=False, name="look_key")
            self.look_query = layers.Dense(units, name="look_query")
            self.look_score = layers.Dense(1, use_bias=False, name="look_score")
            self.point_key = layers.Dense(units, use_bias=False, name="point_key")
            self.point_query = layers.Dense(units, name="point_query")
            self.point_score = layers.Dense(1, use_bias=False, name="point_score")

        def call(self, batch: Any, seed: Any = None) -> Any:
            features, edges = batch
            # [num_graphs, num_ops, units]
            embedded = self.embed(features)
            rows, *state = self.encoder(embedded)
            looked_at, pointed_at = self.look_key(rows), self.point_key(rows)
            shape = tf.shape(features)
            num_graphs, num_ops = shape[0], shape[1]
            # [num_graphs, num_ops]
            waiting = tf.reduce_sum(edges, axis=1)
            left = tf.ones_like(waiting, tf.bool)
            given = tf.reduce_mean(embedded, axis=1)
            total = tf.zeros([num_graphs])
            orders = tf.TensorArray(tf.int32, size=num_ops)
            for place in tf.range(num_ops):
                ready = left & (waiting < 0.5)
                output, state = self.cell(given, state)
                # [num_graphs, num_ops]
                looked = self.look_score(tf.tanh(looked_at + self.look_query(output)[:, None]))
                attention = tf.nn.softmax(tf.where(ready, looked[..., 0], _NEVER), axis=1)
                # [num_graphs, units]
                glimpse = tf.einsum("bn,bnu->bu", attention, looked_at)
                logits = self.point_score(tf.tanh(pointed_at + self.point_query(glimpse)[:, None]))
                logits = tf.where(ready, _CLIP * tf.tanh(logits[..., 0]), _NEVER)
                noise = 0.0
                if seed is not None:
                    uniform = tf.random.stateless_uniform(
                        [num_graphs, num_ops], seed + tf.stack([0, place]), minval=1e-30
                    )
                    noise = -tf.math.log(-tf.math.log(uniform))  # Gumbel's: the draw is the argmax
                # [num_graphs]
                chosen = tf.argmax(
                    tf.where(ready, logits + noise, 2 * _NEVER), axis=1, output_type=tf.int32
                )
                total += tf.gather(tf.nn.log_softmax(logits, axis=1), chosen, batch_dims=1)
                left &= ~tf.one_hot(chosen, num_ops, on_value=True, off_value=False)
                waiting -= tf.gather(edges, chosen, batch_dims=1)
                given = tf.gather(embedded, chosen, batch_dims=1)
                orders = orders.write(place, chosen)
            return tf.transpose(orders.stack()), total

    return PointerNetwork()
