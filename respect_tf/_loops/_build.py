"""Compiles the loops of this folder to a shared library, with whatever C compiler there is.

`setup.py` runs this file alone, before anything is installed: it imports the standard library only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent

# Nothing is contracted or reordered, so that sums are the same to the last bit on every processor.
_FLAGS = ("-std=c11", "-D_POSIX_C_SOURCE=200809L", "-O2", "-shared", "-fPIC", "-fvisibility=hidden")
_EXACT = ("-ffp-contract=off", "-fno-fast-math")
_SECONDS = 300


def sources() -> list[Path]:
    """The files that are compiled."""
    return sorted(FOLDER.glob("*.c"))


def library_name() -> str:
    """The library's file name, which changes with its sources."""
    digest = hashlib.sha256()
    for path in sorted(FOLDER.glob("*.[ch]")):
        digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return f"loops-{digest.hexdigest()[:12]}-{sysconfig.get_platform()}.so"


def compilers() -> list[list[str]]:
    """Commands that compile C, the likeliest first."""
    found = []
    if os.environ.get("CC", "").strip():
        found.append(shlex.split(os.environ["CC"]))
    found += [[name] for name in ("cc", "gcc", "clang") if shutil.which(name)]
    if importlib.util.find_spec("ziglang") is not None:
        # For any processor of the kind, as other compilers do, and without checks for overflow.
        found.append(
            [sys.executable, "-m", "ziglang", "cc", "-mcpu=baseline", "-fno-sanitize=undefined"]
        )
    return found


def build(folder: Path) -> Path | None:
    """Compile the library into a folder.

    Args:
        folder: Where to; it is made if need be.

    Returns:
        The library, `None` if there is no compiler that can.

    Raises:
        OSError: The folder cannot be written to.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / library_name()
    for compiler in compilers():
        with tempfile.TemporaryDirectory(dir=folder, prefix=".loops-") as scratch:
            made = Path(scratch) / "loops.so"
            command = [*compiler, *_FLAGS, *_EXACT, *map(str, sources()), "-o", str(made), "-lm"]
            try:
                run = subprocess.run(
                    command, capture_output=True, timeout=_SECONDS, check=False, cwd=scratch
                )
            except (OSError, subprocess.TimeoutExpired):
                continue
            if run.returncode == 0 and made.exists():
                made.replace(target)  # whole or not at all
                return target
    return None


if __name__ == "__main__":
    print(build(FOLDER))  # noqa: T201
