"""What training lowers, as TensorFlow functions of the network's heads."""

from __future__ import annotations

from typing import Any

from respect_tf.policy._rollout import CLIP


def clipped_priorities(heads: Any) -> Any:
    """Priorities within `CLIP` of 0, from heads [num_ops, 3]. float32 [num_ops]."""
    import tensorflow as tf

    return CLIP * tf.tanh(heads[:, 0] / CLIP)


def stage_logits(heads: Any, num_stages: Any, most: Any) -> Any:
    """Logits of "this op's stage is k or later", for k from 1. float32 [num_ops, most - 1].

    All logits of an op have one slope, so they fall with k, and differences of their
    probabilities are probabilities of stages, for any number of stages.

    Args:
        heads: float32 [num_ops, 3].
        num_stages: int32 [num_ops], that of each op's graph.
        most: The largest of them.
    """
    import tensorflow as tf

    count = tf.cast(num_stages, tf.float32)[:, None]
    borders = tf.range(1, most, dtype=tf.float32)[None] / count
    slope = count * tf.nn.softplus(heads[:, 2:3] + 1.0)
    return slope * (heads[:, 1:2] - borders)


def imitation_loss(heads: Any, num_ops: Any, num_stages: Any, stages: Any) -> Any:
    """How far the heads are from known stages.

    The cross-entropy of the stages' borders, and of "u before v" for each pair of ops of one graph
    in different stages: where all pairs are right, the greedy order takes the stages in turn.

    Args:
        heads: float32 [total_ops, 3].
        num_ops: int32 [num_graphs].
        num_stages: int32 [num_graphs].
        stages: int32 [total_ops].

    Returns:
        A scalar, float32.
    """
    import tensorflow as tf

    most = tf.reduce_max(num_stages)
    count = tf.repeat(num_stages, num_ops)
    logits = stage_logits(heads, count, most)
    border = tf.range(1, most)[None]
    later = tf.cast(stages[:, None] >= border, tf.float32)
    counts = tf.cast(border < count[:, None], tf.float32)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(later, logits)
    placing = tf.reduce_sum(counts * losses) / tf.reduce_sum(counts)

    rows = tf.RaggedTensor.from_row_lengths(clipped_priorities(heads), num_ops).to_tensor()
    place = tf.RaggedTensor.from_row_lengths(stages, num_ops).to_tensor(default_value=-1)
    earlier = (place[:, :, None] < place[:, None, :]) & (place[:, :, None] >= 0)
    pairs = tf.cast(earlier, tf.float32)
    wrong = tf.nn.softplus(rows[:, None, :] - rows[:, :, None])
    ordering = tf.reduce_sum(pairs * wrong, axis=[1, 2]) / tf.maximum(
        tf.reduce_sum(pairs, axis=[1, 2]), 1.0
    )
    return placing + tf.reduce_mean(ordering)


def order_log_probability(priorities: Any, position: Any, ready_at: Any) -> Any:
    """Logarithm of the probability that `run_race` draws an order.

    Args:
        priorities: float32 [num_orders, num_ops], anything where there is no op.
        position: int32 [num_orders, num_ops], place of each op; -1 where there is no op.
        ready_at: int32 [num_orders, num_ops], how many ops came before each one was ready.

    Returns:
        float32 [num_orders].
    """
    import tensorflow as tf

    time = tf.range(tf.shape(position)[1])[None, :, None]
    ready = (ready_at[:, None] <= time) & (time <= position[:, None])
    scores = tf.where(ready, priorities[:, None], -1e9)
    taken = tf.cast(position >= 0, tf.float32)
    is_step = tf.cast(tf.reduce_any(ready, axis=2), tf.float32)
    chosen = tf.reduce_sum(taken * priorities, axis=1)
    return chosen - tf.reduce_sum(is_step * tf.reduce_logsumexp(scores, axis=2), axis=1)


def reinforce_loss(heads: Any, num_ops: Any, position: Any, ready_at: Any, advantage: Any) -> Any:
    """Its gradient is that of the expected cost (REINFORCE, Williams 1992), estimated.

    Args:
        heads: float32 [total_ops, 3].
        num_ops: int32 [num_graphs].
        position: int32 [num_graphs * num_samples, most_ops], sampled orders, those of one graph
            behind each other; see `order_log_probability`.
        ready_at: Likewise.
        advantage: float32 [num_graphs * num_samples], how much better than the baseline each is.

    Returns:
        A scalar, float32.
    """
    import tensorflow as tf

    rows = tf.RaggedTensor.from_row_lengths(clipped_priorities(heads), num_ops).to_tensor()
    num_samples = tf.shape(position)[0] // tf.shape(rows)[0]
    scores = order_log_probability(tf.repeat(rows, num_samples, axis=0), position, ready_at)
    return -tf.reduce_mean(advantage * scores)
