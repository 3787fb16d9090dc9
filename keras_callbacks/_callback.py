"""What all callbacks here have in common."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

from respect_tf import ArgumentError

Logs = dict[str, Any]
Self = TypeVar("Self", bound="KerasCallback")


class KerasCallback:
    """The methods that `fit` of Keras 3 and of tf_keras call, doing nothing.

    Not derived from either package's `Callback`: a class can be in both only by importing both. It
    holds for the constructors of all subclasses that each argument is kept in an attribute of its
    name.

    Attributes:
        model: What is trained; set by `fit`.
        params: What `fit` says about the training.
    """

    # tf_keras asks for these: whether `logs` may hold tensors, and whether to be called on the
    # chief worker only.
    _supports_tf_logs = False
    _chief_worker_only = None

    model: Any = None
    params: Mapping[str, Any] | None = None

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Called by `fit` before training."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Called by `fit` before training."""
        self.model = model

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments by name; data, functions and devices as they were given."""
        config: dict[str, Any] = {}
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = getattr(self, name)
            if parameter.kind is parameter.VAR_KEYWORD:
                config |= value
            else:
                config[name] = value
        return config

    @classmethod
    def from_config(cls: type[Self], config: Mapping[str, Any]) -> Self:
        """A fresh callback with the arguments that `get_config` returned."""
        return cls(**config)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called once before training."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called once after training that was not interrupted."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called before each epoch, which are numbered from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Called after each epoch with its metrics."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called before each evaluation."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Called after each evaluation."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Called before each prediction."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Called after each prediction."""

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each batch of training."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each batch of training."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each batch of training."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each batch of training."""
        self.on_batch_end(batch, logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each batch of an evaluation."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each batch of an evaluation."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before each batch of a prediction."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after each batch of a prediction."""

    def _implements_train_batch_hooks(self) -> bool:
        return self._implements("batch", "train_batch")

    def _implements_test_batch_hooks(self) -> bool:
        return self._implements("test_batch")

    def _implements_predict_batch_hooks(self) -> bool:
        return self._implements("predict_batch")

    def _implements(self, *kinds: str) -> bool:
        """Whether a subclass has hooks of its own; tf_keras calls them only then."""
        return any(
            not getattr(getattr(self, f"on_{kind}_{end}"), "_is_default", False)
            for kind in kinds
            for end in ("begin", "end")
        )

    def _log(self, epoch: int, logs: Logs | None, metrics: Mapping[str, float]) -> None:
        """Add metrics to the logs of an epoch.

        `fit` hands the same dict to all callbacks and to its own `History` last. A `History` that
        the user lists earlier has read it already, and gets the metrics here.
        """
        if logs is not None:
            logs.update(metrics)
        history: Any = getattr(self.model, "history", None)
        if getattr(history, "epoch", None) and history.epoch[-1] == epoch:
            for name, value in metrics.items():
                history.history.setdefault(name, []).append(value)


# Both packages leave out the calls of hooks that carry this mark, which is what lets Keras 3 run
# the others beside the training.
for _kind in ("batch", "train_batch", "test_batch", "predict_batch"):
    for _end in ("begin", "end"):
        getattr(KerasCallback, f"on_{_kind}_{_end}")._is_default = True


def check_count(
    name: str, value: object, *, optional: bool = False, alternative: str = "None"
) -> None:
    """Refuse everything but a whole number, 1 or more.

    Args:
        name: What it is called.
        value: The value.
        optional: Whether None will do as well.
        alternative: What else the message names, where it is not None.

    Raises:
        ArgumentError: It is something else.
    """
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        other = f" or {alternative}" if optional or alternative != "None" else ""
        raise ArgumentError(
            f"{name} must be a whole number, 1 or more{other}. Received: {value!r}."
        )
