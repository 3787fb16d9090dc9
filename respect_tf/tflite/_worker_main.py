"""What the processes do that `_worker` starts.

The *keeper* is started once. It imports what its workers need and then forks one worker for every
model (5 ms each), so that a model which crashes takes nothing else with it, and its killer is known
by name. It never touches a file that somebody gave us, hence always notices when the user's process
is gone, and ends its workers then.

A worker that is in native code, in an endless loop perhaps, is ended by the kernel, whoever else is
still alive: by the signal that Linux sends when the keeper dies, and by the timer of the call.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import gc
import importlib
import itertools
import os
import resource
import select
import signal
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from respect_tf._errors import RespectError
from respect_tf.tflite._local_model import LocalModel, import_interpreter_alone
from respect_tf.tflite._messages import (
    Array,
    Connection,
    Message,
    SharedArrays,
    space_for,
)
from respect_tf.tflite._worker_functions import function_named

_POLL_MS = 1000  # how soon a keeper notices that the user's process is gone, at the latest
_DEATH_SECONDS = 5.0  # that a killed process may take to be gone; a big one takes tenths
_KEPT_STATUSES = 1000  # of workers that ended and that nobody has asked for yet
_CHATTER_BYTES = 2**20  # that a worker may write to its standard error
_PR_SET_PDEATHSIG = 1


def main(descriptor: int, kind: str) -> None:
    """The keeper's whole life.

    Args:
        descriptor: The socket to the user's process.
        kind: `"models"` for workers that run models, `"functions"` and `"tensorflow"` for those
            that call functions, with the standard library's imports or with TensorFlow.
    """
    warnings.simplefilter("ignore")
    # What the user's process ignores or blocks, a started process would ignore and block as well.
    for number in (signal.SIGCHLD, signal.SIGPROF):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    parent = os.getppid()
    control = Connection(socket.socket(fileno=descriptor), takes_files=True)
    if kind == "models":
        import_interpreter_alone()
    elif kind == "tensorflow":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # no memory of a GPU is taken by workers
        importlib.import_module("tensorflow")  # seconds; it starts no thread yet
    children = _Children()
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while os.getppid() == parent:
            ready = poll.poll(_POLL_MS)
            children.reap()
            if ready:
                message, files = control.receive()
                control.send(_obey(children, message, files, descriptor))
    except (EOFError, OSError):
        pass  # the user's process is gone, or has no use for us any more
    finally:
        children.kill_all()


def _obey(children: _Children, message: Message, files: list[int], control: int) -> Message:
    try:
        if message["do"] == "start":
            return {"worker": (started := children.start(files, control))[0], "pid": started[1]}
        return {"status": children.end(message["worker"])}
    except OSError as error:
        return {"error": error.strerror or str(error)}
    finally:
        for file in files:
            os.close(file)


class _Children:
    """The workers of a keeper, by numbers that are never given twice, as pids are."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._pids: dict[int, int] = {}
        self._statuses: collections.OrderedDict[int, int] = collections.OrderedDict()

    def start(self, files: list[int], control: int) -> tuple[int, int]:
        """Fork a worker; returns its number and its pid.

        Args:
            files: Its socket, and where its standard error goes.
            control: What it must not have: the keeper's own socket.
        """
        keeper = os.getpid()
        pid = os.fork()
        if pid == 0:
            _be_worker(files, control, keeper)
        number = next(self._numbers)
        self._pids[number] = pid
        return number, pid

    def end(self, number: int) -> int | None:
        """Kill a worker and wait until it is gone; its exit status, None if it does not go.

        One that was ending by itself keeps the status that it had.
        """
        if number in self._pids:
            os.kill(self._pids[number], signal.SIGKILL)
        deadline = time.monotonic() + _DEATH_SECONDS
        while number in self._pids and time.monotonic() < deadline:
            self.reap()
            if number in self._pids:
                time.sleep(0.001)
        return self._statuses.get(number)

    def reap(self) -> None:
        """Note who has ended."""
        for number, pid in list(self._pids.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._pids[number]
                self._statuses[number] = os.waitstatus_to_exitcode(status)
                if len(self._statuses) > _KEPT_STATUSES:
                    self._statuses.popitem(last=False)

    def kill_all(self) -> None:
        """End all of them; nobody waits, as the keeper itself ends."""
        for pid in self._pids.values():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def _be_worker(files: list[int], control: int, keeper: int) -> None:
    """The forked process's whole life; does not return."""
    status = 1
    try:
        _die_with(keeper)
        os.close(control)
        os.dup2(files[1], 2)
        os.dup2(files[1], 1)
        os.close(files[1])
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_FSIZE, _CHATTER_BYTES)
        with contextlib.suppress(OSError):  # where memory runs out, we go before the user's process
            Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
        _serve(Connection(socket.socket(fileno=files[0]), takes_files=True))
    except (EOFError, ConnectionError):
        status = 0  # nobody needs the model any more
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(status)


def _die_with(keeper: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != keeper:  # it died before that
        os._exit(1)


def _serve(connection: Connection) -> None:
    """Answer one message after the other until the other end is closed."""
    worker = _Worker()
    while True:
        message, files = connection.receive()
        # The kernel ends this process if a call takes longer than it may: the signal keeps its
        # default, as Python code would not get its turn while native code runs. The timer counts
        # this process's own time only, hence need not be stopped in between.
        signal.setitimer(signal.ITIMER_PROF, message.get("cpu_seconds", 0))
        connection.send(worker.answer(message, files))


class _Worker:
    """A model, or a function's result, and the memory through which arrays go back."""

    def __init__(self) -> None:
        self._model: LocalModel | None = None
        self._shared: SharedArrays | None = None
        self._arrays: list[Array] = []  # that wait until there is room for them
        self._rest: Message = {}  # what is said together with them
        self._answered: Message = {}  # what was last said of arrays
        self._actions: dict[str, Callable[[Message], Message]] = {
            "run": self._run,
            "tensor": self._tensor,
            "unload": self._unload,
            "call": self._call,
            "again": lambda _: self._reply(self._arrays, **self._rest),
        }

    def answer(self, message: Message, files: list[int]) -> Message:
        try:
            if "memory" in message:
                _limit_memory(message["memory"])
            if message["do"] == "load":
                return self._load(message, files[0])
            if files:
                self._shared = SharedArrays(files[0], message["size"])
                os.close(files[0])
            return self._actions[message["do"]](message)
        except RespectError as error:
            return {"error": str(error), "class": type(error).__name__}
        except MemoryError:
            return {"no_memory": True}

    def _load(self, message: Message, file: int) -> Message:
        with open(file, "rb") as opened:
            opened.seek(0)
            content = opened.read()
        self._model = LocalModel(
            content,
            keep_inner_tensors=message["keep_inner_tensors"],
            num_threads=message["num_threads"],
            label=message["label"],
        )
        details = self._model.tf_interpreter
        return {
            "inputs": [_description(detail) for detail in details.get_input_details()],
            "outputs": [_description(detail) for detail in details.get_output_details()],
        }

    def _run(self, message: Message) -> Message:
        model, inputs = self._loaded(), []
        if self._shared is not None:
            inputs = self._shared.views(message["inputs"])
        outputs = model.run(inputs, reset_states=message["reset_states"])
        return self._reply(outputs)

    def _tensor(self, message: Message) -> Message:
        return self._reply([self._loaded().tensor(message["index"])])

    def _unload(self, _: Message) -> Message:
        """Free the model, which a heap that it has damaged does not survive."""
        self._model = None
        gc.collect()
        return {}

    def _call(self, message: Message) -> Message:
        value, arrays = function_named(message["name"])(*message["arguments"])
        return self._reply(list(arrays.values()), value=value, names=list(arrays))

    def _reply(self, arrays: list[Array], **rest: Any) -> Message:
        shared = self._shared
        if shared is None or not shared.has_room(arrays):
            if arrays:
                self._arrays, self._rest = arrays, rest
                return {"needs": space_for(arrays)}
            return {"arrays": [], **rest}
        self._arrays, self._rest = [], {}
        shared.seconds = 0.0 if self._model is None else self._model.run_seconds
        places = shared.write(arrays)
        if rest or self._answered.get("arrays") is not places:
            self._answered = {"arrays": places, **rest}
        return self._answered

    def _loaded(self) -> LocalModel:
        if self._model is None:
            raise RespectError("No model is loaded.")
        return self._model


def _limit_memory(count: int) -> None:
    """Let the kernel refuse more than this many bytes on top of what the process has now.

    It counts private memory that can be written, whether it is used or not. So it holds at once,
    where watching from outside comes too late; what the keeper had imported does not count.
    """
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[5])
    used = pages * resource.getpagesize()
    _limit(resource.RLIMIT_DATA, used + count)


def _limit(kind: int, value: int) -> None:
    """Set a limit of this process, unless a stricter one is set that cannot be raised."""
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


def _description(detail: dict[str, Any]) -> Message:
    """What `Interpreter.tf_interpreter` says of an input or output."""
    parameters = detail["quantization_parameters"]
    return {
        "name": detail["name"],
        "index": int(detail["index"]),
        "shape": [int(size) for size in detail["shape"]],
        "shape_signature": [int(size) for size in detail["shape_signature"]],
        "dtype": np.dtype(detail["dtype"]).name,
        "scales": [float(scale) for scale in parameters["scales"]],
        "zero_points": [int(point) for point in parameters["zero_points"]],
        # From TensorFlow 2.21 on, `block_size` is one of them.
        "numbers": {
            key: int(value)
            for key, value in parameters.items()
            if key not in ("scales", "zero_points")
        },
    }
