"""`RolloutBaseline`: the greedy rollout of an earlier network, as REINFORCE's baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from keras_callbacks._callback import KerasCallback, Logs
from respect_tf import ArgumentError

if TYPE_CHECKING:
    from keras_callbacks._greedy import Example
    from respect_tf.training import Label, LabelTask


class RolloutBaseline(KerasCallback):
    """Keep a copy of the network as baseline, and replace it when the network is surely better.

    For REINFORCE with the network of `respect_tf.training` in a training loop of one's own; its
    trainer keeps such a baseline itself. After each epoch the greedy schedules of network and
    baseline on the same graphs are compared by a paired one-sided t-test (Kool et al. 2019, arXiv
    1803.08475).

    The metrics:
        `baseline_cost`: mean relative cost of the baseline that the epoch was trained against.
        `p_value`: how likely the network's advantage is mere chance.

    >>> baseline = RolloutBaseline(labels)
    >>> baseline.set_model(network)
    >>> baseline.on_train_begin()
    >>> logs = {}
    >>> baseline.on_epoch_end(0, logs)  # the network has not changed: it is no better
    >>> logs["p_value"], baseline.num_replacements
    (1.0, 0)
    >>> baseline.costs(labels).shape
    (4,)

    Attributes:
        weights: The baseline's weights by name, float32; None before training.
        num_replacements: How often the baseline was replaced in the current training.
    """

    def __init__(self, graphs: Sequence[Label | LabelTask], *, significance: float = 0.05) -> None:
        """Check the arguments.

        Args:
            graphs: Labels or tasks of `respect_tf.training` to compare on; two or more.
            significance: The p-value below which the network replaces the baseline.

        Raises:
            ArgumentError: An argument does not fit.
        """
        from keras_callbacks._greedy import examples_of

        if not 0 < significance < 1:
            raise ArgumentError(
                f"significance must be between 0 and 1. Received: {significance!r}."
            )
        self.graphs, self.significance = graphs, significance
        self._examples: list[Example] = examples_of(graphs, labelled=False, name="RolloutBaseline")
        if len(self._examples) < 2:
            raise ArgumentError("RolloutBaseline compares on two graphs or more. Received: 1.")
        self.weights: dict[str, npt.NDArray[np.float32]] | None = None
        self.num_replacements = 0
        self._costs = np.empty(0)

    def costs(self, graphs: Sequence[Label | LabelTask]) -> npt.NDArray[np.float64]:
        """Costs of the baseline's greedy schedules, to subtract from those of samples.

        Args:
            graphs: Labels or tasks.

        Returns:
            float64 [num_graphs], each against the label's cost, or against that of the best cut of
            the file's order where there is no label.

        Raises:
            ArgumentError: Training has not begun.
        """
        from keras_callbacks._greedy import examples_of, greedy_costs

        if self.weights is None:
            raise ArgumentError("There is no baseline before training begins.")
        examples = examples_of(graphs, labelled=False, name="RolloutBaseline.costs")
        return greedy_costs(self.weights, examples)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Take the network as it is for the baseline.

        Raises:
            ArgumentError: The model is not the network of `respect_tf.training`.
        """
        from keras_callbacks._greedy import greedy_costs, weights_of

        self.weights = weights_of(self.model)
        self._costs = greedy_costs(self.weights, self._examples)
        self.num_replacements = 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Compare, add the metrics to the logs, and replace the baseline."""
        from keras_callbacks._greedy import greedy_costs, weights_of

        weights = weights_of(self.model)
        costs = greedy_costs(weights, self._examples)
        p_value = _p_value(costs, self._costs)
        metrics = {"baseline_cost": float(self._costs.mean()), "p_value": p_value}
        self._log(epoch, logs, metrics)
        if p_value < self.significance:
            self.weights, self._costs = weights, costs
            self.num_replacements += 1


def _p_value(costs: npt.NDArray[np.float64], baseline: npt.NDArray[np.float64]) -> float:
    """Of the hypothesis that costs are no lower than the baseline's. Both float64 [num_graphs]."""
    from scipy import stats

    saved = baseline - costs
    if not saved.mean() > 0:
        return 1.0  # also where nothing differs, of which the t-test makes NaN
    if np.ptp(saved) == 0:
        return 0.0
    return float(stats.ttest_rel(costs, baseline, alternative="less").pvalue)
