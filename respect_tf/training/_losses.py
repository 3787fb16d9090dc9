"""What training lowers, as TensorFlow functions of the network's heads."""

from __future__ import annotations

from typing import Any

# An excess of the cost that matters, and the part that the softer choice has in the loss.
_SOFTNESS = 0.02
_SOFT_SHARE = 0.3


def chosen_priorities(priorities: Any, order: Any, num_ops: Any) -> Any:
    """The priorities from one structural order for each graph.

    Args:
        priorities: float32 [total_ops, num_orders].
        order: int32 [num_graphs], numbers of orders.
        num_ops: int32 [num_graphs].

    Returns:
        float32 [total_ops].
    """
    import tensorflow as tf

    return tf.gather(priorities, tf.repeat(order, num_ops), batch_dims=1)


def stage_logits(places: Any, num_stages: Any, most: Any) -> Any:
    """Logits of "this op's stage is k or later", for k from 1. float32 [num_ops, most - 1].

    All logits of an op have one slope, so they fall with k, and differences of their
    probabilities are probabilities of stages, for any number of stages.

    Args:
        places: float32 [num_ops, 2].
        num_stages: int32 [num_ops], that of each op's graph.
        most: The largest of them.
    """
    import tensorflow as tf

    count = tf.cast(num_stages, tf.float32)[:, None]
    borders = tf.range(1, most, dtype=tf.float32)[None] / count
    slope = count * tf.nn.softplus(places[:, 1:] + 1.0)
    return slope * (places[:, :1] - borders)


def placing_loss(places: Any, num_ops: Any, num_stages: Any, stages: Any) -> Any:
    """The cross-entropy of the borders of known stages.

    Args:
        places: float32 [total_ops, 2].
        num_ops: int32 [num_graphs].
        num_stages: int32 [num_graphs].
        stages: int32 [total_ops]; -1 where they are not known.

    Returns:
        A scalar, float32.
    """
    import tensorflow as tf

    most = tf.reduce_max(num_stages)
    count = tf.repeat(num_stages, num_ops)
    logits = stage_logits(places, count, most)
    border = tf.range(1, most)[None]
    later = tf.cast(stages[:, None] >= border, tf.float32)
    counts = tf.cast((border < count[:, None]) & (stages[:, None] >= 0), tf.float32)
    losses = tf.nn.sigmoid_cross_entropy_with_logits(later, logits)
    return tf.math.divide_no_nan(tf.reduce_sum(counts * losses), tf.reduce_sum(counts))


def ordering_loss(priorities: Any, num_ops: Any, stages: Any) -> Any:
    """The cross-entropy of "u before v", for each pair of a graph's ops in different stages.

    Where all pairs are right, the greedy order takes the stages in turn.

    Args:
        priorities: float32 [total_ops].
        num_ops: int32 [num_graphs].
        stages: int32 [total_ops]; -1 where they are not known.

    Returns:
        A scalar, float32: the mean over the graphs whose stages are known.
    """
    import tensorflow as tf

    rows = tf.RaggedTensor.from_row_lengths(priorities, num_ops).to_tensor()
    place = tf.RaggedTensor.from_row_lengths(stages, num_ops).to_tensor(default_value=-1)
    earlier = (place[:, :, None] < place[:, None, :]) & (place[:, :, None] >= 0)
    pairs = tf.cast(earlier, tf.float32)
    wrong = tf.nn.softplus(rows[:, None, :] - rows[:, :, None])
    number = tf.reduce_sum(pairs, axis=[1, 2])
    means = tf.math.divide_no_nan(tf.reduce_sum(pairs * wrong, axis=[1, 2]), number)
    known = tf.reduce_sum(tf.cast(number > 0, tf.float32))
    return tf.math.divide_no_nan(tf.reduce_sum(means), known)


def choice_loss(gate: Any, excess: Any) -> Any:
    """How far the choice of a structural order is from the cheapest one.

    The expected excess of the cost, exactly, and the cross-entropy to a softer choice, whose
    gradient does not vanish where the network is sure of the wrong order.

    Args:
        gate: float32 [num_graphs, num_orders].
        excess: Likewise, cost / least cost - 1 of each order's best cut.

    Returns:
        A scalar, float32.
    """
    import tensorflow as tf

    expected = tf.reduce_sum(tf.nn.softmax(gate) * excess, axis=1)
    target = tf.nn.softmax(-excess / _SOFTNESS)
    entropy = tf.nn.softmax_cross_entropy_with_logits(target, gate)
    return tf.reduce_mean(expected / _SOFTNESS + _SOFT_SHARE * entropy)


def reinforce_loss(priorities: Any, score: Any, num_ops: Any) -> Any:
    """Its gradient is that of the expected reward (REINFORCE, Williams 1992), estimated.

    That of the choice of a structural order needs no estimate: see `choice_loss`.

    Args:
        priorities: float32 [total_ops, num_orders].
        score: float32 [total_ops, num_orders], the mean over a graph's samples of the advantage of
            each times the gradient of the logarithm of its probability (`score_order`).
        num_ops: int32 [num_graphs].

    Returns:
        A scalar, float32.
    """
    import tensorflow as tf

    return -tf.reduce_sum(score * priorities) / tf.cast(tf.size(num_ops), tf.float32)
