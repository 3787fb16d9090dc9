"""`ScheduleSummaries`: the policy's schedules in TensorBoard, while it is trained."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from keras_callbacks._callback import KerasCallback, Logs, check_count

if TYPE_CHECKING:
    from keras_callbacks._greedy import Example
    from respect_tf.scheduling import Schedule
    from respect_tf.training import Label

# Pixels: of a strip, of all ops side by side if there are fewer, and between two strips.
_HEIGHT, _WIDTH, _GAP = 24, 600, 4
# Okabe and Ito's colours, which people with colour blindness can tell apart.
_COLOURS = np.array(
    [
        (0, 114, 178),
        (230, 159, 0),
        (0, 158, 115),
        (204, 121, 167),
        (86, 180, 233),
        (213, 94, 0),
        (240, 228, 66),
        (0, 0, 0),
    ],
    np.uint8,
)


class ScheduleSummaries(KerasCallback):
    """Write the greedy schedules of some graphs for TensorBoard.

    For training the network of `respect_tf.training`, by its trainer or by `fit` of tf_keras.
    For each graph there is a table of its stages under "Text", and under "Images" two strips, one
    column per op in the file's order, coloured by stage: the best schedule known above, the
    network's below.

    >>> summaries = ScheduleSummaries("summaries", labels, num_graphs=2)
    >>> summaries.set_model(network)
    >>> summaries.on_train_begin()
    >>> summaries.on_epoch_end(0)
    >>> summaries.on_train_end()
    >>> len(list(pathlib.Path("summaries").glob("events.out.*")))
    1
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        labels: Sequence[Label],
        *,
        num_graphs: int = 4,
        every: int = 1,
    ) -> None:
        """Check the arguments.

        Args:
            folder: TensorBoard's folder of this training.
            labels: Labels of `respect_tf.training`.
            num_graphs: How many of them to show, the first ones.
            every: Epochs between summaries.

        Raises:
            ArgumentError: An argument does not fit.
        """
        from keras_callbacks._greedy import examples_of

        check_count("num_graphs", num_graphs)
        check_count("every", every)
        self.folder, self.labels = os.fspath(folder), labels
        self.num_graphs, self.every = num_graphs, every
        self._examples: list[Example] = examples_of(
            labels[:num_graphs], labelled=True, name="ScheduleSummaries"
        )
        self._writer: Any = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Open TensorBoard's file.

        Raises:
            ArgumentError: The model is not the network of `respect_tf.training`.
        """
        import tensorflow as tf

        from keras_callbacks._greedy import weights_of

        weights_of(self.model)
        self._writer = tf.summary.create_file_writer(self.folder)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write the schedules of the network as it is."""
        import tensorflow as tf

        from keras_callbacks._greedy import weights_of

        if (epoch + 1) % self.every:
            return
        weights = weights_of(self.model)
        with self._writer.as_default(step=epoch):
            for number, example in enumerate(self._examples):
                found = _greedy_schedule(weights, example)
                tf.summary.text(f"schedule/graph_{number}", schedule_text(example, found))
                tf.summary.image(f"schedule/graph_{number}", schedule_strips(example, found)[None])
        self._writer.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close TensorBoard's file."""
        self._writer.close()
        self._writer = None


def _greedy_schedule(weights: Any, example: Example) -> Schedule:
    from keras_callbacks._greedy import greedy_order_of
    from respect_tf.scheduling import slice_order

    task = example.task
    order = greedy_order_of(weights, example)
    return slice_order(example.op_graph, order, task.num_stages, task.objective)


def schedule_text(example: Example, found: Schedule) -> str:
    """A table of the stages, in Markdown.

    Args:
        example: The graph with its label.
        found: Its schedule.
    """
    from respect_tf.scheduling import Schedule, stage_costs

    task = example.task
    best = Schedule(_best(example, found), task.num_stages)
    costs = [stage_costs(example.op_graph, one, task.objective) for one in (found, best)]
    gap = max(costs[0]) / max(costs[1]) - 1
    lines = [
        f"{task.num_ops} ops ({task.family}) in {task.num_stages} stages: the costliest "
        f"costs {max(costs[0]):,.0f}, {gap:.2%} above that of the best schedule known.",
        "",
        "| stage | ops | cost | ops, best | cost, best |",
        "|---|---|---|---|---|",
    ]
    for stage in range(task.num_stages):
        cells = [
            f"{np.count_nonzero(one.stages == stage)} | {cost[stage]:,.0f}"
            for one, cost in zip((found, best), costs, strict=True)
        ]
        lines.append(f"| {stage} | {' | '.join(cells)} |")
    return "\n".join(lines)


def schedule_strips(example: Example, found: Schedule) -> npt.NDArray[np.uint8]:
    """The best schedule known above the one found. uint8 [height, width, 3].

    Args:
        example: The graph with its label.
        found: Its schedule.
    """
    best = _best(example, found)
    repeat = max(1, _WIDTH // len(best))
    strips = [
        np.broadcast_to(
            np.repeat(_COLOURS[stages % len(_COLOURS)], repeat, axis=0),
            (_HEIGHT, repeat * len(stages), 3),
        )
        for stages in (best, found.stages)
    ]
    gap = np.full((_GAP, repeat * len(best), 3), 255, np.uint8)
    return np.concatenate([strips[0], gap, strips[1]])


def _best(example: Example, found: Schedule) -> npt.NDArray[np.int32]:
    """The stages of the best schedule known. int32 [num_ops]."""
    return found.stages if example.label is None else example.label.stages
