"""Files of an `EdgeTpu`'s constants."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from respect_tf._errors import ArgumentError
from respect_tf._files import replace_file
from respect_tf.device._edge_tpu import EdgeTpu

SUFFIX = ".json"
_FORMAT, _VERSION = "respect_tf device", 2
_EXAMPLE = f'{{"format": "{_FORMAT}", "version": {_VERSION}, "name": ..., "constants": {{...}}}}'


def read_device(path: str | os.PathLike[str]) -> EdgeTpu:
    """See `EdgeTpu.from_file`."""
    path = Path(path)
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # neither UTF-8 nor sane JSON
        raise ArgumentError(
            f"{path} cannot be read as a device: {error}. Expected a JSON file as "
            "`EdgeTpu.save` or `respect-tf calibrate` writes it."
        ) from error
    if not isinstance(data, dict) or data.get("format") != _FORMAT:
        raise ArgumentError(
            f"{path} describes no device. Expected {_EXAMPLE}, as `EdgeTpu.save` writes it."
        )
    version = data.get("version", 1)
    if version == 1 and type(version) is int:
        raise ArgumentError(
            f"{path} is of respect_tf 0.1, whose constants described a device with one request "
            "for outputs at a time. Calibrate again (`respect-tf calibrate`) with the same "
            "measurements, or name a host (`respect-tf devices` lists them)."
        )
    if version != _VERSION or type(version) is not int:
        raise ArgumentError(
            f"{path} is a device file of version {version!r}. Expected version {_VERSION}; a later "
            "one needs a later respect_tf."
        )
    return device_of(data, str(path))


def write_device(device: EdgeTpu, path: str | os.PathLike[str]) -> None:
    """See `EdgeTpu.save`."""
    path = Path(path)
    if path.suffix != SUFFIX:
        raise ArgumentError(
            f"A device's file must end in {SUFFIX}, so that `device=` can tell it from a "
            f"preset. Received: {os.fspath(path)!r}."
        )
    data = {"format": _FORMAT, "version": _VERSION, **device_dict(device)}
    try:
        replace_file(path, (json.dumps(data, indent=1) + "\n").encode(), parents=False)
    except OSError as error:
        raise ArgumentError(f"{path} cannot be written: {error}.") from error


def device_dict(device: EdgeTpu) -> dict[str, Any]:
    """A device as plain values for JSON: name and constants."""
    constants = dataclasses.asdict(device)
    return {"name": constants.pop("name"), "constants": constants}


def device_of(data: Any, where: str) -> EdgeTpu:
    """The device that `device_dict` described.

    Args:
        data: What was read.
        where: What messages call it.

    Raises:
        ArgumentError: A constant is missing, unknown or makes no sense.
    """
    constants = data.get("constants") if isinstance(data, dict) else None
    if not isinstance(constants, dict):
        raise ArgumentError(
            f"{where} describes no device. Expected {_EXAMPLE}, as `EdgeTpu.save` writes it."
        )
    expected = {field.name for field in dataclasses.fields(EdgeTpu)} - {"name"}
    missing, unknown = expected - set(constants), set(constants) - expected
    if missing or unknown:
        raise ArgumentError(
            f"{where}: missing constants: {', '.join(sorted(missing)) or 'none'}; unknown "
            f"constants: {', '.join(sorted(map(str, unknown))) or 'none'}. Expected those of "
            "`EdgeTpu.save`."
        )
    try:
        return EdgeTpu(name=data.get("name"), **constants)
    except ArgumentError as error:
        raise ArgumentError(f"{where}: {error}") from error
