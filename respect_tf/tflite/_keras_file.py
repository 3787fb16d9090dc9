"""A Keras file, checked and laid where no one else writes, for a loader to read.

What the loaders get is never the file itself. A .keras archive is written anew from the members
that were read, with the configuration that was checked, so that there is no second way to read it;
an HDF5 file is copied first and checked then. Whatever a file's name ends in, its first bytes
decide what it is.
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from respect_tf._archive import Archive, ArchiveError
from respect_tf._errors import InvalidModelError
from respect_tf.tflite._file_kinds import wrong_kind
from respect_tf.tflite._hdf5 import MAX_CONFIG_BYTES, SIGNATURE, read_attributes
from respect_tf.tflite._keras_config import parse_config
from respect_tf.tflite._worker_model import call_in_worker

_CONFIG, _METADATA = "config.json", "metadata.json"
_WEIGHTS, _PICKLED_WEIGHTS = "model.weights.h5", "model.weights.npz"
_ASSETS = "assets/"
_MAX_METADATA_BYTES = 2**20  # it holds a version and a date
_ZIP_SIGNATURE = b"PK\x03\x04"

# For a file to be read once: a good one takes a second per 500 MiB. The rest is for slow disks, and
# ends a file on which HDF5 goes on for ever.
_HDF5_SECONDS = 20.0
_HDF5_BYTES_PER_SECOND = 2**22


@dataclass(frozen=True)
class KerasFile:
    """What a Keras file says before anything is loaded.

    Attributes:
        config: The model's configuration, as data.
        version: Of the Keras that wrote it; empty if it does not say.
        is_hdf5: Whether it is an HDF5 file, else a .keras archive.
    """

    config: dict[str, Any]
    version: str
    is_hdf5: bool

    @property
    def suffix(self) -> str:
        """Of a file that loaders recognise as what it is."""
        return ".h5" if self.is_hdf5 else ".keras"


def read_keras_file(path: Path) -> KerasFile:
    """Read a file's configuration. Neither TensorFlow nor Keras is imported.

    Args:
        path: Of the file, whatever its name ends in.

    Raises:
        InvalidModelError: It is damaged, larger than it lets expect, or no Keras model.
    """
    with _opened(path) as file:
        if _is_hdf5(file, path):
            return _read_hdf5(path, str(path))
        try:
            return _read_archive(Archive(file), str(path))
        except ArchiveError as error:
            raise _refused(path, error) from error


def lay_out(path: Path, folder: Path, *, trusted: bool) -> tuple[KerasFile, Path]:
    """Make a file that says no more than what was read, for a loader.

    The user's file may change while it is read, ours does not: of an archive each member is read
    once, and of an HDF5 file the copy is what is read.

    Args:
        path: The user's file.
        folder: A folder of our own.
        trusted: Whether pickled weights may stay.

    Returns:
        What the file says, and the path of a copy without its configuration: see `write_config`.

    Raises:
        InvalidModelError: See `read_keras_file`.
    """
    with _opened(path) as file:
        try:
            if _is_hdf5(file, path):
                made = folder / "model.h5"
                with made.open("xb") as target:
                    shutil.copyfileobj(file, target, 2**20)
                return _read_hdf5(made, str(path)), made
            made = folder / "model.keras"
            archive = Archive(file)
            found = _read_archive(archive, str(path))
            _rewrite(archive, made, folder, label=str(path), trusted=trusted)
        except ArchiveError as error:
            raise _refused(path, error) from error
        except OSError as error:
            raise InvalidModelError(
                f"'{path}' could not be copied to '{folder}': {error}. Make room there, or set "
                "TMPDIR to a folder with room."
            ) from error
    return found, made


def write_config(file: KerasFile, made: Path) -> None:
    """Complete a .keras archive that `lay_out` made; HDF5 files have theirs in them."""
    if not file.is_hdf5:
        with zipfile.ZipFile(made, "a") as archive:
            archive.writestr(_CONFIG, json.dumps(file.config))


def _is_hdf5(file: BinaryIO, path: Path) -> bool:
    """Whether a file starts as one; it is an archive else."""
    head = file.read(512)
    file.seek(0)
    start = head[: len(SIGNATURE)]
    if start != SIGNATURE and not start.startswith(_ZIP_SIGNATURE):
        known = wrong_kind(head)
        raise InvalidModelError(
            f"'{path}' is neither a .keras archive nor an HDF5 file, so neither keras nor tf_keras "
            f"can load it. {known or 'Expected what model.save(...) writes.'}"
        )
    return start == SIGNATURE


def _read_hdf5(path: Path, label: str) -> KerasFile:
    _check_hdf5(path, label)
    found = read_attributes(path, ("model_config", "keras_version"), label=label)
    if "model_config" not in found:
        raise InvalidModelError(
            f"'{label}' holds weights only, or no model at all: it has no configuration. Build the "
            "model first, load the weights into it, and pass the model."
        )
    version = _version(found.get("keras_version", b"").decode("utf-8", "replace"))
    return KerasFile(parse_config(found["model_config"], label=label), version, True)


def _check_hdf5(path: Path, label: str) -> None:
    """Check a file, and read it once, in a process that may hang or crash on it."""
    seconds = _HDF5_SECONDS + path.stat().st_size / _HDF5_BYTES_PER_SECOND
    call_in_worker("read_hdf5", str(path.absolute()), label, timeout=seconds, label=f"'{label}'")


def _read_archive(archive: Archive, label: str) -> KerasFile:
    config = parse_config(archive.read(_CONFIG, limit=MAX_CONFIG_BYTES), label=label)
    config.pop("compile_config", None)  # of optimizers and losses, which nobody asks for
    version = ""
    if _METADATA in {member.name for member in archive.members()}:
        metadata = parse_config(archive.read(_METADATA, limit=_MAX_METADATA_BYTES), label=label)
        version = _version(metadata.get("keras_version"))
    return KerasFile(config, version, False)


def _version(value: object) -> str:
    """A version as it may stand in a message, or nothing."""
    return value if isinstance(value, str) and re.fullmatch(r"[\w.+-]{1,40}", value) else ""


def _rewrite(archive: Archive, made: Path, folder: Path, *, label: str, trusted: bool) -> None:
    """Copy the members that loaders read, but for the configuration."""
    _check_weights(archive, trusted=trusted)
    with zipfile.ZipFile(made, "x") as written:
        for member in archive.members():
            name = member.name
            if name == _WEIGHTS:
                weights = folder / "weights.h5"
                with weights.open("xb") as target:
                    archive.copy(name, target)
                _check_hdf5(weights, f"{label}/{name}")
                written.write(weights, name)
                weights.unlink()
            elif name in (_METADATA, _PICKLED_WEIGHTS) or name.startswith(_ASSETS):
                with written.open(name, "w", force_zip64=True) as target:
                    archive.copy(name, target)  # type: ignore[arg-type]


def _check_weights(archive: Archive, *, trusted: bool) -> None:
    if not trusted and _PICKLED_WEIGHTS in {member.name for member in archive.members()}:
        raise ArchiveError(
            f"its weights are pickled ({_PICKLED_WEIGHTS!r}), which can run code: save the model "
            "again, or pass trusted=True"
        )


def _refused(path: Path, error: ArchiveError) -> InvalidModelError:
    return InvalidModelError(
        f"'{path}' cannot be read as a .keras archive: {error}. Expected what model.save(...) "
        "writes: save the model again."
    )


def _opened(path: Path) -> BinaryIO:
    try:
        if not path.is_file():  # a pipe would be waited for, a device never ends
            raise InvalidModelError(f"'{path}' is no regular file, so it is no Keras model.")
        return path.open("rb")
    except OSError as error:
        raise InvalidModelError(f"'{path}' cannot be read: {error}.") from error
