"""Samples from files: .npy, .npz, and pictures where Pillow is installed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from respect_tf.run.script._folder import Failure, fitting

_PICTURES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclasses.dataclass(frozen=True)
class Samples:
    """Some samples, read when they are asked for.

    Attributes:
        count: How many there are.
        real: Whether any input is given as real numbers, so that results are wanted so as well.
        names: What to call each of them; empty where they are numbered.
        arrays: One array per input by the model's own name, without pictures.
        pictures: Files of pictures.
        specs: The model's inputs.
    """

    count: int
    real: bool
    specs: Sequence[Mapping[str, Any]]
    names: tuple[str, ...] = ()
    arrays: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    pictures: tuple[Path, ...] = ()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Each sample as the first segment takes it, by the names in its file."""
        for index in range(self.count):
            yield self[index]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One of them."""
        if self.pictures:
            (spec,) = self.specs
            return {spec["runner_name"]: fitting(read_picture(self.pictures[index], spec), spec)}
        return {
            spec["runner_name"]: fitting(self.arrays[spec["name"]][index], spec)
            for spec in self.specs
        }


def zero_samples(specs: Sequence[Mapping[str, Any]]) -> Samples:
    """One sample of zeros."""
    arrays = {spec["name"]: np.zeros([1, *spec["shape"]], spec["dtype"]) for spec in specs}
    return Samples(1, False, specs, arrays=arrays)


def read_samples(path: Path, specs: Sequence[Mapping[str, Any]]) -> Samples:
    """The samples in a file or a folder of pictures, whose inputs fit the model.

    Raises:
        Failure: They do not.
    """
    if path.is_dir():
        pictures = sorted(p for p in path.iterdir() if p.suffix.lower() in _PICTURES)
        if not pictures:
            raise Failure(f"{path} holds no picture ({', '.join(sorted(_PICTURES))}).")
        return _picture_samples(pictures, specs)
    if path.suffix.lower() in _PICTURES:
        return _picture_samples([path], specs)
    given, real, sizes = _read_arrays(path, specs), False, set()
    for spec in specs:
        array, name = given[spec["name"]], spec["name"]
        shape = tuple(spec["shape"])
        inner = shape[1:] if shape[:1] == (1,) else shape
        if array.shape == inner:
            array = array[None]
        if array.ndim == 0 or array.shape[1:] != inner or not len(array):
            raise Failure(
                f"Input '{name}' must have the shape [num_samples, "
                f"{', '.join(map(str, inner))}]. Received: {list(array.shape)}."
            )
        fitting(array[0], spec)  # so that a wrong type is known before anything runs
        given[name] = array
        real = real or array.dtype.kind == "f"
        sizes.add(len(array))
    if len(sizes) > 1:
        raise Failure(f"All inputs need equally many samples. Received: {sorted(sizes)}.")
    return Samples(sizes.pop(), real, specs, arrays=given)


def _read_arrays(path: Path, specs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One array per input, by name."""
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise Failure(f"{path} cannot be read as .npy or .npz: {error}.") from error
    names = [spec["name"] for spec in specs]
    if isinstance(loaded, np.ndarray):
        if len(specs) > 1:
            raise Failure(
                f"The model has the inputs {names}: give an .npz file with an array each."
            )
        return {names[0]: loaded}
    try:
        with loaded:
            arrays = {name: loaded[name] for name in loaded.files}
    except Exception as error:  # what zipfile, zlib and numpy find in a damaged archive
        raise Failure(f"{path} cannot be read as .npz: {error}.") from error
    for spec in specs:
        if spec["runner_name"] in arrays:
            arrays.setdefault(spec["name"], arrays.pop(spec["runner_name"]))
    if set(arrays) != set(names):
        raise Failure(f"The model has the inputs {names}. {path} has: {sorted(arrays)}.")
    return arrays


def _picture_samples(pictures: Sequence[Path], specs: Sequence[Mapping[str, Any]]) -> Samples:
    if len(specs) != 1 or len(specs[0]["shape"]) != 4 or specs[0]["shape"][3] not in _MODES:
        shapes = [spec["shape"] for spec in specs]
        raise Failure(
            "Pictures fit models with one input [1, height, width, 1, 3 or 4]. "
            f"Its inputs: {shapes}."
        )
    read_picture(pictures[0], specs[0])  # so that what is wrong is known before anything runs
    raw = specs[0]["dtype"] == "uint8" and not specs[0].get("normalization")
    names = tuple(path.name for path in pictures)
    return Samples(len(pictures), not raw, specs, names=names, pictures=tuple(pictures))


def read_picture(path: Path, spec: Mapping[str, Any]) -> Any:
    """A picture as the model takes it: resized, and normalised as the manifest says.

    Raises:
        Failure: It cannot be read, Pillow is missing, or nothing is said of normalisation.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise Failure(f"Pictures need Pillow ({error}): pip install pillow.") from error
    _, height, width, channels = spec["shape"]
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened) or opened
            picture = upright.convert(_MODES[channels]).resize(
                (width, height), Image.Resampling.BILINEAR
            )
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Failure(f"{path} cannot be read as a picture: {error}.") from error
    pixels = np.asarray(picture, np.uint8).reshape(1, height, width, channels)
    known = spec.get("normalization")
    if not known:
        if spec["dtype"] == "uint8":
            return pixels
        raise Failure(
            "pipeline.json does not say how pixels become the model's input: give --mean and --std "
            "((pixel - mean) / std, for pixels of 0 to 255), or convert with metadata."
        )
    mean, std = (np.array(known[name], np.float32) for name in ("mean", "std"))
    return (pixels.astype(np.float32) - mean) / std
