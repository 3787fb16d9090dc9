"""Many models on many hosts: the same files however they are made, and the reasons of failures."""

import csv
import json
from pathlib import Path

import keras
import pytest
from click.testing import CliRunner
from keras import layers

from respect_tf import ArgumentError, DependencyError, _places
from respect_tf._beam import Job, map_items
from respect_tf._sweep import COLUMNS, _built, estimate_item, sweep, sweep_models, write_table
from respect_tf.cli import main

pytest.importorskip("apache_beam")
pytestmark = pytest.mark.filterwarnings("ignore")  # Beam's own


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, channels in (("small", 4), ("large", 32)):
        tensor = start = keras.Input((8, 8, 3))
        tensor = layers.Conv2D(channels, 3, activation="relu")(tensor)
        keras.Model(start, layers.Dense(3)(layers.Flatten()(tensor)), name=name).save(
            folder / f"{name}.keras"
        )
    (folder / "broken.tflite").write_bytes(b"no model")
    return folder


def _files(work):
    return {p.relative_to(work): p.read_bytes() for p in Path(work).rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def done(folder, tmp_path_factory):
    work = str(tmp_path_factory.mktemp("work"))
    models = sweep_models([str(folder)])
    found = sweep(models, work, devices=("usb3-pi5", "pcie-m2"), num_devices=2, verbose=0)
    return models, work, found


def test_every_model_has_a_row_per_host_and_number_of_devices(done, tmp_path):
    models, _, found = done
    assert [Path(model).name for model in models] == ["broken.tflite", "large.keras", "small.keras"]
    assert write_table(found, tmp_path / "table.csv") == 2 * 2 * 2
    with (tmp_path / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert {row["host"] for row in rows} == {"usb3-pi5", "pcie-m2"}
    assert {row["origin"] for row in rows} == {"architecture"}


def test_a_model_with_ops_on_the_cpu_has_its_rows_too(tmp_path):
    tensor = start = keras.Input((8, 8, 3))
    tensor = layers.Conv2D(4, 3, activation="gelu")(tensor)  # no Edge TPU takes a file with GELU
    keras.Model(start, layers.Conv2D(4, 3)(tensor)).save(tmp_path / "gelu.keras")
    models = [str(tmp_path / "gelu.keras")]
    found = sweep(models, str(tmp_path / "work"), devices=("usb3-pi5",), num_devices=3, verbose=0)
    assert found.failures == {}
    assert found.rows
    assert {row["pipeline_frames_per_second"] for row in found.rows} == {None}
    write_table(found, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open() as file:
        assert {row["pipeline_frames_per_second"] for row in csv.DictReader(file)} == {""}


def test_what_fails_is_kept_with_the_reason(done):
    _, work, found = done
    assert sorted(found.failures) == [0]
    assert "InvalidModelError" in found.failures[0]
    assert len(list((Path(work) / "failed").iterdir())) == 1


def test_a_run_that_was_killed_goes_on_and_ends_in_the_same_files(done, tmp_path):
    models, work, found = done
    expected = _files(work)
    for number, path in enumerate(sorted((Path(work) / "done").iterdir())):
        if number % 2:
            path.unlink()
    again = sweep(models, work, devices=("usb3-pi5", "pcie-m2"), num_devices=2, verbose=0)
    assert again.num_kept == 1
    assert again.rows == found.rows
    assert _files(work) == expected


@pytest.mark.slow
def test_two_processes_make_the_same_files_as_one(done, tmp_path):
    models, work, _ = done
    sweep(
        models, str(tmp_path), devices=("usb3-pi5", "pcie-m2"), num_devices=2,
        num_processes=2, verbose=0,
    )  # fmt: skip
    assert _files(tmp_path) == _files(work)


def test_the_command_writes_parquet_and_says_what_was_left_out(folder, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    target = tmp_path / "table.parquet"
    command = ["sweep", str(folder), "-o", str(target), "-d", "1", "-q", "--json"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed["rows"] == parquet.read_table(target).num_rows == 2
    assert len(printed["failed"]) == 1


def test_models_are_files_folders_and_applications(folder, tmp_path):
    assert sweep_models(["ResNet50"]) == ["keras.applications.ResNet50"]
    assert len(sweep_models(["keras.applications"])) > 30
    with pytest.raises(ArgumentError, match="no file, no folder"):
        sweep_models(["NoSuchModel"])
    with pytest.raises(ArgumentError, match="holds no models"):
        sweep_models([str(tmp_path)])


def test_applications_without_a_size_are_built_with_one():
    assert _built("keras.applications.MobileNetV3Small").input_shape == (None, 224, 224, 3)


def test_bad_requests_are_refused(done, tmp_path, monkeypatch):
    with pytest.raises(ArgumentError, match="num_processes"):
        map_items(estimate_item, [], str(tmp_path), num_processes=0)
    with pytest.raises(ArgumentError, match=r"\.csv or \.parquet"):
        write_table(done[2], tmp_path / "table.xls")

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(_places.importlib, "import_module", missing)
    job = Job("one", ("one.json",), {})
    with pytest.raises(DependencyError, match=r"respect-tf\[beam\]"):
        map_items(estimate_item, [job], str(tmp_path), num_processes=2)
