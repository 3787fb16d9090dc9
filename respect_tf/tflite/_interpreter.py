"""The one place that runs .tflite models: in this process, or in a worker.

TFLite's interpreter is not made for files from anywhere: an index out of range in some of them is a
segmentation fault, a division by zero ends the process, a loop need not end. A model that this
process has made from a float model, or has cut out of such a one, runs here; every other one runs
in a process of its own. Both compute the same bytes: same library, same kernels, same threads.
"""

from __future__ import annotations

import hashlib
import os
import threading
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy.typing as npt

from respect_tf.tflite._local_model import LocalModel
from respect_tf.tflite._worker_model import WorkerModel


def mark_made_here(content: bytes) -> None:
    """Note that a model was made in this process, from a float model or by cutting such a one."""
    if isinstance(content, bytes | bytearray):  # a converter of TensorFlow can give a text, too
        _made_here.add(_digest(content))


def is_made_here(content: bytes) -> bool:
    """Whether this process has made a model, by its bytes."""
    return _digest(content) in _made_here


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=32).digest()


class Interpreter:
    """A .tflite model, ready to run.

    Inputs and outputs go by position, in the order of the file: names need not be unique. Any
    number of threads may call `run`; they wait for each other. In a `with` statement, or with
    `close`, its process ends at once; else when nobody knows it any more.
    """

    def __init__(
        self,
        content: bytes,
        *,
        keep_inner_tensors: bool = False,
        num_threads: int = 1,
        label: str = "the model",
    ) -> None:
        """Load a model and allocate its tensors.

        Args:
            content: The model's bytes.
            keep_inner_tensors: Whether `tensor` can be asked for every tensor after `run`.
            num_threads: CPU threads. The builtin kernels' threads wait for each other by spinning:
                on a machine that has other work, two take longer than one.
            label: How messages name the model.

        Raises:
            InterpreterError: TFLite refuses the model or crashes on it.
        """
        kind = LocalModel if is_made_here(content) else WorkerModel
        self._model: LocalModel | WorkerModel = kind(
            content, keep_inner_tensors=keep_inner_tensors, num_threads=num_threads, label=label
        )
        self._lock = threading.Lock()
        self._end = weakref.finalize(self, self._model.close)
        _open.add(self)

    def run(
        self, inputs: Sequence[npt.NDArray[Any]], *, reset_states: bool = True
    ) -> list[npt.NDArray[Any]]:
        """Run once.

        Args:
            inputs: One array per model input, with its exact shape and dtype.
            reset_states: Whether recurrent ops begin with a fresh state; else with the one that the
                run before has left.

        Returns:
            One array per model output.

        Raises:
            InterpreterError: An op fails, an input does not fit, or the worker died of the model
                or took longer or more memory than it may; another call may follow. Or the state to
                go on from is gone, with the worker that had it.
        """
        with self._lock:
            return self._model.run(inputs, reset_states=reset_states)

    def tensor(self, index: int) -> npt.NDArray[Any]:
        """A copy of a tensor of the last run, by its index in the file."""
        with self._lock:
            return self._model.tensor(index)

    @property
    def run_seconds(self) -> float:
        """How long TFLite took for the last run, without the way to a worker and back."""
        return self._model.run_seconds

    @property
    def tf_interpreter(self) -> Any:
        """TensorFlow's own interpreter, for its details of inputs and outputs.

        For a model in a worker, an object with `get_input_details` and `get_output_details` alone.
        """
        return self._model.tf_interpreter

    @property
    def worker_pid(self) -> int | None:
        """The worker's process; None for a model in this process, or where it is gone."""
        return self._model.pid if isinstance(self._model, WorkerModel) else None

    def finish(self) -> None:
        """Unload the model, then `close`.

        Raises:
            InterpreterError: The worker dies of that: the model has damaged its memory, so what it
                computed is not to be relied on.
        """
        with self._lock:
            self._model.finish()
        self.close()

    def close(self) -> None:
        """End the model's process, if it has one. A thread that is at `run` gets an error."""
        if not self._lock.acquire(blocking=False):
            self._model.kill()
            return
        try:
            self._end()
        finally:
            self._lock.release()

    def __enter__(self) -> Interpreter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _after_fork_in_child(self) -> None:
        self._lock = threading.Lock()  # a thread of the other process may hold the old one
        self._model.forget()


# Digests of models that were made in this process.
_made_here: set[bytes] = set()
_open: weakref.WeakSet[Interpreter] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for interpreter in list(_open):
        interpreter._after_fork_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)
