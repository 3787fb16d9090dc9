"""What a thread of the pipeline is at."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from respect_tf.run.script._packages import LoadError
from respect_tf.run.script._stages import LoadedModel

# Between two attempts to load a device again that does not answer: libedgetpu needs about a second
# to find one that was plugged in.
_RELOAD_PAUSE_SECONDS = 0.2

Load = Callable[[int, str], LoadedModel]  # of a stage and a device's name


class StageWorker:
    """A thread's model and what it is at."""

    def __init__(self, stage: int, model: LoadedModel) -> None:
        self.stage = stage
        self.model = model
        self.number = 0  # of the input that it is at, or was
        self.busy_since: float | None = None
        self.abandoned = False  # it takes too long, so nobody waits for it
        self.left = False
        self.retired = False  # it could not be moved
        self.moves_to: tuple[int, int] | None = None

    def begin(self, number: int) -> float:
        self.number = number
        self.busy_since = time.monotonic()
        return time.perf_counter()


def join_threads(
    threads: Sequence[threading.Thread], workers: Sequence[StageWorker], seconds: float | None
) -> bool:
    """Wait for threads, for so long in all; whether all of them have ended.

    Args:
        threads: Those of the workers, in their order, and others behind.
        workers: Whose thread is not waited for where nobody waits for it any more.
        seconds: The limit; None for none.
    """
    me = threading.current_thread()
    deadline = None if seconds is None else time.monotonic() + seconds
    for position, thread in enumerate(threads):
        worker = workers[position] if position < len(workers) else None
        while thread is not me and thread.is_alive():
            if worker is not None and worker.abandoned:
                break
            if deadline is not None and time.monotonic() >= deadline:
                break
            # In steps, as a thread that hangs is given up while it is waited for.
            left = 0.2 if deadline is None else min(0.2, deadline - time.monotonic())
            thread.join(max(0.0, left))
    return not any(thread.is_alive() for thread in threads if thread is not me)


def load_again(
    worker: StageWorker,
    load: Load,
    error: Exception,
    *,
    seconds: float,
    stopping: threading.Event,
) -> None:
    """Take a device that has failed into use again.

    Args:
        worker: Whose device it is.
        load: Loads a stage onto a device.
        error: What has failed.
        seconds: How long to try.
        stopping: Set when nobody needs it any more.

    Raises:
        LoadError: It does not come back.
    """
    device = worker.model.device
    worker.busy_since = None
    worker.model.close()
    deadline = time.monotonic() + seconds
    while True:
        try:
            worker.model = load(worker.stage, device)
            break
        except LoadError as again:
            if time.monotonic() >= deadline or stopping.wait(_RELOAD_PAUSE_SECONDS):
                raise LoadError(
                    f"{error}. The device did not come back within {seconds:g} s: {again}"
                ) from error
    worker.begin(worker.number)
