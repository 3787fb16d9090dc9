"""The pipeline's threads: one per stage and device, queues between the stages."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from respect_tf.run.script._balance import MOVE_AFTER, best_move
from respect_tf.run.script._channel import Channel
from respect_tf.run.script._packages import LoadError
from respect_tf.run.script._stages import (
    LoadedModel,
    PipelineFailedError,
    Stage,
    StageStatistics,
)
from respect_tf.run.script._worker_state import Load, StageWorker, join_threads, load_again

# What libcoral's runner puts between two segments: one item waits while the next is made.
INNER_QUEUE_SIZE = 1

# Seconds that an inference may go on for when its result is dropped. Those of the ten models of the
# benchmark take up to 2; a worker process that needs longer is killed, and nobody waits any more.
DISCARD_SECONDS = 5.0


class Engine:
    """Takes inputs, gives results in the same order. `respect_tf.run.PipelineRunner` wraps it.

    When a stage fails, or an inference takes longer than `timeout`, the pipeline stops at once:
    `put` and `get` raise, the latter after the results before that input.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        models: Sequence[Sequence[LoadedModel]],
        *,
        input_queue_size: int | None = None,
        output_queue_size: int | None = None,
        timeout: float | None = None,
        load: Load | None = None,
        reattach: float = 0.0,
        rebalance: bool = False,
    ) -> None:
        """Start the threads.

        Args:
            stages: The stages, in order.
            models: Of each stage its model on one or more devices, which take its inputs in turn.
            input_queue_size: Inputs that may wait before `put` does; None for any number.
            output_queue_size: Results that may wait before the last stage does; None for any.
            timeout: Seconds that one inference may take; None for any.
            load: Loads a stage onto a device, once more or instead of another stage.
            reattach: Seconds for which a device that fails is tried to be loaded again; the input
                that it failed at is then given to it once more.
            rebalance: Whether a device moves to the stage that is slowest.
        """
        self.stages = tuple(stages)
        self._load = load
        self._timeout = timeout
        self._reattach = reattach
        self._rebalance = rebalance
        self._lock = threading.Lock()
        self._failure: tuple[str, BaseException | None] | None = None
        self._stopping = threading.Event()
        self._done = threading.Event()
        self._workers = [
            StageWorker(index, model) for index, replicas in enumerate(models) for model in replicas
        ]
        self._counts = [len(replicas) for replicas in models]
        self._statistics = [StageStatistics() for _ in stages]
        self._since_move = [(0, 0.0)] * len(stages)
        self._moving = False
        sizes = [input_queue_size, *[INNER_QUEUE_SIZE] * (len(stages) - 1), output_queue_size]
        self._channels: list[Channel[dict[str, Any]]] = [
            Channel(size, writers) for size, writers in zip(sizes, [1, *self._counts])
        ]
        self._threads = [
            threading.Thread(
                target=self._serve,
                args=(worker,),
                name=f"respect_tf {stages[worker.stage].name} on {worker.model.device}",
                daemon=True,
            )
            for worker in self._workers
        ]
        if timeout is not None or rebalance:
            self._threads.append(
                threading.Thread(target=self._watch, name="respect_tf segment watch", daemon=True)
            )
        for thread in self._threads:
            thread.start()

    def put(self, values: dict[str, Any]) -> bool:
        """Hand in one input, waiting for room; False once the stream has ended.

        Raises:
            PipelineFailedError: A stage has failed.
        """
        self.check()
        if self._channels[0].put(values):
            return True
        self.check()
        return False

    def get(self) -> dict[str, Any] | None:
        """The next result, waiting for it; None at the end of the stream.

        Raises:
            PipelineFailedError: A stage has failed, and all results before that were given.
        """
        got = self._channels[-1].get()
        if got is None:
            self.check()
            return None
        return got[1]

    def end(self) -> None:
        """End the stream; what was put is finished."""
        self._channels[0].close()

    def check(self) -> None:
        """Raise what has failed, if anything; a new error for every caller, as threads share it.

        Raises:
            PipelineFailedError: A stage has failed.
        """
        with self._lock:
            failure = self._failure
        if failure is not None:
            raise PipelineFailedError(failure[0]) from failure[1]

    def set_input_queue_size(self, size: int | None) -> None:
        """Set how many inputs may wait before `put` does; None for any number."""
        self._channels[0].set_limit(size)

    def set_output_queue_size(self, size: int | None) -> None:
        """Set how many results may wait before the last stage does; None for any number."""
        self._channels[-1].set_limit(size)

    def models(self) -> list[LoadedModel]:
        """The first model of each stage."""
        return [
            next(worker.model for worker in self._workers if worker.stage == index)
            for index in range(len(self.stages))
        ]

    def statistics(self) -> tuple[StageStatistics, ...]:
        """What each stage has done so far, and what waits in front of it."""
        with self._lock:
            return tuple(
                StageStatistics(
                    done.num_inferences,
                    done.total_ms,
                    done.longest_ms,
                    len(channel),
                    tuple(
                        w.model.device for w in self._workers if w.stage == index and not w.retired
                    ),
                )
                for index, (done, channel) in enumerate(zip(self._statistics, self._channels))
            )

    def close(self, *, discard: bool = False) -> bool:
        """End the stream and wait for the threads.

        Args:
            discard: Whether to drop everything that no stage is at work on, and all results.

        Returns:
            Whether all threads have ended. One that hangs on a device cannot be ended; it is not
            waited for, and ends when the device's driver lets go of it.
        """
        if discard:
            self._stopping.set()
            for channel in self._channels:
                channel.close(discard=True)
            if not self._join(DISCARD_SECONDS):
                for worker in self._workers:
                    worker.model.close()
                return self._join(DISCARD_SECONDS)
            return True
        self._channels[-1].set_limit(None)
        self.end()
        return self._join(None)

    def _join(self, seconds: float | None) -> bool:
        return join_threads(self._threads, self._workers, seconds)

    def _serve(self, worker: StageWorker) -> None:
        """What a worker's thread does."""
        try:
            while True:
                got = self._channels[worker.stage].get()
                if got is None:
                    break
                number, values = got
                started = worker.begin(number)
                made = self._run(worker, values)
                if not self._finish(worker, started):
                    return  # it took too long, and nobody waits for it any more
                if not self._channels[worker.stage + 1].put(made, number):
                    break
                if worker.moves_to is not None and not self._move(worker, worker.moves_to[1]):
                    break
        except BaseException as error:  # whatever it is, the others must not wait for this one
            if not worker.abandoned:
                self._fail(worker, f"{type(error).__name__}: {error}", error)
        finally:
            self._leave(worker)
            worker.model.close()

    def _run(self, worker: StageWorker, values: dict[str, Any]) -> dict[str, Any]:
        stage = self.stages[worker.stage]
        try:
            return stage.run(worker.model, values)
        except Exception as error:
            if self._load is None or stage.on_cpu or self._reattach <= 0 or worker.abandoned:
                raise
            seconds = min(self._reattach, self._timeout or self._reattach)
            load_again(worker, self._load, error, seconds=seconds, stopping=self._stopping)
            return stage.run(worker.model, values)

    def _finish(self, worker: StageWorker, started: float) -> bool:
        ms = 1000 * (time.perf_counter() - started)
        with self._lock:
            if worker.abandoned:
                return False
            worker.busy_since = None
            before = self._statistics[worker.stage]
            self._statistics[worker.stage] = StageStatistics(
                before.num_inferences + 1, before.total_ms + ms, max(before.longest_ms, ms)
            )
        return True

    def _fail(self, worker: StageWorker, what: str, cause: BaseException | None) -> None:
        stage = self.stages[worker.stage]
        with self._lock:
            if self._failure is None:
                name = stage.name[:1].upper() + stage.name[1:]
                self._failure = (
                    f"{name} failed at input {worker.number} of the stream on device "
                    f"{worker.model.device}: {what}. The pipeline has stopped; later inputs were "
                    "dropped. Make a new runner.",
                    cause,
                )
        # Others of this stage finish what they are at; what comes before the failure is delivered.
        self._channels[worker.stage].close(discard=True)

    def _leave(self, worker: StageWorker) -> None:
        """Take a worker out of its stage, and out of that which it was about to move to."""
        with self._lock:
            if worker.left:
                return
            worker.left = True
            stages = (
                [worker.stage] if worker.moves_to is None else [worker.stage, worker.moves_to[1]]
            )
            is_done = all(other.left for other in self._workers)
        for stage in stages:
            self._leave_stage(stage)
        if is_done:
            self._done.set()

    def _leave_stage(self, stage: int) -> None:
        """The last one to leave closes what comes before and behind."""
        with self._lock:
            self._counts[stage] -= 1
            is_last = self._counts[stage] == 0
        if is_last:
            self._channels[stage].close(discard=True)
            self._channels[stage + 1].close()

    def _watch(self) -> None:
        """What the watching thread does: give up who takes too long, move devices."""
        step = 1.0 if self._timeout is None else min(1.0, self._timeout / 10)
        while not self._done.wait(min(step, 0.1) if self._rebalance else step):
            if self._timeout is not None:
                for worker in self._workers:
                    self._give_up_late(worker, self._timeout)
            if self._rebalance:
                self._plan_move()

    def _give_up_late(self, worker: StageWorker, timeout: float) -> None:
        with self._lock:
            since = worker.busy_since
            if since is None or worker.abandoned or time.monotonic() - since <= timeout:
                return
            worker.abandoned = True
        self._fail(worker, f"it hangs, no answer within {timeout:g} s", None)
        self._leave(worker)
        worker.model.close()

    def _plan_move(self) -> None:
        """Choose a device that had better work for the slowest stage."""
        with self._lock:
            recent = [
                (done.num_inferences - count, done.total_ms - ms)
                for done, (count, ms) in zip(self._statistics, self._since_move)
            ]
            counts = list(self._counts)
            if self._moving or self._failure or min(n for n, _ in recent) < MOVE_AFTER:
                return
            if not all(counts):
                return  # the stream is at its end
            means = [ms / n for n, ms in recent]
            move = best_move(means, counts, [stage.on_cpu for stage in self.stages])
            if move is None:
                return
            giver, taker = move
            chosen = next((w for w in self._workers if w.stage == giver and not w.left), None)
            if chosen is None:
                return
            self._moving = True
            self._counts[taker] += 1  # so that nobody closes what comes behind before it is there
            chosen.moves_to = (giver, taker)
        self._channels[taker + 1].set_writers(counts[taker] + 1)

    def _move(self, worker: StageWorker, taker: int) -> bool:
        """Load another stage onto a worker's device, in its own thread; whether that worked."""
        giver, device = worker.stage, worker.model.device
        worker.model.close()
        with self._lock:
            worker.stage, worker.moves_to = taker, None
            self._since_move = [(s.num_inferences, s.total_ms) for s in self._statistics]
            self._moving = False
        self._leave_stage(giver)
        try:
            if self._load is not None:
                worker.model = self._load(taker, device)
        except LoadError:
            worker.retired = True  # the others of both stages go on
            return False
        return True
