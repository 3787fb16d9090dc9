"""A pipeline at work: the segments on Edge TPUs, on the CPU, or in any mixture."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy.typing as npt

from respect_tf._errors import ArgumentError, RunnerError
from respect_tf.run._inputs import InputPreparer
from respect_tf.run.script._engine import Engine
from respect_tf.run.script._stages import (
    LoadedModel,
    PipelineFailedError,
    StageStatistics,
    make_stages,
)
from respect_tf.run.script._worker_state import Load
from respect_tf.segmentation import Segment

Array = npt.NDArray[Any]
Tensors = dict[str, Array]


class PipelineRunner:
    """The segments of a pipeline, all at work at the same time; `create_runner` makes one.

    Inputs go in with `push`, results come out of `pop` in the same order, also where a segment has
    several devices. `push({})` ends the stream; `pop` then returns what is left, and None from then
    on. When a segment fails or takes longer than it may, `push` raises from that moment on, and
    `pop` raises in the place of the input that failed, after the results before it. Any number of
    threads may push and pop. Used in a `with` statement, or closed with `close`, no thread outlives
    it, but one that hangs in a device's driver.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        models: Sequence[Sequence[LoadedModel]],
        *,
        input_names: Mapping[str, str] | None = None,
        input_queue_size: int | None = None,
        output_queue_size: int | None = None,
        timeout: float | None = None,
        load: Load | None = None,
        reattach: float = 0.0,
        rebalance: bool = False,
    ) -> None:
        """Start the threads; see `create_runner`.

        Args:
            segments: The segments, in order.
            models: Of each segment its model on each of its devices.
            input_names: Further names for the inputs: such a name -> the name in segment 0's file.
            input_queue_size: Inputs that may wait before `push` does; None for any number.
            output_queue_size: Results that may wait before the last segment does; None for any
                number.
            timeout: Seconds that one inference may take; None for any.
            load: Loads a segment onto a device again, or another segment.
            reattach: Seconds for which a device that has failed is looked for.
            rebalance: Whether a device moves to the slowest stage.
        """
        check_queue_size(input_queue_size)
        check_queue_size(output_queue_size)
        self._prepare = InputPreparer(segments[0].inputs, input_names)
        stages = make_stages(
            [[spec.name for spec in segment.inputs] for segment in segments],
            [[spec.name for spec in segment.outputs] for segment in segments],
            [segment.on_cpu for segment in segments],
        )
        self._engine = Engine(
            stages,
            models,
            input_queue_size=input_queue_size,
            output_queue_size=output_queue_size,
            timeout=timeout,
            load=load,
            reattach=reattach,
            rebalance=rebalance,
        )
        # The threads know the engine, not the runner, so one that is dropped ends them.
        self._abandon = weakref.finalize(self, self._engine.close, discard=True)

    @property
    def devices(self) -> tuple[tuple[str, ...], ...]:
        """Of each segment, the names of the devices that it is on; "cpu" for the host."""
        return tuple(stage.devices for stage in self.statistics())

    def push(self, input_tensors: Mapping[str, npt.ArrayLike]) -> None:
        """Hand in one input; waits while the input queue is full.

        Args:
            input_tensors: One array per input by name, in any order. Floats are quantised. The
                arrays are copied. An empty dict ends the stream.

        Raises:
            ArgumentError: Names, shapes or types do not fit; nothing was handed in.
            RunnerError: The stream has ended, or a segment has failed.
        """
        try:
            self._engine.check()
            if isinstance(input_tensors, Mapping) and not input_tensors:
                self._engine.end()
            elif not self._engine.put(self._prepare(input_tensors)):
                raise RunnerError(ENDED)
        except PipelineFailedError as error:
            raise RunnerError(str(error)) from error.__cause__

    def pop(self) -> Tensors | None:
        """The next result, by output name; waits for it. None at the end of the stream.

        Raises:
            RunnerError: A segment has failed, and all results before that were popped.
        """
        try:
            return self._engine.get()
        except PipelineFailedError as error:
            raise RunnerError(str(error)) from error.__cause__

    def set_input_queue_size(self, size: int | None) -> None:
        """Set how many inputs may wait before `push` does; None for any number."""
        check_queue_size(size)
        self._engine.set_input_queue_size(size)

    def set_output_queue_size(self, size: int | None) -> None:
        """Set how many results may wait before the last segment does; None for any number."""
        check_queue_size(size)
        self._engine.set_output_queue_size(size)

    def interpreters(self) -> list[Any]:
        """The interpreter of each segment, on its first device, for details of in- and outputs."""
        return [getattr(model, "tf_interpreter", None) for model in self._engine.models()]

    def statistics(self) -> tuple[StageStatistics, ...]:
        """What each segment has done so far, on which devices, and what waits in front of it."""
        return self._engine.statistics()

    def close(self, *, discard: bool = False) -> None:
        """End the stream and wait for the threads.

        What was pushed is finished and can still be popped afterwards.

        Args:
            discard: Whether to drop everything that no segment is at work on, and all results. A
                segment that is still at work after 5 s is ended, if it runs in a worker.
        """
        self._engine.close(discard=discard)
        self._abandon.detach()

    def __enter__(self) -> PipelineRunner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(discard=kind is not None)


ENDED = (
    "The pipeline's stream has ended with push({}) or close(), so it takes no more inputs. Make a "
    "new runner."
)


def check_queue_size(size: int | None) -> None:
    """Check the size of a queue.

    Raises:
        ArgumentError: It is below 1.
    """
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
        raise ArgumentError(
            "The size of a queue must be a whole number, 1 or more, or None for no limit. "
            f"Received: {size!r}."
        )
