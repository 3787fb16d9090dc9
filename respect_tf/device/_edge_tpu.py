"""`EdgeTpu`: the constants of the device model."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
from collections.abc import Mapping
from typing import Any, Literal

from respect_tf._errors import ArgumentError

MIB = 2.0**20
FULL_CLOCK_MHZ = 500.0
"""The clock that prices of compute are stated for."""

PAIR_FIELDS = ("strip_passes", "contention")  # constants that are pairs of numbers
_SMALLEST_SECOND = {"strip_passes": 1.0, "contention": 0.0}
_PAIR_MEANING = {"strip_passes": "(MiB, passes)", "contention": "(devices, part)"}
_TEXTS = ("name", "link")
# Whole numbers, and the most that makes sense of a chip and of a driver.
_WHOLE = {"num_tiles": 10**6, "request_bytes": 2**30}
_ABOVE_ZERO = ("clock_mhz", "request_bytes", "requests_in_flight")

LINKS = ("USB 3", "USB 2", "PCIe")
"""What `EdgeTpu.link` may be."""

CHIP_FIELDS = (
    "num_tiles", "tile_bytes", "activation_share", "activation_cap_mib", "strip_map_mib",
    "strip_parameter_mib", "strip_input_share", "strip_passes",
)  # fmt: skip
"""Constants of the chip's memory, which is the same everywhere."""

Clock = Literal["std", "max"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EdgeTpu:
    """An Edge TPU: the chip, the link that it hangs on, and the host that feeds it.

    The chip is the same everywhere; times depend on the link and on the host. Each preset was made
    of public measurements of one host, and `calibrate` fits the times to your own. Every constant
    has a range in `ranges`: what it may be on a machine of that kind.

    Attributes:
        name: What reports call it.
        link: `"USB 3"`, `"USB 2"` or `"PCIe"`.
        num_tiles: Chip: number of tiles, each with a memory of its own.
        tile_bytes: Chip: bytes of a tile that are left for parameters if activations took none.
        activation_share: Chip: part of a segment's largest tensor that takes room from parameters.
        activation_cap_mib: Chip: MiB that activations take at most.
        strip_map_mib: Chip: MiB read and made by an op from which on its maps are worked off in
            strips.
        strip_parameter_mib: Chip: MiB of parameters from which on that happens.
        strip_input_share: Chip: part of a segment's inputs that takes room when it works in strips.
        strip_passes: Chip: pairs (MiB read and made by the op, passes): parameters that are
            streamed to an op that works in strips are fetched so often.
        clock_mhz: Chip: its clock; prices of compute are stated for 500 MHz.
        link_ms_per_mib: Link: ms to send 1 MiB of inputs, parameters or instructions.
        output_ms_per_request: Link: ms of the host for one request for outputs.
        request_bytes: Link: bytes of an output that one request brings.
        requests_in_flight: Link: requests that wait at the same time, which share their time: the
            driver's option `Usb.MaxBulkInQueueLength`.
        bus_ms_per_mib: Link: ms for 1 MiB on a bus that all devices share; 0 for a bus of their
            own.
        contention: Link: pairs (devices that work at once, part by which transfers then take
            longer); linear between them, and as with most devices beyond.
        fixed_ms: Host: ms of an inference that does next to nothing.
        stage_ms: Host: ms for each stage of a pipeline and inference, one after the other.
        cpu_ms_per_gmac: Host: ms per 10**9 multiply-accumulates of ops that stay on the CPU.
        cpu_ms_per_mib: Host: ms per MiB that ops on the CPU read or make.
        ranges: For names of constants, the least and the largest value that they may have; a
            constant that is missing here is known.

    Raises:
        ArgumentError: A constant is negative, NaN, infinite or of another type; a range is not two
            such numbers, the smaller one first, or names no constant.
    """

    name: str
    link: str
    num_tiles: int
    tile_bytes: float
    activation_share: float
    activation_cap_mib: float
    strip_map_mib: float
    strip_parameter_mib: float
    strip_input_share: float
    strip_passes: tuple[tuple[float, float], ...]
    clock_mhz: float
    link_ms_per_mib: float
    output_ms_per_request: float
    request_bytes: float
    requests_in_flight: float
    bus_ms_per_mib: float
    contention: tuple[tuple[float, float], ...]
    fixed_ms: float
    stage_ms: float
    cpu_ms_per_gmac: float
    cpu_ms_per_mib: float
    ranges: Mapping[str, tuple[float, float]] = dataclasses.field(
        default_factory=dict, hash=False, repr=False
    )

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ArgumentError(f"EdgeTpu.name must be a string. Received: {self.name!r}.")
        if self.link not in LINKS:
            raise ArgumentError(
                f"EdgeTpu.link must be one of {', '.join(LINKS)}. Received: {self.link!r}."
            )
        for name in _NUMBERS:
            value = getattr(self, name)
            least = "above 0" if name in _ABOVE_ZERO else "0 or more"
            if not is_amount(value) or (name in _ABOVE_ZERO and value == 0):
                raise ArgumentError(
                    f"EdgeTpu.{name} must be a finite number, {least}. Received: {value!r}."
                )
            if name != "num_tiles":  # no whole number is too large for numpy then
                object.__setattr__(self, name, float(value))
        for name, most in _WHOLE.items():
            value = getattr(self, name)
            if not 1 <= value <= most or value != int(value):
                raise ArgumentError(
                    f"EdgeTpu.{name} must be a whole number, 1 to {most:,}. Received: {value!r}."
                )
        if not isinstance(self.num_tiles, int):
            raise ArgumentError(
                f"EdgeTpu.num_tiles must be a whole number. Received: {self.num_tiles!r}."
            )
        for name in PAIR_FIELDS:
            self._check_pairs(name)
        object.__setattr__(self, "ranges", _checked_ranges(self.ranges))

    def _check_pairs(self, name: str) -> None:
        value, smallest = getattr(self, name), _SMALLEST_SECOND[name]
        try:
            pairs = tuple((first, second) for first, second in value)
        except (TypeError, ValueError):
            pairs = ((math.nan, math.nan),)
        good = all(is_amount(first) and is_amount(second) for first, second in pairs)
        firsts = [first for first, _ in pairs]
        if (
            not good
            or any(second < smallest for _, second in pairs)
            or firsts != sorted(set(firsts))
        ):
            raise ArgumentError(
                f"EdgeTpu.{name} must be pairs {_PAIR_MEANING[name]}: the first ascending and 0 or "
                f"more, the second {smallest:g} or more. Received: {value!r}."
            )
        object.__setattr__(self, name, pairs)

    @classmethod
    def preset(cls, name: str, *, clock: Clock = "std") -> EdgeTpu:
        """A device as it was measured on one host.

        Args:
            name: The host: see `device_presets`.
            clock: `"std"`, as the packaged runtime runs the chip (250 MHz over USB), or `"max"`
                (500 MHz). Over PCIe both are 500 MHz.

        Raises:
            ArgumentError: There is no such preset or clock.
        """
        from respect_tf.device._presets import preset_of

        return preset_of(name, clock)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> EdgeTpu:
        """A device whose constants `save` wrote, or a user: a JSON file.

        Raises:
            ArgumentError: The file cannot be read, is not of this format or of an earlier version,
                lacks a constant or has an unknown one, or a constant makes no sense. The message
                names file and constant.
        """
        from respect_tf.device._device_file import read_device

        return read_device(path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the constants to a JSON file that `from_file` and `device=` take.

        Raises:
            ArgumentError: The file cannot be written, or its name does not end in .json.
        """
        from respect_tf.device._device_file import write_device

        write_device(self, path)

    @staticmethod
    def provenance(preset: str) -> dict[str, str]:
        """Unit and source of each constant of a preset, by name.

        Raises:
            ArgumentError: There is no such preset.
        """
        from respect_tf.device._presets import constants_of

        return {
            name: f"{entry['unit']}; {entry['source']}"
            for name, entry in constants_of(preset).items()
        }

    @property
    def output_ms_per_mib(self) -> float:
        """Ms to bring back 1 MiB of outputs: its requests, of which some wait at a time."""
        per_byte = self.output_ms_per_request / self.requests_in_flight / self.request_bytes
        return MIB * per_byte

    @property
    def slower(self) -> float:
        """How many times as long the chip computes as at 500 MHz."""
        return FULL_CLOCK_MHZ / self.clock_mhz

    def range_of(self, name: str) -> tuple[float, float]:
        """The least and the largest value that a constant may have, its own value included.

        Args:
            name: A constant that is one number.
        """
        value = float(getattr(self, name))
        low, high = self.ranges.get(name, (value, value))
        return min(low, value), max(high, value)

    def slowdown(self, num_stages: int) -> float:
        """How many times as long transfers take when `num_stages` devices work at once."""
        if num_stages < 2 or not self.contention:
            return 1.0
        below, part = 1.0, 0.0  # one device waits for nobody
        for devices, known in self.contention:
            if num_stages <= devices:
                return 1.0 + part + (known - part) * (num_stages - below) / (devices - below)
            below, part = devices, known
        return 1.0 + part


_NUMBERS = tuple(
    field.name
    for field in dataclasses.fields(EdgeTpu)
    if field.name not in (*_TEXTS, *PAIR_FIELDS, "ranges")
)


def is_amount(value: Any) -> bool:
    """Whether a value is a finite number, 0 or more."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 <= value <= sys.float_info.max  # neither NaN nor a whole number beyond all floats
    )


def _checked_ranges(ranges: Any) -> dict[str, tuple[float, float]]:
    if not isinstance(ranges, Mapping):
        raise ArgumentError(
            "EdgeTpu.ranges must give constants their least and largest value by name. Received: "
            f"{ranges!r}."
        )
    checked = {}
    for name, pair in ranges.items():
        if name not in _NUMBERS:
            raise ArgumentError(
                f"EdgeTpu.ranges: expected names among {', '.join(_NUMBERS)}. Received: {name!r}."
            )
        try:
            low, high = pair
        except (TypeError, ValueError):
            low = high = math.nan
        if not (is_amount(low) and is_amount(high) and low <= high):
            raise ArgumentError(
                f"EdgeTpu.ranges[{name!r}] must be two finite numbers, 0 or more, the smaller one "
                f"first. Received: {pair!r}."
            )
        checked[name] = (float(low), float(high))
    return checked
