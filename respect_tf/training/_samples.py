"""What REINFORCE draws: orders near those of each head, and what each adds to the other heads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from respect_tf.policy import head_orders
from respect_tf.training._examples import Example

Floats = npt.NDArray[np.float64]


def best_others(example: Example, scores: Floats) -> tuple[Floats, Floats]:
    """What each head's order costs, and the least cost of the others and the rule.

    float64 [num_heads] twice, from scores, float64 [num_ops, num_heads], relative to the reference;
    costs above the second best of those before them are infinite, because nobody asks for them.
    """
    # The two least costs so far; of the best one, whose it is.
    least = second = example.rule_cost / example.reference
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
    """One step's direction for one graph, from scores and standard normal noise.

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
