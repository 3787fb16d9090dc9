"""A pipeline on Edge TPUs, through pycoral's PipelinedModelRunner."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy.typing as npt

from respect_tf._errors import ArgumentError, RunnerError
from respect_tf.run._device_checks import (
    check_edge_tpus,
    device_error,
    edgetpu_module,
    pipeline_module,
    pycoral_devices,
)
from respect_tf.run._inputs import InputPreparer
from respect_tf.run._runner import ENDED, check_queue_size
from respect_tf.run.script._stages import StageStatistics
from respect_tf.segmentation import Segment

Array = npt.NDArray[Any]
Tensors = dict[str, Array]

# pycoral has no "no limit" once a limit was set; its own default is the largest size there is.
_NO_LIMIT = 2**31 - 1
_STEP_SECONDS = 0.2  # how often a call that waits looks whether it has waited too long


class PycoralRunner:
    """The compiled segments on one Edge TPU each; used like `PipelineRunner`.

    What is pushed is checked and brought into the order, type and layout that pycoral copies
    blindly. If a segment after the first fails while three or more inputs are queued, the real
    runner's `pop` waits for ever: here it raises after `timeout` seconds without a result.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        *,
        devices: Sequence[str] | None = None,
        input_names: Mapping[str, str] | None = None,
        input_queue_size: int | None = None,
        output_queue_size: int | None = None,
        timeout: float | None = 60.0,
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
            timeout: Seconds that may go by without a result while inputs are at work; None for any.

        Raises:
            ArgumentError: `devices` does not name one device per segment.
            DeviceError: Something that is needed is missing; the message is a checklist.
        """
        if not segments:
            raise ArgumentError("Expected at least one segment. Received: none.")
        _check_given(devices, len(segments))
        checks = check_edge_tpus(segments, backend="pycoral")
        if not all(check.ok for check in checks):
            raise device_error(checks)
        self.devices = tuple(devices or pycoral_devices()[: len(segments)])
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
        self._timeout = timeout
        self._at_work = 0  # inputs that were pushed and whose results were not popped
        self._last_result = time.monotonic()
        self._hangs = False
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
            raise RunnerError(ENDED)
        with self._lock:
            if not self._at_work:
                self._last_result = time.monotonic()
            self._at_work += 1
        try:
            self._in_time(lambda: self._runner.push(prepared))
        except RuntimeError as error:
            raise RunnerError(
                f"The pipeline has stopped and takes no inputs: {error}. Make a new runner."
            ) from error

    def pop(self) -> Tensors | None:
        """The next result, by output name; waits for it. None at the end of the stream.

        Raises:
            RunnerError: A segment has failed, or nothing came within the limit. pycoral's own
                threads cannot be ended then; they stay until the process ends.
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

    def statistics(self) -> tuple[StageStatistics, ...]:
        """Where each segment is; pycoral's runner hides what it does there."""
        return tuple(StageStatistics(devices=(device,)) for device in self.devices)

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
        if self._hangs:
            # Its destructor would wait for ever, or abort the process.
            _kept.append((self._runner, self._interpreters))
        self._runner = None
        self._interpreters = []

    def __enter__(self) -> PycoralRunner:
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
                self._in_time(lambda: self._runner.push({}))

    def _popped(self) -> Tensors | None:
        try:
            result = self._in_time(self._runner.pop)
        except (RuntimeError, ValueError) as error:
            raise RunnerError(f"The pipeline has stopped: {error}. Make a new runner.") from error
        with self._lock:
            self._at_work -= bool(result)
            self._last_result = time.monotonic()
        return {name: result[name] for name in self._outputs} if result else None

    def _in_time(self, call: Callable[[], Any]) -> Any:
        """Call into pycoral in a thread of its own, which is left alone where it hangs.

        Raises:
            RunnerError: Inputs are at work, and for too long no result has come.
        """
        if self._hangs:
            raise RunnerError(_HANGS.format(self._timeout))
        if self._timeout is None:
            return call()
        answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

        def work() -> None:
            try:
                answers.put((call(), None))
            except BaseException as error:  # raised below
                answers.put((None, error))

        threading.Thread(target=work, name="respect_tf pycoral", daemon=True).start()
        while True:
            try:
                value, error = answers.get(timeout=min(_STEP_SECONDS, self._timeout))
            except queue.Empty:
                with self._lock:
                    late = time.monotonic() - self._last_result > self._timeout
                    self._hangs = self._hangs or bool(self._at_work and late)
                if self._hangs:
                    raise RunnerError(_HANGS.format(self._timeout)) from None
                continue
            if error is not None:
                raise error
            return value


_HANGS = (
    "The pipeline hangs: no result within {:g} s, as when a segment after the first has failed. "
    "Make a new runner, in a new process where its devices stay in use."
)
# Runners that hang, which must not be destroyed.
_kept: list[Any] = []


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
    check_queue_size(size)
    return _NO_LIMIT if size is None else size
