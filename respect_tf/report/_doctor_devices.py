"""What `respect-tf doctor` says of Edge TPUs: runtime, interpreter, driver, devices, power."""

from __future__ import annotations

import grp
import os
import platform
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from respect_tf._errors import DeviceError
from respect_tf.report._finding import Finding
from respect_tf.run import (
    check_interpreter,
    check_pycoral,
    check_runtime,
    fits_together,
    list_edge_tpus,
)

_HOT_CELSIUS = 80.0  # where programs that run them for long begin to warn (CodeProject.AI)
_DRIVERS = "feranick/gasket-driver, KyleGospo/gasket-dkms or jnicolson/gasket-builder"


def examine_devices(root: Path = Path("/")) -> list[Finding]:
    """Look for what running on Edge TPUs from here needs. Nothing is loaded onto a device.

    Args:
        root: Where the system's files are.
    """
    checks: tuple[Callable[[], Finding], ...] = (
        lambda: _checked("interpreter", check_interpreter()),
        lambda: _checked("libedgetpu", check_runtime()),
        _pair,
        _devices,
        lambda: _checked("pycoral", check_pycoral()),
    )
    findings = [check() for check in checks]
    return [*findings, *_usb(root), *_pcie(root)]


def _checked(name: str, check: object) -> Finding:
    ok, found, remedy = (getattr(check, part) for part in ("ok", "found", "remedy"))
    needed = "" if ok else f"needed on the machine with the Edge TPUs only. {remedy}"
    return Finding(name, "ok" if ok else "optional", found, needed)


def _pair() -> Finding:
    """Whether libedgetpu and the interpreter are known to go together."""
    name = "libedgetpu with interpreter"
    known, found, remedy = fits_together()
    return Finding(name, "ok" if known else "optional", found, remedy)


def _devices() -> Finding:
    name = "Edge TPUs"
    try:
        devices = list_edge_tpus()
    except DeviceError:
        return Finding(name, "optional", "cannot be listed without libedgetpu")
    if not devices:
        remedy = (
            "plug one in; 'lsusb' shows 1a6e:089a before its first use and 18d1:9302 after it; "
            "with PCIe 'ls /dev/apex_*'"
        )
        return Finding(name, "optional", "none", remedy)
    hot = [one.name for one in devices if one.celsius is not None and one.celsius > _HOT_CELSIUS]
    found = ", ".join(map(str, devices))
    if hot:
        remedy = f"{', '.join(hot)} above {_HOT_CELSIUS:g} degrees Celsius: cool it"
        return Finding(name, "optional", found, remedy)
    return Finding(name, "ok", found)


def _usb(root: Path) -> Iterator[Finding]:
    """Rights and speed of USB devices."""
    for device in sorted(root.glob("sys/bus/usb/devices/*")):
        ids = f"{_line(device / 'idVendor')}:{_line(device / 'idProduct')}"
        if ids not in ("1a6e:089a", "18d1:9302"):
            continue
        name = f"USB device {device.name}"
        speed = _line(device / "speed")
        bus, number = _line(device / "busnum"), _line(device / "devnum")
        node = root / f"dev/bus/usb/{bus:0>3}/{number:0>3}"
        if not os.access(node, os.R_OK | os.W_OK):
            yield Finding(name, "missing", f"{node} is closed to this user", _group("plugdev"))
        elif speed.isdecimal() and int(speed) < 5000:
            remedy = (
                "plug it into a USB 3 (blue) port, with a cable for USB 3: parameters that do not "
                "fit on the chip come ten times as slowly"
            )
            yield Finding(name, "optional", f"{ids} at {speed} Mbit/s, USB 2", remedy)
        else:
            power = _line(device / "bMaxPower")
            remedy = "each draws up to 900 mA: two or more need a hub with a supply of its own"
            yield Finding(name, "ok", f"{ids} at {speed} Mbit/s, {power}", remedy)


def _pcie(root: Path) -> Iterator[Finding]:
    """The driver and the rights of PCIe modules, and settings of a Raspberry Pi 5."""
    modules = [
        device
        for device in sorted(root.glob("sys/bus/pci/devices/*"))
        if (_line(device / "vendor"), _line(device / "device")) == ("0x1ac1", "0x089a")
    ]
    nodes = sorted(root.glob("dev/apex_*"))
    if modules and not nodes:
        kernel = platform.release()
        numbers = tuple(map(int, re.findall(r"\d+", kernel)[:2]))
        new = numbers >= (6, 12)
        remedy = (
            f"kernel {kernel} needs a fork of the driver, as the distribution's does not build "
            f"from 6.12 on: {_DRIVERS}"
            if new
            else f"install gasket-dkms, or where it does not build {_DRIVERS}; then 'modprobe apex'"
        )
        yield Finding("gasket driver", "missing", f"{len(modules)} modules, no /dev/apex_*", remedy)
    for node in nodes:
        if os.access(node, os.R_OK | os.W_OK):
            yield Finding(f"PCIe module {node.name}", "ok", str(node))
            continue
        remedy = f"{_group('apex')}; after a reboot 'udevadm trigger --subsystem-match=apex'"
        found = f"{node} is closed to this user"
        yield Finding(f"PCIe module {node.name}", "missing", found, remedy)
    if modules and "Raspberry Pi 5" in _line(root / "proc/device-tree/model"):
        yield _raspberry_pi_5(root)


def _raspberry_pi_5(root: Path) -> Finding:
    name = "Raspberry Pi 5 and PCIe"
    config = _text(root / "boot/firmware/config.txt")
    wanted = {
        "kernel=kernel8.img": "4-KiB pages",
        "dtparam=pciex1": "the PCIe port",
        "dtoverlay=pciex1-compat-pi5,no-mip": "interrupts",
    }
    missing = [f"{line} ({why})" for line, why in wanted.items() if line not in config]
    if not missing:
        return Finding(name, "ok", "config.txt has what the driver needs")
    remedy = f"add to /boot/firmware/config.txt: {'; '.join(missing)}"
    return Finding(name, "missing", "settings are missing", remedy)


def _group(group: str) -> str:
    """How a user gets the rights of a group."""
    try:
        member = grp.getgrnam(group).gr_gid in os.getgroups()
    except KeyError:
        return f"there is no group {group}: install libedgetpu1-std, whose rules make it"
    if member:
        return f"this user is in {group} already: 'udevadm trigger' applies the rules"
    return f"'sudo usermod -aG {group} $USER', and log in again"


def _line(path: Path) -> str:
    return _text(path).split("\n")[0].strip("\0 ")


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(65536).decode("utf-8", "replace")
    except OSError:
        return ""
