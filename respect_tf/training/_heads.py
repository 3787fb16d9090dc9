"""The last, linear layer, chosen for the least cost of the best head.

What counts of eight orders is the cheapest, and that is no function whose gradient a network
follows easily: heads that are good alone are good at the same graphs. So heads are first picked
one by one out of many, each for what it adds to those before it (greedy, Nemhauser et al. 1978),
and then changed at random, one at a time, wherever that lowers the mean cost of the best.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from respect_tf._reporting import Verbosity, progress
from respect_tf.policy import Network, head_inputs, head_orders, rounded_weights, trunk
from respect_tf.training._labels import Example

Floats = npt.NDArray[np.float64]

# Candidates: trained heads as they are, their mixtures with each other and with the rule's order,
# and changes of these, as parts of what the inputs vary by.
# benchmarks constants: _CHANGE half -0.05 % cost, 1.17 times the time; twice -0.02 % cost.
#   _STRONG_CHANGE half +0.15 % cost; twice +0.15 % cost.
_CHANGE, _STRONG_CHANGE = 0.15, 0.6
# What an accepted change makes of the next one's size. With 400 changes on 200 graphs 1.0, which
# leaves all at one size, does as well within 0.03 % of the cost; the shipped weights want it.
# benchmarks constants: half 0.86 times the time; twice the same.
_GROW = 1.4


class HeadTask(NamedTuple):
    """A graph, and what the heads read of it, float64 [num_ops, width]."""

    example: Example
    inputs: Floats


def head_tasks(examples: Sequence[Example], network: Network) -> list[HeadTask]:
    """Run the layers before the heads."""
    tasks = []
    for example in examples:
        features, rule = example.view.features, example.view.rule
        tasks.append(HeadTask(example, head_inputs(trunk(network, features), features, rule)))
    return tasks


class HeadChoice:
    """Chooses heads for the least mean cost of the best of them and the rule.

    `kernel`, float64 [width, num_heads], are trained heads to begin with, and the heads so far.
    """

    def __init__(self, tasks: Sequence[HeadTask], kernel: Floats, seed: int) -> None:
        self.tasks, self.kernel = tasks, kernel
        self._random = np.random.default_rng([seed, 7])
        rows = np.concatenate([task.inputs - task.inputs.mean(axis=0) for task in tasks])
        # Inputs that never vary must not be changed without end.
        self._scale = 1 / np.maximum(rows.std(axis=0), 0.05)
        self._rule = np.array([task.example.rule_ratio for task in tasks])
        self._costs = self._costs_of(kernel, self._rule)
        self._size = _CHANGE

    @property
    def mean_cost(self) -> float:
        """The mean over graphs of the least cost."""
        return float(self._costs.min(axis=1).mean())

    def pick(self, num_candidates: int, verbose: Verbosity = "auto") -> None:
        """Pick heads one by one out of the trained ones and random ones near them."""
        num_heads = self.kernel.shape[1]
        kernel, costs = self.kernel, self._costs
        with progress("Trying heads", verbose=verbose) as show:
            while kernel.shape[1] < num_candidates:
                show(f"{kernel.shape[1]} of {num_candidates}")
                more = np.stack([self._candidate() for _ in range(16)], axis=1)
                kernel = np.concatenate([kernel, more], axis=1)
                costs = np.concatenate([costs, self._costs_of(more, self._rule)], axis=1)
        chosen: list[int] = []
        least = self._rule
        for _ in range(num_heads):
            means = np.minimum(least[:, None], costs).mean(axis=0)
            means[chosen] = np.inf
            chosen.append(int(means.argmin()))
            least = np.minimum(least, costs[:, chosen[-1]])
        self.kernel, self._costs = kernel[:, chosen], costs[:, chosen]

    def evolve(self, num_changes: int, deadline: float, verbose: Verbosity = "auto") -> None:
        """Change one head after the other, and keep what lowers the mean cost."""
        with progress("Changing heads", verbose=verbose) as show:
            for number in range(num_changes):
                if time.monotonic() > deadline:
                    break
                show(f"{number} of {num_changes}, mean cost {self.mean_cost:.5f}")
                self._change(number % self.kernel.shape[1])

    def _change(self, head: int) -> None:
        direction = self._random.standard_normal(len(self._scale)) * self._scale
        # Few weights at a time, as often as all.
        if self._random.random() < 0.5:
            direction *= self._random.random(len(direction)) < 0.15
        changed = self.kernel[:, head] + self._size * self._norm(head) * direction
        others = np.minimum(self._rule, np.delete(self._costs, head, axis=1).min(axis=1))
        costs = self._costs_of(changed[:, None], others)[:, 0]
        if np.minimum(others, costs).sum() < self._costs.min(axis=1).sum():
            self.kernel[:, head], self._costs[:, head] = changed, costs
            step = _GROW
        else:
            step = _GROW**-0.25  # one in five is accepted in the balance (Rechenberg's rule)
        self._size = float(np.clip(self._size * step, 0.01, _STRONG_CHANGE))

    def _norm(self, head: int) -> float:
        """How much a head's scores vary by a typical input."""
        scaled = self.kernel[:, head] / self._scale
        return float(np.sqrt((scaled * scaled).mean()))

    def _candidate(self) -> Floats:
        """A random head near the trained ones. [width]."""
        random, num_heads = self._random, self.kernel.shape[1]
        one, two = random.integers(num_heads, size=2)
        share = random.random()
        head: Floats = share * self.kernel[:, one] + (1 - share) * self.kernel[:, two]
        size = random.choice([_CHANGE, _STRONG_CHANGE]) * self._norm(int(one))
        head = head + size * random.standard_normal(len(head)) * self._scale
        head[-1] += random.choice([0.0, 0.5, 1.0])
        return head

    def _costs_of(self, kernel: Floats, limits: Floats) -> Floats:
        """Costs of rounded heads on all graphs, the rule's where they are above its or a limit.

        float64 [num_tasks, num_heads], from float64 [width, num_heads] and [num_tasks].
        """
        kernel = rounded_weights({"heads": kernel})["heads"].astype(np.float64)
        costs = []
        for (example, inputs), limit in zip(self.tasks, limits, strict=True):
            orders = head_orders(example.view, inputs @ kernel)
            costs.append([example.cost(order, limit) for order in orders])
        least: Floats = np.minimum(costs, self._rule[:, None])
        return least
