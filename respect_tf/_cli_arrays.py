"""Files of arrays that commands read and write."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import click

from respect_tf._errors import ArgumentError


def read_arrays(path: Path) -> Any:
    """Samples in a file that the command line names."""
    from respect_tf._sample_files import read_samples

    try:
        return read_samples(path)
    except ArgumentError as error:
        raise click.BadParameter(str(error)) from error


def save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write outputs by name into the file that the command line names."""
    import numpy as np

    from respect_tf._files import write_file

    content = io.BytesIO()
    if path.suffix == ".npz":
        # Not `savez`, which takes names for arguments: an output may be called "file".
        with zipfile.ZipFile(content, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)  # type: ignore[no-untyped-call, unused-ignore]
    elif path.suffix == ".npy" and len(arrays) == 1:
        np.save(content, next(iter(arrays.values())), allow_pickle=False)
    else:
        raise click.BadParameter(
            f"The pipeline has the outputs {', '.join(arrays)}. Expected a file named .npz"
            f"{' or .npy' if len(arrays) == 1 else ''}. Received: '{path}'."
        )
    write_file(path, content.getvalue())
