"""Steps of gradient descent: of imitation, and of REINFORCE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.policy._forward import Forward
from respect_tf.training._batches import TrainingGraph, merged_tensor
from respect_tf.training._losses import (
    choice_loss,
    chosen_priorities,
    ordering_loss,
    placing_loss,
    reinforce_loss,
)
from respect_tf.training._plan import TrainingPlan

Floats = npt.NDArray[np.float64]


class Steps:
    """The two kinds of steps for one network.

    Args:
        network: Of `build_network`.
        averaged: Another one, which follows the mean of the first one's weights over the last
            steps (Polyak and Juditsky 1992): what is learned stays, what is noise cancels out.
        plan: Rates and numbers of steps.

    Attributes:
        optimizers: One for each kind.
    """

    def __init__(self, network: Any, averaged: Any, plan: TrainingPlan) -> None:
        import tensorflow as tf

        from respect_tf.graph._graph_tensor import graph_tensor_spec
        from respect_tf.graph._tfgnn import load_tf_keras

        optimizers = load_tf_keras().optimizers
        self._network, self._averaged = network, averaged
        self._ordering_share = plan.ordering_share

        def adam(rate: float, num_steps: int) -> Any:
            rates = optimizers.schedules.CosineDecay(rate, max(num_steps, 1), alpha=0.1)
            return optimizers.Adam(rates, global_clipnorm=1.0)

        self.optimizers = (
            adam(plan.imitation_rate, plan.imitation_steps),
            adam(plan.reinforce_rate, plan.reinforce_steps),
        )
        for optimizer in self.optimizers:
            optimizer.build(network.trainable_weights)
        ints, rows = tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, None], tf.float32)
        self._imitate = tf.function(
            self._imitation_step, input_signature=[graph_tensor_spec(), ints, ints, ints, rows]
        )
        self._pull = tf.function(
            self._reinforce_gradients, input_signature=[*[rows] * 3, ints, ints, ints, rows, rows]
        )
        self._apply_pull = tf.function(lambda gradients: self._apply(1, gradients))
        self.forward = forward_function(network)

    def imitate(self, graphs: Sequence[TrainingGraph]) -> float:
        """A step of imitation. Returns the loss."""
        return float(self._imitate(merged_tensor(graphs), *_known(graphs)))

    def reinforce(self, graphs: Sequence[TrainingGraph], draw: Callable[[Forward], Floats]) -> None:
        """A step of REINFORCE.

        Args:
            graphs: The graphs.
            draw: Draws orders as the network would have them; returns the `score` of
                `reinforce_loss`.
        """
        import tensorflow as tf

        tensor, weights = merged_tensor(graphs), self._network.trainable_weights
        # One forward pass, for the draws and for the gradient.
        with tf.GradientTape() as tape:
            found = self.forward(tensor)
        outputs = [found.priorities, found.places, found.gate]
        score = draw(found).astype(np.float32)
        gradients = tape.gradient(
            outputs,
            weights,
            output_gradients=list(self._pull(*outputs, *_known(graphs), score)),
            unconnected_gradients="zero",
        )
        self._apply_pull(gradients)

    def _imitation_step(
        self, tensor: Any, num_ops: Any, num_stages: Any, stages: Any, excess: Any
    ) -> Any:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            found = Forward(*self._network(tensor, training=True))
            best = tf.argmin(excess, axis=1, output_type=tf.int32)
            priorities = chosen_priorities(found.priorities, best, num_ops)
            loss = (
                choice_loss(found.gate, excess)
                + placing_loss(found.places, num_ops, num_stages, stages)
                + self._ordering_share * ordering_loss(priorities, num_ops, stages)
            )
        weights = self._network.trainable_weights
        self._apply(0, tape.gradient(loss, weights, unconnected_gradients="zero"))
        return loss

    def _reinforce_gradients(
        self,
        priorities: Any,
        places: Any,
        gate: Any,
        num_ops: Any,
        num_stages: Any,
        stages: Any,
        excess: Any,
        score: Any,
    ) -> Any:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch([priorities, places, gate])
            loss = (
                reinforce_loss(priorities, score, num_ops)
                + _CHOICE_SHARE * choice_loss(gate, excess)
                + _PLACING_SHARE * placing_loss(places, num_ops, num_stages, stages)
            )
        return tape.gradient(loss, [priorities, places, gate], unconnected_gradients="zero")

    def _apply(self, kind: int, gradients: Any) -> None:
        weights = self._network.trainable_weights
        self.optimizers[kind].apply_gradients(zip(gradients, weights, strict=True))
        for mean, weight in zip(self._averaged.trainable_weights, weights, strict=True):
            mean.assign_add((1 - _DECAYS[kind]) * (weight - mean))


# How slowly means of weights follow, in imitation and in REINFORCE.
_DECAYS = (0.98, 0.998)
# What REINFORCE goes on to learn from labels and from the cuts of structural orders.
_CHOICE_SHARE, _PLACING_SHARE = 0.3, 0.1


def forward_function(network: Any) -> Callable[[Any], Forward]:
    """What a network says of merged graphs, as a compiled TensorFlow function."""
    import tensorflow as tf

    from respect_tf.graph._graph_tensor import graph_tensor_spec

    def forward(tensor: Any) -> Forward:
        return Forward(*network(tensor))

    compiled: Callable[[Any], Forward] = tf.function(forward, input_signature=[graph_tensor_spec()])
    return compiled


def _known(graphs: Sequence[TrainingGraph]) -> tuple[Any, ...]:
    """Ops and stages of each graph, the stage of each op or -1, and what orders cost more."""
    costs = np.array([graph.order_costs for graph in graphs])
    least = np.maximum(costs.min(axis=1, keepdims=True), 1.0)
    return (
        np.array([graph.task.num_ops for graph in graphs], np.int32),
        np.array([graph.task.num_stages for graph in graphs], np.int32),
        np.concatenate(
            [
                np.full(graph.task.num_ops, -1, np.int32) if graph.stages is None else graph.stages
                for graph in graphs
            ]
        ),
        (costs / least - 1).astype(np.float32),
    )
