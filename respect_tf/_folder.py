"""Folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from respect_tf._errors import SavedPipelineError

# The file that tells a folder of ours from any other.
MANIFEST = "pipeline.json"


def check_writable_target(folder: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """The absolute path of a folder that may be written.

    Raises:
        SavedPipelineError: Something is there that must not be replaced.
    """
    target = Path(folder).resolve()
    if not target.exists():
        return target
    if not target.is_dir():
        raise SavedPipelineError(f"'{target}' is a file. Expected the path of a folder to make.")
    if not any(target.iterdir()):
        return target
    if not overwrite:
        raise SavedPipelineError(
            f"The folder '{target}' exists. Choose another one, or pass overwrite=True "
            "(--overwrite) to replace it."
        )
    if not (target / MANIFEST).is_file():
        raise SavedPipelineError(
            f"The folder '{target}' holds no {MANIFEST}, so it is no saved pipeline and is not "
            "replaced, not even with overwrite. Choose another folder."
        )
    return target


def write_folder(
    folder: str | os.PathLike[str], files: Mapping[str, bytes], *, overwrite: bool
) -> Path:
    """Write files into a new folder, atomically.

    They are written next to it first; one rename puts the folder in place. Whatever happens before
    (a full disk, Ctrl-C), nothing is left behind, and a folder that was there stays as it was.

    Returns:
        The folder's absolute path.

    Raises:
        SavedPipelineError: The folder exists, or cannot be written.
    """
    target = check_writable_target(folder, overwrite=overwrite)
    partial: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{secrets.token_hex(8)}.partial")
        partial.mkdir()
        for name, content in files.items():
            _write_synced(partial / name, content)
        _replace(partial, target)
    except OSError as error:
        raise SavedPipelineError(
            f"The folder '{target}' cannot be written: {error.strerror or error}. Nothing was "
            "left behind. Free some space or choose another folder."
        ) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
    return target


def write_file(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a single file, and the folders that lead to it.

    Returns:
        Its absolute path.

    Raises:
        SavedPipelineError: It cannot be written.
    """
    target = Path(path).resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _write_synced(target, content)
    except OSError as error:
        raise SavedPipelineError(
            f"'{target}' cannot be written: {error.strerror or error}. Choose another path, or "
            "free some space."
        ) from error
    return target


def update_folder(
    folder: str | os.PathLike[str], files: Mapping[str, bytes], obsolete: Iterable[str]
) -> None:
    """Write files into a folder that is there, and remove others; the manifest comes last.

    Whatever happens before the manifest is in place (a full disk, Ctrl-C), the folder stays valid:
    its old manifest does not list the new files, and what it lists is put back as it was.

    Args:
        folder: The folder.
        files: Name -> content; those that have that content already are left alone.
        obsolete: Names of files to remove once the manifest is in place.

    Raises:
        SavedPipelineError: A file cannot be written.
    """
    target = Path(folder)
    # Where the old content of each file is, until the manifest is in place.
    kept: dict[Path, Path] = {}
    try:
        for name in sorted(files, key=lambda name: (name == MANIFEST, (target / name).exists())):
            _update_file(target / name, files[name], kept)
    except BaseException:
        if (target / MANIFEST).read_bytes() != files[MANIFEST]:
            for path, old in kept.items():
                old.replace(path)
        raise
    for old in kept.values():
        with contextlib.suppress(OSError):
            old.unlink()
    for name in obsolete:
        with contextlib.suppress(OSError):  # nobody misses it, and nobody lists it any more
            (target / name).unlink()


def _update_file(path: Path, content: bytes, kept: dict[Path, Path]) -> None:
    """Give a file its content; what was there before, but for the manifest, goes to `kept`."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    try:
        if path.is_file() and path.read_bytes() == content:
            return
        _write_synced(partial, content)
        if path.name != MANIFEST and path.exists():
            old = partial.with_suffix(".old")
            path.rename(old)
            kept[path] = old
        partial.replace(path)
    except OSError as error:
        raise SavedPipelineError(
            f"'{path}' cannot be written: {error.strerror or error}. The saved pipeline is as it "
            "was. Free some space or check the permissions."
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _replace(partial: Path, target: Path) -> None:
    """Put the new folder in place of the old one, or leave the old one there."""
    if not target.exists():
        partial.rename(target)
        return
    old = partial.with_suffix(".old")
    try:
        target.rename(old)
        partial.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        with contextlib.suppress(OSError):  # some file systems cannot sync; the data is written
            os.fsync(file.fileno())
