"""Files of weights: what was saved comes back, and what is wrong with a file is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from respect_tf._errors import PolicyFileError
from respect_tf.policy import _weights
from respect_tf.policy._weights import Weights, load_weights, save_weights

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
