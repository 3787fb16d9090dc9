"""Folders of results: on this machine, or wherever Apache Beam can write."""

from __future__ import annotations

import hashlib
import importlib
import posixpath
from pathlib import Path
from typing import Any, Protocol

from respect_tf._errors import DependencyError
from respect_tf._files import write_file


class Place(Protocol):
    """A folder, whose files are written whole or not at all. Names may have one `/`."""

    folder: str

    def names(self, under: str = "") -> set[str]:
        """Names of the files in it, or in a folder of it."""

    def read(self, name: str) -> bytes:
        """What is in a file."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file, and the folders that lead to it."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""


def place_of(folder: str) -> Place:
    """The place that an address names: a path, or what Beam knows, such as `gs://bucket/folder`."""
    return _BeamPlace(folder) if "://" in folder else _LocalPlace(folder)


class _LocalPlace:
    """A folder of this machine, or one that all machines see under the same path."""

    def __init__(self, folder: str) -> None:
        self.folder = str(Path(folder).resolve())
        self._path = Path(self.folder)

    def names(self, under: str = "") -> set[str]:
        folder = self._path / under
        if not folder.is_dir():
            return set()
        prefix = f"{under}/" if under else ""
        return {f"{prefix}{path.name}" for path in folder.iterdir() if path.is_file()}

    def read(self, name: str) -> bytes:
        return (self._path / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        write_file(self._path / name, content)

    def remove(self, name: str) -> None:
        (self._path / name).unlink(missing_ok=True)


class _BeamPlace:
    """A folder that Beam's file systems know."""

    def __init__(self, folder: str) -> None:
        self.folder = folder.rstrip("/")
        self._files = _file_systems()

    def names(self, under: str = "") -> set[str]:
        (found,) = self._files.match([posixpath.join(self.folder, under, "*")])
        paths = [str(one.path) for one in found.metadata_list]
        return {posixpath.join(under, posixpath.basename(path)) for path in paths}

    def read(self, name: str) -> bytes:
        with self._files.open(self._path(name)) as file:
            content: bytes = file.read()
        return content

    def write(self, name: str, content: bytes) -> None:
        path = self._path(name)
        # Two processes that work on the same item write the same bytes.
        partial = f"{path}.{hashlib.sha256(content).hexdigest()[:8]}.partial"
        self._make(posixpath.dirname(path))
        with self._files.create(partial) as file:
            file.write(content)
        self._files.rename([partial], [path])

    def remove(self, name: str) -> None:
        if self._files.exists(self._path(name)):
            self._files.delete([self._path(name)])

    def _path(self, name: str) -> str:
        return posixpath.join(self.folder, name)

    def _make(self, folder: str) -> None:
        if self._files.exists(folder):
            return
        try:
            self._files.mkdirs(folder)
        except OSError:  # another process has just made it
            if not self._files.exists(folder):
                raise


def load_beam() -> Any:
    """Import Apache Beam.

    Raises:
        DependencyError: It is not installed.
    """
    try:
        return importlib.import_module("apache_beam")
    except ImportError as error:
        raise DependencyError(
            "Apache Beam is not installed, which works on many items at once. Install it: "
            "pip install 'respect-tf[beam]'."
        ) from error


def _file_systems() -> Any:
    load_beam()
    return importlib.import_module("apache_beam.io.filesystems").FileSystems
