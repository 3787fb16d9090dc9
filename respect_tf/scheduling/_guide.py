"""What the trained network says of a problem: orders to cut, and where each item belongs."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError, PolicyFileError
from respect_tf.graph._features import graph_features
from respect_tf.policy._forward import forward, layer_sizes
from respect_tf.policy._weights import Weights, load_weights
from respect_tf.scheduling._answers import Answer, answer_of
from respect_tf.scheduling._items import Ints
from respect_tf.scheduling._orders import ORDER_NAMES, structural_order
from respect_tf.scheduling._problem import Floats, Problem
from respect_tf.scheduling._rollout import Successors, greedy_order, sample_orders, successors_of
from respect_tf.scheduling._slicing import slice_items

_ORDER_STREAM = 1  # random numbers for structural orders, beside those for the ops


@dataclasses.dataclass(frozen=True, eq=False)
class Guidance:
    """The network's opinion of a problem.

    Attributes:
        problem: The problem.
        priorities: float64 [num_ops], logarithms of the rates of Plackett-Luce, from the structural
            order that the network prefers.
        order_priorities: float64 [num_orders, num_ops], the same from each structural order.
        order_probabilities: float64 [num_orders], how good a start the network thinks each one is.
        stage_probabilities: float64 [num_items, num_stages], rows sum to 1.
    """

    problem: Problem
    priorities: npt.NDArray[np.float64]
    order_priorities: npt.NDArray[np.float64]
    order_probabilities: npt.NDArray[np.float64]
    stage_probabilities: Floats

    @functools.cached_property
    def _successors(self) -> Successors:
        return successors_of(self.problem.graph)

    def greedy_order(self) -> Ints:
        """The likeliest order. int64 [num_items], topological."""
        return self.problem.item_order(greedy_order(self._successors, self.priorities))

    def sample_orders(self, num_samples: int, seed: int, *, temperature: float = 1.0) -> Ints:
        """Random orders, each from a structural order that is drawn as well.

        Args:
            num_samples: How many, 1 or more.
            seed: 0 or more.
            temperature: What priorities are divided by: more than 1 for more variety.

        Returns:
            int64 [num_samples, num_items], topological.

        Raises:
            ArgumentError: The temperature is 0 or less.
        """
        if not temperature > 0:
            raise ArgumentError(f"temperature must be above 0. Received: {temperature!r}.")
        probabilities = self.order_probabilities
        random = np.random.default_rng([seed, _ORDER_STREAM])
        drawn = random.choice(len(probabilities), num_samples, p=probabilities)
        priorities = self.order_priorities[drawn] / temperature
        orders = sample_orders(self._successors, priorities, num_samples, seed)
        if self.problem.num_items == self.problem.graph.num_ops:
            items: Ints = self.problem.item_of[orders]
            return items
        return np.stack([self.problem.item_order(order) for order in orders])


def _check_shapes(weights: Weights) -> None:
    """Check that the arrays are those of a network of some size: any width and number of rounds."""
    shapes = {name: array.shape for name, array in weights.arrays.items()}
    units = (*shapes.get("encode_op/bias", ()), 0)[0]
    rounds = 0
    while f"round_{rounds}_op_inner/kernel" in shapes:
        rounds += 1
    wanted: dict[str, tuple[int, ...]] = {}
    for layer, (inputs, outputs) in layer_sizes(units, rounds).items():
        wanted |= {f"{layer}/kernel": (inputs, outputs), f"{layer}/bias": (outputs,)}
    wrong = sorted(n for n in shapes | wanted if shapes.get(n) != wanted.get(n))
    if wrong or not units:
        raise PolicyFileError(
            f"The weights are of another network: {', '.join(wrong[:8])} should have the shapes "
            f"{[wanted.get(n) for n in wrong[:8]]}, and have {[shapes.get(n) for n in wrong[:8]]}. "
            "Expected what respect_tf.training.train returns, or the weights that respect_tf comes "
            "with."
        )


def guide(problem: Problem, weights: Weights | None = None) -> Guidance:
    """Ask the network about a problem. In numpy: TensorFlow is not needed.

    Where the objective is no sum, the network sees the sum that bounds it.

    Args:
        problem: The problem.
        weights: The network; the shipped one if left out.

    Raises:
        PolicyFileError: The weights are missing or damaged, or those of another network.
    """
    weights = load_weights() if weights is None else weights
    _check_shapes(weights)
    linear = problem.linear
    features = graph_features(
        problem.graph,
        problem.num_stages,
        op_costs=linear.op_costs,
        transfer_cost=linear.enter + linear.leave,
    )
    with np.errstate(over="ignore", invalid="ignore"):  # the result is looked at
        found = forward(weights.arrays, features, problem.num_stages)
    if not all(np.isfinite(part).all() for part in (found.priorities, found.places, found.gate)):
        raise PolicyFileError(
            "What the network makes of a graph with these weights is too large for floats. "
            "Expected what respect_tf.training.train returns."
        )
    priorities = np.ascontiguousarray(found.priorities.T, np.float64)
    gate = np.exp(found.gate.astype(np.float64) - found.gate.max())
    stages = stage_probabilities(found.places.astype(np.float64), problem.num_stages)
    probabilities = np.zeros((problem.num_items, problem.num_stages))
    if problem.num_items == len(stages):
        probabilities[problem.item_of] = stages
    else:
        np.add.at(probabilities, problem.item_of, stages)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return Guidance(
        problem, priorities[gate.argmax()], priorities, gate / gate.sum(), probabilities
    )


def stage_probabilities(places: Floats, num_stages: int) -> Floats:
    """Probabilities of stages; see `respect_tf.training._losses.stage_logits`.

    Args:
        places: float64 [num_ops, 2].
        num_stages: Number of stages.

    Returns:
        float64 [num_ops, num_stages].
    """
    borders = np.arange(1, num_stages) / num_stages
    slope = num_stages * np.logaddexp(0, places[:, 1:] + 1)
    logits = slope * (places[:, :1] - borders)
    later = np.ones((len(places), num_stages + 1))
    later[:, 1:-1] = 0.5 * (1 + np.tanh(logits / 2))  # the logistic function, without overflow
    later[:, -1] = 0
    return later[:, :-1] - later[:, 1:]


def solve_policy_greedy(problem: Problem, deadline: float) -> Answer:
    """`"policy-greedy"`: the network's likeliest order, cut as well as it can be cut."""
    chain = slice_items(problem, guide(problem).greedy_order(), deadline)
    return answer_of(problem, chain.stages)


def warm_up(problem: Problem) -> None:
    """Load the compiled loops of the network's guidance, or compile them for the first time."""
    import numba  # noqa: F401  # from now on, loops run compiled

    guide(problem).sample_orders(1, 0)
    for name in ORDER_NAMES:
        structural_order(problem, name)
