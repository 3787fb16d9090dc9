"""Files of samples, `.npy` and `.npz`: numbers alone, and no more than the file lets expect."""

from __future__ import annotations

import io
import math
import tokenize
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from respect_tf._archive import Archive, ArchiveError
from respect_tf._errors import ArgumentError

Array = npt.NDArray[Any]

# A thousand images of 224 x 224 in 8 bit, or 850 in floats.
_FREE_BYTES = 512 * 2**20
_ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
_NPY_SUFFIX = ".npy"
# What numpy raises for damaged headers, which it reads as Python literals. Of 30,000 mutants of
# three files none raised anything else.
_DAMAGE = (
    ValueError,
    TypeError,
    KeyError,
    SyntaxError,
    tokenize.TokenError,
    EOFError,
    OverflowError,
    RecursionError,
    MemoryError,  # from the parser, for literals nested too deeply
)


def read_samples(path: Path) -> Array | dict[str, Array]:
    """Read the arrays that `numpy.save` or `numpy.savez` wrote. Nothing is unpickled.

    Args:
        path: The file; its content decides which of the two it is.

    Returns:
        The array of an .npy file, or those of an .npz file by name.

    Raises:
        ArgumentError: It is neither, holds Python objects, is damaged, or unpacks to more than its
            size lets expect.
    """
    try:
        if not path.is_file():
            raise ArgumentError(f"'{path}' is no regular file. Expected an .npy or .npz file.")
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            if start in _ZIP_SIGNATURES:
                return _read_archive(file, path)
            return _read_array(file, path.stat().st_size, f"'{path}'")
    except OSError as error:
        raise ArgumentError(f"'{path}' cannot be read: {error}.") from error


def _read_archive(file: BinaryIO, path: Path) -> dict[str, Array]:
    arrays = {}
    try:
        archive = Archive(file, free_bytes=_FREE_BYTES)
        for member in archive.members():
            content = archive.read(member.name)
            label = f"'{member.name.removesuffix(_NPY_SUFFIX)}' in '{path}'"
            arrays[member.name.removesuffix(_NPY_SUFFIX)] = _read_array(
                io.BytesIO(content), len(content), label
            )
    except ArchiveError as error:
        raise ArgumentError(
            f"'{path}' cannot be read as an .npz file: {error}. Expected what numpy.savez writes: "
            "make it again."
        ) from error
    return arrays


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


def _read_array(file: BinaryIO, size: int, label: str) -> Array:
    """An array whose header agrees with the bytes that follow it."""
    try:
        shape, column_major, dtype = _read_header(file)
    except _DAMAGE as error:
        raise ArgumentError(
            f"{label} is no .npy or .npz file of numbers, or damaged: {type(error).__name__}: "
            f"{str(error)[:200]}. Expected what numpy.save or numpy.savez writes: make it again."
        ) from error
    if dtype.hasobject or dtype.kind not in "biuf":
        raise ArgumentError(
            f"{label} holds elements of the type {str(dtype)[:100]}. Expected numbers: convert "
            "them first, for example with array.astype('float32')."
        )
    left = size - file.tell()
    expected = math.prod(shape) * dtype.itemsize
    if any(length < 0 for length in shape) or left != expected:
        raise ArgumentError(
            f"{label} is damaged: its header says {list(shape)} of {dtype}, {expected:,} bytes, "
            f"and {left:,} follow. Make it again."
        )
    data = np.frombuffer(bytearray(file.read(expected)), dtype)
    return data.reshape(shape, order="F" if column_major else "C")
