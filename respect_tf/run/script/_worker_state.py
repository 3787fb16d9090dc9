"""What a thread of the pipeline is at."""

from __future__ import annotations

import time

from respect_tf.run.script._stages import LoadedModel


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
