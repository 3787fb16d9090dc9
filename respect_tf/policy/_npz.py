"""Files of arrays: written in one go, read without pickle."""

from __future__ import annotations

import contextlib
import io
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
    content = path.read_bytes()
    try:
        file = np.load(io.BytesIO(content), allow_pickle=False)
        if not isinstance(file, np.ndarray):
            return {name: file[name] for name in file.files}
    # What numpy and the modules that it reads with raise for damaged files.
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        SyntaxError,
        NotImplementedError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise damaged(path, purpose, f"{type(error).__name__}: {error}") from error
    raise damaged(path, purpose, "it holds one array only")


def damaged(path: Path, purpose: str, reason: str) -> PolicyFileError:
    """The error for a file that does not hold what it should."""
    return PolicyFileError(
        f"{path} is no file of {purpose}, or damaged: {reason}. Expected what respect_tf writes; "
        "make it again, or install the package again if it came with that."
    )
