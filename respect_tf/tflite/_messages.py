"""How this process and its workers talk: lines of JSON, and arrays in memory that both see.

Nothing is pickled: what comes back from a worker that ran a hostile file is read as data.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import InterpreterError

Array = npt.NDArray[Any]
Message = dict[str, Any]

_LENGTH = struct.Struct("<I")
_MOST_BYTES = 2**26  # of one message; a model with 100,000 outputs describes them in half of it
_MOST_FILES = 4
_READ_BYTES = 2**13  # at once: most messages have a few hundred
_TIME = struct.Struct("@ll")  # a `timeval`
_ALIGNMENT = 64  # bytes, a cache line
_KINDS = "biufc"  # of numpy types that are plain numbers


class Connection:
    """One end of a socket on which messages go back and forth, one at a time.

    It is written for little work, which is done with cold caches after each inference: few system
    calls, and a message that is the one before again is neither written nor read anew.
    """

    def __init__(self, end: socket.socket, *, takes_files: bool = False) -> None:
        """Take over a socket of the kind that `socket.socketpair` gives.

        Args:
            end: The socket.
            takes_files: Whether open files may come with a message.
        """
        self._socket = end
        self._takes_files = takes_files
        self._timeout: float | None = None
        self._left = b""  # of what was received
        self._sent: tuple[Mapping[str, Any], bytes] = ({}, _encoded({}))
        self._received: tuple[bytes, Message] = (b"{}", {})

    def send(self, message: Mapping[str, Any], files: Sequence[int] = ()) -> None:
        """Send a message, and open files with it.

        Raises:
            OSError: The other end is closed.
        """
        if message is not self._sent[0] and message != self._sent[0]:
            self._sent = message, _encoded(message)
        content = self._sent[1]
        # Files travel with the first byte.
        sent = socket.send_fds(self._socket, [content], list(files)) if files else 0
        self._socket.sendall(content[sent:])

    def receive(self, *, timeout: float | None = None) -> tuple[Message, list[int]]:
        """The next message, not to be changed, and the files that came with it.

        Args:
            timeout: Seconds to wait; None for ever.

        Raises:
            EOFError: The other end is closed.
            TimeoutError: Nothing came in time.
            OSError: The connection is broken.
            ValueError: What came is no message.
        """
        if timeout != self._timeout:
            self._set_timeout(timeout)
        received, self._left = bytearray(self._left), b""
        files: list[int] = []
        needed = _LENGTH.size
        while len(received) < needed:
            received += self._take(files)
            if needed == _LENGTH.size and len(received) >= needed:
                (length,) = _LENGTH.unpack_from(received)
                if length > _MOST_BYTES:
                    raise ValueError(f"a message of {length} bytes")
                needed += length
        self._left = bytes(received[needed:])
        body = bytes(received[_LENGTH.size : needed])
        if body != self._received[0]:
            message = json.loads(body)
            if not isinstance(message, dict):
                raise ValueError("no object")
            self._received = body, message
        return self._received[1], files

    def close(self) -> None:
        """Close this end; the other one notices."""
        self._socket.close()

    def _take(self, files: list[int]) -> bytes:
        """What has come; files are appended to the list."""
        try:
            if self._takes_files:
                part, some, _, _ = socket.recv_fds(
                    self._socket, _READ_BYTES, _MOST_FILES, socket.MSG_CMSG_CLOEXEC
                )
                files += some
            else:
                part = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            raise TimeoutError from None
        if not part:
            raise EOFError
        return part

    def _set_timeout(self, timeout: float | None) -> None:
        """Let the kernel keep the time, which saves asking it before each call."""
        microseconds = 0 if timeout is None else max(1, int(timeout * 1e6))
        value = _TIME.pack(*divmod(microseconds, 10**6))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
        self._timeout = timeout


def _encoded(message: Mapping[str, Any]) -> bytes:
    body = json.dumps(message).encode()
    return _LENGTH.pack(len(body)) + body


class SharedArrays:
    """Memory that two processes see, for the arrays of one message at a time.

    It is a file in memory without a name: it goes when both have dropped it, however they end, and
    no resource tracker has to know of it.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        """Map a file made by `memory_file`; the descriptor may be closed afterwards."""
        self.size = size
        self._memory = mmap.mmap(descriptor, size)
        self._seconds: npt.NDArray[np.float64] = np.ndarray((1,), np.float64, self._memory)
        # Places and arrays: those written last, and those looked at last.
        self._written: tuple[list[list[Any]], list[Array]] = [], []
        self._viewed: tuple[list[list[Any]], list[Array]] = [], []

    @property
    def seconds(self) -> float:
        """A time that goes with the arrays, so that messages stay what they are."""
        return float(self._seconds[0])

    @seconds.setter
    def seconds(self, value: float) -> None:
        self._seconds[0] = value

    def has_room(self, arrays: Sequence[Array]) -> bool:
        """Whether some arrays fit in."""
        return self._are_like_the_last(arrays) or space_for(arrays) <= self.size

    def write(self, arrays: Sequence[Array]) -> list[list[Any]]:
        """Copy arrays into it; returns their places, type, shape and offset of each.

        For arrays like those before, that is the same list.

        Raises:
            InterpreterError: They are no numbers.
        """
        if not self._are_like_the_last(arrays):
            for array in arrays:
                if array.dtype.kind not in _KINDS:
                    raise InterpreterError(f"A tensor of the type {array.dtype} is no number.")
            offset = _ALIGNMENT  # behind the time
            places: list[list[Any]] = []
            for array in arrays:
                places.append([array.dtype.str, list(array.shape), offset])
                offset = _aligned(offset + array.nbytes)
            self._written = places, self.views(places)
        for view, array in zip(self._written[1], arrays, strict=True):
            view[...] = array
        return self._written[0]

    def views(self, places: list[list[Any]]) -> list[Array]:
        """The arrays at some places, as they lie there.

        Raises:
            TypeError, ValueError: There are no such places.
        """
        if places is self._viewed[0]:
            return self._viewed[1]
        views = []
        for kind, shape, offset in places:
            dtype = np.dtype(kind)
            if dtype.kind not in _KINDS or min(shape, default=0) < 0 or offset < 0:
                raise ValueError(f"no array of numbers: {kind} {shape} at {offset}")
            view: Array = np.ndarray(tuple(shape), dtype, self._memory, offset)
            views.append(view)
        self._viewed = places, views
        return views

    def _are_like_the_last(self, arrays: Sequence[Array]) -> bool:
        """Whether arrays have the shapes and types of those written last."""
        last = self._written[1]
        return len(arrays) == len(last) and all(
            array.shape == view.shape and array.dtype == view.dtype
            for array, view in zip(arrays, last, strict=True)
        )


def space_for(arrays: Sequence[Array]) -> int:
    """Bytes that `SharedArrays` needs for some arrays."""
    return _ALIGNMENT + sum(_aligned(array.nbytes) for array in arrays)


def memory_file(name: str, size: int = 0) -> int:
    """The descriptor of a new file in memory without a name.

    Args:
        name: What /proc shows.
        size: Bytes; it can neither grow nor shrink then. A file that another process could cut
            short would kill us when we read what is mapped.
    """
    if size == 0:
        return os.memfd_create(name)
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
