"""Decoders as TensorFlow functions: from what the network says of the ops to topological orders.

Both choose the next op among the ready ones only, so every sequence is a topological order:

* one shot: each op has a fixed priority, and the next op is drawn in proportion to the exponentials
  of the priorities (Plackett-Luce). `respect_tf.scheduling._rollout` does the same in O(N log N).
* pointer: an LSTM reads what was chosen so far, looks at all ready ops (a glimpse), and points at
  one of them (Vinyals et al. 2015, Bello et al. 2017; RESPECT, arXiv 2304.04716).

TensorFlow loads with this module: import it only where it is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from respect_tf.graph._graph_tensor import FORWARD, OP_SET, graph_tensor_spec
from respect_tf.graph._tfgnn import load_tf_keras
from respect_tf.policy._forward import Forward
from respect_tf.training._losses import chosen_priorities

_NEVER = -1e9
_CLIP = 10.0  # logits of the pointer are kept within this distance of 0
_SEED = tf.TensorSpec([2], tf.int32)
_COUNT = tf.TensorSpec([], tf.int32)
_TEMPERATURE = tf.TensorSpec([], tf.float32)
_Step = Callable[[Any, Any, Any], tuple[Any, Any]]


class Decoded(NamedTuple):
    """Sequences of ops.

    Attributes:
        orders: int32 [num_sequences, most_ops], ops of each graph numbered from 0; -1 behind the
            last one.
        log_probability: float32 [num_sequences].
    """

    orders: Any
    log_probability: Any


def dense_edges(tensor: Any) -> tuple[Any, Any]:
    """Sizes of the graphs of a merged `GraphTensor`, and their edges as matrices.

    Returns:
        int32 [num_graphs] and float32 [num_graphs, most_ops, most_ops], 1 where the row's op feeds
        the column's.
    """
    num_ops = tensor.node_sets[OP_SET].sizes
    edges = tensor.edge_sets[FORWARD]
    graph = tf.repeat(tf.range(tf.size(num_ops)), edges.sizes)
    first = tf.gather(tf.cumsum(num_ops, exclusive=True), graph)
    places = tf.stack(
        [graph, edges.adjacency.source - first, edges.adjacency.target - first], axis=1
    )
    most = tf.reduce_max(num_ops)
    shape = tf.stack([tf.size(num_ops), most, most])
    return num_ops, tf.scatter_nd(places, tf.ones([tf.shape(places)[0]]), shape)


def _rows(values: Any, num_ops: Any) -> Any:
    """Values of all ops as one row per graph, [num_graphs, most_ops, ...]."""
    return tf.RaggedTensor.from_row_lengths(values, num_ops).to_tensor()


def _decode(
    step: _Step, state: Any, num_ops: Any, edges: Any, seed: Any = None, forced: Any = None
) -> Decoded:
    """Choose op after op: the likeliest, a random one (`seed`), or a given one (`forced`)."""
    num_rows, most = tf.shape(edges)[0], tf.shape(edges)[1]
    is_op = tf.sequence_mask(num_ops, most)
    waiting = tf.reduce_sum(edges, axis=1)
    left = tf.fill([num_rows, most], True)  # behind the last op, what is no op is chosen
    chosen = tf.fill([num_rows], -1)
    total = tf.zeros([num_rows])
    orders = tf.TensorArray(tf.int32, size=most)
    for place in tf.range(most):
        ready = left & is_op & (waiting < 0.5)
        is_real = place < num_ops
        logits, state = step(state, chosen, ready)
        logits = tf.where(ready, logits, _NEVER)
        if forced is not None:
            chosen = tf.maximum(forced[:, place], 0)
        elif seed is not None:
            uniform = tf.random.stateless_uniform(
                [num_rows, most], seed + tf.stack([0, place]), minval=1e-30
            )
            noisy = logits - tf.math.log(-tf.math.log(uniform))
            chosen = tf.argmax(tf.where(ready, noisy, 2 * _NEVER), axis=1, output_type=tf.int32)
        else:
            chosen = tf.argmax(logits, axis=1, output_type=tf.int32)
        log_probabilities = tf.nn.log_softmax(logits, axis=1)
        picked = tf.gather(log_probabilities, chosen, batch_dims=1)
        total += tf.where(is_real, picked, 0.0)
        here = tf.one_hot(chosen, most, on_value=True, off_value=False) & is_real[:, None]
        left &= ~here
        waiting -= tf.gather(edges, chosen, batch_dims=1) * tf.cast(is_real, tf.float32)[:, None]
        orders = orders.write(place, tf.where(is_real, chosen, -1))
    return Decoded(tf.transpose(orders.stack()), total)


class OneShotDecoder:
    """Orders by fixed priorities, for a network of `build_network`.

    The greedy ones start from the structural order that the network prefers, random ones from one
    that is drawn; `log_probability` is of both draws together.

    Args:
        network: The network.
    """

    def __init__(self, network: Any) -> None:
        self._network = network
        spec = graph_tensor_spec()
        self.greedy = tf.function(self._greedy, input_signature=[spec])
        self.sample = tf.function(self._sample, input_signature=[spec, _SEED, _COUNT, _TEMPERATURE])

    def _greedy(self, tensor: Any) -> Decoded:
        """The likeliest op next, always: one sequence per graph."""
        found = Forward(*self._network(tensor))
        num_ops, edges = dense_edges(tensor)
        order = tf.argmax(found.gate, axis=1, output_type=tf.int32)
        scores = _rows(chosen_priorities(found.priorities, order, num_ops), num_ops)
        decoded = _decode(lambda state, _chosen, _ready: (scores, state), 0, num_ops, edges)
        chosen = tf.reduce_max(tf.nn.log_softmax(found.gate), axis=1)
        return Decoded(decoded.orders, decoded.log_probability + chosen)

    def _sample(self, tensor: Any, seed: Any, num_samples: Any, temperature: Any) -> Decoded:
        """Random sequences, `num_samples` of each graph behind each other."""
        found = Forward(*self._network(tensor))
        num_ops, edges = (tf.repeat(part, num_samples, axis=0) for part in dense_edges(tensor))
        first = seed + tf.constant([1, 0])
        order = tf.random.stateless_categorical(found.gate, num_samples, first, tf.int32)
        rows = tf.repeat(
            _rows(found.priorities, tensor.node_sets[OP_SET].sizes), num_samples, axis=0
        )
        scores = tf.gather(rows, tf.reshape(order, [-1]), axis=2, batch_dims=1) / temperature
        decoded = _decode(lambda state, _chosen, _ready: (scores, state), 0, num_ops, edges, seed)
        chosen = tf.gather(tf.nn.log_softmax(found.gate), order, batch_dims=1)
        return Decoded(decoded.orders, decoded.log_probability + tf.reshape(chosen, [-1]))


class PointerDecoder:
    """An LSTM that points at the next op, for a network of `build_network`.

    Args:
        network: The network, whose states of ops it reads.
        units: Width of the LSTM and of the attention.

    Attributes:
        layers: What is trained, beside the network: a `tf_keras.Model` without a call.
    """

    def __init__(self, network: Any, units: int = 128) -> None:
        keras = load_tf_keras()
        self._network = network
        self.layers = _pointer_layers(keras, network.outputs[-1].shape[-1], units)
        spec = graph_tensor_spec()
        given = tf.TensorSpec([None, None], tf.int32)
        self.greedy = tf.function(self._greedy, input_signature=[spec])
        self.sample = tf.function(self._sample, input_signature=[spec, _SEED, _COUNT, _TEMPERATURE])
        self.log_probability = tf.function(self._log_probability, input_signature=[spec, given])

    def _greedy(self, tensor: Any) -> Decoded:
        """The likeliest op next, always: one sequence per graph."""
        return self._run(tensor, 1, 1.0)

    def _sample(self, tensor: Any, seed: Any, num_samples: Any, temperature: Any) -> Decoded:
        """Random sequences, `num_samples` of each graph behind each other."""
        return self._run(tensor, num_samples, temperature, seed)

    def _log_probability(self, tensor: Any, orders: Any) -> Any:
        """Of given sequences, as many of each graph: float32 [num_sequences]."""
        num_samples = tf.shape(orders)[0] // tf.size(tensor.node_sets[OP_SET].sizes)
        return self._run(tensor, num_samples, 1.0, forced=orders).log_probability

    def _run(
        self,
        tensor: Any,
        num_samples: Any,
        temperature: Any,
        seed: Any = None,
        forced: Any = None,
    ) -> Decoded:
        layers = self.layers
        num_ops, edges = dense_edges(tensor)
        rows = _rows(Forward(*self._network(tensor)).states, num_ops)
        mean = tf.reduce_sum(rows, axis=1) / tf.cast(num_ops, tf.float32)[:, None]
        mean, rows, num_ops, edges = (
            tf.repeat(part, num_samples, axis=0) for part in (mean, rows, num_ops, edges)
        )
        looked_at, pointed_at = layers.look_key(rows), layers.point_key(rows)
        start = layers.start(mean)

        def step(state: Any, chosen: Any, ready: Any) -> tuple[Any, Any]:
            last = tf.gather(rows, tf.maximum(chosen, 0), batch_dims=1)
            given = tf.where((chosen >= 0)[:, None], last, start)
            output, state = layers.cell(given, state)
            attention = layers.look_score(tf.tanh(looked_at + layers.look_query(output)[:, None]))
            attention = tf.where(ready, attention[..., 0], _NEVER)
            glimpse = tf.einsum("bn,bnu->bu", tf.nn.softmax(attention, axis=1), looked_at)
            logits = layers.point_score(tf.tanh(pointed_at + layers.point_query(glimpse)[:, None]))
            return _CLIP * tf.tanh(logits[..., 0]) / temperature, state

        zeros = tf.zeros([tf.shape(rows)[0], layers.units])
        return _decode(step, [zeros, zeros], num_ops, edges, seed, forced)


def _pointer_layers(keras: Any, width: int, units: int) -> Any:
    class PointerLayers(keras.Model):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__(name="pointer")
            self.units = units
            self.start = keras.layers.Dense(width, name="start")
            self.cell = keras.layers.LSTMCell(units, name="cell")
            self.look_key = keras.layers.Dense(units, use_bias=False, name="look_key")
            self.look_query = keras.layers.Dense(units, name="look_query")
            self.look_score = keras.layers.Dense(1, use_bias=False, name="look_score")
            self.point_key = keras.layers.Dense(units, use_bias=False, name="point_key")
            self.point_query = keras.layers.Dense(units, name="point_query")
            self.point_score = keras.layers.Dense(1, use_bias=False, name="point_score")
            for layer, size in (
                (self.start, width),
                (self.cell, width),
                (self.look_key, width),
                (self.look_query, units),
                (self.look_score, units),
                (self.point_key, width),
                (self.point_query, units),
                (self.point_score, units),
            ):
                layer.build((None, size))

    return PointerLayers()
