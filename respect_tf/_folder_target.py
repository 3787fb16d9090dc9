"""Whether a folder may be written: nothing but a saved pipeline is ever replaced."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from respect_tf._errors import SavedPipelineError
from respect_tf._fields import shown
from respect_tf._files import (
    read_regular,
)
from respect_tf._folder_reading import MOST_FILE_BYTES, read_manifest
from respect_tf._folder_repair import repair_beside
from respect_tf._manifest_schema import MANIFEST, compiled_names


def check_writable_target(
    folder: str | os.PathLike[str], *, overwrite: bool, names: Iterable[str] = ()
) -> Path:
    """The absolute path of a folder that may be written.

    Args:
        folder: The folder.
        overwrite: Whether a saved pipeline there may be replaced.
        names: Files that are about to be written, where they are known already.

    Raises:
        SavedPipelineError: Something is there that must not be replaced.
    """
    with _paths_checked(folder):
        return _writable(folder, set(names), overwrite=overwrite)[0]


@contextlib.contextmanager
def _paths_checked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Say what is wrong with a path that cannot even be looked at."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:  # NUL in a path; links in a circle
        if isinstance(error, SavedPipelineError):
            raise
        raise SavedPipelineError(
            f"The folder {os.fspath(folder)!r} cannot be written: "
            f"{getattr(error, 'strerror', None) or error}. Choose another one."
        ) from error


def _writable(
    folder: str | os.PathLike[str], names: set[str], *, overwrite: bool
) -> tuple[Path, list[str] | None]:
    """The absolute path of a folder that may be written, and what is to be kept of it.

    Returns:
        The path, and the names of the files that a saved pipeline there has beside its own; None if
        there is nothing to replace.
    """
    target = Path(folder).resolve()
    repair_beside(target)
    if not target.exists():
        return target, None
    if not target.is_dir():
        raise SavedPipelineError(f"'{target}' is a file. Expected the path of a folder to make.")
    if not any(target.iterdir()):
        return target, None
    if not overwrite:
        raise SavedPipelineError(
            f"The folder '{target}' exists. Choose another one, or pass overwrite=True "
            "(--overwrite) to replace it."
        )
    return target, _others(target, names)


def _others(target: Path, names: set[str]) -> list[str]:
    """Files in a saved pipeline that are not its own, and that a new one can keep.

    Raises:
        SavedPipelineError: It is no saved pipeline of ours in whole, or holds what can neither be
            replaced nor kept.
    """
    try:
        manifest = read_manifest(target)
    except SavedPipelineError as error:
        raise SavedPipelineError(
            f"The folder '{target}' is not replaced, not even with overwrite: {error} Choose "
            "another folder, or remove this one yourself."
        ) from error
    listed = manifest["files"]
    compiled = compiled_names(entry["name"] for entry in manifest["segments"])
    others = []
    for entry in sorted(os.scandir(target), key=lambda entry: entry.name):
        if entry.name == MANIFEST:
            continue
        name, reason = entry.name, None
        if name in listed:
            content = b""
            with contextlib.suppress(OSError):
                content = read_regular(target / name, most=MOST_FILE_BYTES)
            if hashlib.sha256(content).hexdigest() != listed[name]:
                reason = "was changed after it was saved"
        elif not entry.is_file(follow_symlinks=False):
            reason = "is no file of the saved pipeline"
        elif name in names or name in compiled:
            reason = "is not listed in its manifest, and the new pipeline has a file of that name"
        else:
            others.append(name)
        if reason is not None:
            raise SavedPipelineError(
                f"The folder '{target}' is not replaced, not even with overwrite: "
                f"{shown(name)} in it {reason}. Move it elsewhere, or choose another folder."
            )
    return others
