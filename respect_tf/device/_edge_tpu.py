"""`EdgeTpu`: the constants of the device model."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from importlib import resources
from typing import Any

from respect_tf._errors import ArgumentError

MIB = 2.0**20


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
        ms_per_map_mib: ms per MiB that convolutions make.
        ms_per_cached_mib: ms to read 1 MiB of parameters from the chip's memory.
        ms_per_streamed_mib: ms to bring 1 MiB of parameters from the host.
        ms_per_input_mib: ms per MiB of a tensor that enters a segment.
        ms_per_output_mib: ms per MiB of a tensor that leaves a segment.
        contention: Part by which transfers take longer in each of two devices that work at once.
        contention_exponent: With n devices it is `contention / (n - 1)**contention_exponent`.
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
    ms_per_cached_mib: float
    ms_per_streamed_mib: float
    ms_per_input_mib: float
    ms_per_output_mib: float
    contention: float
    contention_exponent: float
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
            if field.name in ("name", "strip_passes"):
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
        self._check_passes()

    def _check_passes(self) -> None:
        try:
            pairs = tuple((above, passes) for above, passes in self.strip_passes)
        except (TypeError, ValueError):
            pairs = ((math.nan, math.nan),)
        good = all(_is_amount(above) and _is_amount(passes) for above, passes in pairs)
        if not good or any(passes < 1 for _, passes in pairs) or list(pairs) != sorted(pairs):
            raise ArgumentError(
                "EdgeTpu.strip_passes must be pairs (MiB, passes) with ascending MiB, 0 or more, "
                f"and passes, 1 or more. Received: {self.strip_passes!r}."
            )
        object.__setattr__(self, "strip_passes", pairs)

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
                f"Unknown device. Expected one of {', '.join(sorted(data['presets']))}, or an "
                f"EdgeTpu. Received: {name!r}."
            )
        values = {key: entry["value"] for key, entry in _entries(name).items()}
        passes = tuple((above, count) for above, count in values.pop("strip_passes"))
        return cls(name=name, strip_passes=passes, **values)

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
        if num_stages < 2:
            return 1.0
        return 1.0 + self.contention / math.pow(num_stages - 1, self.contention_exponent)


def resolve_device(device: str | EdgeTpu) -> EdgeTpu:
    """The device that a preset's name stands for; an `EdgeTpu` is returned as it is.

    Raises:
        ArgumentError: There is no such preset.
    """
    return device if isinstance(device, EdgeTpu) else EdgeTpu.preset(device)


def _is_amount(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and value >= 0
    )


def _entries(preset: str) -> dict[str, dict[str, Any]]:
    data = _data()
    return {**data["every_device"], **data["presets"][preset]["constants"]}


@functools.cache
def _data() -> dict[str, Any]:
    text = resources.files("respect_tf.device").joinpath("constants.json").read_text("utf-8")
    data: dict[str, Any] = json.loads(text)
    return data
