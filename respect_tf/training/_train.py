"""Training the policy: imitation of labels, REINFORCE on the cost itself, choice of the heads."""

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
from respect_tf.graph import schema_text
from respect_tf.policy import Weights, save_weights
from respect_tf.training._labels import Label
from respect_tf.training._plan import TrainingPlan, Validation
from respect_tf.training._trainer import Trainer


def one_thread() -> None:
    """Have TensorFlow compute in one thread, where it has not begun yet: the same bits each time.

    Raises:
        ArgumentError: TensorFlow has begun with several threads.
    """
    import tensorflow as tf

    threading = tf.config.threading
    try:
        threading.set_intra_op_parallelism_threads(1)
        threading.set_inter_op_parallelism_threads(1)
    except RuntimeError as error:
        raise ArgumentError(
            "TensorFlow has begun to compute in this process. Call one_thread before it does."
        ) from error


def train(
    folder: str | os.PathLike[str],
    labels: Sequence[Label],
    validation_labels: Sequence[Label],
    plan: TrainingPlan | None = None,
    *,
    time_limit: float | None = None,
    callbacks: Sequence[Any] = (),
    strategy: Any = None,
    verbose: Verbosity = "auto",
) -> tuple[dict[str, npt.NDArray[np.float32]], list[Validation]]:
    """Train a network, or go on with a run that was stopped.

    Args:
        folder: For checkpoints and TensorBoard's files; a run that is there is continued.
        labels: To imitate.
        validation_labels: To measure by.
        plan: What to do; `TrainingPlan()` if left out.
        time_limit: Seconds after which to stop, at the end of an epoch; a later call goes on.
        callbacks: Objects with the methods of Keras's callbacks `set_model`, `set_params`,
            `on_train_begin`, `on_epoch_begin`, `on_epoch_end` and `on_train_end`. An epoch is what
            lies between two validations, and its logs are what these say, as plain floats. The
            model is the network; `model.stop_training = True` ends training.
        strategy: One of `tf.distribute`, such as `strategy_of` gives: batches are shared out among
            its replicas. With several machines, each calls this with the same arguments and a
            folder that all reach; the first one writes to it. The run is the same as with a single
            replica, up to the order in which float32 sums are added.
        verbose: 0 for silence.

    Returns:
        The weights, as `Weights` takes them, and all validations.

    Raises:
        ArgumentError: There are no labels, or fewer in a batch than replicas.
        DependencyError: TF-GNN or tf_keras is not installed.
        TrainingError: Another worker is lost.
    """
    if not labels or not validation_labels:
        raise ArgumentError(
            "Training needs labels to imitate and others to validate by. Received: "
            f"{len(labels)} and {len(validation_labels)}."
        )
    plan = TrainingPlan() if plan is None else plan
    trainer = Trainer(Path(folder), labels, validation_labels, plan, verbose, callbacks, strategy)
    trainer.run(np.inf if time_limit is None else time.monotonic() + time_limit)
    return trainer.weights, trainer.validations


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
    card = {
        "data": data,
        "seed": plan.seed,
        "commit": commit,
        "plan": dataclasses.asdict(plan),
        "metrics": dataclasses.asdict(validations[-1]),
    }
    save_weights(path, Weights(weights, card, schema_text()))
    return Path(path)
