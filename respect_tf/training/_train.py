"""Training: imitation of labels first, then REINFORCE on the cost itself."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import ArgumentError
from respect_tf._reporting import Verbosity
from respect_tf.policy._weights import Weights, save_weights
from respect_tf.training._labels import Label
from respect_tf.training._plan import TrainingPlan, Validation
from respect_tf.training._trainer import Trainer


def train(
    folder: str | os.PathLike[str],
    labels: Sequence[Label],
    validation_labels: Sequence[Label],
    plan: TrainingPlan | None = None,
    *,
    time_limit: float | None = None,
    callbacks: Sequence[Any] = (),
    verbose: Verbosity = "auto",
) -> tuple[dict[str, npt.NDArray[np.float32]], list[Validation]]:
    """Train a network, or go on with a run that was stopped.

    Args:
        folder: For checkpoints and TensorBoard's files; a run that is there is continued.
        labels: To imitate.
        validation_labels: To choose the best weights by.
        plan: What to do; `TrainingPlan()` if left out.
        time_limit: Seconds after which to stop, at the end of an epoch; a later call goes on.
        callbacks: Objects with the methods of Keras's callbacks `set_model`, `set_params`,
            `on_train_begin`, `on_epoch_begin`, `on_epoch_end` and `on_train_end`. An epoch is what
            lies between two validations, and its logs are what these say, as plain floats. The
            model is the network; `model.stop_training = True` ends training.
        verbose: 0 for silence.

    Returns:
        The best weights, and all validations.

    Raises:
        ArgumentError: There are no labels.
        DependencyError: TF-GNN or tf_keras is not installed.
    """
    if not labels or not validation_labels:
        raise ArgumentError(
            "Training needs labels to imitate and others to validate by. Received: "
            f"{len(labels)} and {len(validation_labels)}."
        )
    plan = TrainingPlan() if plan is None else plan
    trainer = Trainer(Path(folder), labels, validation_labels, plan, verbose, callbacks)
    deadline = np.inf if time_limit is None else time.monotonic() + time_limit
    trainer.run(deadline)
    return trainer.best_weights, trainer.validations


def save_trained(
    path: str | os.PathLike[str],
    weights: dict[str, npt.NDArray[np.float32]],
    plan: TrainingPlan,
    validations: Sequence[Validation],
    *,
    data: str,
    commit: str = "",
) -> Path:
    """Write trained weights with the schema of their graphs and a card of where they come from.

    Args:
        path: The file.
        weights: What `train` returned.
        plan: What was done.
        validations: What `train` returned, too.
        data: What they were trained on.
        commit: Of this package's source.

    Returns:
        The path.
    """
    from respect_tf.graph._graph_tensor import schema_text

    best = min(validations, key=lambda found: found.score)
    card = {
        "data": data,
        "seed": plan.seed,
        "commit": commit,
        "plan": dataclasses.asdict(plan),
        "metrics": dataclasses.asdict(best),
    }
    save_weights(path, Weights(weights, card, schema_text()))
    return Path(path)
