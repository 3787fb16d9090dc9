"""`Hosts`: the devices that a cut is made for, where the machine is not known yet."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from respect_tf._errors import ArgumentError
from respect_tf.device._device_file import SUFFIX, device_dict, device_of
from respect_tf.device._edge_tpu import CHIP_FIELDS, EdgeTpu
from respect_tf.device._presets import (
    CLOCKS,
    LINK_NAMES,
    has_clocks,
    hosts_of_link,
    preset_names,
    preset_of,
    unknown_device,
)


@dataclasses.dataclass(frozen=True)
class Hosts:
    """Several devices of one link, of which the user has one but nobody knows which.

    Attributes:
        name: What reports call them.
        devices: The devices, distinct, with names of their own; figures are given for the first.

    Raises:
        ArgumentError: There is no device, or they are of several links or chips.
    """

    name: str
    devices: tuple[EdgeTpu, ...]

    def __post_init__(self) -> None:
        if not self.devices:
            raise ArgumentError("A list of devices must hold one at least. Received: none.")
        first = self.devices[0]
        for other in self.devices[1:]:
            if other.link != first.link:
                raise ArgumentError(
                    "Devices that a cut is made for must be of one link, as a cut for USB serves "
                    f"nobody with PCIe. Received: {first.name!r} ({first.link}) and "
                    f"{other.name!r} ({other.link})."
                )
            for name in (*CHIP_FIELDS, "request_bytes"):
                if getattr(other, name) != getattr(first, name):
                    raise ArgumentError(
                        "Devices that a cut is made for must have the same chip and size of "
                        f"requests. Received: {name} {getattr(first, name)!r} of {first.name!r} "
                        f"and {getattr(other, name)!r} of {other.name!r}."
                    )
        distinct = dict.fromkeys(self.devices)
        object.__setattr__(self, "devices", tuple(_with_own_names(list(distinct))))

    def __len__(self) -> int:
        return len(self.devices)

    def __iter__(self) -> Iterator[EdgeTpu]:
        return iter(self.devices)

    @property
    def first(self) -> EdgeTpu:
        """The device that figures are given for."""
        return self.devices[0]


# Whether several devices share a bus nobody has measured: it may be all of it, or none.
_SHARED, _OWN = "shared bus", "own bus"

DeviceLike: TypeAlias = str | os.PathLike[str] | EdgeTpu | Hosts | Sequence[Any]
"""What `device=` takes: a preset, a link's name, a file, a device, or a list of these."""


def resolve_device(device: Any) -> EdgeTpu | Hosts:
    """What a `device` argument stands for.

    Args:
        device: A host's name (`device_presets`); `"usb3"`, `"usb2"` or `"pcie"` for all hosts of
            that link, with a bus of their own and a shared one and at both clocks; a file of
            constants, which ends in .json; an `EdgeTpu`; or a list of these.

    Returns:
        An `EdgeTpu`, or `Hosts` where it may be several.

    Raises:
        ArgumentError: There is no such preset, the file describes no device, a list is empty or
            mixes links.
    """
    if isinstance(device, EdgeTpu | Hosts):
        return device
    if isinstance(device, os.PathLike) or (isinstance(device, str) and device.endswith(SUFFIX)):
        return EdgeTpu.from_file(device)
    if isinstance(device, str):
        if device in LINK_NAMES:
            return _all_of(device)
        if device in preset_names():
            return preset_of(device, "std")
        raise unknown_device(device)
    if isinstance(device, Sequence) and not isinstance(device, bytes):
        members = [resolve_device(member) for member in device]
        devices = tuple(itertools.chain.from_iterable(map(devices_of, members)))
        hosts = Hosts(", ".join(member.name for member in members), devices)
        return hosts if len(hosts) > 1 else hosts.first
    raise unknown_device(device)


def devices_of(device: EdgeTpu | Hosts) -> tuple[EdgeTpu, ...]:
    """The devices that a resolved device may be, the one that figures are given for first."""
    return device.devices if isinstance(device, Hosts) else (device,)


def first_device(device: EdgeTpu | Hosts) -> EdgeTpu:
    """The device that figures are given for."""
    return devices_of(device)[0]


def _all_of(name: str) -> Hosts:
    """All hosts of a link as they are known, and with the bus shared and free at both clocks."""
    hosts = hosts_of_link(name)
    devices = [preset_of(host, "std") for host in hosts]
    for host, clock in itertools.product(hosts, CLOCKS):
        device = preset_of(host, clock)
        if not has_clocks(host):
            continue
        for text, bus in ((_SHARED, device.link_ms_per_mib), (_OWN, 0.0)):
            devices.append(
                dataclasses.replace(device, name=f"{device.name}, {text}", bus_ms_per_mib=bus)
            )
    return Hosts(name, tuple(devices))


def _with_own_names(devices: list[EdgeTpu]) -> Iterator[EdgeTpu]:
    """The same devices, numbered where several have one name."""
    count, seen = Counter(device.name for device in devices), Counter[str]()
    for device in devices:
        seen[device.name] += 1
        if count[device.name] > 1:
            yield dataclasses.replace(device, name=f"{device.name} ({seen[device.name]})")
        else:
            yield device


def devices_dict(device: EdgeTpu | Hosts) -> dict[str, Any]:
    """One device or several as plain values for JSON: a name, and constants of each."""
    return {"name": device.name, "devices": [device_dict(one) for one in devices_of(device)]}


def devices_from(data: Any, where: str) -> EdgeTpu | Hosts:
    """What `devices_dict` described.

    Args:
        data: What was read.
        where: What messages call it.

    Raises:
        ArgumentError: A constant is missing, unknown or makes no sense; or see `Hosts`.
    """
    listed = data.get("devices") if isinstance(data, dict) else None
    if not isinstance(listed, list) or not listed or not isinstance(data.get("name"), str):
        raise ArgumentError(f"{where} describes no device: expected a name and a list of devices.")
    devices = tuple(device_of(one, where) for one in listed)
    return devices[0] if len(devices) == 1 else Hosts(data["name"], devices)
