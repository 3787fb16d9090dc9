"""Processes that do for us what might crash or hang: run models, open files.

`start_worker` gives one. What it is asked ends with an answer or with `WorkerLostError`, within the
limits of the call. No worker outlives this process, however that ends, and its end waits for none
of them. A process that is forked from this one makes workers of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal, get_args

from respect_tf._errors import InterpreterError
from respect_tf.tflite._messages import Connection, Message, memory_file
from respect_tf.tflite._worker_limits import SECONDS_VARIABLE, Limits

Kind = Literal["models", "functions", "tensorflow"]


_START_SECONDS = 120.0  # to import the interpreter: 0.2 s here, a minute from a cold network disk
_CONTROL_SECONDS = 30.0  # for the keeper's answer when a worker is to end: it gives up after 5 s
_CHATTER_BYTES = 2**20  # what a worker may write there
_SHOWN = 200  # characters of its last line
_EXIT_SECONDS = 3.0  # that this process's end may wait for the keeper's, which takes milliseconds

_BOOT = (
    "import sys; _, descriptor, kind, *sys.path = sys.argv; "
    "from respect_tf.tflite._worker_main import main; main(int(descriptor), kind)"
)


class WorkerLostError(Exception):
    """A worker has ended, or was ended; the message says of what, after "the worker ..."."""


class WorkerGoneError(WorkerLostError):
    """A worker had ended before it was asked, so it is not the call's fault."""


class Worker:
    """One process that answers one call after the other."""

    def __init__(self, keeper: _Keeper, ours: socket.socket, chatter: IO[bytes]) -> None:
        """Take note of a process; `start_worker` starts one."""
        self.pid = 0
        self._keeper = keeper
        self._connection_to_keeper: Connection | None = None
        self._number = -1
        self._connection = Connection(ours)
        self._chatter = chatter

    def ask(self, message: Mapping[str, Any], limits: Limits, files: Sequence[int] = ()) -> Message:
        """Send a message, which says the limits that the worker keeps, and wait for the answer.

        Raises:
            WorkerGoneError: The process had ended before.
            WorkerLostError: The process died, or took too long and was ended.
        """
        try:
            self._connection.send(message, files)
        except OSError:
            cause = self._cause(self._keeper.end(self), limits)
            self.close()
            raise WorkerGoneError(cause) from None
        try:
            reply, _ = self._connection.receive(timeout=limits.wall_seconds)
        except TimeoutError:
            self.kill()
            raise WorkerLostError(
                f"did not finish within {limits.wall_seconds:g} s; set the environment variable "
                f"{SECONDS_VARIABLE} if it needs more"
                if limits.cpu_seconds is not None
                else f"did not finish within {limits.wall_seconds:g} s"
            ) from None
        except (EOFError, OSError, ValueError):
            # It says nothing any more, or nonsense, after which nothing that it says counts.
            cause = self._cause(self._keeper.end(self), limits)
            self.close()
            raise WorkerLostError(cause) from None
        except BaseException:
            # Ctrl-C: an answer that is still to come would be taken for that to the next call.
            self.kill()
            raise
        return reply

    def _started(self, connection: Connection, reply: Message) -> None:
        """Take note of what the keeper says of it."""
        if "error" in reply:
            raise InterpreterError(
                f"No process can be started for a model from elsewhere: {reply['error']}. Close "
                "interpreters and runners that are not needed any more."
            )
        self._number, self.pid = int(reply["worker"]), int(reply["pid"])
        self._connection_to_keeper = connection

    def kill(self) -> None:
        """End the process, from any thread; a thread that asks it something gets the error."""
        self._keeper.end(self)
        self.close()

    def close(self) -> None:
        """Let go of the process, which ends when it sees that; waits for nothing."""
        self._connection.close()
        self._chatter.close()

    def _cause(self, status: int | None, limits: Limits) -> str:
        """What a process died of, in words."""
        words = _last_words(self._chatter)
        said = f"; it said: {words}" if words else ""
        if status is None:
            return f"was ended from outside{said}"
        if status == -signal.SIGPROF and limits.cpu_seconds is not None:
            return (
                f"did not finish within {limits.cpu_seconds:g} s of the processor's time (signal "
                f"SIGPROF); set the environment variable {SECONDS_VARIABLE} if it needs more"
            )
        if status >= 0:
            return f"ended with exit status {status}{said}"
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = str(-status)
        if status == -signal.SIGKILL:
            said = f", from outside or because the machine had no memory left{said}"
        return f"died of signal {name}{said}"


class _Keeper:
    """The process that forks workers and waits for them; started when it is first needed."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._lock = threading.Lock()  # one request and its answer at a time
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._chatter: IO[bytes] | None = None

    def start_worker(self) -> Worker:
        """A new worker.

        Raises:
            InterpreterError: No process can be started.
        """
        failure = ""
        with self._lock:
            for _ in range(2):
                try:
                    return self._start_worker()
                except (EOFError, OSError, ValueError) as error:
                    # A keeper that somebody ended is replaced, once.
                    failure = self._stop() or str(error) or "it ended at once"
                except InterpreterError:
                    raise  # the keeper is well, and so are its other workers
                except BaseException:
                    self._stop()  # Ctrl-C: its answer would be taken for the next one's
                    raise
        raise InterpreterError(
            f"The process that runs models from elsewhere cannot be started: {failure}. Expected "
            f"Python at '{sys.executable}' with TensorFlow, and room for one more process."
        )

    def end(self, worker: Worker) -> int | None:
        """Kill a worker if it lives; its exit status, None where that cannot be known."""
        with self._lock:
            if self._connection is None or worker._connection_to_keeper is not self._connection:
                return None  # another keeper's, with which it has died
            try:
                self._connection.send({"do": "end", "worker": worker._number})
                reply, _ = self._connection.receive(timeout=_CONTROL_SECONDS)
            except (EOFError, OSError, ValueError):
                self._stop()  # and all of its workers die with it
                return None
            except BaseException:
                self._stop()  # Ctrl-C: its answer would be taken for the next one's
                raise
        status = reply.get("status")
        return status if isinstance(status, int) else None

    def stop(self) -> None:
        """End it, and so all of its workers, without waiting for long."""
        # This process ends: a thread that holds the lock is not waited for.
        held = self._lock.acquire(timeout=_EXIT_SECONDS)
        self._stop()
        if held:
            self._lock.release()

    def _start_worker(self) -> Worker:
        with contextlib.ExitStack() as undo:
            with _forking:
                connection = self._running()
                ours, theirs, chatter = _new_ends()
                worker = Worker(self, ours, chatter)
                undo.callback(worker.close)
                _workers.add(worker)
                with theirs:
                    connection.send({"do": "start"}, [theirs.fileno(), chatter.fileno()])
            reply, _ = connection.receive(timeout=_START_SECONDS)
            worker._started(connection, reply)
            undo.pop_all()
        return worker

    def _running(self) -> Connection:
        if self._process is None or self._connection is None or self._process.poll() is not None:
            self._stop()
            ours, theirs, self._chatter = _new_ends()
            self._connection = Connection(ours)
            command = [sys.executable or "python3", "-W", "ignore", "-c", _BOOT]
            paths = [path for path in sys.path if isinstance(path, str)]
            root = str(Path(__file__).parents[2])
            # A session of its own: Ctrl-C at the terminal is ours to handle.
            with theirs:
                self._process = subprocess.Popen(
                    [*command, str(theirs.fileno()), self._kind, *paths, root],
                    stdin=subprocess.DEVNULL,
                    stdout=self._chatter,
                    stderr=self._chatter,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                    env={**os.environ, **_ENVIRONMENT, "GLIBC_TUNABLES": _tunables()},
                )
        return self._connection

    def _stop(self) -> str:
        """Be without a process; what it said last."""
        process, connection, chatter = self._process, self._connection, self._chatter
        self._process = self._connection = self._chatter = None
        if connection is not None:
            connection.close()
        if process is not None:
            try:
                process.wait(_EXIT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_EXIT_SECONDS)
        if chatter is None:
            return ""
        with chatter:
            return _last_words(chatter)

    def _abandon(self) -> None:
        """In a forked process: it belongs to the other one."""
        if self._connection is not None:
            self._connection.close()
        if self._chatter is not None:
            self._chatter.close()
        if self._process is not None:
            self._process.returncode = 0  # it is not ours to wait for


def _new_ends() -> tuple[socket.socket, socket.socket, IO[bytes]]:
    """Both ends of a connection to a process, and a file in memory for its standard error."""
    try:
        ours, theirs = socket.socketpair()
        try:
            return ours, theirs, os.fdopen(memory_file("respect_tf chatter"), "rb")
        except BaseException:
            ours.close()
            theirs.close()
            raise
    except OSError as error:
        raise InterpreterError(
            f"No process can be started for a model from elsewhere: {error.strerror}. Close "
            "interpreters and runners that are not needed any more."
        ) from error


def _last_words(chatter: IO[bytes]) -> str:
    """The last line that a process wrote to its standard error before it ended."""
    try:
        content = os.pread(chatter.fileno(), _CHATTER_BYTES, 0)
    except (OSError, ValueError):  # it was closed
        return ""
    words = content.decode("utf-8", "replace").strip().splitlines()
    return words[-1].strip()[:_SHOWN] if words else ""


def _tunables() -> str:
    """Settings of the C library that make it notice a damaged heap.

    Without its cache per thread it checks every block that it is given back. The public file
    keyword_scrambled_8bit.tflite, which writes past its tensors, then dies at its first run in 80
    of 80 trials; with the cache it gave results in 69 of them, and died when it was unloaded.
    """
    given = os.environ.get("GLIBC_TUNABLES")
    return ":".join([*([given] if given else []), "glibc.malloc.tcache_count=0"])


# One thread each, which is all they use; TensorFlow's log level and no GPU, which they do not need.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
}

# Held while sockets are made and handed over, so that no fork copies one that nobody knows of yet:
# a copy in another process would keep us from seeing that a worker is gone.
_forking = threading.RLock()
_workers: weakref.WeakSet[Worker] = weakref.WeakSet()
_keepers: dict[Kind, _Keeper] = {}


def _new_keepers() -> None:
    _keepers.clear()
    _keepers.update({kind: _Keeper(kind) for kind in get_args(Kind)})


def start_worker(kind: Kind) -> Worker:
    """A new process for models, or for functions.

    Raises:
        InterpreterError: No process can be started.
    """
    return _keepers[kind].start_worker()


def _after_fork_in_child() -> None:
    _forking.release()
    for keeper in _keepers.values():
        keeper._abandon()
    for worker in list(_workers):
        worker.close()
    _workers.clear()
    _new_keepers()


def _stop_all() -> None:
    for keeper in _keepers.values():
        keeper.stop()


_new_keepers()
os.register_at_fork(
    before=_forking.acquire,
    after_in_parent=_forking.release,
    after_in_child=_after_fork_in_child,
)
atexit.register(_stop_all)
