"""The hosts that were measured, and what is known of their constants."""

from __future__ import annotations

import dataclasses
import functools
import json
from importlib import resources
from typing import Any

from respect_tf._errors import ArgumentError
from respect_tf.device._edge_tpu import Clock, EdgeTpu

LINK_NAMES = {"usb3": "USB 3", "usb2": "USB 2", "pcie": "PCIe"}
"""Names that stand for all hosts of a link."""

CLOCKS: tuple[Clock, ...] = ("std", "max")
"""What the runtimes choose."""

# The host that a link's figures are given for comes first.
_FIRST = {"usb3": "usb3-pi5", "usb2": "usb2-pi3", "pcie": "pcie-m2"}


def device_presets() -> dict[str, EdgeTpu]:
    """The hosts that public measurements describe, by name, at the packaged runtime's clock.

    `"usb3"`, `"usb2"` and `"pcie"` are no single devices: they stand for all hosts of that link,
    in `schedule`, `convert` and wherever else a `device` is asked for.
    """
    return {name: preset_of(name, "std") for name in preset_names()}


def preset_names() -> tuple[str, ...]:
    """The names of `device_presets`."""
    return tuple(_data()["hosts"])


@dataclasses.dataclass(frozen=True)
class Constant:
    """One constant of a preset, with its range, unit and source; pairs are given as text."""

    name: str
    value: Any
    low: float | None
    high: float | None
    unit: str
    source: str

    @property
    def shown(self) -> str:
        """Value and range as a person reads them."""
        if self.low is None or self.high is None or self.low == self.high:
            return f"{self.value}"
        return f"{self.value:g} ({self.low:g}-{self.high:g})"


@dataclasses.dataclass(frozen=True)
class DeviceRow:
    """A preset: its name, its link, the machine it was measured on, and its constants."""

    name: str
    link: str
    host: str
    constants: tuple[Constant, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)


def device_table() -> list[DeviceRow]:
    """All presets with their constants, for people."""
    return [
        DeviceRow(
            name=name,
            link=_data()["hosts"][name]["link"],
            host=host_of(name),
            constants=tuple(
                Constant(
                    name=key,
                    value=entry["value"],
                    low=entry.get("low"),
                    high=entry.get("high"),
                    unit=entry["unit"],
                    source=entry["source"],
                )
                for key, entry in constants_of(name).items()
            ),
        )
        for name in preset_names()
    ]


def hosts_of_link(name: str) -> tuple[str, ...]:
    """The presets that `"usb3"`, `"usb2"` or `"pcie"` stands for, the first host first."""
    link = LINK_NAMES[name]
    same = [host for host, entry in _data()["hosts"].items() if entry["link"] == link]
    return tuple(sorted(same, key=lambda host: host != _FIRST[name]))


def host_of(name: str) -> str:
    """The machine that a preset was measured on."""
    host: str = _data()["hosts"][name]["host"]
    return host


@functools.cache
def _preset(name: str, clock: Clock) -> EdgeTpu:
    constants = constants_of(name, clock)
    return EdgeTpu(
        name=name if clock == "std" or not has_clocks(name) else f"{name} {clock}",
        link=_data()["hosts"][name]["link"],
        **{key: entry["value"] for key, entry in constants.items()},
        ranges={
            key: (entry["low"], entry["high"]) for key, entry in constants.items() if "low" in entry
        },
    )


def preset_of(name: str, clock: Clock) -> EdgeTpu:
    """See `EdgeTpu.preset`."""
    check_preset(name)
    if clock not in CLOCKS:
        raise ArgumentError(f'clock must be "std" or "max". Received: {clock!r}.')
    return _preset(name, clock)


def has_clocks(name: str) -> bool:
    """Whether the runtime's choice makes a difference for a preset: not over PCIe."""
    usb = _clocks(name)
    return bool(usb["std"] != usb["max"])


def constants_of(name: str, clock: Clock = "std") -> dict[str, dict[str, Any]]:
    """Value, least and largest value, unit and source of each constant of a preset.

    Raises:
        ArgumentError: There is no such preset.
    """
    check_preset(name)
    data, host = _data(), _data()["hosts"][name]
    clocks = _clocks(name)
    clock_mhz = {
        "value": clocks[clock],
        "low": clocks["std"],
        "high": clocks["max"],
        "unit": data["clock_mhz"]["unit"],
        "source": data["clock_mhz"]["source"],
    }
    every = {**data["chip"], "clock_mhz": clock_mhz, **data["links"][host["link"]]}
    return {**every, **host["constants"]}


def check_preset(name: Any) -> None:
    """Check that a preset has that name.

    Raises:
        ArgumentError: None has.
    """
    if isinstance(name, str) and name in _data()["hosts"]:
        return
    if isinstance(name, str) and name in LINK_NAMES:
        raise ArgumentError(
            f"{name!r} stands for several hosts: {', '.join(hosts_of_link(name))}. Expected one of "
            f"them here. Received: {name!r}."
        )
    raise unknown_device(name)


def unknown_device(name: Any) -> ArgumentError:
    """The error for a name that no device has."""
    links = ", ".join(f"{name} (all of {link})" for name, link in LINK_NAMES.items())
    return ArgumentError(
        f"Unknown device. Expected a host ({', '.join(preset_names())}), {links}, a file of "
        f"constants (.json), an EdgeTpu, or a list of these. Received: {name!r}."
    )


def _clocks(name: str) -> dict[str, float]:
    kind = "PCIe" if _data()["hosts"][name]["link"] == "PCIe" else "USB"
    clocks: dict[str, float] = _data()["clock_mhz"][kind]
    return clocks


@functools.cache
def _data() -> dict[str, Any]:
    text = resources.files("respect_tf.device").joinpath("constants.json").read_text("utf-8")
    data: dict[str, Any] = json.loads(text)
    return data
