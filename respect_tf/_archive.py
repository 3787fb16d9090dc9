"""ZIP archives from anywhere, read within limits and without surprises.

A ZIP archive says things twice: in a list at its end and before each member. Readers differ in
which they believe, and a few bytes can stand for gigabytes. What is read here has plain names, one
member of each name, two ways of storing and a size in proportion to the file. Nothing else passes.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

# What an archive may always unpack to, and beyond that how many times its own size. Weights and
# samples in floats come down to nine tenths at best, 8-bit images to a tenth or so; deflate reaches
# 1,032 times on zeros, and a .keras file of 5 MB that unpacked to 5 GB was found.
FREE_BYTES = 256 * 2**20
RATIO = 20

# A .keras file has three members, and one or two per preprocessing layer.
_MAX_MEMBERS = 10_000
_CHUNK = 2**20

_ENCRYPTED = 0x1 | 0x40 | 0x2000
# What zipfile raises for damaged archives, by its source.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    IndexError,
    RuntimeError,  # also NotImplementedError and RecursionError
    OverflowError,
)


class ArchiveError(ValueError):
    """What is wrong with an archive, as a part of a sentence. Callers say which file it is."""


@dataclass(frozen=True)
class Member:
    """A file in an archive: its name and how many bytes it unpacks to."""

    name: str
    num_bytes: int


class Archive:
    """A ZIP archive whose list of members was checked.

    Args:
        file: The archive, seekable.
        free_bytes: What it may unpack to whatever its size.

    Raises:
        ArchiveError: It is damaged, encrypted, or its members break a rule.
    """

    def __init__(self, file: BinaryIO, *, free_bytes: int = FREE_BYTES) -> None:
        self._file = file
        size = file.seek(0, 2)
        file.seek(0)
        try:
            self._zip = zipfile.ZipFile(file)
            infos = self._zip.infolist()
        except _DAMAGE as error:
            raise ArchiveError(f"it is no ZIP archive, or damaged ({_said(error)})") from error
        if len(infos) > _MAX_MEMBERS:
            raise ArchiveError(
                f"it holds {len(infos):,} members, expected {_MAX_MEMBERS:,} at most"
            )
        self._infos: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            _check_member(info)
            if info.filename in self._infos:
                raise ArchiveError(f"it holds the member {info.filename!r} twice")
            self._infos[info.filename] = info
        _check_sizes(infos, size, free_bytes)

    def members(self) -> tuple[Member, ...]:
        """The files, in the order of the archive; folders are left out."""
        return tuple(
            Member(name, info.file_size) for name, info in self._infos.items() if not info.is_dir()
        )

    def read(self, name: str, *, limit: int | None = None) -> bytes:
        """Unpack a member.

        Args:
            name: Its name.
            limit: The most bytes that it may have.

        Raises:
            ArchiveError: It is missing, damaged or too large.
        """
        info = self._infos.get(name)
        if info is None:
            raise ArchiveError(f"it holds no member {name!r}")
        if limit is not None and info.file_size > limit:
            raise ArchiveError(
                f"its member {name!r} has {info.file_size:,} bytes, expected {limit:,} at most"
            )
        return b"".join(self._chunks(info))

    def copy(self, name: str, target: BinaryIO) -> None:
        """Unpack a member into a file, some at a time."""
        for chunk in self._chunks(self._infos[name]):
            target.write(chunk)

    def _chunks(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        done = 0
        try:
            with self._zip.open(info) as member:
                while chunk := member.read(_CHUNK):
                    done += len(chunk)
                    yield chunk
        except _DAMAGE as error:
            raise ArchiveError(
                f"its member {info.filename!r} is damaged ({_said(error)})"
            ) from error
        if done != info.file_size:
            raise ArchiveError(
                f"its member {info.filename!r} has {done:,} bytes, and {info.file_size:,} are "
                "listed"
            )


def _check_member(info: zipfile.ZipInfo) -> None:
    name = info.orig_filename
    parts = name.removesuffix("/").split("/")
    plain = name == info.filename and not any(char in name for char in "\0\\:")
    if not plain or any(part in ("", ".", "..") for part in parts):
        raise ArchiveError(
            f"its member {name!r} has no plain relative name, and might be written elsewhere"
        )
    if info.flag_bits & _ENCRYPTED:
        raise ArchiveError(f"its member {name!r} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArchiveError(
            f"its member {name!r} is compressed by method {info.compress_type}, expected 0 "
            "(stored) or 8 (deflated)"
        )
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR if info.is_dir() else stat.S_IFREG):
        raise ArchiveError(f"its member {name!r} is a link or a device, expected a file")
    if info.is_dir() and info.file_size:
        raise ArchiveError(f"its member {name!r} is a folder that holds bytes")


def _check_sizes(infos: list[zipfile.ZipInfo], size: int, free_bytes: int) -> None:
    total = sum(info.file_size for info in infos)
    limit = max(free_bytes, RATIO * size)
    if total > limit:
        raise ArchiveError(
            f"it has {size:,} bytes and unpacks to {total:,}, expected {limit:,} at most"
        )
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise ArchiveError(f"its member {info.filename!r} overlaps with another one")
        end = info.header_offset + info.compress_size


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"
