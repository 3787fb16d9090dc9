"""Whether Edge TPUs can be used from here, and which ones there are."""

from __future__ import annotations

import ctypes
import dataclasses
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from respect_tf._errors import DeviceError
from respect_tf.segmentation import Segment

_RUNTIMES = {
    "Linux": "libedgetpu.so.1",
    "Darwin": "libedgetpu.1.dylib",
    "Windows": "edgetpu.dll",
}
# What lsusb shows for the USB Accelerator: before and after its firmware is loaded.
_USB_IDS = {("1a6e", "089a"), ("18d1", "9302")}
_EIGHT_BIT = ("int8", "uint8")


@dataclasses.dataclass(frozen=True)
class DeviceCheck:
    """One line of the checklist.

    Attributes:
        name: What is needed.
        ok: Whether it is there.
        found: What was found.
        remedy: What to do; empty if it is there.
    """

    name: str
    ok: bool
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = "" if self.ok else f"\n      {self.remedy}"
        return f"  [{'ok' if self.ok else '--'}] {self.name}: {self.found}{remedy}"


def check_edge_tpus(segments: Sequence[Segment]) -> tuple[DeviceCheck, ...]:
    """Look for everything that running these segments on Edge TPUs needs."""
    pycoral = _check_pycoral()
    return (
        pycoral,
        _check_runtime(pycoral_works=pycoral.ok),
        _check_devices(len(segments), pycoral_works=pycoral.ok),
        _check_compiled(segments),
        _check_outputs(segments),
    )


def device_error(checks: Sequence[DeviceCheck], reason: str = "") -> DeviceError:
    """The error that shows a checklist."""
    lines = "\n".join(map(str, checks))
    return DeviceError(
        f"The pipeline cannot run on Edge TPUs{reason and ': '}{reason}. What it needs:\n{lines}\n"
        'device="cpu" runs it without them.'
    )


def list_edge_tpus() -> tuple[str, ...]:
    """The names of the Edge TPUs that pycoral sees, PCIe first: `"pci:0"`, `"usb:0"`, ...

    Raises:
        DeviceError: Google's pycoral is not installed.
    """
    check = _check_pycoral()
    if not check.ok:
        raise device_error([check])
    kinds = [device["type"] for device in edgetpu_module().list_edge_tpus()]
    return tuple(f"{kind}:{index}" for kind in ("pci", "usb") for index in range(kinds.count(kind)))


def edgetpu_module() -> Any:
    """The module of pycoral that lists devices and makes interpreters."""
    return importlib.import_module("pycoral.utils.edgetpu")


def pipeline_module() -> Any:
    """The module of pycoral with the pipeline runner."""
    return importlib.import_module("pycoral.pipeline.pipelined_model_runner")


def _check_pycoral() -> DeviceCheck:
    name = "Google's pycoral"
    remedy = (
        "It is not on PyPI: install python3-pycoral from Coral's Debian repository, or its wheel "
        "(for Python 3.9 and older) as https://coral.ai/software says."
    )
    spec = importlib.util.find_spec("pycoral")
    if spec is None:
        version = ".".join(map(str, sys.version_info[:2]))
        return DeviceCheck(name, False, f"not installed for Python {version}", remedy)
    # Looked at before it is imported: an unrelated package may do anything.
    folders = [Path(folder) for folder in spec.submodule_search_locations or []]
    if not any((folder / "pipeline").is_dir() for folder in folders):
        remedy = f"'pip uninstall pycoral' first. {remedy}"
        return DeviceCheck(name, False, f"{_distribution()}, an unrelated project", remedy)
    try:
        pipeline_module()
        edgetpu_module()
    except (ImportError, OSError) as error:
        remedy = "Install the Edge TPU runtime, and the wheel of pycoral for this Python."
        return DeviceCheck(name, False, f"cannot be imported: {error}", remedy)
    return DeviceCheck(name, True, _distribution())


def _distribution() -> str:
    try:
        found = importlib.metadata.metadata("pycoral")
    except importlib.metadata.PackageNotFoundError:
        return "a package named pycoral"
    summary = f" ({found['Summary']})" if found["Summary"] else ""
    return f"pycoral {found['Version']}{summary}"


def _check_runtime(*, pycoral_works: bool) -> DeviceCheck:
    name = "Edge TPU runtime"
    if pycoral_works:
        return DeviceCheck(name, True, str(edgetpu_module().get_runtime_version()))
    library = _RUNTIMES.get(platform.system(), _RUNTIMES["Linux"])
    try:
        ctypes.CDLL(library)
    except OSError as error:
        remedy = "Install libedgetpu1-std from Coral's Debian repository."
        return DeviceCheck(name, False, str(error), remedy)
    return DeviceCheck(name, True, library)


def _check_devices(wanted: int, *, pycoral_works: bool) -> DeviceCheck:
    name = f"{wanted} Edge TPU{'s' if wanted > 1 else ''}, one per segment"
    attached = _attached_nodes()
    found = list_edge_tpus() if pycoral_works else tuple(str(node) for node in attached)
    shown = f"{len(found)} found{': ' if found else ''}{', '.join(found)}"
    if len(found) >= wanted:
        return DeviceCheck(name, True, shown)
    closed = [str(node) for node in attached if not os.access(node, os.R_OK | os.W_OK)]
    if closed:
        remedy = (
            f"This user may not open {', '.join(closed)}: add it to the group plugdev (USB) or "
            "apex (PCIe) and log in again."
        )
    else:
        remedy = (
            "Plug them in (USB: a port with enough power; PCIe: the gasket driver, see "
            "'ls /dev/apex_*'), or convert for fewer segments."
        )
    return DeviceCheck(name, False, shown, remedy)


def _attached_nodes() -> list[Path]:
    """Device files of the Edge TPUs that Linux sees."""
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


def _check_compiled(segments: Sequence[Segment]) -> DeviceCheck:
    name = "segments compiled for the Edge TPU"
    missing = [str(segment.index) for segment in segments if segment.compiled is None]
    if not missing:
        return DeviceCheck(name, True, f"all {len(segments)}")
    remedy = (
        "Save the pipeline and run 'respect-tf compile FOLDER' where edgetpu_compiler is installed."
    )
    return DeviceCheck(name, False, f"not segment {', '.join(missing)}", remedy)


def _check_outputs(segments: Sequence[Segment]) -> DeviceCheck:
    name = "8-bit outputs, as pycoral returns no others"
    wide = [f"'{s.name}' is {s.dtype}" for s in segments[-1].outputs if s.dtype not in _EIGHT_BIT]
    if not wide:
        return DeviceCheck(name, True, "yes")
    return DeviceCheck(
        name, False, ", ".join(wide), 'Convert with inference_output_type="int8" or "uint8".'
    )
