"""Files of samples, `.npy` and `.npz`: numbers alone, and no more than the file lets expect."""

from __future__ import annotations

from pathlib import Path

from respect_tf._archive import ArchiveError
from respect_tf._errors import ArgumentError
from respect_tf._npz import Array, ArrayError, read_array, read_arrays

# A thousand images of 224 x 224 in 8 bit, or 850 in floats.
_FREE_BYTES = 512 * 2**20
_ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")


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
                return read_arrays(file, free_bytes=_FREE_BYTES)
            return read_array(file, path.stat().st_size)
    except OSError as error:
        raise ArgumentError(f"'{path}' cannot be read: {error}.") from error
    except (ArchiveError, ArrayError) as error:
        raise ArgumentError(
            f"'{path}' cannot be read as an .npy or .npz file: {error}. Expected numbers, as "
            "numpy.save and numpy.savez write them: make it again, or convert other elements "
            "first, for example with array.astype('float32')."
        ) from error
