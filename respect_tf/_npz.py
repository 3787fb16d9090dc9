"""Arrays in numpy's file formats, from anywhere: read without pickle, written in one go."""

from __future__ import annotations

import contextlib
import io
import math
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from respect_tf._archive import Archive, ArchiveError
from respect_tf._errors import PolicyFileError
from respect_tf._files import replacing

Array = npt.NDArray[Any]

NUMBERS = "biuf"
"""Kinds of numpy's types."""

# What weights or labels may unpack to, whatever their size: the weights that the package comes with
# unpack to 0.6 MB, a file of 500 labels to 80 KB.
_FREE_BYTES = 64 * 2**20
_SUFFIX = ".npy"
# What numpy raises for damaged headers, which it reads as Python literals. Of 30,000 mutants of
# three files none raised anything else.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,  # from the parser, for literals nested too deeply
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
)


class ArrayError(ValueError):
    """What is wrong with an array, as a part of a sentence. Callers say which file it is in."""


def read_array(file: BinaryIO, size: int, *, kinds: str = NUMBERS) -> Array:
    """Read what `numpy.save` wrote. Nothing is unpickled.

    Args:
        file: From the array's header to its end.
        size: Bytes that it has.
        kinds: Kinds of elements that it may hold.

    Raises:
        ArrayError: It holds others, or its header does not agree with the bytes that follow.
    """
    try:
        shape, column_major, dtype = _read_header(file)
    except _DAMAGE as error:
        raise ArrayError(
            f"its header is damaged ({type(error).__name__}: {str(error)[:200]})"
        ) from error
    if dtype.kind not in kinds or not dtype.itemsize:
        raise ArrayError(f"it holds elements of the type {str(dtype)[:100]}")
    left = size - file.tell()
    expected = math.prod(shape) * dtype.itemsize
    if any(length < 0 for length in shape) or left != expected:
        raise ArrayError(
            f"its header says {str(list(shape))[:100]} of {dtype}, {expected:,} bytes, and "
            f"{left:,} follow"
        )
    data = np.frombuffer(bytearray(file.read(expected)), dtype)
    return data.reshape(shape, order="F" if column_major else "C")


def _read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether the first axis runs fastest, and dtype."""
    numpy_format: Any = np.lib.format
    version = numpy_format.read_magic(file)
    if version == (1, 0):
        header = numpy_format.read_array_header_1_0(file)
    elif version == (2, 0):
        header = numpy_format.read_array_header_2_0(file)
    else:  # 3.0 is for names of fields, which arrays of numbers have none of
        raise ValueError(f"version {version} of the format, expected 1.0 or 2.0")
    return header  # type: ignore[no-any-return]


def read_arrays(file: BinaryIO, *, free_bytes: int, kinds: str = NUMBERS) -> dict[str, Array]:
    """Read what `numpy.savez` wrote, by name: see `Archive` and `read_array`.

    Raises:
        ArrayError: See `read_array`.
        ArchiveError: It is damaged, or unpacks to more than its size lets expect.
    """
    arrays = {}
    archive = Archive(file, free_bytes=free_bytes)
    for member in archive.members():
        content = archive.read(member.name)
        name = member.name.removesuffix(_SUFFIX)
        if name in arrays:
            raise ArrayError(f"it holds '{name}' twice")
        try:
            arrays[name] = read_array(io.BytesIO(content), len(content), kinds=kinds)
        except ArrayError as error:
            raise ArrayError(f"'{name}' in it cannot be read: {error}") from error
    return arrays


def read_npz(path: Path, purpose: str) -> dict[str, Array]:
    """Read what `write_npz` wrote.

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
        try:
            return read_arrays(file, free_bytes=_FREE_BYTES, kinds=NUMBERS + "U")
        except (ArchiveError, ArrayError) as error:
            raise damaged(path, purpose, str(error)) from error


def damaged(path: Path, purpose: str, reason: str) -> PolicyFileError:
    """The error for a file that does not hold what it should."""
    return PolicyFileError(
        f"{path} is no file of {purpose}, or damaged: {reason}. Expected what respect_tf writes; "
        "make it again, or install the package again if it came with that."
    )


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays, text among them. The same ones give the same bytes.

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
