"""Arrays on a socket.

A message is a number of arrays and then each as an .npy file with its length before it; all numbers
are unsigned, 4 bytes, little-endian. A request has the model's inputs in the order of
`pipeline.json`, the answer its outputs. Where the number is 2**32 - 1, one text follows: an error.
"""

from __future__ import annotations

import ast
import io
import math
import socket
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from respect_tf.run.script._folder import Failure

FAILED = 2**32 - 1
HEADER_BYTES = 4096  # of an .npy file; numpy writes 128 for a plain array
_MOST_TEXT = 65536
_SECONDS = 30.0  # for the rest of a message whose beginning is there


class ProtocolError(Exception):
    """A message is none of this protocol."""


class Client:
    """Asks a server for results; from any Python with numpy, as `run_pipeline.Client`."""

    def __init__(self, address: str) -> None:
        """Connect.

        Args:
            address: Path of the socket, or "tcp:PORT".
        """
        if address.startswith("tcp:"):
            self._socket = socket.create_connection(("127.0.0.1", int(address[4:])))
        else:
            self._socket = socket.socket(socket.AF_UNIX)
            try:
                self._socket.connect(address)
            except OSError:
                self._socket.close()
                raise

    def send(self, *inputs: Any) -> None:
        """Send one sample, an array per input; floats are quantised, and answered in floats."""
        self._socket.sendall(array_message([np.asarray(array) for array in inputs]))

    def receive(self) -> list[Any]:
        """The next answer, an array per output."""
        return receive_arrays(self._socket, None)

    def __call__(self, *inputs: Any) -> list[Any]:
        """Send one sample and wait for its answer."""
        self.send(*inputs)
        return self.receive()

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def receive_arrays(connection: socket.socket, limits: Sequence[int] | None) -> list[Any]:
    """A message's arrays.

    Args:
        connection: Where it comes from.
        limits: Of each array that is expected, the most bytes; None for any of either.

    Raises:
        EOFError: The other end is closed.
        ProtocolError: It is no such message, or too large.
        Failure: It is an error.
    """
    connection.settimeout(None)
    first = connection.recv(1)
    if not first:
        raise EOFError
    connection.settimeout(_SECONDS)
    (count,) = struct.unpack("<I", first + _receive(connection, 3))
    if count == FAILED:
        text = _receive(connection, min(_length(connection), _MOST_TEXT))
        raise Failure(text.decode("utf-8", "replace"))
    if (limits is not None and count != len(limits)) or count > 1024:
        raise ProtocolError(f"expected {len(limits or ())} arrays, received {count}")
    arrays = []
    for index in range(count):
        length = _length(connection)
        if limits is not None and length > limits[index]:
            raise ProtocolError(f"array {index} has {length} bytes, at most {limits[index]} fit")
        arrays.append(parse_npy(_receive(connection, length)))
    return arrays


def _length(connection: socket.socket) -> int:
    return int(struct.unpack("<I", _receive(connection, 4))[0])


def _receive(connection: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(min(count - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def parse_npy(content: bytes) -> Any:
    """An array from the bytes of an .npy file, of plain numbers alone.

    Raises:
        ProtocolError: It is none.
    """
    if content[:6] != b"\x93NUMPY" or content[6:8] not in (b"\1\0", b"\2\0"):
        raise ProtocolError("no .npy file of version 1 or 2")
    start = 10 if content[6] == 1 else 12
    end = start + int.from_bytes(content[8:start], "little")
    if end - start > HEADER_BYTES:
        raise ProtocolError(f"an .npy header of {end - start} bytes")
    try:
        header = ast.literal_eval(content[start:end].decode("latin-1").strip())
        dtype, shape = np.dtype(header["descr"]), tuple(header["shape"])
        fits = isinstance(header["descr"], str) and all(type(n) is int and n >= 0 for n in shape)
        order: Any = "F" if header["fortran_order"] else "C"
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise ProtocolError(f"no header of an .npy file: {type(error).__name__}") from error
    if not fits or dtype.kind not in "iufb" or len(shape) > 8:
        raise ProtocolError(f"expected an array of numbers, received {dtype} {shape}")
    if math.prod(shape) * dtype.itemsize != len(content) - end:
        raise ProtocolError(f"the shape {shape} of {dtype} does not fit {len(content) - end} bytes")
    return np.frombuffer(content, dtype, offset=end).reshape(shape, order=order)


def array_message(arrays: Sequence[Any]) -> bytes:
    parts = [struct.pack("<I", len(arrays))]
    for array in arrays:
        file = io.BytesIO()
        np.save(file, array, allow_pickle=False)
        parts += [struct.pack("<I", file.tell()), file.getvalue()]
    return b"".join(parts)


def error_message(said: str) -> bytes:
    text = said.encode("utf-8", "backslashreplace")[:_MOST_TEXT]
    return struct.pack("<II", FAILED, len(text)) + text
