"""`OptimalityGap`: how far the policy's proposals are from the best ones, while it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_callbacks._callback import KerasCallback, Logs, check_count
from respect_tf import ArgumentError
from respect_tf._reporting import Verbosity, report

if TYPE_CHECKING:
    from respect_tf.policy import Weights
    from respect_tf.training import Example, Label


class OptimalityGap(KerasCallback):
    """Put the gap of proposals to known optima into `logs`, and stop where it is small.

    For training the network of `respect_tf.training`, by its trainer or by `fit` of tf_keras.
    A proposal is the best of the network's orders, each cut as well as it can be cut.

    The metrics:
        `optimality_gap`: mean of cost / the label's cost - 1.
        `worst_optimality_gap`: the largest of these.

    >>> gap = OptimalityGap(labels, target=10.0)
    >>> gap.set_model(network)
    >>> gap.on_train_begin()
    >>> logs = {}
    >>> gap.on_epoch_end(0, logs)
    >>> list(logs), network.stop_training
    (['optimality_gap', 'worst_optimality_gap'], True)

    Attributes:
        stop_reason: Why training was stopped; None if it was not.
    """

    def __init__(
        self,
        labels: Sequence[Label],
        *,
        target: float | None = None,
        every: int = 1,
        verbose: Verbosity = "auto",
    ) -> None:
        """Check the arguments.

        Args:
            labels: Graphs that training does not see, with their best schedules:
                `respect_tf.training.load_labels`.
            target: The mean gap at which training stops; None to go on.
            every: Epochs between measurements.
            verbose: `"auto"` reports why training stops, 0 nothing.

        Raises:
            ArgumentError: An argument does not fit.
        """
        from respect_tf.training import Label, example_of

        check_count("every", every)
        if target is not None and not target >= 0:
            raise ArgumentError(f"target must be 0 or more, 0.01 for 1 %. Received: {target!r}.")
        wrong = [type(one).__name__ for one in labels if not isinstance(one, Label)]
        if wrong or not len(labels):
            raise ArgumentError(
                "OptimalityGap needs one or more labels (respect_tf.training.load_labels). "
                f"Received: {wrong[0] if wrong else 'none'}."
            )
        self.labels, self.target, self.every, self.verbose = labels, target, every, verbose
        self.stop_reason: str | None = None
        self._examples: list[Example] = [example_of(label) for label in labels]

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start anew.

        Raises:
            ArgumentError: The model is not the network of `respect_tf.training`.
        """
        _weights_of(self.model)
        self.stop_reason = None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Measure, add the metrics to the logs, and stop at the target."""
        from respect_tf.training import proposal_costs

        if (epoch + 1) % self.every:
            return
        gaps = proposal_costs(_weights_of(self.model), self._examples) - 1
        mean = float(gaps.mean())
        metrics = {"optimality_gap": mean, "worst_optimality_gap": float(gaps.max())}
        self._log(epoch, logs, metrics)
        if self.target is not None and mean <= self.target and self.stop_reason is None:
            self.stop_reason = (
                f"The mean gap of {mean:.2%} on {len(gaps)} graphs is within the target of "
                f"{self.target:.2%}."
            )
            report(f"OptimalityGap stops the training. {self.stop_reason}", verbose=self.verbose)
            self.model.stop_training = True


def _weights_of(network: Any) -> Weights:
    """The weights of a network of `respect_tf.training`, as they are at the moment.

    Raises:
        ArgumentError: It is another model.
    """
    from respect_tf import PolicyFileError
    from respect_tf.policy import Weights, rounded_weights
    from respect_tf.training import named_weights

    try:
        weights = Weights(rounded_weights(named_weights(network)), {})
        weights.network  # noqa: B018  # says what is wrong
    except (ValueError, AttributeError, PolicyFileError) as error:
        raise ArgumentError(
            "Expected the network of respect_tf.training, which its trainer or build_network "
            f"makes. Received: a {type(network).__name__} ({error})."
        ) from error
    return weights
