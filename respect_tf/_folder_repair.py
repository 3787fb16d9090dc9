"""What killed writers of saved folders have left: completed, undone, or removed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from respect_tf._errors import SavedPipelineError
from respect_tf._files import locked, read_regular, strays_of
from respect_tf._folder_reading import MOST_FILE_BYTES, read_manifest
from respect_tf._manifest_schema import MANIFEST


def repair_beside(target: Path) -> None:
    """Complete what killed writers of a folder began, and remove what they left."""
    # First the ones that may be put back: what else there is may have files that are in them, too.
    for stray in sorted(strays_of(target), key=lambda stray: stray.suffix != ".old"):
        with contextlib.suppress(OSError), locked(stray) as held:
            if held is None or not stat.S_ISDIR(os.fstat(held).st_mode):
                continue
            if stray.suffix == ".old" and not target.exists():
                read_manifest(stray)
                stray.rename(target)
                continue
            remove_folder(stray, target)


def remove_folder(stray: Path, target: Path) -> None:
    """Remove a folder that was not put in place, or was replaced.

    With a manifest it is a whole one: what that does not list is the user's, and goes only where
    the target has it as well. Without one it was never finished, and all of it is ours.
    """
    ours: set[str] | None = None
    with contextlib.suppress(SavedPipelineError):
        ours = set(read_manifest(stray)["files"])
    if ours is None and stray.suffix == ".old":
        return
    entries = sorted(os.scandir(stray), key=lambda entry: entry.name)
    for name in [e.name for e in entries if e.is_file(follow_symlinks=False)]:
        if name == MANIFEST:
            continue
        if ours is None or name in ours or _same(stray / name, target / name):
            (stray / name).unlink()
        elif target.is_dir() and not os.path.lexists(target / name):
            (stray / name).rename(target / name)
    if all(name == MANIFEST for name in os.listdir(stray)):  # noqa: PTH208 - names
        (stray / MANIFEST).unlink(missing_ok=True)  # the last: without it, all is ours
        stray.rmdir()


def _same(first: Path, second: Path) -> bool:
    try:
        return os.path.samestat(first.lstat(), second.lstat())
    except FileNotFoundError:
        return False


def repair_folder(folder: str | os.PathLike[str]) -> None:
    """Complete or undo what killed writers of a saved folder began, if there were any."""
    with contextlib.suppress(OSError):  # what cannot be repaired, reading will name
        target = Path(folder).resolve()
        repair_beside(target)
        with locked(target) as held:
            if held is not None:
                _put_back(target, read_manifest(target)["files"])


def _put_back(target: Path, hashes: Mapping[str, str]) -> None:
    """Undo what a killed writer began with the files of a folder, or remove what it replaced."""
    for name in (*hashes, MANIFEST):
        for stray in strays_of(target / name):
            content = read_regular(stray, most=MOST_FILE_BYTES)
            if hashlib.sha256(content).hexdigest() == hashes.get(name):
                stray.replace(target / name)  # the manifest is the old one still
            else:
                stray.unlink()
