"""Folders that appear whole or not at all, and replace nothing but what is ours.

A new folder is written beside the target, under a hidden name, and put in place in one step. Where
the system cannot exchange two folders, the old one gets a hidden name first: these names are the
journal, by which the next writer completes what a killed one began. Whoever writes holds the lock
of the folder, which dies with its process.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from respect_tf._errors import SavedPipelineError
from respect_tf._exchange import exchange
from respect_tf._fields import shown
from respect_tf._files import (
    is_locked,
    locked,
    parents_made,
    read_regular,
    sync_folder,
    unfinished,
    unlock,
    write_new,
)
from respect_tf._folder_reading import MOST_FILE_BYTES, read_manifest
from respect_tf._folder_repair import remove_folder, repair_beside
from respect_tf._folder_target import _paths_checked, _writable
from respect_tf._manifest_schema import MANIFEST, MOST_MANIFEST_BYTES
from respect_tf._reporting import Verbosity, report

_Files = Mapping[str, bytes]


def write_folder(
    folder: str | os.PathLike[str], files: _Files, *, overwrite: bool, verbose: Verbosity = 0
) -> Path:
    """Write files into a new folder, atomically.

    Whatever happens before it is in place (a full disk, Ctrl-C), nothing is left behind, and a
    folder that was there stays as it was. Files that lie in a saved pipeline without being its own
    are kept, and named.

    Args:
        folder: The folder.
        files: Name -> content, the manifest last.
        overwrite: Whether a saved pipeline may be replaced.
        verbose: 0 is silence.

    Returns:
        The folder's absolute path.

    Raises:
        SavedPipelineError: The folder exists, cannot be written, or is being written by another.
    """
    with _paths_checked(folder):
        target = Path(folder).resolve()
        repair_beside(target)
    try:
        with parents_made(target), _owned(target) as held:
            _, others = _writable(target, set(files), overwrite=overwrite)
            if others is not None and not held:
                raise _busy(target)  # it came into being just now
            _write_and_swap(target, files, others or (), replaces=others is not None)
    except OSError as error:
        if isinstance(error, SavedPipelineError):
            raise
        raise SavedPipelineError(
            f"The folder '{target}' cannot be written: {error.strerror or error}. Nothing was "
            "left behind. Free some space or choose another folder."
        ) from error
    if others:
        kept = ", ".join(map(shown, others))
        report(f"kept in '{target}', as not part of the saved pipeline: {kept}", verbose=verbose)
    return target


def update_folder(folder: str | os.PathLike[str], files: _Files) -> None:
    """Give a saved folder a new manifest with its files. Everything else in it stays.

    The folder is replaced in one step where it can be; else, as where it is mounted, or holds
    folders of the user, its files are, the manifest last. Whatever happens before that (a full
    disk, Ctrl-C), it is put back as it was.

    Args:
        folder: The folder; its manifest is ours.
        files: Name -> content of all its files, the manifest last.

    Raises:
        SavedPipelineError: A file cannot be written, or another process writes the folder.
    """
    target = Path(folder).resolve()
    try:
        with _owned(target):
            listed = read_manifest(target)["files"]
            if read_regular(target / MANIFEST, most=MOST_MANIFEST_BYTES) == files[MANIFEST]:
                return
            entries = list(os.scandir(target))
            others = [e.name for e in entries if e.name not in {*listed, *files}]
            plain = all(entry.is_file(follow_symlinks=False) for entry in entries)
            if not (plain and _may_replace(target)):
                _update_in_place(target, files, set(listed) - set(files))
                return
            _write_and_swap(target, files, others, replaces=True)
    except OSError as error:
        if isinstance(error, SavedPipelineError):
            raise
        raise SavedPipelineError(
            f"The folder '{target}' cannot be written: {error.strerror or error}. The saved "
            "pipeline is as it was. Free some space or check the permissions."
        ) from error


def _may_replace(target: Path) -> bool:
    """Whether a folder can get another one's place: its parent is writable, and it is no mount."""
    return os.access(target.parent, os.W_OK | os.X_OK) and not target.is_mount()


@contextlib.contextmanager
def _owned(target: Path) -> Iterator[bool]:
    """Keep other writers out of a folder, if it exists; whether it does."""
    if not target.is_dir():
        yield False
        return
    with locked(target, unsure=True) as held:
        if held is None:
            raise _busy(target)
        yield True


def _busy(target: Path) -> SavedPipelineError:
    return SavedPipelineError(
        f"The folder '{target}' is being written by another process. Nothing was changed. Wait for "
        "it, or choose another folder."
    )


def _write_and_swap(target: Path, files: _Files, others: Iterable[str], *, replaces: bool) -> None:
    """Write a folder beside the target, with links to what is to be kept, and put it in place.

    Args:
        target: The folder.
        files: Name -> content.
        others: Names of files in the target to keep.
        replaces: Whether a folder is there that the caller has locked and checked.
    """
    with _new_folder(target) as partial:
        if target.is_dir():
            partial.chmod(stat.S_IMODE(target.stat().st_mode))
        for name in others:
            _keep(target / name, partial / name)
        for name, content in files.items():
            write_new(partial / name, content)
        sync_folder(partial)
        _swap(partial, target, replaces=replaces)
        sync_folder(target.parent)


def _keep(path: Path, link: Path) -> None:
    """Give a file of the user a second name, in the folder that will replace its own."""
    try:
        os.link(path, link, follow_symlinks=False)
    except OSError as error:
        raise SavedPipelineError(
            f"The folder '{path.parent}' is not replaced: {shown(path.name)} in it is no file of "
            f"the saved pipeline, and cannot be kept ({error.strerror or error}). Move it "
            "elsewhere, or choose another folder."
        ) from error


@contextlib.contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside a path, locked; what has its name afterwards is removed."""
    while True:
        partial, descriptor = unfinished(target, "partial"), None
        try:  # from before it is there: Ctrl-C comes at any moment
            partial.mkdir()
            descriptor = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if is_locked(descriptor, partial, unsure=True):
                yield partial
                return
            # Another writer has just cleaned it away, unlocked as it was.
        finally:
            # Not put in place, it has nothing of value; else it is the old one, with its manifest.
            with contextlib.suppress(OSError):
                remove_folder(partial, target)
            if descriptor is not None:
                unlock(descriptor)


def _swap(partial: Path, target: Path, *, replaces: bool) -> None:
    """Put the new folder in place; the old one gets the other's name, if there is one."""
    if not replaces:
        try:
            partial.rename(target)
        except OSError as error:
            if target.is_dir():
                raise SavedPipelineError(
                    f"Another process has just written the folder '{target}'. It was left as it "
                    "is. Choose another folder, or save again with overwrite."
                ) from error
            raise
        return
    if exchange(partial, target):
        return
    old = partial.with_suffix(".old")
    try:
        target.rename(old)
        partial.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    old.rename(partial)


def _update_in_place(target: Path, files: _Files, obsolete: Iterable[str]) -> None:
    """Replace the files of a folder one by one, the manifest last."""
    # Where the old content of each file is, until the manifest is in place; None if it is new.
    kept: dict[Path, Path | None] = {}
    manifest = target / MANIFEST
    before = manifest.read_bytes()
    try:
        for name in sorted(files, key=lambda name: (name == MANIFEST, (target / name).exists())):
            _update_file(target / name, files[name], kept)
    except BaseException:
        if manifest.read_bytes() == before:
            for path, old in kept.items():
                with contextlib.suppress(FileNotFoundError):  # it was not made yet
                    path.unlink() if old is None else old.replace(path)
        raise
    for old in kept.values():
        with contextlib.suppress(OSError):
            if old is not None:
                old.unlink()
    for name in obsolete:
        with contextlib.suppress(OSError):  # nobody misses it, and nobody lists it any more
            (target / name).unlink()
    sync_folder(target)


def _update_file(path: Path, content: bytes, kept: dict[Path, Path | None]) -> None:
    """Give a file its content; what was there before, but for the manifest, goes to `kept`."""
    with contextlib.suppress(FileNotFoundError):
        if read_regular(path, most=MOST_FILE_BYTES) == content:
            return
    partial = unfinished(path, "partial")
    try:
        write_new(partial, content)
        if path.name != MANIFEST:
            kept[path] = old = partial.with_suffix(".old") if path.exists() else None
            if old is not None:
                try:
                    os.link(path, old)
                except OSError:  # a file system without links
                    write_new(old, read_regular(path, most=MOST_FILE_BYTES))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
