"""A pipeline on the CPU: one thread per segment, used like pycoral's PipelinedModelRunner."""

from __future__ import annotations

import dataclasses
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy.typing as npt

from respect_tf._errors import ArgumentError, RunnerError
from respect_tf.run._channel import Channel
from respect_tf.run._inputs import InputPreparer
from respect_tf.segmentation import Segment
from respect_tf.tflite import Interpreter

Array = npt.NDArray[Any]
Tensors = dict[str, Array]

# What libcoral's runner puts between two segments: one item waits while the next is made.
_INNER_QUEUE_SIZE = 1

# Seconds that an inference may go on for when its result is dropped. Those of the ten models of the
# benchmark take up to 2; a worker that needs longer is killed, and nobody waits for it any more.
_DISCARD_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class SegmentStatistics:
    """What a segment has done so far.

    Attributes:
        num_inferences: How often it ran.
        total_ms: How long that took in all, handing tensors over included, waiting excluded.
        longest_ms: The longest of them.
    """

    num_inferences: int = 0
    total_ms: float = 0.0
    longest_ms: float = 0.0

    @property
    def mean_ms(self) -> float:
        """Mean time of an inference; 0 before the first."""
        return self.total_ms / self.num_inferences if self.num_inferences else 0.0


class CpuRunner:
    """The segments of a pipeline on the CPU, all at work at the same time.

    Inputs go in with `push`, results come out of `pop` in the same order. `push({})` ends the
    stream; `pop` then returns what is left, and None from then on. When a segment fails, `push`
    raises from that moment on, and `pop` raises in the place of the input that failed, after the
    results before it. Any number of threads may push and pop. Used in a `with` statement, or
    closed with `close`, no thread outlives it.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        *,
        input_names: Mapping[str, str] | None = None,
        input_queue_size: int | None = None,
        output_queue_size: int | None = None,
    ) -> None:
        """Load the segments and start their threads.

        Args:
            segments: The segments, in order.
            input_names: Further names for the inputs: such a name -> the name in segment 0's file.
            input_queue_size: Inputs that may wait before `push` does; None for any number.
            output_queue_size: Results that may wait before the last segment does; None for any
                number.

        Raises:
            ArgumentError: There are no segments, or a queue's size is below 1.
            InterpreterError: TFLite refuses a segment.
        """
        if not segments:
            raise ArgumentError("Expected at least one segment. Received: none.")
        self._prepare = InputPreparer(segments[0].inputs, input_names)
        inner = [Channel[Tensors](_INNER_QUEUE_SIZE) for _ in segments[1:]]
        ends = Channel[Tensors](input_queue_size), Channel[Tensors](output_queue_size)
        self._channels = [ends[0], *inner, ends[1]]
        self._failure = _Failure()
        self._stages = [_Stage(segments, index) for index in range(len(segments))]
        self._threads = [
            threading.Thread(
                target=_serve,
                args=(stage, self._channels[index], self._channels[index + 1], self._failure),
                name=f"respect_tf segment {index}",
                daemon=True,
            )
            for index, stage in enumerate(self._stages)
        ]
        # The threads know the channels, not the runner, so one that is dropped ends them.
        self._abandon = weakref.finalize(
            self, _discard, self._channels, self._threads, self._stages
        )
        for thread in self._threads:
            thread.start()

    def push(self, input_tensors: Mapping[str, npt.ArrayLike]) -> None:
        """Hand in one input; waits while the input queue is full.

        Args:
            input_tensors: One array per input by name, in any order. Floats are quantised. The
                arrays are copied. An empty dict ends the stream.

        Raises:
            ArgumentError: Names, shapes or types do not fit; nothing was handed in.
            RunnerError: The stream has ended, or a segment has failed.
        """
        self._failure.check()
        if isinstance(input_tensors, Mapping) and not input_tensors:
            self._channels[0].close()
        elif not self._channels[0].put(self._prepare(input_tensors)):
            self._failure.check()
            raise RunnerError(
                "The pipeline's stream has ended with push({}) or close(), so it takes no more "
                "inputs. Make a new runner."
            )

    def pop(self) -> Tensors | None:
        """The next result, by output name; waits for it. None at the end of the stream.

        Raises:
            RunnerError: A segment has failed, and all results before that were popped.
        """
        values = self._channels[-1].get()
        if values is None:
            self._failure.check()
        return values

    def set_input_queue_size(self, size: int | None) -> None:
        """Set how many inputs may wait before `push` does; None for any number."""
        self._channels[0].set_limit(size)

    def set_output_queue_size(self, size: int | None) -> None:
        """Set how many results may wait before the last segment does; None for any number."""
        self._channels[-1].set_limit(size)

    def interpreters(self) -> list[Any]:
        """TensorFlow's interpreter of each segment, for the details of its inputs and outputs."""
        return [stage.interpreter.tf_interpreter for stage in self._stages]

    def statistics(self) -> tuple[SegmentStatistics, ...]:
        """What each segment has done so far."""
        return tuple(stage.statistics for stage in self._stages)

    def close(self, *, discard: bool = False) -> None:
        """End the stream and wait for the threads.

        What was pushed is finished and can still be popped afterwards.

        Args:
            discard: Whether to drop everything that no segment is at work on, and all results. A
                segment that is still at work after 5 s is ended, if it runs in a worker.
        """
        if discard:
            _discard(self._channels, self._threads, self._stages)
        else:
            self._channels[-1].set_limit(None)
            self._channels[0].close()
            _join(self._threads, None)
        self._abandon.detach()

    def __enter__(self) -> CpuRunner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(discard=kind is not None)


class _Failure:
    """The first error of any segment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._message = ""
        self._cause: BaseException | None = None

    def set(self, segment: int, number: int, cause: BaseException) -> None:
        with self._lock:
            if self._cause is None:
                self._message = (
                    f"Segment {segment} failed at input {number} of the stream: "
                    f"{type(cause).__name__}: {cause}. The pipeline has stopped; later inputs were "
                    "dropped. Make a new runner."
                )
                self._cause = cause

    def check(self) -> None:
        """Raise the error if there is one; a new one for every caller, as threads share it."""
        with self._lock:
            message, cause = self._message, self._cause
        if cause is not None:
            raise RunnerError(message) from cause


class _Stage:
    """A segment at work."""

    def __init__(self, segments: Sequence[Segment], index: int) -> None:
        segment = segments[index]
        self.index = index
        self.interpreter = Interpreter(segment.content, label=segment.label)
        self.statistics = SegmentStatistics()
        self._inputs = [spec.name for spec in segment.inputs]
        self._outputs = [spec.name for spec in segment.outputs]
        # What is handed on: what a later segment reads, of the last one its outputs in their order.
        later = segments[index + 1 :]
        self._read_later = {spec.name for other in later for spec in other.inputs}
        self._is_last = not later

    def run(self, values: Tensors) -> Tensors:
        started = time.perf_counter()
        made = self.interpreter.run([values[name] for name in self._inputs])
        outputs = dict(zip(self._outputs, made, strict=True))
        if not self._is_last:
            values.update(outputs)
            outputs = {name: value for name, value in values.items() if name in self._read_later}
        ms = 1000 * (time.perf_counter() - started)
        before = self.statistics
        self.statistics = SegmentStatistics(
            before.num_inferences + 1, before.total_ms + ms, max(before.longest_ms, ms)
        )
        return outputs


def _serve(
    stage: _Stage, source: Channel[Tensors], sink: Channel[Tensors], failure: _Failure
) -> None:
    """What a segment's thread does."""
    try:
        while (values := source.get()) is not None and sink.put(stage.run(values)):
            pass
    except BaseException as error:  # whatever it is, the other threads must not wait for this one
        failure.set(stage.index, stage.statistics.num_inferences, error)
    finally:
        source.close(discard=True)
        sink.close()
        stage.interpreter.close()


def _discard(
    channels: Sequence[Channel[Tensors]],
    threads: Sequence[threading.Thread],
    stages: Sequence[_Stage],
) -> None:
    for channel in channels:
        channel.close(discard=True)
    if not _join(threads, _DISCARD_SECONDS):
        for stage in stages:
            stage.interpreter.close()
        _join(threads, _DISCARD_SECONDS)


def _join(threads: Sequence[threading.Thread], seconds: float | None) -> bool:
    """Wait for the threads, for so long in all; whether all of them have ended."""
    others = [thread for thread in threads if thread is not threading.current_thread()]
    deadline = None if seconds is None else time.monotonic() + seconds
    for thread in others:
        thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in others)
