"""Files of arrays: written in one go, read without pickle."""

from __future__ import annotations

import contextlib
import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from respect_tf._errors import PolicyFileError
from respect_tf._files import replacing

Arrays = dict[str, npt.NDArray[Any]]

# What a file may always unpack to, and beyond that how many times its own size: the weights that
# the package comes with have 0.5 MB and unpack to 0.6, files of labels to 2.6 times their 3 KB.
_FREE_BYTES = 64 * 2**20
_RATIO = 100
# What zipfile, zlib and numpy raise for damaged files; numpy reads headers as Python literals.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def write_npz(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays into one file, which is there as a whole or not at all.

    Raises:
        PolicyFileError: It cannot be written.
    """
    content = io.BytesIO()
    # Typed away because an array called "file" would be taken for an argument.
    np.savez_compressed(content, **{name: arrays[name] for name in sorted(arrays)})  # type: ignore[arg-type, unused-ignore]
    with written(path) as partial:
        partial.write_bytes(content.getvalue())


@contextlib.contextmanager
def written(path: Path) -> Iterator[Path]:
    """A path to write in the block, which becomes the file at its end.

    Raises:
        PolicyFileError: It cannot be written.
    """
    try:
        with replacing(path.resolve()) as partial:
            yield partial
    except OSError as error:
        raise PolicyFileError(
            f"{path} cannot be written: {error.strerror or error}. Choose another path, or free "
            "some space."
        ) from error


def read_npz(path: Path, purpose: str) -> Arrays:
    """Read arrays.

    Args:
        path: The file.
        purpose: What it should hold, for the message of an error.

    Raises:
        PolicyFileError: The file is damaged.
        FileNotFoundError: There is none.
    """
    if path.exists() and not path.is_file():
        raise damaged(path, purpose, "it is no regular file")
    with path.open("rb") as file:
        left = max(_FREE_BYTES, _RATIO * path.stat().st_size)
        arrays: Arrays = {}
        try:
            with zipfile.ZipFile(file) as archive:
                for info in archive.infolist():
                    content = _unpacked(archive, info, left)
                    left -= len(content)
                    arrays[info.filename.removesuffix(".npy")] = _array(content)
        except _DAMAGE as error:
            raise damaged(path, purpose, f"{type(error).__name__}: {str(error)[:200]}") from error
    return arrays


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    """A member of at most so many bytes, whatever the archive says of its size."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"'{info.filename}' is packed by another method than numpy uses")
    with archive.open(info) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it unpacks to more than {_FREE_BYTES} bytes and {_RATIO} times its size")
    return content


def _array(content: bytes) -> npt.NDArray[Any]:
    """An array in numpy's own format, whose header fits what follows it."""
    numpy_format: Any = np.lib.format
    file = io.BytesIO(content)
    if numpy_format.read_magic(file) != (1, 0):
        raise ValueError("its header is of another version than 1.0")
    shape, column_major, dtype = numpy_format.read_array_header_1_0(file)
    left = len(content) - file.tell()
    if dtype.kind not in "biufU" or min(shape, default=0) < 0:
        raise ValueError(f"it holds {str(dtype)[:100]} of the shape {str(shape)[:100]}")
    if math.prod(shape) * dtype.itemsize != left:
        raise ValueError(f"{left} bytes follow a header that promises {str(shape)[:100]} {dtype}")
    data = np.frombuffer(bytearray(file.read()), dtype) if left else np.zeros(0, dtype)
    array: npt.NDArray[Any] = data.reshape(shape, order="F" if column_major else "C")
    return array


def damaged(path: Path, purpose: str, reason: str) -> PolicyFileError:
    """The error for a file that does not hold what it should."""
    return PolicyFileError(
        f"{path} is no file of {purpose}, or damaged: {reason}. Expected what respect_tf writes; "
        "make it again, or install the package again if it came with that."
    )
