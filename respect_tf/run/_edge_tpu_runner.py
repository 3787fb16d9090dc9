"""A pipeline on Edge TPUs, through pycoral's PipelinedModelRunner."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy.typing as npt

from respect_tf._errors import ArgumentError, RunnerError
from respect_tf.run._edge_tpus import (
    check_edge_tpus,
    device_error,
    edgetpu_module,
    list_edge_tpus,
    pipeline_module,
)
from respect_tf.run._inputs import InputPreparer
from respect_tf.segmentation import Segment

Array = npt.NDArray[Any]
Tensors = dict[str, Array]

# pycoral has no "no limit" once a limit was set; its own default is the largest size there is.
_NO_LIMIT = 2**31 - 1


class EdgeTpuRunner:
    """The compiled segments on one Edge TPU each; used like `CpuRunner`.

    What is pushed is checked and brought into the order, type and layout that pycoral copies
    blindly. One fault of the real runner remains: if a segment after the first fails while three
    or more inputs are queued, `pop` waits for ever.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        *,
        devices: Sequence[str] | None = None,
        input_names: Mapping[str, str] | None = None,
        input_queue_size: int | None = None,
        output_queue_size: int | None = None,
    ) -> None:
        """Load each segment onto its device.

        Args:
            segments: The segments, compiled, in order.
            devices: Names of the devices in the segments' order, as `list_edge_tpus` gives them;
                the first of that list if left out.
            input_names: Further names for the inputs: such a name -> the name in segment 0's file.
            input_queue_size: Inputs that may wait before `push` does; None for any number.
            output_queue_size: Results that may wait before the last segment does; None for any
                number.

        Raises:
            ArgumentError: `devices` does not name one device per segment.
            DeviceError: Something that is needed is missing; the message is a checklist.
        """
        if not segments:
            raise ArgumentError("Expected at least one segment. Received: none.")
        _check_given(devices, len(segments))
        checks = check_edge_tpus(segments)
        if not all(check.ok for check in checks):
            raise device_error(checks)
        self.devices = tuple(devices or list_edge_tpus()[: len(segments)])
        self._prepare = InputPreparer(segments[0].inputs, input_names)
        self._outputs = [spec.name for spec in segments[-1].outputs]
        self._interpreters = []
        for segment, device in zip(segments, self.devices, strict=True):
            try:
                interpreter = edgetpu_module().make_interpreter(segment.compiled, device=device)
                interpreter.allocate_tensors()
            except (ValueError, RuntimeError) as error:
                reason = f"segment {segment.index} on {device}: {' '.join(str(error).split())}"
                raise device_error(checks, reason) from error
            self._interpreters.append(interpreter)
        self._runner: Any = pipeline_module().PipelinedModelRunner(self._interpreters)
        self._lock = threading.Lock()
        self._ended = False
        self._drained: deque[Tensors] | None = None
        self._failure: RunnerError | None = None
        if input_queue_size is not None:
            self.set_input_queue_size(input_queue_size)
        if output_queue_size is not None:
            self.set_output_queue_size(output_queue_size)

    def push(self, input_tensors: Mapping[str, npt.ArrayLike]) -> None:
        """Hand in one input; waits while the input queue is full.

        Args:
            input_tensors: One array per input by name, in any order. Floats are quantised. The
                arrays are copied. An empty dict ends the stream and waits until everything that
                was pushed is done.

        Raises:
            ArgumentError: Names, shapes or types do not fit; nothing was handed in.
            RunnerError: The stream has ended, or a segment has failed.
        """
        if isinstance(input_tensors, Mapping) and not input_tensors:
            self._end()
            return
        prepared = self._prepare(input_tensors)
        if self._ended:
            raise RunnerError(
                "The pipeline's stream has ended with push({}) or close(), so it takes no more "
                "inputs. Make a new runner."
            )
        try:
            self._runner.push(prepared)
        except RuntimeError as error:
            raise RunnerError(
                f"The pipeline has stopped and takes no inputs: {error}. Make a new runner."
            ) from error

    def pop(self) -> Tensors | None:
        """The next result, by output name; waits for it. None at the end of the stream.

        pycoral's own runner cannot be interrupted: where a device hangs, this waits for ever. The
        saved folder's `run_pipeline.py` has a `--timeout`, which ends the process.

        Raises:
            RunnerError: A segment has failed.
        """
        if self._drained is None:
            return self._popped()
        if not self._drained and self._failure is not None:
            raise self._failure
        return self._drained.popleft() if self._drained else None

    def set_input_queue_size(self, size: int | None) -> None:
        """Set how many inputs may wait before `push` does; None for any number."""
        self._runner.set_input_queue_size(_checked_size(size))

    def set_output_queue_size(self, size: int | None) -> None:
        """Set how many results may wait before the last segment does; None for any number."""
        self._runner.set_output_queue_size(_checked_size(size))

    def interpreters(self) -> list[Any]:
        """The interpreter of each segment, as pycoral made it."""
        return list(self._interpreters)

    def close(self, *, discard: bool = False) -> None:
        """End the stream and release the devices.

        What was pushed is finished and can still be popped afterwards.

        Args:
            discard: Whether to drop all results. pycoral finishes what was pushed in any case.
        """
        if self._drained is not None:
            return
        self._runner.set_output_queue_size(_NO_LIMIT)
        drained: deque[Tensors] = deque()
        try:
            self._end()
            # The real runner has to be emptied before it goes: it can abort the process otherwise.
            while (result := self._popped()) is not None:
                if not discard:
                    drained.append(result)
        except RunnerError as error:
            self._failure = error  # told by `pop`, in its place
        self._drained = drained
        self._runner = None
        self._interpreters.clear()

    def __enter__(self) -> EdgeTpuRunner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(discard=kind is not None)

    def _end(self) -> None:
        with self._lock:
            already, self._ended = self._ended, True
        if not already:
            # It refuses when a device has failed: there is nothing to end then, and `pop` says why.
            with contextlib.suppress(RuntimeError):
                self._runner.push({})

    def _popped(self) -> Tensors | None:
        try:
            result = self._runner.pop()
        except (RuntimeError, ValueError) as error:
            raise RunnerError(f"The pipeline has stopped: {error}. Make a new runner.") from error
        return {name: result[name] for name in self._outputs} if result else None


def _check_given(devices: Sequence[str] | None, wanted: int) -> None:
    if devices is None:
        return
    names = list(devices) if not isinstance(devices, str) else []
    if (
        len(names) != wanted
        or len(set(names)) != wanted
        or not all(isinstance(name, str) for name in names)
    ):
        raise ArgumentError(
            f"devices must name {wanted} different Edge TPUs, one per segment, for example "
            f"{[f'usb:{index}' for index in range(wanted)]}. Received: {devices!r}."
        )


def _checked_size(size: int | None) -> int:
    if size is None:
        return _NO_LIMIT
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ArgumentError(
            "The size of a queue must be a whole number, 1 or more, or None for no limit. "
            f"Received: {size!r}."
        )
    return size
