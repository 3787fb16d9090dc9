"""Whether devices compute what was saved: reference inputs, compared segment by segment."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from respect_tf.run.script._folder import REFERENCE, Failure, SavedFolder, printable
from respect_tf.run.script._stages import LoadedModel


def read_reference(folder: SavedFolder) -> dict[str, Any]:
    """Each tensor between segments by name, [num_samples, ...].

    Raises:
        Failure: The folder has none.
    """
    try:
        content = folder.file(REFERENCE)
    except FileNotFoundError:
        raise Failure(
            f"The folder has no {REFERENCE}: save the pipeline again with a release that writes it."
        ) from None
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = {name: arrays[key] for key, name in reference_keys(folder.segments).items()}
    except Exception as error:  # what zipfile, zlib and numpy find in a damaged archive
        raise Failure(f"{REFERENCE} cannot be read: {error}. Copy the folder again.") from error
    return found


def reference_keys(segments: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The names of arrays in the reference, each with the name of its tensor."""
    keys = {
        f"input_{position}": str(tensor["name"])
        for position, tensor in enumerate(segments[0]["inputs"])
    }
    for index, segment in enumerate(segments):
        for position, tensor in enumerate(segment["outputs"]):
            keys[f"segment_{index}_output_{position}"] = str(tensor["name"])
    return keys


def verify_segments(
    folder: SavedFolder, models: Sequence[Sequence[LoadedModel]], tolerance: float
) -> int | None:
    """Run each segment on each of its devices with what was saved, and say how it compares.

    Args:
        folder: The saved pipeline.
        models: Of each segment its model on each device.
        tolerance: By how much a value may differ.

    Returns:
        The first segment with a difference, or None.
    """
    known = read_reference(folder)
    first: int | None = None
    for index, replicas in enumerate(models):
        segment = folder.segments[index]
        names = [tensor["name"] for tensor in segment["outputs"]]
        for model in replicas:
            differences = []
            count = len(known[segment["inputs"][0]["name"]])
            made = [
                model.run([known[tensor["name"]][sample] for tensor in segment["inputs"]])
                for sample in range(count)
            ]
            total = 0
            for position, name in enumerate(names):
                got = np.stack([outputs[position] for outputs in made])
                total += got.size
                said = _difference(got, known[name], tolerance)
                if said:
                    differences.append(f"'{printable(name)}': {said}")
            where = f"segment {index} on {model.device}"
            if differences:
                print(f"{where}: differs. {'; '.join(differences)}")
                first = index if first is None else first
            else:
                print(f"{where}: as saved ({count} samples, {total:,} values)")
    return first


def _difference(got: Any, expected: Any, tolerance: float) -> str:
    """In words how two arrays differ; empty where they do not."""
    if got.shape != expected.shape or got.dtype != expected.dtype:
        return f"{got.dtype} {list(got.shape)}, expected {expected.dtype} {list(expected.shape)}"
    gap = np.abs(got.astype(np.float64) - expected.astype(np.float64))
    gap[np.isnan(got.astype(np.float64)) & np.isnan(expected.astype(np.float64))] = 0
    wrong = ~(gap <= tolerance)
    if not wrong.any():
        return ""
    place = np.unravel_index(int(np.argmax(wrong)), got.shape)
    return (
        f"{int(wrong.sum()):,} of {got.size:,} values, by at most {np.nanmax(gap):.6g}; the first "
        f"at {[int(p) for p in place]}: {got[place]}, expected {expected[place]}"
    )
