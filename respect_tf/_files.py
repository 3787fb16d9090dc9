"""Reading and writing single files: whole or not at all, and nothing but regular files.

Errors here are `OSError`; whoever calls says what the file was for.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from respect_tf._errors import SavedPipelineError

# Names of what is not finished: ".NAME.<16 digits>.partial"; ".old" is what it is about to replace.
_STRAY = r"\.{stem}\.[0-9a-f]{{16}}\.(partial|old)"
_STEM_BYTES = 200  # the rest of such a name has 26 bytes, and file systems take 255
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_regular(path: Path, *, most: int, folder: int | None = None) -> bytes:
    """Read a regular file. Nothing else is opened for longer than it takes to see what it is.

    Args:
        path: The file; no link.
        most: The most bytes that it may have, known before any is read.
        folder: Descriptor of the folder that a relative path starts from.

    Raises:
        OSError: It cannot be read, is no regular file, or has more bytes; `strerror` says which.
    """
    # A link is refused, and a pipe without a writer is not waited for.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link, expected a regular file") from error
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
            raise OSError(errno.EINVAL, f"it is {kind}, expected a regular file")
        if status.st_size > most:
            raise OSError(
                errno.EFBIG, f"it has {status.st_size} bytes, expected at most {most} for its kind"
            )
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(status.st_size + 1)
        if len(content) != status.st_size:
            raise OSError(errno.EBUSY, "it changes while it is read")
        return content
    finally:
        os.close(descriptor)


def write_file(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a file, whole or not at all, and the folders that lead to it.

    A link is followed; what is no regular file, `/dev/stdout` for example, is written to.

    Returns:
        Its absolute path.

    Raises:
        SavedPipelineError: It cannot be written.
    """
    try:
        return replace_file(Path(path), content)
    except (OSError, ValueError) as error:  # ValueError: NUL in the path
        raise SavedPipelineError(
            f"'{os.fspath(path)}' cannot be written: {getattr(error, 'strerror', None) or error}. "
            "Choose another path, or free some space."
        ) from error


def replace_file(path: Path, content: bytes, *, parents: bool = True) -> Path:
    """The same for those who have an error of their own.

    Args:
        path: The file.
        content: What will be in it.
        parents: Whether to make the folders that lead to it.

    Raises:
        OSError: It cannot be written. What was there is there still, and nothing else is.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(path.stat().st_mode):
            with path.open("wb") as file:
                file.write(content)
            return path.absolute()
    target = path.resolve()
    with replacing(target, parents=parents) as partial:
        partial.write_bytes(content)
    return target


@contextlib.contextmanager
def replacing(target: Path, *, parents: bool = True) -> Iterator[Path]:
    """Write a file under a hidden name beside it, which becomes it at the end of the block.

    If the block fails, what was there is there still, and nothing else is.

    Args:
        target: The file, without links.
        parents: Whether to make the folders that lead to it.

    Yields:
        The path to write, an empty file.

    Raises:
        OSError: It cannot be written.
    """
    with parents_made(target) if parents else contextlib.nullcontext():
        clean_files(target)
        with _new_file(target) as (partial, descriptor):
            yield partial
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(descriptor, stat.S_IMODE(target.stat().st_mode))
            _sync(descriptor)
            partial.replace(target)
        sync_folder(target.parent)


def write_new(path: Path, content: bytes) -> None:
    """Write a file that is not there yet, down to the disk.

    Raises:
        OSError: It is there, or cannot be written; what was written of it stays.
    """
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        _sync(file.fileno())


def _sync(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # some file systems cannot sync; the data is written
        os.fsync(descriptor)


@contextlib.contextmanager
def _new_file(target: Path) -> Iterator[tuple[Path, int]]:
    """An empty file beside a path, and its descriptor, locked; it is gone if the block fails."""
    while True:
        partial, descriptor = unfinished(target, "partial"), None
        try:  # from before it is there: Ctrl-C comes at any moment
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(partial, flags, 0o666)
            if is_locked(descriptor, partial, unsure=True):
                yield partial, descriptor
                return
            # Another writer has just cleaned it away, unlocked as it was.
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise
        finally:
            if descriptor is not None:
                unlock(descriptor)


@contextlib.contextmanager
def parents_made(target: Path) -> Iterator[None]:
    """Make the folders that lead to a path; if the block fails, those that were made go again."""
    made = []
    folder = target.parent
    while not folder.exists():
        made.append(folder)
        folder = folder.parent
    try:
        for missing in reversed(made):
            missing.mkdir(exist_ok=True)
        yield
    except BaseException:
        for folder in made:
            with contextlib.suppress(OSError):  # it was never made, or another has put files there
                folder.rmdir()
        raise


def unfinished(target: Path, ending: str) -> Path:
    """A new name beside a path, for what is about to become it."""
    return target.with_name(f".{_stem(target)}.{secrets.token_hex(8)}.{ending}")


def strays_of(target: Path) -> list[Path]:
    """What writers of a path have left beside it, or are just writing."""
    pattern = re.compile(_STRAY.format(stem=re.escape(_stem(target))), re.DOTALL)
    try:
        names = os.listdir(target.parent)  # noqa: PTH208 - names, as many as there are
    except OSError:
        return []
    return [target.with_name(name) for name in sorted(names) if pattern.fullmatch(name)]


def clean_files(target: Path) -> None:
    """Remove what killed writers of a file have left beside it."""
    for stray in strays_of(target):
        with contextlib.suppress(OSError), locked(stray) as held:
            if held is not None and stat.S_ISREG(os.fstat(held).st_mode):
                stray.unlink()


@contextlib.contextmanager
def locked(path: Path, *, unsure: bool = False) -> Iterator[int | None]:
    """Hold the lock of a file or folder, which the system frees when its holder dies.

    Args:
        path: It.
        unsure: What counts where the file system has no locks: whether it is free.

    Yields:
        Its descriptor; None if somebody else holds the lock, or has put another in its place.

    Raises:
        OSError: It cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield descriptor if is_locked(descriptor, path, unsure=unsure) else None
    finally:
        unlock(descriptor)


def is_locked(descriptor: int, path: Path, *, unsure: bool) -> bool:
    """Take a lock, unless somebody else holds it; whether it is taken, and still that of a path."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return unsure
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def unlock(descriptor: int) -> None:
    """Free a lock and close its descriptor."""
    with contextlib.suppress(OSError):
        # Closing alone would leave it to children that were forked meanwhile.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Bring a folder's names down to the disk, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        _sync(descriptor)
        os.close(descriptor)


def _stem(target: Path) -> str:
    """The middle of the names of unfinished files: the path's own name, where that is not long."""
    name = os.fsencode(target.name)
    return target.name if len(name) <= _STEM_BYTES else hashlib.sha256(name).hexdigest()
