"""Builds the stand-in libedgetpu, and says what devices there are and what they do."""

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

_SOURCE = Path(__file__).parent / "stand_in" / "libedgetpu.c"


@functools.cache
def library():
    """Path of the stand-in, built for this session."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tempfile.TemporaryDirectory()
    library.folder = folder  # as long as this process lives
    path = Path(folder.name) / "libedgetpu.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", path, _SOURCE], check=True)
    return path


class EdgeTpus:
    """The machine's Edge TPUs."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "in_use").mkdir()

    def attach(self, *kinds):
        """Let there be devices, for example "usb", "pci", "usb"."""
        lines = [f"{kind} /dev/{kind}/{index}\n" for index, kind in enumerate(kinds)]
        partial = self.folder / "devices.new"
        partial.write_text("".join(lines))
        partial.replace(self.folder / "devices")  # at once, as others read it

    def say(self, what, device="", value=""):
        """fail, hang, slow (microseconds) a device; refuse (times) or crash without one."""
        (self.folder / f"{what}{device and '.'}{device}").write_text(str(value))

    def unsay(self, what, device=""):
        (self.folder / f"{what}{device and '.'}{device}").unlink()

    @property
    def options(self):
        """What delegates were given, as texts "KEY=VALUE"."""
        path = self.folder / "options"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def in_use(self):
        """Devices that delegates have open in any process that lives."""
        names = [path.name.split(".") for path in (self.folder / "in_use").iterdir()]
        return sorted(name for name, pid, _ in names if Path(f"/proc/{pid}").exists())


def edge_tpus(tmp_path_factory, monkeypatch):
    """The stand-in in the place of libedgetpu."""
    folder = tmp_path_factory.mktemp("edge_tpus")
    monkeypatch.setenv("EDGETPU_LIBRARY", str(library()))
    monkeypatch.setenv("STAND_IN_FOLDER", str(folder))
    return EdgeTpus(folder)
