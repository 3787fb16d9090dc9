"""What the trained network says of a problem: orders to cut, and where each item belongs."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from respect_tf.graph._features import graph_features
from respect_tf.policy._forward import forward
from respect_tf.policy._rollout import CLIP, greedy_order, sample_orders, successors_of
from respect_tf.policy._weights import Weights, load_weights
from respect_tf.schedule._answers import Answer, answer_of
from respect_tf.schedule._items import Ints
from respect_tf.schedule._problem import Floats, Problem
from respect_tf.schedule._slicing import slice_items


@dataclasses.dataclass(frozen=True, eq=False)
class Guidance:
    """The network's opinion of a problem.

    Attributes:
        problem: The problem.
        priorities: float64 [num_ops], logarithms of the rates of Plackett-Luce, in -10 to 10.
        stage_probabilities: float64 [num_items, num_stages], rows sum to 1.
    """

    problem: Problem
    priorities: npt.NDArray[np.float64]
    stage_probabilities: Floats

    def greedy_order(self) -> Ints:
        """The likeliest order. int64 [num_items], topological."""
        graph = self.problem.graph
        return self.problem.item_order(greedy_order(successors_of(graph), self.priorities))

    def sample_orders(self, num_samples: int, seed: int) -> Ints:
        """Random orders. int64 [num_samples, num_items], topological."""
        graph = self.problem.graph
        orders = sample_orders(successors_of(graph), self.priorities, num_samples, seed)
        return np.stack([self.problem.item_order(order) for order in orders])


def guide(problem: Problem, weights: Weights | None = None) -> Guidance:
    """Ask the network about a problem. In numpy: TensorFlow is not needed.

    Where the objective is no sum, the network sees the sum that bounds it.

    Args:
        problem: The problem.
        weights: The network; the shipped one if left out.

    Raises:
        PolicyFileError: The weights are missing or damaged.
    """
    weights = load_weights() if weights is None else weights
    linear = problem.linear
    features = graph_features(
        problem.graph,
        problem.num_stages,
        op_costs=linear.op_costs,
        transfer_cost=linear.enter + linear.leave,
    )
    heads = forward(weights.arrays, features)[0].astype(np.float64)
    priorities = CLIP * np.tanh(heads[:, 0] / CLIP)
    probabilities = np.zeros((problem.num_items, problem.num_stages))
    np.add.at(probabilities, problem.item_of, stage_probabilities(heads, problem.num_stages))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return Guidance(problem, priorities, probabilities)


def stage_probabilities(heads: Floats, num_stages: int) -> Floats:
    """Probabilities of stages from the heads; see `respect_tf.policy._losses.stage_logits`.

    Args:
        heads: float64 [num_ops, 3].
        num_stages: Number of stages.

    Returns:
        float64 [num_ops, num_stages].
    """
    borders = np.arange(1, num_stages) / num_stages
    slope = num_stages * np.logaddexp(0, heads[:, 2:3] + 1)
    logits = slope * (heads[:, 1:2] - borders)
    later = np.ones((len(heads), num_stages + 1))
    later[:, 1:-1] = 0.5 * (1 + np.tanh(logits / 2))  # the logistic function, without overflow
    later[:, -1] = 0
    return later[:, :-1] - later[:, 1:]


def solve_policy_greedy(problem: Problem, deadline: float) -> Answer:
    """`"policy-greedy"`: the network's likeliest order, cut as well as it can be cut."""
    chain = slice_items(problem, guide(problem).greedy_order(), deadline)
    return answer_of(problem, chain.stages)
