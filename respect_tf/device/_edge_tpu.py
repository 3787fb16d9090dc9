"""`EdgeTpu`: the constants of the device model."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from respect_tf._errors import ArgumentError
from respect_tf._files import replace_file

MIB = 2.0**20
PAIR_FIELDS = ("strip_passes", "contention")  # constants that are pairs of numbers
_SMALLEST_SECOND = {"strip_passes": 1.0, "contention": 0.0}
_PAIR_MEANING = {"strip_passes": "(MiB, passes)", "contention": "(devices, part)"}
_FORMAT = "respect_tf device"
_SUFFIX = ".json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EdgeTpu:
    """An Edge TPU, how it is attached, and the host that feeds it.

    The chip's memory is the same everywhere; times depend on the interface and on the host. Each
    preset was fitted to public measurements of one host: `respect-tf calibrate` fits the times to
    your own. `EdgeTpu.provenance` says where each constant comes from.

    Attributes:
        name: What reports call it.
        num_tiles: Number of tiles, each with a memory of its own.
        tile_bytes: Bytes of a tile that are left for parameters if activations took none.
        activation_share: Part of a segment's largest tensor that takes room from parameters.
        strip_map_mib: MiB read and made by an op from which on its maps are worked off in strips.
        strip_parameter_mib: MiB of parameters from which on that happens.
        strip_input_share: Part of a segment's inputs that takes room when it works in strips.
        strip_passes: Pairs (MiB read and made by the op, passes): parameters that are streamed to
            an op that works in strips are fetched so often.
        fixed_ms: ms of an inference that does next to nothing.
        ms_per_gmac: ms per 10**9 multiply-accumulates, output channels padded to 64.
        ms_per_map_mib: ms per MiB that a 3x3 convolution makes; others in proportion to the
            elements of their kernels, depthwise ones none.
        ms_per_vector_mib: ms per MiB that a dense layer reads or makes.
        ms_per_streamed_mib: ms to bring 1 MiB of parameters from the host.
        ms_per_input_mib: ms per MiB of a tensor that enters a segment.
        ms_per_output_mib: ms per MiB of a tensor that leaves a segment.
        contention: Pairs (devices that work at once, part by which transfers then take longer);
            linear between them, and as with most devices beyond.
        dispatch_ms: ms of the host for each stage of a pipeline and inference, one after the other.
        bus_ms_per_mib: ms for 1 MiB on a bus that all devices share; 0 for a bus of their own.
        instruction_bytes: Bytes of instructions of a segment.
        instruction_bytes_per_op: Further bytes of them per op.
        cpu_ms_per_gmac: ms per 10**9 multiply-accumulates of ops that stay on the CPU.
        cpu_ms_per_mib: ms per MiB that ops on the CPU read or make.

    Raises:
        ArgumentError: A constant is negative, NaN, infinite or of another type.
    """

    name: str
    num_tiles: int
    tile_bytes: float
    activation_share: float
    strip_map_mib: float
    strip_parameter_mib: float
    strip_input_share: float
    strip_passes: tuple[tuple[float, float], ...]
    fixed_ms: float
    ms_per_gmac: float
    ms_per_map_mib: float
    ms_per_vector_mib: float
    ms_per_streamed_mib: float
    ms_per_input_mib: float
    ms_per_output_mib: float
    contention: tuple[tuple[float, float], ...]
    dispatch_ms: float
    bus_ms_per_mib: float
    instruction_bytes: float
    instruction_bytes_per_op: float
    cpu_ms_per_gmac: float
    cpu_ms_per_mib: float

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ArgumentError(f"EdgeTpu.name must be a string. Received: {self.name!r}.")
        for field in dataclasses.fields(self):
            if field.name in ("name", *PAIR_FIELDS):
                continue
            if not _is_amount(getattr(self, field.name)):
                raise ArgumentError(
                    f"EdgeTpu.{field.name} must be a finite number, 0 or more. "
                    f"Received: {getattr(self, field.name)!r}."
                )
        if not isinstance(self.num_tiles, int) or self.num_tiles < 1:
            raise ArgumentError(
                f"EdgeTpu.num_tiles must be a whole number, 1 or more. Received: "
                f"{self.num_tiles!r}."
            )
        for name in PAIR_FIELDS:
            self._check_pairs(name)

    def _check_pairs(self, name: str) -> None:
        value, smallest = getattr(self, name), _SMALLEST_SECOND[name]
        try:
            pairs = tuple((first, second) for first, second in value)
        except (TypeError, ValueError):
            pairs = ((math.nan, math.nan),)
        good = all(_is_amount(first) and _is_amount(second) for first, second in pairs)
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
    def preset(cls, name: str) -> EdgeTpu:
        """A device as it was measured.

        Args:
            name: `"usb3"`, `"usb2"` or `"pcie"`.

        Raises:
            ArgumentError: There is no such preset.
        """
        data = _data()
        if not isinstance(name, str) or name not in data["presets"]:
            raise ArgumentError(
                f"Unknown device. Expected one of {', '.join(sorted(data['presets']))}, a file of "
                f"constants ({_SUFFIX}), or an EdgeTpu. Received: {name!r}."
            )
        return cls(name=name, **{key: entry["value"] for key, entry in _entries(name).items()})

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> EdgeTpu:
        """A device whose constants `save` wrote, or a user: a JSON file.

        Raises:
            ArgumentError: The file cannot be read, is not of this format, lacks a constant or has
                an unknown one, or a constant makes no sense. The message names file and constant.
        """
        path = Path(path)
        try:
            data = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as error:  # neither UTF-8 nor sane JSON
            raise ArgumentError(
                f"{path} cannot be read as a device: {error}. Expected a JSON file as "
                "`EdgeTpu.save` or `respect-tf calibrate` writes it."
            ) from error
        constants = data.get("constants") if isinstance(data, dict) else None
        if not isinstance(constants, dict) or data.get("format") != _FORMAT:
            raise ArgumentError(
                f'{path} describes no device. Expected {{"format": "{_FORMAT}", "name": ..., '
                '"constants": {...}}, as `EdgeTpu.save` writes it.'
            )
        expected = {field.name for field in dataclasses.fields(cls)} - {"name"}
        missing, unknown = expected - set(constants), set(constants) - expected
        if missing or unknown:
            raise ArgumentError(
                f"{path}: missing constants: {', '.join(sorted(missing)) or 'none'}; unknown "
                f"constants: {', '.join(sorted(unknown)) or 'none'}. Expected those of "
                "`EdgeTpu.save`."
            )
        try:
            return cls(name=data.get("name"), **constants)
        except ArgumentError as error:
            raise ArgumentError(f"{path}: {error}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the constants to a JSON file that `from_file` and `device=` take.

        Raises:
            ArgumentError: The file cannot be written, or its name does not end in .json.
        """
        path = Path(path)
        if path.suffix != _SUFFIX:
            raise ArgumentError(
                f"A device's file must end in {_SUFFIX}, so that `device=` can tell it from a "
                f"preset. Received: {os.fspath(path)!r}."
            )
        constants = dataclasses.asdict(self)
        data = {"format": _FORMAT, "name": constants.pop("name"), "constants": constants}
        try:
            content = json.dumps(data, indent=1) + "\n"
            replace_file(path, content.encode(), parents=False)
        except OSError as error:
            raise ArgumentError(f"{path} cannot be written: {error}.") from error

    @staticmethod
    def provenance(preset: str) -> dict[str, str]:
        """Unit and source of each constant of a preset, by name.

        Raises:
            ArgumentError: There is no such preset.
        """
        EdgeTpu.preset(preset)
        return {
            name: f"{entry['unit']}; {entry['source']}" for name, entry in _entries(preset).items()
        }

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


@functools.cache
def _preset(name: str) -> EdgeTpu:
    return EdgeTpu.preset(name)


def resolve_device(device: str | os.PathLike[str] | EdgeTpu) -> EdgeTpu:
    """The device that a preset's name or a file stands for; an `EdgeTpu` is returned as it is.

    Args:
        device: An `EdgeTpu`, a preset's name, or a file of constants, which ends in .json.

    Raises:
        ArgumentError: There is no such preset, or the file describes no device.
    """
    if isinstance(device, EdgeTpu):
        return device
    if isinstance(device, os.PathLike) or (isinstance(device, str) and device.endswith(_SUFFIX)):
        return EdgeTpu.from_file(device)
    return _preset(device) if isinstance(device, str) else EdgeTpu.preset(device)


def _is_amount(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 <= value <= sys.float_info.max  # neither NaN nor a whole number beyond all floats
    )


def _entries(preset: str) -> dict[str, dict[str, Any]]:
    data = _data()
    return {**data["every_device"], **data["presets"][preset]["constants"]}


@functools.cache
def _data() -> dict[str, Any]:
    text = resources.files("respect_tf.device").joinpath("constants.json").read_text("utf-8")
    data: dict[str, Any] = json.loads(text)
    return data
