"""Where training computes: in one thread, or on several devices and machines."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from respect_tf._errors import ArgumentError, TrainingError

Part = TypeVar("Part")


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


def strategy_of(name: str) -> Any:
    """A strategy of `tf.distribute`. To be asked for before TensorFlow computes anything.

    Args:
        name: `"mirrored"` for all GPUs of this machine; `"workers"` for the machines that the
            environment variable `TF_CONFIG` lists, each of which runs the same command.

    Raises:
        ArgumentError: There is no such strategy; `TF_CONFIG` does not say what it has to.
    """
    import tensorflow as tf

    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if name != "workers":
        raise ArgumentError(f"Expected one of mirrored, workers. Received: {name!r}.")
    given = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(given)
        config["cluster"]["worker"][config["task"]["index"]]
    except (ValueError, LookupError, TypeError) as error:
        raise ArgumentError(
            "Training on several machines needs the environment variable TF_CONFIG on each of "
            'them: {"cluster": {"worker": ["host1:port", "host2:port"]}, "task": {"type": '
            f'"worker", "index": 0}}}}, with an index of its own. Received: {given!r}.'
        ) from error
    return tf.distribute.MultiWorkerMirroredStrategy()


class Replicas:
    """What trains together: a batch is shared out among all, and gradients are added up.

    Without a strategy of `tf.distribute` it is the present one, which is a single replica. The
    chief writes what all processes, the workers, know.
    """

    def __init__(self, strategy: Any = None) -> None:
        import tensorflow as tf

        self.strategy = tf.distribute.get_strategy() if strategy is None else strategy
        resolver = self.strategy.cluster_resolver
        cluster = {} if resolver is None else resolver.cluster_spec().as_dict()
        self.num_workers = max(1, len(cluster.get("worker", ())) + len(cluster.get("chief", ())))
        worker = 0
        if self.num_workers > 1 and resolver is not None and resolver.task_type == "worker":
            worker = resolver.task_id + len(cluster.get("chief", ()))
        self.is_chief = worker == 0
        self._num_replicas = self.strategy.num_replicas_in_sync
        self._num_here = self._num_replicas // self.num_workers
        self._first = worker * self._num_here

    def check_batch(self, name: str, size: int) -> None:
        """Check that each replica gets a part of a batch."""
        if size < self._num_replicas:
            raise ArgumentError(
                f"{name} must be {self._num_replicas} or more, one for each replica. Received: "
                f"{size}."
            )

    def parts(self, whole: Sequence[Part]) -> list[list[Part]]:
        """What each replica of this process takes of a batch."""
        every = range(self._first, self._first + self._num_here)
        return [list(whole[replica :: self._num_replicas]) for replica in every]

    def together(self, step: Callable[..., Any], signature: Sequence[Any]) -> Callable[[Any], Any]:
        """One step of all replicas: the step takes the inputs of one, and returns a number.

        The TensorFlow function takes the inputs of all replicas of this process, a tuple each, and
        returns the sum of the numbers of all replicas of all processes.
        """
        import tensorflow as tf

        def run(inputs: Any) -> Any:
            def one() -> Any:
                replica = tf.distribute.get_replica_context().replica_id_in_sync_group
                # A constant: each replica is traced by itself.
                return step(*inputs[int(tf.get_static_value(replica)) - self._first])

            numbers = self.strategy.run(one)
            return self.strategy.reduce(tf.distribute.ReduceOp.SUM, numbers, axis=None)

        of_all = (tuple(signature),) * self._num_here
        together: Callable[[Any], Any] = tf.function(run, input_signature=[of_all], autograph=False)
        return together

    def agree(self, *, wish: bool) -> bool:
        """What the chief wishes: clocks differ, and all processes have to stop at once."""
        if self.num_workers == 1:
            return wish
        import tensorflow as tf

        counted = 1.0 if wish and self.is_chief else 0.0
        numbers = self.strategy.run(lambda: tf.constant(counted))
        return float(self.strategy.reduce(tf.distribute.ReduceOp.SUM, numbers, axis=None)) > 0

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Where a worker is lost in the block, raise a `TrainingError` that says what to do."""
        import tensorflow as tf

        try:
            yield
        except tf.errors.OpError as error:
            if self.num_workers == 1:
                raise
            raise TrainingError(
                f"One of {self.num_workers} workers does not answer, so the others cannot go on "
                f"({type(error).__name__}: {error.message[:200]}). Start the same command again on "
                "all of them: training goes on from its last checkpoint."
            ) from error
