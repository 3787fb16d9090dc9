"""`StageBalance`: what the architecture that is trained would do on a pipeline of Edge TPUs."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

import respect_tf
from keras_callbacks._callback import Logs, check_count
from keras_callbacks._converting import ConvertingCallback, OnError, checked_options
from respect_tf import ArgumentError
from respect_tf._reporting import Verbosity, report

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from respect_tf import ConvertOptions, PipelinePrediction, Schedule
    from respect_tf.device import DeviceLike

# Those of `respect_tf.convert` that decide where to cut.
_OPTIONS = {"device", "scheduler", "objective", "constraints", "time_limit", "seed"}


class StageBalance(ConvertingCallback):
    """Put the predicted speed of the model's architecture into `logs`.

    What is predicted depends on the architecture alone: it is worked out when training begins, from
    the layers where they are known (`respect_tf.estimate`), and again only if the architecture
    changes. A tf_keras model that is built by its first batch is looked at after the first epoch.

    The metrics, the same in every epoch:

    * `bottleneck_ms`: predicted milliseconds between results: those of the slowest stage, or of
      the bus or the host that all stages share where that takes longer.
    * `stage_balance`: mean of the stages' milliseconds / those of the slowest; 1 is ideal.
    * `streamed_bytes`: parameters, of all stages, that do not fit on the chips and come from the
      host at every inference.

    >>> balance = StageBalance(2, device="usb3", budget_ms=50.0)
    >>> history = model.fit(x, y, epochs=2, callbacks=[balance], verbose=0)
    >>> sorted(set(history.history) - {"loss"})
    ['bottleneck_ms', 'stage_balance', 'streamed_bytes']

    Attributes:
        schedule: The cut that was predicted for; None where the model could not be read.
        prediction: What is predicted of it, stage by stage.
        metrics: What goes into `logs`; empty where the model could not be read.
        stop_reason: Why training was stopped; None if it was not.
        errors: (number of finished epochs, error) of each attempt that failed.
        last_error: The latest of them, or None.
    """

    def __init__(
        self,
        num_segments: int,
        *,
        budget_ms: float | None = None,
        on_error: OnError = "warn",
        verbose: Verbosity = "auto",
        **options: Unpack[ConvertOptions],
    ) -> None:
        """Check the arguments.

        Args:
            num_segments: Stages of the pipeline.
            budget_ms: The most that `bottleneck_ms` may be. Where it is more, training stops after
                the first batch.
            on_error: `"warn"` or `"raise"`.
            verbose: `"auto"` reports failures and why training stops, 0 nothing.
            **options: `device`, what to predict for, `scheduler`, `objective`, `constraints`,
                `time_limit` and `seed`, as for `respect_tf.convert`.

        Raises:
            ArgumentError: An argument does not fit.
        """
        from respect_tf.device import resolve_device

        self._prepare(on_error, verbose)
        check_count("num_segments", num_segments)
        if budget_ms is not None and not budget_ms > 0:
            raise ArgumentError(f"budget_ms must be above 0. Received: {budget_ms!r}.")
        others = set(respect_tf.ConvertOptions.__annotations__) - _OPTIONS
        checked_options(options, sorted(others), "StageBalance")
        self.device: DeviceLike = options.pop("device", "usb3")
        resolve_device(self.device)
        scheduler = options.get("scheduler", "policy")
        if not isinstance(scheduler, str):
            raise ArgumentError(
                f"StageBalance cuts by a scheduler. Expected its name. Received: {scheduler!r}."
            )
        self.scheduler = scheduler
        self.num_segments, self.budget_ms, self.options = num_segments, budget_ms, options
        self.schedule: Schedule | None = None
        self.prediction: PipelinePrediction | None = None
        self.metrics: dict[str, float] = {}
        self.stop_reason: str | None = None
        self._architecture: str | None = None
        self._slowest = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Predict, if the model is built."""
        super().on_train_begin(logs)
        self.stop_reason = None
        if self.model.built:
            self._update(0)
            self._keep_budget()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Predict again if the architecture is another one, and add the metrics to the logs."""
        self._update(epoch + 1)
        self._log(epoch, logs, self.metrics)
        self._keep_budget()

    def _update(self, num_epochs: int) -> None:
        architecture = _architecture(self.model)
        if architecture == self._architecture:
            return
        # What cannot be converted before training is tried once more: Keras may know the shapes of
        # a subclassed model's inputs only then.
        self._architecture = architecture if num_epochs else None
        self.metrics, self.schedule, self.prediction = {}, None, None
        with self._failures_kept(num_epochs, "Predicting the pipeline"):
            # Between epochs, a message would break up the progress bar.
            shown: Verbosity = 0 if num_epochs else self._verbose_conversion
            graph = respect_tf.estimate(
                self.model, 1, device=self.device, trained=True, verbose=shown
            ).graph
            self.schedule = respect_tf.schedule(
                graph,
                self.num_segments,
                self.scheduler,
                objective=self.options.get("objective") or "throughput",
                device=self.device,
                constraints=self.options.get("constraints"),
                time_limit=self.options.get("time_limit"),
                seed=self.options.get("seed") or 0,
            )
            self.prediction = respect_tf.predict(graph, self.schedule, self.device)
            costs = [stage.cost for stage in self.prediction.stages]
            times = [cost.total_ms for cost in costs]
            self._slowest = int(np.argmax(times))
            self.metrics = {
                "bottleneck_ms": float(self.prediction.interval_ms),
                "stage_balance": float(np.mean(times) / max(times)),
                "streamed_bytes": float(sum(cost.streamed_bytes for cost in costs)),
            }
            self._architecture = architecture

    def _keep_budget(self) -> None:
        predicted = self.metrics.get("bottleneck_ms", -math.inf)
        if self.budget_ms is None or predicted <= self.budget_ms or self.stop_reason is not None:
            return
        self.stop_reason = (
            f"The predicted bottleneck of {predicted:.3f} ms is above the budget of "
            f"{self.budget_ms:g} ms; the slowest of {self.num_segments} stages is stage "
            f"{self._slowest}. Use more segments or a smaller model."
        )
        report(f"StageBalance stops the training. {self.stop_reason}", verbose=self.verbose)
        self.model.stop_training = True


def _architecture(model: Any) -> str:
    """What tells one architecture from another: the model's config, and the shapes of weights."""
    if getattr(model, "inputs", None):
        config = model.get_config()
    else:  # a subclassed model, whose config says nothing of its layers
        config = [[type(layer).__name__, layer.name] for layer in model.layers]
    shapes = [tuple(weight.shape) for weight in model.weights]
    described = json.dumps(
        [str(type(model)), shapes, config],
        default=lambda value: type(value).__name__,  # not its address, which may be another one
        sort_keys=True,
    )
    return hashlib.sha256(described.encode()).hexdigest()
