"""Which Edge TPUs there are, asked of Google's runtime (libedgetpu) and of Linux."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import platform
from pathlib import Path
from typing import Any

from respect_tf.run.script._advice import fits, installed_runtime
from respect_tf.run.script._packages import PACKAGES, InterpreterPackage, find_package

LIBRARY_VARIABLE = "EDGETPU_LIBRARY"
_LIBRARIES = {
    "Linux": "libedgetpu.so.1",
    "Darwin": "libedgetpu.1.dylib",
    "Windows": "edgetpu.dll",
}
# `enum edgetpu_device_type` of edgetpu_c.h, as the option "device" names them.
_KINDS = ("pci", "usb")
# Ids of the USB Accelerator, before and after its firmware is loaded.
_USB_IDS = (("1a6e", "089a"), ("18d1", "9302"))
_MOST_DEVICES = 1024


class RuntimeMissingError(Exception):
    """libedgetpu cannot be loaded."""


@dataclasses.dataclass(frozen=True)
class EdgeTpuDevice:
    """An Edge TPU.

    Attributes:
        name: What libedgetpu's option "device" takes: "usb:0", "pci:1".
        kind: "usb" or "pci".
        path: Where the system has it.
        unique_id: Of a PCIe module, what its driver calls it; None if it does not say.
        celsius: Of a PCIe module, its temperature; None if the driver does not say.
    """

    name: str
    kind: str
    path: str
    unique_id: str | None = None
    celsius: float | None = None

    def __str__(self) -> str:
        more = [] if self.unique_id is None else [f"id {self.unique_id}"]
        more += [] if self.celsius is None else [f"{self.celsius:.1f} degrees Celsius"]
        return f"{self.name} ({', '.join([self.path, *more])})"


class _Device(ctypes.Structure):
    """`struct edgetpu_device` of edgetpu_c.h."""

    _fields_ = (("type", ctypes.c_int), ("path", ctypes.c_char_p))


def runtime_library() -> str:
    """Name of libedgetpu, or what the environment variable EDGETPU_LIBRARY says."""
    given = os.environ.get(LIBRARY_VARIABLE)
    return given or _LIBRARIES.get(platform.system(), _LIBRARIES["Linux"])


def _runtime() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(runtime_library())
        library.edgetpu_list_devices.argtypes = [ctypes.POINTER(ctypes.c_size_t)]
        library.edgetpu_list_devices.restype = ctypes.POINTER(_Device)
        library.edgetpu_free_devices.argtypes = [ctypes.POINTER(_Device)]
        library.edgetpu_free_devices.restype = None
        library.edgetpu_version.argtypes = []
        library.edgetpu_version.restype = ctypes.c_char_p
    except (OSError, AttributeError) as error:
        raise RuntimeMissingError(f"the Edge TPU runtime cannot be loaded: {error}") from error
    return library


def fitting_package(wanted: str | None = None) -> InterpreterPackage | None:
    """The interpreter package for Edge TPUs: of several, the first that goes with libedgetpu.

    Where nobody knows what goes with it, the first that is installed.

    Args:
        wanted: Import name of the one that is to be taken; any if left out.
    """
    if wanted is not None or os.environ.get(LIBRARY_VARIABLE):
        return find_package(wanted)  # Debian's version says nothing of a library of one's own
    runtime = installed_runtime()
    found = [one for name, _ in PACKAGES if (one := find_package(name)) is not None]
    good = [one for one in found if runtime and fits(one, runtime)]
    return next(iter([*good, *found]), None)


def runtime_version() -> str:
    """What libedgetpu says of itself, for example "BuildLabel(COMPILER=...), RuntimeVersion(14)".

    Raises:
        RuntimeMissingError: It cannot be loaded.
    """
    said = _runtime().edgetpu_version()
    return (said or b"").decode("utf-8", "replace")


def list_devices() -> list[EdgeTpuDevice]:
    """The Edge TPUs that libedgetpu sees, PCIe first; those that others use are among them.

    Raises:
        RuntimeMissingError: libedgetpu cannot be loaded.
    """
    library = _runtime()
    count = ctypes.c_size_t(0)
    listed = library.edgetpu_list_devices(ctypes.byref(count))
    found = []
    if listed:
        try:
            for index in range(min(count.value, _MOST_DEVICES)):
                kind = listed[index].type
                path = (listed[index].path or b"").decode("utf-8", "replace")
                found.append((_KINDS[kind] if kind in (0, 1) else "unknown", path))
        finally:
            library.edgetpu_free_devices(listed)
    devices = []
    for wanted in _KINDS:
        for index, path in enumerate(path for kind, path in found if kind == wanted):
            about = _about_module(path) if wanted == "pci" else {}
            devices.append(EdgeTpuDevice(f"{wanted}:{index}", wanted, path, **about))
    return devices


def attached_nodes() -> list[Path]:
    """Device files of the Edge TPUs that Linux sees, whether libedgetpu is there or not."""
    nodes = sorted(Path("/dev").glob("apex_*"))
    for device in sorted(Path("/sys/bus/usb/devices").glob("*")):
        try:
            ids = tuple((device / part).read_text().strip() for part in ("idVendor", "idProduct"))
            if ids in _USB_IDS:
                bus, number = (int((device / part).read_text()) for part in ("busnum", "devnum"))
                nodes.append(Path(f"/dev/bus/usb/{bus:03d}/{number:03d}"))
        except (OSError, ValueError):
            continue  # an interface or a hub's port, or unplugged just now
    return nodes


def _about_module(path: str, root: str = "/sys/class/apex") -> dict[str, Any]:
    """What the driver of a PCIe module (/dev/apex_0) says of it."""
    folder = Path(root, Path(path).name)
    about: dict[str, Any] = {}
    unique = _line(folder / "unique_id")
    if unique:
        about["unique_id"] = unique
    milli = _line(folder / "temp")
    if milli and milli.lstrip("-").isdecimal():
        about["celsius"] = int(milli) / 1000
    return about


def _line(path: Path) -> str:
    """The first line of a small file of the driver; empty if there is none."""
    try:
        with path.open("rb") as file:
            return file.read(256).decode("ascii", "replace").strip()
    except OSError:
        return ""
