"""The files that are mutated: small ones of every kind, made here or public ones."""

from __future__ import annotations

import functools
import importlib
import io
import json
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
_PUBLIC = ROOT.parent / "shared" / "data"
_MOST_BYTES = 64 * 2**10  # of a public file: mutants of small files reach more of what reads them

Files = dict[str, bytes]  # the files of a mutant by name; most have one


def public(pattern: str, name: str) -> list[Files]:
    """Small public files; none where they do not lie beside the project."""
    found = (path for path in sorted(_PUBLIC.glob(pattern)) if path.stat().st_size <= _MOST_BYTES)
    return [{name: path.read_bytes()} for path in found]


def _of_the_tests(module: str) -> Any:
    """A module of the tests, which make models without a converter."""
    sys.path += [str(ROOT / "tests"), str(ROOT / "tests" / "compile")]
    return importlib.import_module(module)


@functools.cache
def model() -> bytes:
    """Ops with and without constants, branches, a signature."""
    builder = _of_the_tests("model_builder").ModelBuilder()
    left, right = builder.split(builder.conv(builder.input("image")))
    joined = builder.concatenate([builder.relu(left), builder.add(right, builder.constant((4,)))])
    return bytes(builder.build([builder.conv(joined)], signature=(["image"], ["scores"])))


def compiled_model() -> bytes:
    """A stand-in for what Google's compiler makes of the model."""
    return bytes(_of_the_tests("compiled_models").compiled_like(model(), cached=128, streamed=32))


def metadata_model() -> bytes:
    """The model with normalisation and labels in its metadata."""
    from respect_tf import Metadata, Schedule, convert

    metadata = Metadata(mean=[127.5], std=[127.5], labels=list("abcdefgh"))
    whole = Schedule([0] * 6)
    pipeline = convert(model(), scheduler=whole, metadata=metadata, compile=False, verify=False)
    return pipeline.segments[0].content


@functools.cache
def saved_folder() -> Files:
    """A pipeline as it is saved."""
    from respect_tf._convert import segment_at

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "saved"
        pipeline = segment_at(model(), stages=[0, 0, 1, 1, 1, 1], verify=False, verbose=0)
        pipeline.save(target, verbose=0)
        return {path.name: path.read_bytes() for path in sorted(target.iterdir())}


def keras_file(package: str, suffix: str) -> Files:
    """A small network in a format of Keras 3 or tf_keras; a SavedModel where there is no suffix."""
    keras = importlib.import_module(package)
    keras.utils.set_random_seed(0)
    layers = keras.layers
    image, hidden = layers.Input((8, 8, 3), name="image"), layers.Conv2D(4, 3, activation="relu")
    network = keras.Sequential([image, hidden, layers.Flatten(), layers.Dense(2)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{suffix}"
        (network.save if suffix else network.export)(str(path))
        if suffix:
            content = path.read_bytes()
            return {path.name: _undated(content) if suffix == ".keras" else content}
        inner = [file for file in sorted(path.rglob("*")) if file.is_file()]
        return {str(file.relative_to(path)): file.read_bytes() for file in inner}


def _undated(content: bytes) -> bytes:
    """An archive whose bytes are the same whenever it is made."""
    stream, source = io.BytesIO(), zipfile.ZipFile(io.BytesIO(content))
    with source, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "metadata.json":
                data = json.dumps({**json.loads(data), "date_saved": "2024-01-01"}).encode()
            target.writestr(zipfile.ZipInfo(name), data)
    return stream.getvalue()


def npz(**arrays: Any) -> bytes:
    """An archive of arrays."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def npy(array: Any) -> bytes:
    """A file of one array."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def log() -> bytes:
    """What the compiler prints."""
    return str(_of_the_tests("test_log").V16).encode()
