"""Files of weights: what was saved comes back, and what is wrong with a file is said."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from respect_tf._errors import PolicyFileError
from respect_tf.policy import _weights, propose
from respect_tf.policy._weights import Weights, load_weights, save_weights
from respect_tf.training import Label, LabelTask, load_labels, random_graph
from respect_tf.training._label_files import save_labels

WEIGHTS = Weights(
    {"b/kernel": np.ones((3, 2), np.float32), "a/bias": np.arange(4, dtype=np.float32)},
    {"seed": 7, "metrics": {"gap": 0.01}},
    "schema",
)


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "one.npz"
    save_weights(path, WEIGHTS)
    found = load_weights(path)
    assert found.arrays.keys() == WEIGHTS.arrays.keys()
    for name, array in found.arrays.items():
        assert np.array_equal(array, WEIGHTS.arrays[name])
        assert not array.flags.writeable
    assert found.card == WEIGHTS.card
    assert found.schema == "schema"
    save_weights(tmp_path / "two.npz", WEIGHTS)
    assert path.read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match=r"no weights .*nowhere\.npz"):
        load_weights(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.98])
def test_a_cut_off_file_is_damaged(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "weights.npz"
    save_weights(path, WEIGHTS)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep if keep > 1 else keep * len(content))])
    with pytest.raises(PolicyFileError, match="damaged"):
        load_weights(path)


@pytest.mark.parametrize("place", range(40, 1200, 97))
def test_a_changed_byte_is_noticed(tmp_path: Path, place: int) -> None:
    path = tmp_path / "weights.npz"
    save_weights(path, WEIGHTS)
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 0x55
    path.write_bytes(content)
    try:
        found = load_weights(path)
    except PolicyFileError:
        return
    # Some bytes of a zip file mean nothing to its readers.
    for name, array in found.arrays.items():
        assert np.array_equal(array, WEIGHTS.arrays[name])


def _archive(path: Path, members: dict[str, bytes], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _header(text: str, version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text.encode("latin-1")


@pytest.mark.parametrize(
    "member",
    [
        b"",
        b"\x93NUMPY",
        _header("{'descr': '<f4', 'fortran_order': False, 'shape': (9,), }"),
        _header("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }"),
        _header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -9), }"),
        _header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }") + bytes(8),
        _header("{'descr': '<f4', 'fortran_order': False, 'shape': (9,)"),  # TokenError
        _header("(" * 5000),
        _header("{'descr': '<f4\0', 'fortran_order': False, 'shape': (), }"),
        _header("{'descr': ['<f4'], 'fortran_order': 3, 'shape': 'x', }"),
        _header("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", b"\x09\x00"),
    ],
)
def test_entries_that_are_no_arrays_are_damage(tmp_path: Path, member: bytes) -> None:
    with pytest.raises(PolicyFileError, match="damaged"):
        load_weights(_archive(tmp_path / "w.npz", {"about.npy": member}))


def test_what_unpacks_has_a_limit_that_the_error_states(tmp_path: Path) -> None:
    path = _archive(tmp_path / "w.npz", {"a.npy": bytes(2**27)}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**18
    with pytest.raises(PolicyFileError, match="134,217,728, expected 67,108,864 at most"):
        load_weights(path)
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        _archive(path, {"a.npy": b"x"}, compression=method)
        with pytest.raises(PolicyFileError, match="compressed by method"):
            load_weights(path)


@pytest.mark.parametrize("names", [("a.npy", "a.npy"), ("a.npy", "a")])
def test_entries_of_one_name_are_damage(tmp_path: Path, names: tuple[str, str]) -> None:
    with np.load(_saved(tmp_path)) as file:
        members = [(name, np.zeros(1)) for name in names] + [(n, file[n]) for n in file.files]
    with zipfile.ZipFile(tmp_path / "twice.npz", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, array in members:
            with archive.open(name, "w") as stream:
                np.save(stream, array)
    with pytest.raises(PolicyFileError, match="twice"):
        load_weights(tmp_path / "twice.npz")


def _saved(folder: Path) -> Path:
    save_weights(folder / "w.npz", WEIGHTS)
    return folder / "w.npz"


def test_weights_are_finite_numbers_of_32_bits(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    for odd in (np.array([np.nan], np.float32), np.array([1.0]), np.array(["x"])):
        save_weights(path, dataclasses.replace(WEIGHTS, arrays={**WEIGHTS.arrays, "odd": odd}))
        with pytest.raises(PolicyFileError, match="'odd' holds more than finite float32"):
            load_weights(path)
        path = path.with_name(path.name + "x")


@pytest.mark.parametrize("change", ["missing", "rank", "shape", "huge"])
def test_weights_of_another_network_are_named(tmp_path: Path, change: str) -> None:
    """A checksum proves nothing where whoever changes a file can change the checksum."""
    shipped = load_weights()
    graph = random_graph("towers", 30, seed=0)
    for number, (name, array) in enumerate(shipped.arrays.items()):
        arrays = dict(shipped.arrays)
        if change == "missing":
            del arrays[name]
        elif change == "rank":
            arrays[name] = array[None]
        elif change == "shape":
            arrays[name] = array[:-1]
        else:
            arrays[name] = np.full_like(array, 1e38)
        path = tmp_path / f"{number}.npz"
        save_weights(path, dataclasses.replace(shipped, arrays=arrays))
        loaded = load_weights(path)
        with _refused(change):
            propose(graph, 2, weights=loaded)


def _refused(change: str) -> Any:
    expected = "no multiples" if change == "huge" else "another network"
    return pytest.raises(PolicyFileError, match=expected)


def test_a_folder_and_a_pipe_are_no_weights(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(PolicyFileError, match="no regular file"):
            load_weights(path)


@pytest.mark.parametrize("place", range(0, 4000, 37))
def test_a_changed_byte_of_a_file_of_labels_is_damage_or_harmless(
    tmp_path: Path, place: int
) -> None:
    path = tmp_path / "labels.npz"
    task = LabelTask("towers", 3, 1, 2, 1.0, 0.0)
    save_labels(path, [Label(task, np.array([0, 0, 1], np.int32), 5.0, 5.0)])
    content = bytearray(path.read_bytes())
    for value in (0, 0xFF, content[place % len(content)] ^ 1):
        content[place % len(content)] = value
        path.write_bytes(content)
        with contextlib.suppress(PolicyFileError):
            load_labels(path)


def test_other_contents_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    np.savez(path, **WEIGHTS.arrays)
    with pytest.raises(PolicyFileError, match="damaged: KeyError"):
        load_weights(path)
    np.save(tmp_path / "plain.npy", np.ones(3))
    with pytest.raises(PolicyFileError, match="damaged"):
        load_weights(tmp_path / "plain.npy")
    np.savez(tmp_path / "pickle.npz", about=np.array([{}], object))
    with pytest.raises(PolicyFileError, match="damaged"):
        load_weights(tmp_path / "pickle.npz")


def test_a_wrong_checksum_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    save_weights(path, WEIGHTS)
    with np.load(path) as file:
        content = {name: file[name] for name in file.files}
    content["a/bias"] = content["a/bias"] + 1
    np.savez(path, **content)
    with pytest.raises(PolicyFileError, match="checksum"):
        load_weights(path)


def test_other_features_need_other_weights(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    save_weights(path, WEIGHTS)
    with np.load(path) as file:
        content = {name: file[name] for name in file.files}
    about = json.loads(str(content["about"]))
    about["op_features"] = about["op_features"][:-1]
    content["about"] = np.array(json.dumps(about))
    np.savez(path, **content)
    with pytest.raises(PolicyFileError, match="other features"):
        load_weights(path)


@pytest.mark.skipif(not _weights.SHIPPED.exists(), reason="no weights are shipped yet")
def test_the_shipped_weights_are_small_and_have_a_card() -> None:
    assert _weights.SHIPPED.stat().st_size <= 4_000_000
    weights = load_weights()
    assert {"data", "seed", "commit", "metrics"} <= set(weights.card)
    assert "feeds" in weights.schema
    assert all(np.all(np.isfinite(array)) for array in weights.arrays.values())
