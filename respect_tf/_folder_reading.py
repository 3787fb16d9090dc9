"""Reading saved folders, of which nothing is trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from respect_tf._errors import SavedPipelineError
from respect_tf._fields import FieldError
from respect_tf._files import read_regular
from respect_tf._manifest_schema import MANIFEST, MOST_MANIFEST_BYTES, parse_manifest

MOST_FILE_BYTES = 2**31
"""The largest file of a folder that is read: FlatBuffers, and so models, end at 2 GiB."""


def read_manifest(path: Path, folder: int | None = None) -> dict[str, Any]:
    """The checked manifest of a folder.

    Args:
        path: The folder, for reading and for errors.
        folder: Its descriptor, where it is open.

    Raises:
        SavedPipelineError: There is none, or it is not ours.
    """
    where = path / MANIFEST
    try:
        name = where if folder is None else Path(MANIFEST)
        content = read_regular(name, most=MOST_MANIFEST_BYTES, folder=folder)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SavedPipelineError(
            f"'{path}' holds no {MANIFEST}, so it is no saved pipeline. Expected a folder that "
            "Pipeline.save() or 'respect-tf convert' wrote."
        ) from error
    except OSError as error:
        raise SavedPipelineError(
            f"'{where}' cannot be read: {error.strerror or error}. Copy the folder again or "
            "convert again."
        ) from error
    try:
        return parse_manifest(content)
    except FieldError as error:
        raise SavedPipelineError(
            f"'{where}' is damaged and cannot be read. {error} Copy the folder again or "
            "convert again."
        ) from error


def read_listed(path: Path, hashes: Mapping[str, str], folder: int) -> dict[str, bytes]:
    """The files that a manifest lists: exactly the bytes that it has the hashes of.

    Args:
        path: The folder, for errors.
        hashes: Name -> SHA-256.
        folder: The folder's descriptor.

    Raises:
        SavedPipelineError: A file is missing, was changed, or is no regular file.
    """
    contents = {}
    for name, expected in hashes.items():
        try:
            content = read_regular(Path(name), most=MOST_FILE_BYTES, folder=folder)
        except OSError as error:
            raise SavedPipelineError(
                f"'{path / name}' cannot be read: {error.strerror or error}. The folder is "
                "incomplete; copy it again or convert again."
            ) from error
        received = hashlib.sha256(content).hexdigest()
        if received != expected:
            raise SavedPipelineError(
                f"'{path / name}' was changed after it was saved. Expected SHA-256 {expected}. "
                f"Received: {received}. Copy the folder again or convert again."
            )
        contents[name] = content
    return contents
