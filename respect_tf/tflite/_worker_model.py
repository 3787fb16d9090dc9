"""Running a .tflite model in a worker, and calling functions there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf import _errors
from respect_tf._errors import InterpreterError, InvalidModelError, RespectError
from respect_tf.tflite._messages import Message, SharedArrays, memory_file, space_for
from respect_tf.tflite._worker import (
    Worker,
    WorkerGoneError,
    WorkerLostError,
    start_worker,
)
from respect_tf.tflite._worker_details import Details
from respect_tf.tflite._worker_functions import NEED_TENSORFLOW
from respect_tf.tflite._worker_limits import Limits

Array = npt.NDArray[Any]


class WorkerModel:
    """A .tflite model in a worker of its own; see `Interpreter`.

    When the worker is lost, the call that it was busy with raises, and the next one starts another.
    """

    def __init__(
        self, content: bytes, *, keep_inner_tensors: bool, num_threads: int, label: str
    ) -> None:
        """Load a model, so that what TFLite refuses is known at once."""
        self._content = content
        self._label = label
        self._limits = Limits.for_model(len(content))
        self._options = {
            "keep_inner_tensors": keep_inner_tensors,
            "num_threads": num_threads,
            "label": label,
        }
        self._worker: Worker | None = None
        self._shared: SharedArrays | None = None
        self._run_message: Message = {}  # that of the last run
        self._is_closed = False
        self.run_seconds = 0.0
        self.tf_interpreter = Details(self._load())

    @property
    def pid(self) -> int | None:
        """The worker's process; None while there is none."""
        return None if self._worker is None else self._worker.pid

    def run(self, inputs: Sequence[Array], *, reset_states: bool = True) -> list[Array]:
        """Run once; see `Interpreter`."""
        arrays = [np.asarray(value, order="C") for value in inputs]
        for array in arrays:
            if array.dtype.kind not in "biufc":
                raise InterpreterError(
                    f"TFLite cannot run {self._label}: an input is {array.dtype}, expected numbers."
                )
        if self._worker is None:
            self._load_again(reset_states=reset_states)
        try:
            outputs = self._run(arrays, reset_states=reset_states, may_be_gone=True)
        except WorkerGoneError:  # before it was asked: somebody else has ended it
            self._load_again(reset_states=reset_states)
            outputs = self._run(arrays, reset_states=reset_states)
        self.run_seconds = 0.0 if self._shared is None else self._shared.seconds
        return outputs

    def _load_again(self, *, reset_states: bool) -> None:
        self._load()
        if not reset_states:
            raise InterpreterError(
                f"The worker of {self._label} is gone, and with it the state that its recurrent "
                "ops were to go on from. Begin again with reset_states=True."
            )

    def _run(
        self, arrays: Sequence[Array], *, reset_states: bool, may_be_gone: bool = False
    ) -> list[Array]:
        files: list[int] = []
        if self._shared is None or not self._shared.has_room(arrays):
            self._shared, file = self._room_for(space_for(arrays))
            files.append(file)
        places = self._shared.write(arrays)
        last = self._run_message
        if last.get("inputs") is not places or last["reset_states"] != reset_states:
            self._run_message = self._message(
                "run", inputs=places, size=self._shared.size, reset_states=reset_states
            )
        return self._arrays(self._ask(self._run_message, files, may_be_gone=may_be_gone))

    def tensor(self, index: int) -> Array:
        """A copy of a tensor of the last run, by its index in the file."""
        (array,) = self._arrays(self._ask(self._message("tensor", index=index)))
        return array

    def finish(self) -> None:
        """Unload the model and end the worker; see `Interpreter`."""
        if self._worker is not None:
            self._ask(self._message("unload"), doing="unloading")

    def close(self) -> None:
        """End the worker. A thread that runs the model right now gets an error."""
        self._is_closed = True
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def kill(self) -> None:
        """`close`, and wait until the process is gone, whatever it is doing."""
        self._is_closed = True
        worker = self._worker
        if worker is not None:
            worker.kill()

    def forget(self) -> None:
        """Be without a worker; the next run starts one. In a forked process it is another's."""
        worker, self._worker, self._shared = self._worker, None, None
        if worker is not None:
            worker.close()

    def _load(self) -> Message:
        if self._is_closed:
            raise InterpreterError(f"The interpreter of {self._label} was closed.")
        self._worker = start_worker("models")
        try:
            file = memory_file("respect_tf model")
            with open(file, "wb", closefd=False) as opened:
                opened.write(self._content)
        except OSError as error:
            self.forget()
            raise InterpreterError(
                f"There is no room for {self._label} in memory: {error.strerror}."
            ) from error
        message = self._message("load", memory=self._limits.memory_bytes, **self._options)
        try:
            return self._ask(message, [file], doing="loading")
        except BaseException:
            self.forget()
            raise

    def _message(self, do: str, **rest: Any) -> Message:
        return {"do": do, "cpu_seconds": self._limits.cpu_seconds, **rest}

    def _ask(
        self,
        message: Message,
        files: Sequence[int] = (),
        *,
        doing: str = "running",
        may_be_gone: bool = False,
    ) -> Message:
        """Ask the worker, and make errors of what it cannot do. The files are closed here.

        Raises:
            WorkerGoneError: Where that is allowed, the worker had ended before.
            InterpreterError: Everything else.
        """
        worker = self._worker
        if worker is None:
            raise InterpreterError(f"The worker of {self._label} is gone. Run it again.")
        try:
            reply = worker.ask(message, self._limits, files)
        except WorkerLostError as lost:
            self.forget()
            if self._is_closed:
                raise InterpreterError(f"The interpreter of {self._label} was closed.") from None
            if may_be_gone and isinstance(lost, WorkerGoneError):
                raise
            raise InterpreterError(
                f"TFLite crashes or hangs: the worker that was {doing} {self._label} {lost}. Only "
                "that process is gone. The interpreter does not survive this model with these "
                "inputs; if it is your own, convert it again with a current TensorFlow."
            ) from None
        finally:
            for file in files:
                os.close(file)
        if reply.get("no_memory"):
            self.forget()
            raise InterpreterError(
                f"The worker that was {doing} {self._label} needs more than its "
                f"{self._limits.memory_bytes / 2**20:,.0f} MiB of memory. Set the environment "
                "variable RESPECT_TF_MODEL_MIB if the model is right and this machine has more."
            )
        if "error" in reply:
            error = _error_of(reply, InterpreterError)
            if "unallocated" in str(error):  # what TFLite says when it was refused memory
                raise type(error)(
                    f"{error}. It may have at most {self._limits.memory_bytes / 2**20:,.0f} MiB, "
                    "or what the environment variable RESPECT_TF_MODEL_MIB says."
                )
            raise error
        return reply

    def _room_for(self, space: int) -> tuple[SharedArrays, int]:
        """Memory to share, and the descriptor to send."""
        if space > self._limits.memory_bytes:
            self.forget()
            raise InterpreterError(
                f"The tensors of {self._label} take {space:,} bytes. Expected at most "
                f"{self._limits.memory_bytes:,}, or what RESPECT_TF_MODEL_MIB sets."
            )
        return _shared_arrays(space)

    def _arrays(self, reply: Message) -> list[Array]:
        """Copies of the arrays of an answer, for which more room is made if there is too little."""
        try:
            if "needs" in reply:
                self._shared, file = self._room_for(int(reply["needs"]))
                reply = self._ask(self._message("again", size=self._shared.size), [file])
            return _copied(self._shared, reply)
        except (TypeError, ValueError, KeyError) as error:
            if isinstance(error, RespectError):
                raise
            self.forget()
            raise InterpreterError(
                f"The worker of {self._label} answers nonsense ({error}): the model has damaged it."
            ) from error


def call_in_worker(
    function_name: str,
    *arguments: Any,
    timeout: float,
    label: str,
    num_bytes: int | None = None,
) -> tuple[Any, dict[str, Array]]:
    """Call a function in a worker, because a library may hang on what it opens, or crash.

    Args:
        function_name: One of `respect_tf.tflite._worker_functions.FUNCTIONS`.
        *arguments: What JSON can say.
        timeout: Seconds that it may take.
        label: How messages name what is opened.
        num_bytes: Of a model that is loaded and may run then: it has the memory and the processor's
            time that a model of that size has.

    Returns:
        The function's value, and its arrays by name.

    Raises:
        InvalidModelError: The process died or took too long.
        InterpreterError: No process can be started.
        RespectError: Whatever the function raises.
    """
    of_model = Limits.for_model(num_bytes or 0)
    cpu_seconds = None if num_bytes is None else of_model.cpu_seconds
    limits = Limits(timeout, cpu_seconds, of_model.memory_bytes)
    worker = start_worker("tensorflow" if function_name in NEED_TENSORFLOW else "functions")
    shared: SharedArrays | None = None
    try:
        message = {
            "do": "call",
            "name": function_name,
            "arguments": list(arguments),
            "memory": limits.memory_bytes,
            "cpu_seconds": cpu_seconds or 0,
        }
        reply = worker.ask(message, limits)
        if int(reply.get("needs", 0)) > limits.memory_bytes:
            reply = {"no_memory": True}
        if "needs" in reply:
            shared, file = _shared_arrays(int(reply["needs"]))
            try:
                reply = worker.ask({"do": "again", "size": shared.size}, limits, [file])
            finally:
                os.close(file)
        if "error" in reply:
            raise _error_of(reply, InvalidModelError)
        if reply.get("no_memory"):
            raise InvalidModelError(
                f"{label} needs more than {limits.memory_bytes:,} bytes of memory to be read. "
                "Expected a file that is no larger unpacked than a model is."
            )
        return reply["value"], dict(zip(reply["names"], _copied(shared, reply), strict=True))
    except WorkerLostError as lost:
        raise InvalidModelError(
            f"{label} cannot be read: the process that opened it {lost}. The file is damaged, or "
            "made to do that. Copy it again or save the model again."
        ) from None
    finally:
        worker.kill()


def _shared_arrays(space: int) -> tuple[SharedArrays, int]:
    """New shared memory, and the descriptor by which the worker maps it."""
    try:
        file = memory_file("respect_tf arrays", space)
        try:
            return SharedArrays(file, space), file
        except BaseException:
            os.close(file)
            raise
    except OSError as error:
        raise InterpreterError(
            f"{space:,} bytes of memory for arrays cannot be had: {error.strerror}."
        ) from error


def _copied(shared: SharedArrays | None, reply: Message) -> list[Array]:
    places = reply["arrays"]
    if not places:
        return []
    if shared is None:
        raise ValueError("arrays without memory")
    return [view.copy() for view in shared.views(places)]


def _error_of(reply: Message, default: type[RespectError]) -> RespectError:
    """The error that a worker describes, of its own class where it is one of ours."""
    kind = getattr(_errors, str(reply.get("class")), None)
    is_ours = isinstance(kind, type) and issubclass(kind, RespectError)
    return (kind if is_ours and kind is not None else default)(str(reply["error"]))
