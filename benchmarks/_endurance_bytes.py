"""The files that a conversion saves, made in processes with other surroundings.

`python -m benchmarks._endurance_bytes FOLDER` converts and saves there.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Surroundings:
    """What a process is started with.

    Attributes:
        name: What differs.
        variables: Environment variables, above those of `BASE`.
        umask: Permissions that new files do not get.
    """

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)
    umask: int = 0o022


_BASE = {
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
}
_MANY_THREADS = {
    "OMP_NUM_THREADS": "4",
    "TF_NUM_INTRAOP_THREADS": "4",
    "TF_NUM_INTEROP_THREADS": "4",
    "NUMBA_NUM_THREADS": "2",
}

BASE = Surroundings("the base")
OTHERS = (
    Surroundings("hash seed 1", {"PYTHONHASHSEED": "1"}),
    Surroundings("a random hash seed", {"PYTHONHASHSEED": "random"}),
    Surroundings("four threads", _MANY_THREADS),
    # Not installed everywhere: the variable is set in any case, as on machines without it.
    Surroundings("a Turkish locale", {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"}),
    Surroundings(
        "ASCII alone",
        {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ),
    Surroundings("a time zone of +12:45", {"TZ": "Pacific/Chatham"}),
    Surroundings("umask 077", umask=0o077),
    Surroundings("umask 000", umask=0),
)
ALL_AT_ONCE = Surroundings(
    "all of it at once",
    {
        **_MANY_THREADS,
        "PYTHONHASHSEED": "4242",
        "LC_ALL": "tr_TR.UTF-8",
        "TZ": "Pacific/Chatham",
    },
    umask=0o077,
)


def hashes_of_saved(surroundings: Surroundings, folder: Path) -> dict[str, str]:
    """Convert and save in a process of its own: file name -> sha256 of its content."""
    subprocess.run(
        [sys.executable, "-m", "benchmarks._endurance_bytes", str(folder)],
        env={**os.environ, **_BASE, **surroundings.variables},
        umask=surroundings.umask,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,  # what it prints is of no interest, unless it fails
        stderr=subprocess.STDOUT,
        check=True,
    )
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
    }


def _save(folder: Path) -> None:
    import respect_tf
    from benchmarks._endurance_growth import small_model, small_samples

    pipeline = respect_tf.convert(small_model(), 3, small_samples(), device="usb3", verbose=0)
    pipeline.save(folder, verbose=0)


if __name__ == "__main__":
    _save(Path(sys.argv[1]))
