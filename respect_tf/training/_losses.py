"""What training lowers: how far heads are from labels, and what their orders cost (REINFORCE)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf.graph import graph_tensor_spec
from respect_tf.policy import head_orders
from respect_tf.training._labels import Example
from respect_tf.training._replicas import Replicas

Floats = npt.NDArray[np.float64]

# How sharply scores tell stages apart: a stage's width, 1 / num_stages, counts this much.
# benchmarks constants: half +0.01 % cost; twice +0.05 % cost, 1.19 times the time.
_SHARPNESS = 8.0


def imitation_loss(scores: Any, num_ops: Any, num_stages: Any, stages: Any, heat: Any) -> Any:
    """How far the best head of each graph is from its label.

    A graph has many optima, and heads that are all drawn to the same one end at a mean that is
    none of them. So the head that is nearest to the label is corrected, and the others as far as
    the heat says: the loss is a mean over heads by `softmax(-loss / heat)`.

    A head's loss is the cross-entropy of "behind this border" for the two borders of each op's
    stage. Borders are halfway between the mean scores of neighbouring stages, so only the order
    of the scores counts, and how clearly the stages are apart.

    Scores are float32 [total_ops, num_heads], sizes int32 [num_graphs], stages, which are the
    labels, int32 [total_ops], and the heat is above 0; the loss is a scalar, float32.
    """
    import tensorflow as tf

    # [total_ops]: rows of stages, one behind the other for all graphs
    graph = tf.repeat(tf.range(tf.size(num_ops)), num_ops)
    count = tf.repeat(num_stages, num_ops)
    row = tf.gather(tf.cumsum(num_stages, exclusive=True), graph) + stages
    # [total_stages, num_heads]
    means = tf.math.segment_mean(tf.gather(scores, tf.argsort(row, stable=True)), tf.sort(row))
    # [total_ops, num_heads]
    first, last = (stages == 0)[:, None], (stages == count - 1)[:, None]
    before = tf.gather(means, tf.where(first[:, 0], row, row - 1))
    behind = tf.gather(means, tf.where(last[:, 0], row, row + 1))
    own = tf.gather(means, row)
    slope = _SHARPNESS * tf.cast(count, tf.float32)[:, None]
    wrong = tf.where(first, 0.0, tf.nn.softplus(slope * ((before + own) / 2 - scores)))
    wrong += tf.where(last, 0.0, tf.nn.softplus(slope * (scores - (own + behind) / 2)))
    # [num_graphs, num_heads]
    losses = tf.math.segment_mean(wrong, graph)
    shares = tf.stop_gradient(tf.nn.softmax(-losses / heat, axis=1))
    return tf.reduce_mean(tf.reduce_sum(shares * losses, axis=1))


def best_others(example: Example, scores: Floats) -> tuple[Floats, Floats]:
    """What each head's order costs, and the least cost of the others and the rule.

    float64 [num_heads] twice, from scores, float64 [num_ops, num_heads], relative to the reference;
    costs above the second best of those before them are infinite, because nobody asks for them.
    """
    # The two least costs so far; of the best one, whose it is.
    least = second = example.rule_ratio
    best = -1
    costs = np.full(scores.shape[1], np.inf)
    for head, order in enumerate(head_orders(example.view, scores)):
        costs[head] = cost = example.cost(order, second)
        if cost < least:
            least, second, best = cost, least, head
        elif cost < second:
            second = cost
    others = np.full(len(costs), least)
    if best >= 0:
        others[best] = second
    return costs, others


def advantages(
    example: Example, scores: Floats, width: float, noise: Floats
) -> tuple[Floats, float]:
    """One step's direction for one graph (REINFORCE, Williams 1992), from standard normal noise.

    Scores are normally distributed around the heads' own, with the standard deviation `width`. The
    reward of a draw is by how much its cost is below the least cost of all other heads and the
    rule, and 0 where it is not: a head is there for what it adds. The baseline is the reward of the
    head's own order, a greedy rollout.

    Returns:
        float64 [num_ops, num_heads] like the scores, the advantage times the gradient of the
        logarithm of the density, and the mean reward.
    """
    costs, others = best_others(example, scores)
    orders = head_orders(example.view, scores + width * noise)
    drawn = np.array([example.cost(o, limit) for o, limit in zip(orders, others, strict=True)])
    reward = np.maximum(others - drawn, 0.0)
    baseline = np.maximum(others - costs, 0.0)
    direction: Floats = (reward - baseline) * noise / width
    return direction, float(reward.mean())


def training_steps(
    replicas: Replicas, network: Any, imitation: Any, reinforce: Any
) -> tuple[Callable[[Any], Any], ...]:
    """A step of imitation and one of REINFORCE, of all replicas, with an optimizer for each."""
    import tensorflow as tf

    weights = network.trainable_weights
    graphs, number = [graph_tensor_spec(), tf.TensorSpec([None, 1])], tf.TensorSpec([])
    labels = [tf.TensorSpec([None], tf.int32)] * 3

    def descend(optimizer: Any, inputs: Any, loss_of: Callable[[Any], Any]) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(network(inputs))
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    def imitate(tensor: Any, ranks: Any, *given: Any) -> Any:
        *label, share = given
        return descend(
            imitation, [tensor, ranks], lambda scores: share * imitation_loss(scores, *label)
        )

    def improve(tensor: Any, ranks: Any, direction: Any, cost: Any) -> Any:
        # The gradient is that of the expected reward, estimated; scores are means of what is drawn.
        descend(reinforce, [tensor, ranks], lambda scores: -tf.reduce_sum(direction * scores))
        return cost

    return (
        replicas.together(imitate, [*graphs, *labels, number, number]),
        replicas.together(improve, [*graphs, tf.TensorSpec([None, None]), number]),
    )
