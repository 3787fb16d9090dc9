"""Inference for other processes, on a Unix socket: arrays in, arrays out, nothing else.

Requests of one connection are answered in their order, and several may be under way.
"""

from __future__ import annotations

import collections
import contextlib
import os
import queue
import socket
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from respect_tf.run.script._folder import Failure, fitting, results_of
from respect_tf.run.script._wire import (
    HEADER_BYTES,
    ProtocolError,
    array_message,
    error_message,
    receive_arrays,
)

_WIDEST = 8  # bytes of float64, the widest type that a sample may come in
_MOST_CONNECTIONS = 32
_UNDER_WAY = 16  # requests of one connection that may wait for their answers


class Server:
    """Answers requests with a running pipeline."""

    def __init__(
        self,
        push: Callable[[dict[str, Any]], Any],
        pop: Callable[[], dict[str, Any] | None],
        inputs: Sequence[Mapping[str, Any]],
        outputs: Sequence[Mapping[str, Any]],
    ) -> None:
        """Take note of the pipeline; `serve` begins.

        Args:
            push: Hands in a sample by the names in the first segment's file; raises what fails.
            pop: The next result, in order.
            inputs: The model's inputs, as in the manifest.
            outputs: Its outputs.
        """
        self._push = push
        self._pop = pop
        self._inputs = inputs
        self._outputs = outputs
        self._lock = threading.Lock()  # pushed in the order in which answers are waited for
        self._waiting: collections.deque[tuple[queue.SimpleQueue[Any], bool]] = collections.deque()
        self._connections: set[socket.socket] = set()
        self._stopped = threading.Event()
        self.failure: BaseException | None = None

    def serve(self, listener: socket.socket) -> None:
        """Accept connections until the pipeline fails or `stop` is called."""
        threading.Thread(target=self._answer, name="answers", daemon=True).start()
        listener.settimeout(0.05)  # how soon it sees that it is to stop
        with listener:
            while not self._stopped.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                connection.settimeout(None)
                if len(self._connections) >= _MOST_CONNECTIONS:
                    with connection, contextlib.suppress(OSError):
                        connection.sendall(error_message("too many connections"))
                    continue
                self._connections.add(connection)
                threading.Thread(
                    target=self._attend, args=(connection,), name="client", daemon=True
                ).start()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        if self.failure is not None:
            raise self.failure

    def stop(self) -> None:
        """End `serve`."""
        self._stopped.set()

    def _answer(self) -> None:
        """Hand each result to who waits for it."""
        try:
            while not self._stopped.is_set():
                result = self._pop()
                if result is None:
                    break
                answers, real = self._waiting.popleft()
                found = results_of(self._outputs, result, real=real)
                answers.put(array_message(list(found.values())))
        except Exception as error:  # raised by `serve`
            self.failure = error
        self._stopped.set()
        with self._lock:
            while self._waiting:
                self._waiting.popleft()[0].put(error_message(f"{self.failure or 'stopped'}"))

    def _attend(self, connection: socket.socket) -> None:
        """Read a connection's requests; another thread writes the answers."""
        answers: queue.Queue[queue.SimpleQueue[Any] | None] = queue.Queue(_UNDER_WAY)
        writer = threading.Thread(
            target=_write_answers, args=(connection, answers), name="client answers", daemon=True
        )
        writer.start()
        try:
            while True:
                answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
                try:
                    sample, real = self._request(connection)
                except Failure as error:  # a sample that does not fit; the next one may
                    answer.put(error_message(str(error)))
                    answers.put(answer)
                    continue
                with self._lock:
                    if self._stopped.is_set():
                        break
                    self._waiting.append((answer, real))
                    try:
                        self._push(sample)
                    except Exception as error:  # told to the client; `_answer` finds it as well
                        self._waiting.pop()
                        answer.put(error_message(str(error)))
                answers.put(answer)
        except (EOFError, OSError):
            pass  # the client is gone
        except ProtocolError as error:
            answer = queue.SimpleQueue()
            answer.put(error_message(str(error)))
            answers.put(answer)
        finally:
            answers.put(None)
            writer.join()
            self._connections.discard(connection)
            connection.close()

    def _request(self, connection: socket.socket) -> tuple[dict[str, Any], bool]:
        wanted = [HEADER_BYTES + _WIDEST * int(np.prod(spec["shape"])) for spec in self._inputs]
        arrays = receive_arrays(connection, wanted)
        sample = {
            spec["runner_name"]: fitting(array, spec) for spec, array in zip(self._inputs, arrays)
        }
        return sample, any(array.dtype.kind == "f" for array in arrays)


def _write_answers(
    connection: socket.socket, answers: queue.Queue[queue.SimpleQueue[Any] | None]
) -> None:
    while (answer := answers.get()) is not None:
        with contextlib.suppress(OSError):  # the client is gone; what it asked for is dropped
            connection.sendall(answer.get())


def open_listener(address: str) -> socket.socket:
    """A socket that listens, for this user alone.

    Args:
        address: A path, or "tcp:PORT" for a port of this machine that others cannot reach.

    Raises:
        Failure: It cannot be had.
    """
    try:
        if address.startswith("tcp:"):
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", int(address[4:])))
        else:
            _remove_dead(Path(address))
            listener = socket.socket(socket.AF_UNIX)
            before = os.umask(0o177)
            try:
                listener.bind(address)
            finally:
                os.umask(before)
        listener.listen(8)
    except (OSError, ValueError, OverflowError) as error:
        raise Failure(f"{address} cannot be listened at: {error}") from error
    return listener


def _remove_dead(path: Path) -> None:
    """Remove a socket that nobody listens at any more."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise Failure(f"{path} is there already and is no socket: choose another name.")
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                path.unlink()
                return
        raise Failure(f"Another process serves at {path}.")
