"""Training: imitation of labels first, then REINFORCE on the cost itself."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from respect_tf._reporting import Verbosity
from respect_tf.policy._labels import Label
from respect_tf.policy._plan import TrainingPlan, Validation
from respect_tf.policy._trainer import Trainer


def train(
    folder: str | os.PathLike[str],
    labels: Sequence[Label],
    validation_labels: Sequence[Label],
    plan: TrainingPlan | None = None,
    *,
    time_limit: float | None = None,
    verbose: Verbosity = "auto",
) -> tuple[dict[str, npt.NDArray[np.float32]], list[Validation]]:
    """Train a network, or go on with a run that was stopped.

    Args:
        folder: For checkpoints and TensorBoard's files; a run that is there is continued.
        labels: To imitate.
        validation_labels: To choose the best weights by.
        plan: What to do; `TrainingPlan()` if left out.
        time_limit: Seconds after which to stop, at the end of an epoch; a later call goes on.
        verbose: 0 for silence.

    Returns:
        The best weights, and all validations.
    """
    plan = TrainingPlan() if plan is None else plan
    trainer = Trainer(Path(folder), labels, validation_labels, plan, verbose)
    deadline = np.inf if time_limit is None else time.monotonic() + time_limit
    trainer.run(deadline)
    return trainer.best_weights, trainer.validations
