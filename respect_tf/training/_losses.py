"""What training lowers, as TensorFlow functions of the heads' scores."""

from __future__ import annotations

from typing import Any

# How sharply scores tell stages apart: a stage's width, 1 / num_stages, counts this much.
# benchmarks constants: read by no case that was run.
_SHARPNESS = 8.0


def imitation_loss(scores: Any, num_ops: Any, num_stages: Any, stages: Any, heat: Any) -> Any:
    """How far the best head of each graph is from its label.

    A graph has many optima, and heads that are all drawn to the same one end at a mean that is
    none of them. So the head that is nearest to the label is corrected, and the others as far as
    the heat says: the loss is a mean over heads by `softmax(-loss / heat)`.

    A head's loss is the cross-entropy of "behind this border" for the two borders of each op's
    stage. Borders are halfway between the mean scores of neighbouring stages, so only the order
    of the scores counts, and how clearly the stages are apart.

    Args:
        scores: float32 [total_ops, num_heads].
        num_ops: int32 [num_graphs].
        num_stages: int32 [num_graphs].
        stages: int32 [total_ops], the labels.
        heat: float32, above 0.

    Returns:
        A scalar, float32.
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


def reinforce_loss(scores: Any, direction: Any) -> Any:
    """Its gradient is that of the expected reward (REINFORCE, Williams 1992), estimated.

    Scores are the means of normally distributed ones; the direction is the advantage of what was
    drawn times the gradient of the logarithm of its density. float32 [total_ops, num_heads] both.
    """
    import tensorflow as tf

    return -tf.reduce_sum(direction * scores)
