"""Keras files whose container lies: archives that unpack to more, HDF5 that leads elsewhere."""

import zipfile

import h5py
import keras
import numpy as np
import pytest
import tf_keras
from click.testing import CliRunner
from hostile_files import edit, layers_of, write_zip

from respect_tf._errors import InvalidModelError, RespectError
from respect_tf.cli import main
from respect_tf.tflite._hdf5 import check_hdf5
from respect_tf.tflite._keras_file import read_keras_file
from respect_tf.tflite._source import open_source

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
]


@pytest.fixture
def saved(tmp_path):
    """Save a small model of Keras 3 in either format."""

    def save(suffix, package=keras):
        path = tmp_path / f"model.{suffix}"
        model = package.Sequential([package.Input((3,)), package.layers.Dense(2, name="dense")])
        model.save(path)
        return path

    return save


def _members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _refused(path, match):
    with pytest.raises(InvalidModelError, match=match) as caught:
        open_source(path)
    assert "respect_tf_model_" not in str(caught.value)  # the user's name for it, not ours
    return str(caught.value)


@pytest.mark.parametrize("package", [keras, tf_keras])
def test_a_bomb_is_not_unpacked(package, saved, tmp_path):
    path = saved("keras", package)
    bomb = b"\0" * (300 * 2**20)
    write_zip(path, {**_members(path), "model.weights.h5": bomb}, zipfile.ZIP_DEFLATED)
    message = _refused(path, r"unpacks to 314,5\d\d,\d\d\d")
    assert "model.keras" in message
    result = CliRunner().invoke(main, ["convert", str(path), "-o", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "unpacks to" in result.output


def test_other_members_are_left_out(saved):
    path = saved("keras")
    write_zip(path, {**_members(path), "notes.txt": b"x", "assets/layers/x/v.txt": b"a"})
    assert open_source(path).inputs[0].shape == (1, 3)


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "assets/../../evil", "assets\\evil"])
def test_names_that_lead_elsewhere_are_refused(name, saved, tmp_path):
    path = saved("keras")
    write_zip(path, {**_members(path), name: b"x"})
    _refused(path, "no plain relative name")
    assert not (tmp_path / "evil").exists()


def test_what_archives_lack_is_said(saved):
    path = saved("keras")
    members = _members(path)
    write_zip(path, {name: content for name, content in members.items() if name != "config.json"})
    _refused(path, r"no member 'config\.json'")
    write_zip(path, {**members, "metadata.json": b"[]"})
    _refused(path, "expected an object")


def test_a_file_is_read_as_what_it_is(saved, tmp_path):
    """Whatever its name ends in, and whatever else it might be read as."""
    archive, hdf5 = saved("keras"), saved("h5")
    (tmp_path / "really_archive.h5").write_bytes(archive.read_bytes())
    (tmp_path / "really_hdf5.keras").write_bytes(hdf5.read_bytes())
    (tmp_path / "both.keras").write_bytes(hdf5.read_bytes() + archive.read_bytes())
    assert not read_keras_file(tmp_path / "really_archive.h5").is_hdf5
    assert read_keras_file(tmp_path / "both.keras").is_hdf5
    for name in ("really_archive.h5", "really_hdf5.keras", "both.keras"):
        assert open_source(tmp_path / name).inputs[0].shape == (1, 3)


def test_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "endless.keras").symlink_to("/dev/zero")
    _refused(tmp_path / "endless.keras", "no regular file")


def _external_link(group, elsewhere):
    group["kernel"] = h5py.ExternalLink(str(elsewhere), "secret")


def _soft_link(group, _):
    group["kernel"] = h5py.SoftLink("/somewhere/else")


def _external_storage(group, elsewhere):
    group.create_dataset("kernel", (3, 2), "f4", external=[(str(elsewhere), 0, 24)])


def _virtual(group, elsewhere):
    layout = h5py.VirtualLayout((3, 2), "f4")
    layout[:] = h5py.VirtualSource(str(elsewhere), "secret", (3, 2))
    group.create_virtual_dataset("kernel", layout)


def _fill_value(group, _):
    group.create_dataset("kernel", (2**20, 2**10), "f4", chunks=(1024, 1024))


def _compressed(group, _):
    group.create_dataset(
        "kernel", (2**20, 2**7), "f4", chunks=(2**16, 2**7), compression="gzip", data=None
    )
    group["kernel"][: 2**16] = 0


def _one_large_chunk(group, _):
    group.create_dataset("kernel", (1, 1), "f4", chunks=(2**14, 2**14), maxshape=(None, None))


def _plugin(group, _):
    space = h5py.h5s.create_simple((3, 2))
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk((3, 2))
    settings.set_filter(32001, h5py.h5z.FLAG_OPTIONAL)
    h5py.h5d.create(group.id, b"kernel", h5py.h5t.NATIVE_FLOAT, space, settings)


ATTACKS = {
    _external_link: "can lead to other files",
    _soft_link: "can lead to other files",
    _external_storage: "can lead to other files",
    _virtual: "can lead to other files",
    _fill_value: "holds arrays of more than",
    _compressed: "holds arrays of more than",
    _one_large_chunk: "holds arrays of more than",
    _plugin: "needs a plugin",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_hdf5_that_leads_elsewhere_or_unpacks_to_more_is_refused(attack, saved, tmp_path):
    elsewhere = tmp_path / "elsewhere.h5"
    with h5py.File(elsewhere, "w") as file:
        file["secret"] = np.full((3, 2), 7, np.float32)
    hdf5 = saved("h5")
    with h5py.File(hdf5, "r+") as file:
        attack(file["model_weights"].create_group("more"), elsewhere)
    _refused(hdf5, ATTACKS[attack])
    archive = saved("keras")
    members = _members(archive)
    weights = tmp_path / "weights.h5"
    weights.write_bytes(members["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        attack(file.create_group("more"), elsewhere)
    write_zip(archive, {**members, "model.weights.h5": weights.read_bytes()})
    message = _refused(archive, ATTACKS[attack])
    assert "model.weights.h5" in message


def test_circles_and_deep_groups_end(tmp_path):
    path = tmp_path / "circle.h5"
    with h5py.File(path, "w") as file:
        file.create_group("a")["back"] = file["/"]
        file["a/again"] = file["a"]
    check_hdf5(path, label="circle")
    with h5py.File(path, "w") as file:
        file.create_group("/".join(["g"] * 200))
    with pytest.raises(InvalidModelError, match="deeper than"):
        check_hdf5(path, label="deep")


@pytest.mark.parametrize("value", [3, np.arange(4), np.array([b"a", b"b"]), h5py.Empty("S1")])
def test_a_configuration_that_is_no_text_is_refused(value, saved):
    path = saved("h5")
    with h5py.File(path, "r+") as file:
        del file.attrs["model_config"]
        file.attrs["model_config"] = value
    _refused(path, "no text|no JSON")


def test_a_truncated_file_is_our_error(saved):
    for suffix in ("keras", "h5"):
        path = saved(suffix)
        content = path.read_bytes()
        for part in (0.1, 0.5, 0.9):
            path.write_bytes(content[: int(len(content) * part)])
            with pytest.raises(RespectError):
                open_source(path)


def test_reading_imports_no_keras(saved, tmp_path):
    import subprocess
    import sys

    path = saved("keras")
    program = (
        "import sys, pathlib; from respect_tf.tflite._keras_file import read_keras_file; "
        f"print(read_keras_file(pathlib.Path({str(path)!r})).version, 'keras' in sys.modules, "
        "'tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [keras.__version__, "False", "False"]


def test_no_temporary_folder_is_our_error(saved, monkeypatch):
    import tempfile

    def fail(*_args, **_kwargs):
        raise FileNotFoundError("No usable temporary directory found")

    path = saved("keras")
    monkeypatch.setattr(tempfile, "TemporaryDirectory", fail)
    _refused(path, "TMPDIR")


@pytest.mark.parametrize("package", [keras, tf_keras])
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_layers_that_wait_for_each_other_are_refused(package, suffix, tmp_path):
    """Both packages would go round for ever."""
    tensor = package.Input((3,), name="start")
    hidden = package.layers.Dense(3, name="first")(tensor)
    model = package.Model(tensor, package.layers.Dense(3, name="second")(hidden))
    path = tmp_path / f"model.{suffix}"

    def turn(value, reference):
        """Replace what a call gets."""
        if isinstance(value, dict):
            return {key: turn(item, reference) for key, item in value.items()}
        if isinstance(value, list):
            if len(value) >= 3 and isinstance(value[0], str):
                return [*reference, *value[2:]]
            return [turn(item, reference) for item in value]
        return value

    for source in (["first", 0], ["second", 0], ["start", 1], ["first", -1], ["first", "function"]):

        def change(config, source=source):
            layer = layers_of(config)[1]
            layer["inbound_nodes"] = turn(layer["inbound_nodes"], source)

        model.save(path)
        _refused(edit(path, change), "can never be made")
