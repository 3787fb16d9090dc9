"""Model files that try to run something, made of good ones. What they run leaves a marker."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py


def edit_keras(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change the configuration in a .keras file."""
    content = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(content) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    change(config)
    members["config.json"] = json.dumps(config).encode()
    write_zip(path, members)
    return path


def edit_h5(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change the configuration in an HDF5 file."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config)
    return path


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change the configuration in a file of either format."""
    return (edit_keras if path.suffix == ".keras" else edit_h5)(path, change)


def write_zip(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """Write an archive of these members."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def layers_of(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The layers in a model's configuration."""
    layers: list[dict[str, Any]] = config["config"]["layers"]
    return layers


def shell(marker: Path) -> str:
    """A command that leaves the marker."""
    return f"touch {marker}"
