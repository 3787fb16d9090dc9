"""Pipelines of .tflite models: convert, predict, save, load."""

import dataclasses
import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from model_builder import ModelBuilder

import respect_tf
from respect_tf import SavedPipelineError
from respect_tf.tflite import Interpreter


def _model(num_convs: int = 4, *, two_outputs: bool = False) -> bytes:
    builder = ModelBuilder()
    tensor = builder.input("image")
    first = tensor = builder.conv(tensor)
    for _ in range(num_convs - 1):
        tensor = builder.conv(tensor)
    if two_outputs:
        return builder.build([first, tensor], signature=(["picture"], ["early", "late"]))
    return builder.build([tensor], signature=(["picture"], ["scores"]))


@pytest.fixture(scope="module")
def pipeline() -> respect_tf.Pipeline:
    return respect_tf.convert(_model(two_outputs=True), 2, objective="memory", verbose=0)


def test_a_tflite_model_becomes_a_proved_pipeline(pipeline):
    assert len(pipeline.segments) == 2
    assert pipeline.parity.num_inputs == 3
    assert pipeline.schedule.status == "optimal"
    assert [s.name for s in pipeline.segments] == ["model_segment_0_of_2", "model_segment_1_of_2"]


def test_predict_on_stored_values_equals_the_whole_model(pipeline):
    x = np.random.default_rng(0).integers(-128, 128, (3, 4, 4, 8)).astype(np.int8)
    results = pipeline.predict(x)
    assert list(results) == ["early", "late"]
    whole = Interpreter(pipeline.model)
    for row in range(3):
        early, late = whole.run([x[row : row + 1]])
        assert np.array_equal(results["early"][row], early[0])
        assert np.array_equal(results["late"][row], late[0])
        assert results["late"].dtype == np.int8


def test_predict_on_floats_quantises_and_gives_floats_back(pipeline):
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 8))
    stored = np.clip(np.trunc(x / 0.05 + np.copysign(0.5, x)) + 3, -128, 127).astype(np.int8)
    floats, integers = pipeline.predict({"picture": x}), pipeline.predict(stored)
    assert floats["late"].dtype == np.float32
    assert np.allclose(floats["late"], (integers["late"].astype(float) - 3) * 0.05, atol=1e-5)


def test_lists_of_samples_are_an_array_of_them(pipeline):
    x = np.random.default_rng(0).integers(-128, 128, (2, 4, 4, 8)).astype(np.int8)
    expected = pipeline.predict(x)["late"]
    for given in (list(x), (x[0], x[1]), [x]):
        assert np.array_equal(pipeline.predict(given)["late"], expected)
    assert np.array_equal(pipeline.predict([x[0]])["late"], expected[:1])
    in_floats = (0.05 * (x.astype(float) - 3)).tolist()
    assert np.allclose(pipeline.predict(in_floats)["late"], 0.05 * (expected.astype(float) - 3))
    with pytest.raises(respect_tf.ArgumentError, match="no array"):
        pipeline.predict([[1.0, 2.0], [3.0]])


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (np.zeros((4, 4, 8), np.int8), r"\(n, 4, 4, 8\).*one sample"),
        (np.zeros((1, 4, 4, 8), bool), "bool"),
        (np.full((1, 4, 4, 8), np.nan), "finite"),
        (np.zeros((0, 4, 4, 8), np.int8), "at least one"),
        ({"other": np.zeros((1, 4, 4, 8), np.int8)}, "picture"),
    ],
)
def test_predict_refuses_what_does_not_fit(pipeline, x, match):
    with pytest.raises(respect_tf.ArgumentError, match=match):
        pipeline.predict(x)


def test_verify_can_be_repeated_on_inputs_of_ones_own(pipeline):
    assert pipeline.verify(np.zeros((5, 4, 4, 8), np.int8)).num_inputs == 5
    assert pipeline.verify().num_inputs == 3


def test_verify_notices_a_swapped_segment(pipeline):
    other = respect_tf.convert(_model(two_outputs=True), 2, objective="memory", verbose=0)
    builder = ModelBuilder(seed=1)
    tensor = builder.input("image")
    first = tensor = builder.conv(tensor)
    for _ in range(3):
        tensor = builder.conv(tensor)
    foreign = respect_tf.segment(builder.build([first, tensor]), other.schedule)
    swapped = dataclasses.replace(other, segments=(foreign[0], other.segments[1]))
    with pytest.raises(respect_tf.ParityError, match="segment 0, op 0"):
        swapped.verify()


# Saving and loading


def test_a_saved_pipeline_comes_back_as_it_was(pipeline, tmp_path):
    folder = pipeline.save(tmp_path / "out", verbose=0)
    loaded = respect_tf.load(folder)
    assert loaded.segments == pipeline.segments
    assert loaded.model == pipeline.model
    assert loaded.schedule == pipeline.schedule
    assert loaded.parity == pipeline.parity
    assert sorted(path.name for path in folder.iterdir()) == [
        "Dockerfile",
        "README.md",
        "compile.sh",
        "model.tflite",
        "model_segment_0_of_2.tflite",
        "model_segment_1_of_2.tflite",
        "pipeline.json",
        "reference.npz",
        "report.html",
        "run_pipeline.py",
    ]


def test_the_manifest_says_what_a_user_of_the_folder_needs(pipeline, tmp_path):
    folder = pipeline.save(tmp_path / "out", verbose=0)
    manifest = json.loads((folder / "pipeline.json").read_text())
    assert manifest["inputs"][0]["name"] == "picture"
    assert manifest["inputs"][0]["runner_name"] == "image"
    early = manifest["outputs"][0]
    assert (early["name"], early["dtype"], early["zero_point"]) == ("early", "int8", [3])
    assert early["runner_name"] != early["model_tensor"]  # carried, and mapped back
    assert manifest["crossing_tensors"][0]["to"] == [1]
    assert manifest["schedule"]["status"] == "optimal"


def test_the_same_model_and_seed_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        respect_tf.convert(_model(), 2, objective="memory", verbose=0).save(
            tmp_path / name, verbose=0
        )
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_metadata_goes_into_the_outer_segments_and_the_manifest(tmp_path):
    metadata = respect_tf.Metadata(mean=127.5, std=[127.5] * 8, labels=list("abcdefgh"))
    plain = respect_tf.convert(_model(), 3, objective="memory", verbose=0)
    described = respect_tf.convert(_model(), 3, objective="memory", metadata=metadata, verbose=0)
    changed = [
        a.content != b.content for a, b in zip(plain.segments, described.segments, strict=True)
    ]
    assert changed == [True, False, True]
    folder = described.save(tmp_path / "out", verbose=0)
    manifest = json.loads((folder / "pipeline.json").read_text())
    assert manifest["inputs"][0]["normalization"] == {"mean": [127.5], "std": [127.5] * 8}
    assert manifest["outputs"][0]["labels"] == list("abcdefgh")
    assert respect_tf.inspect(folder / "model_segment_0_of_3.tflite").metadata
    again = respect_tf.load(folder)
    assert again.interface == described.interface
    again.save(tmp_path / "again", verbose=0)
    assert (tmp_path / "again/pipeline.json").read_bytes() == (
        folder / "pipeline.json"
    ).read_bytes()


def test_metadata_that_does_not_fit_is_refused():
    with pytest.raises(respect_tf.ArgumentError, match="8 strings"):
        respect_tf.convert(_model(), 2, metadata=respect_tf.Metadata(labels=["a"]), verbose=0)


def test_an_existing_folder_is_kept_unless_asked(pipeline, tmp_path):
    folder = pipeline.save(tmp_path / "out", verbose=0)
    before = (folder / "pipeline.json").stat().st_mtime_ns
    with pytest.raises(SavedPipelineError, match="overwrite=True"):
        pipeline.save(folder, verbose=0)
    assert (folder / "pipeline.json").stat().st_mtime_ns == before
    pipeline.save(folder, overwrite=True, verbose=0)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_is_no_pipeline_is_never_replaced(pipeline, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(SavedPipelineError, match="no saved pipeline"):
        pipeline.save(tmp_path / "photos", overwrite=True, verbose=0)
    with pytest.raises(SavedPipelineError, match="is a file"):
        pipeline.save(tmp_path / "photos" / "cat.jpg", overwrite=True, verbose=0)
    assert (tmp_path / "photos" / "cat.jpg").read_bytes() == b"cat"


def test_parents_are_made(pipeline, tmp_path):
    assert pipeline.save(tmp_path / "a" / "b" / "c", verbose=0).is_dir()


@pytest.mark.parametrize("victim", ["model.tflite", "model_segment_1_of_2.tflite"])
def test_a_changed_file_is_noticed(pipeline, tmp_path, victim):
    folder = pipeline.save(tmp_path / "out", verbose=0)
    content = bytearray((folder / victim).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / victim).write_bytes(content)
    with pytest.raises(SavedPipelineError, match=f"{victim}' was changed"):
        respect_tf.load(folder)


def test_missing_files_are_named(pipeline, tmp_path):
    folder = pipeline.save(tmp_path / "out", verbose=0)
    (folder / "model.tflite").unlink()
    with pytest.raises(SavedPipelineError, match=r"model\.tflite' cannot be read"):
        respect_tf.load(folder)
    with pytest.raises(SavedPipelineError, match="no saved pipeline"):
        respect_tf.load(tmp_path)


def _edited(folder: Path, edit) -> None:
    path = folder / "pipeline.json"
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))


def _constants(manifest):
    return manifest["device"]["devices"][0]["constants"]


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda m: m.update(schema_version=99), "version 99"),
        (lambda m: m.update(schema_version="1"), "'schema_version'"),
        (lambda m: m.update(schema_version=True), "'schema_version'"),
        (lambda m: m.update(schema_version=0), "'schema_version'"),
        (lambda m: m.pop("segments"), "damaged.*segments"),
        (lambda m: m.update(surprise=1), "'surprise'"),
        (lambda m: m["device"].update(surprise=1), r"'device\.surprise'"),
        (lambda m: m["device"].update(devices=[]), r"'device\.devices'"),
        (lambda m: _constants(m).update(num_tiles=1e9), r"constants\.num_tiles'"),
        (lambda m: _constants(m).update(fixed_ms=1e300), r"constants\.fixed_ms'"),
        (lambda m: _constants(m).update(request_bytes=0.5), r"constants\.request_bytes'"),
        (lambda m: _constants(m).update(contention=[[2, 1], [1, 1]]), "'device'.*contention"),
        (lambda m: _constants(m).update(ranges={"x": [0, 1]}), "'device'.*ranges"),
        (lambda m: _constants(m).update(ranges={"fixed_ms": [0]}), r"ranges\.fixed_ms'"),
        (lambda m: _constants(m).pop("link"), r"constants\.link'"),
        (lambda m: m["schedule"].update(optima=[1]), r"'schedule\.optima'"),
        (lambda m: m.update(files=3), "damaged"),
        (lambda m: m["files"].update({"../../etc/passwd": "0"}), "outside the folder"),
        (lambda m: m["files"].update({"/etc/passwd": "0" * 64}), "outside the folder"),
        (lambda m: m["files"].update({"a\0b": "0" * 64}), "'files"),
        (lambda m: m["files"].update({"\ud800": "0" * 64}), "'files"),
        (lambda m: m["files"].update({".git": "0" * 64}), r"'files'.*\.git"),
        (lambda m: m["files"].update({"model.tflite": "x"}), r"'files\.model\.tflite'.*SHA-256"),
        (lambda m: m["files"].pop("model.tflite"), "'files'.*model.tflite"),
        (lambda m: m.update(name="../x"), "'name'.*outside"),
        (lambda m: m.update(name=".x"), "'name'"),
        (lambda m: m.update(name="other"), "'model'"),
        (lambda m: m.update(model="pipeline.json"), "'model'"),
        (lambda m: m["segments"][0].update(file="model.tflite"), r"'segments\[0\]\.file'"),
        (lambda m: m["segments"][0].update(name="a/b"), r"'segments\[0\]\.name'"),
        (lambda m: m["segments"][0].update(index=1), r"'segments\[0\]\.index'"),
        (lambda m: m["segments"][0].update(compiled_file="x"), r"\.compiled_file'"),
        (lambda m: m["segments"][0].update(compile_log_file="x"), r"\.compile_log_file'"),
        (lambda m: m["segments"][0].update(parameter_bytes=1), r"\.parameter_bytes'"),
        (lambda m: m["segments"][0].update(ops=[0, 2]), r"'segments\[0\]\.ops'"),
        (lambda m: m["segments"][0].update(ops=[0]), "'schedule.stages'"),
        (lambda m: m["segments"][0].update(ops=[0, 0]), r"'segments\[0\]\.ops'"),
        (lambda m: m["segments"][0].update(ops=[0, 10**9]), r"'segments\[0\]\.ops'"),
        (lambda m: m["segments"][0].update(ops=[0, 10**30]), r"'segments\[0\]\.ops\[1\]'"),
        (lambda m: m["segments"].clear(), "'segments'"),
        (lambda m: m["segments"][0].update(inputs=[{}]), "damaged"),
        (lambda m: m["segments"][0].update(inputs=[]), r"'segments\[0\]\.inputs'"),
        (lambda m: m["segments"][0]["inputs"][0].update(tensor=99), r"inputs\[0\]\.tensor'"),
        (lambda m: m["segments"][0]["inputs"][0].update(shape=[1]), r"inputs\[0\]\.shape'"),
        (lambda m: m["segments"][0]["inputs"][0].update(dtype="O"), r"inputs\[0\]\.dtype'"),
        (lambda m: m["segments"][0]["inputs"][0].update(scale=[1, 2]), r"\.zero_point'"),
        (lambda m: m["segments"][1]["inputs"][0].update(name="x"), r"inputs\[0\]\.name'"),
        (lambda m: m["segments"][1]["inputs"][0].update(axis=3), r"inputs\[0\]\.axis'"),
        (lambda m: m["segments"][1]["outputs"][0].update(name="image"), r"outputs\[0\]\.name'"),
        (lambda m: m["schedule"].update(stages="x"), "stages"),
        (lambda m: m["schedule"].update(stages=[0, 0, 1]), r"'segments\[1\]\.ops'"),
        (lambda m: m["schedule"].update(stages=[]), "'schedule.stages'"),
        (lambda m: m["schedule"].update(stages=[0, 1, 0, 1]), r"\.ops'"),
        (lambda m: m["schedule"].update(cost=10**30), "'schedule.cost'"),
        (lambda m: m["schedule"].update(cost=-1), "'schedule.cost'"),
        (lambda m: m["schedule"].update(cost="1"), "'schedule.cost'"),
        (lambda m: m["schedule"].update(lower_bound=1), "'schedule'.*optimal"),
        (lambda m: m["schedule"].update(status="best"), "'schedule.status'"),
        (lambda m: m["crossing_tensors"].clear(), "'crossing_tensors'"),
        (lambda m: m["crossing_tensors"][0].update(bytes=1), r"'crossing_tensors\[0\]\.bytes'"),
        (lambda m: m["crossing_tensors"][0].update(to=[0]), r"'crossing_tensors\[0\]\.to'"),
        (lambda m: m["inputs"][0].update(runner_name="x"), r"'inputs\[0\]\.runner_name'"),
        (lambda m: m["inputs"][0].update(name="x"), "'inputs'"),
        (lambda m: m["inputs"].clear(), "'inputs'"),
        (lambda m: m["inputs"][0].update(labels=["a"]), r"'inputs\[0\]\.labels'"),
        (
            lambda m: m["inputs"][0].update(normalization={"mean": [1], "std": [0]}),
            r"normalization\.std'",
        ),
        (
            lambda m: m["inputs"][0].update(normalization={"mean": [1], "std": []}),
            r"normalization\.std'",
        ),
        (lambda m: m["outputs"][0].update(model_tensor="x"), r"'outputs\[0\]\.model_tensor'"),
        (lambda m: m["outputs"][0].update(shape=[1]), r"'outputs\[0\]\.shape'"),
        (lambda m: m.update(parity={"num_inputs": 1}), r"'parity\.num_tensors'"),
        (lambda m: m.update(warnings=[1]), r"'warnings\[0\]'"),
        (lambda m: m.update(predicted=[[[[[[[[[[1]]]]]]]]]]), "'predicted"),
        (lambda m: m["segments"][0]["inputs"][0].update(scale=[math.nan]), r"scale\[0\]'"),
        (lambda m: m["schedule"].update(cost=math.inf), "'schedule.cost'"),
        (lambda m: m["predicted"].update(device=-math.inf), r"'predicted\.device'"),
        (lambda m: m["packages"].update(numpy=2), r"'packages\.numpy'"),
        (lambda m: m["segments"][0].update(on_cpu=1), r"'segments\[0\]\.on_cpu'"),
        (lambda m: m.update(replicas=[1]), "'replicas'"),
        (lambda m: m.update(replicas=[0, 1]), r"'replicas\[0\]'"),
        (lambda m: m.update(choice=1), "'choice'"),
        (lambda m: m["frames_by_devices"][0].pop("replicas"), r"frames_by_devices\[0\]\.replicas"),
        (lambda m: m["segments"][0].pop("on_cpu"), r"'segments\[0\]\.on_cpu'"),
    ],
)
def test_a_damaged_manifest_is_a_clear_error(pipeline, tmp_path, edit, match):
    folder = pipeline.save(tmp_path / "out", verbose=0)
    _edited(folder, edit)
    with pytest.raises(SavedPipelineError, match=match):
        respect_tf.load(folder)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff", b"[]", b"1", b"[" * 10**6, b'{"a":1e999}'])
def test_a_manifest_that_is_no_json(pipeline, tmp_path, content):
    folder = pipeline.save(tmp_path / "out", verbose=0)
    (folder / "pipeline.json").write_bytes(content)
    with pytest.raises(SavedPipelineError, match="cannot be read"):
        respect_tf.load(folder)


_FIRST_DEVICE = {
    "name": "usb2", "num_tiles": 16, "tile_bytes": 516096, "activation_share": 0.94,
    "strip_map_mib": 3.2, "strip_parameter_mib": 0.5, "strip_input_share": 0.6667,
    "strip_passes": [[3.2, 4.29]], "fixed_ms": 1.39, "ms_per_gmac": 0.816, "ms_per_map_mib": 0.4,
    "ms_per_vector_mib": 9.11, "ms_per_streamed_mib": 2.9, "ms_per_input_mib": 7.1,
    "ms_per_output_mib": 115.9, "contention": [[2, 0.819]], "dispatch_ms": 0.246,
    "bus_ms_per_mib": 2.3, "instruction_bytes": 50000, "instruction_bytes_per_op": 1600,
    "cpu_ms_per_gmac": 30.0, "cpu_ms_per_mib": 2.0,
}  # fmt: skip


_SINCE_3 = ("replicas", "choice", "frames_by_devices")


@pytest.mark.parametrize("device", [None, _FIRST_DEVICE])
def test_folders_of_the_first_version_are_read(pipeline, tmp_path, device):
    folder = pipeline.save(tmp_path / "out", verbose=0)

    def age(manifest):
        manifest["schema_version"] = 1
        for name in _SINCE_3:
            del manifest[name]
        for name in ("optima", "proposal_cost"):
            del manifest["schedule"][name]
        for entry in manifest["segments"]:
            del entry["on_cpu"]
        manifest["device"] = manifest["schedule"]["device"] = device
        if device is None:  # the very first ones
            names = ["device", "predicted", "recuts"]
            for entry, gone in ((manifest, names), (manifest["schedule"], ["device"])):
                for name in gone:
                    del entry[name]
            for entry in manifest["segments"]:
                del entry["compile_log_file"]

    _edited(folder, age)
    loaded = respect_tf.load(folder)
    assert loaded.segments == pipeline.segments
    assert loaded.device.name == ("usb3" if device is None else "usb2")
    # What a device of the first version costs is not what one of today does.
    assert loaded.schedule.cost == (pipeline.schedule.cost if device is None else None)
    assert np.array_equal(loaded.schedule.stages, pipeline.schedule.stages)
    again = loaded.save(tmp_path / "again", verbose=0)
    assert respect_tf.load(again).schedule == loaded.schedule
    _edited(folder, lambda m: m["schedule"].update(optima=None))
    with pytest.raises(SavedPipelineError, match=r"optima': expected no such field in version 1"):
        respect_tf.load(folder)


def test_folders_of_the_second_version_are_read(pipeline, tmp_path):
    folder = pipeline.save(tmp_path / "out", verbose=0)

    def age(manifest):
        manifest["schema_version"] = 2
        for name in _SINCE_3:
            del manifest[name]
        del manifest["schedule"]["proposal_cost"]
        for entry in manifest["segments"]:
            del entry["on_cpu"]

    _edited(folder, age)
    loaded = respect_tf.load(folder)
    assert loaded.segments == pipeline.segments
    assert loaded.schedule.cpu_stages == ()
    assert (loaded.replicas, loaded.choice, loaded.frames) == ((1, 1), "", ())


def test_the_table_of_a_device_has_all_its_constants():
    from respect_tf._manifest_fields import CONSTANTS

    known = ["name", *(field.name for field in CONSTANTS)]
    assert known == [field.name for field in dataclasses.fields(respect_tf.EdgeTpu)]


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "endless"])
@pytest.mark.parametrize("name", ["pipeline.json", "model.tflite", "report.html"])
def test_nothing_but_regular_files_is_read(pipeline, tmp_path, name, kind):
    folder = pipeline.save(tmp_path / "out", verbose=0)
    path = folder / name
    path.rename(tmp_path / "aside")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "endless" else tmp_path / "aside")
    with pytest.raises(SavedPipelineError, match=f"{name}' cannot be read.*regular file"):
        respect_tf.load(folder)


def test_a_file_that_is_too_large_is_not_read(pipeline, tmp_path):
    folder = pipeline.save(tmp_path / "out", verbose=0)
    for name in ("model.tflite", "pipeline.json"):
        os.truncate(folder / name, 2**40)  # a hole: it takes no room
        with pytest.raises(SavedPipelineError, match=f"{name}' cannot be read.*1099511627776"):
            respect_tf.load(folder)


def test_a_segment_that_is_another_ones_is_noticed_though_its_hash_is_right(pipeline, tmp_path):
    folder = pipeline.save(tmp_path / "out", verbose=0)
    first, second = (f"model_segment_{i}_of_2.tflite" for i in (0, 1))
    (folder / first).write_bytes((folder / second).read_bytes())
    _edited(folder, lambda m: m["files"].update({first: m["files"][second]}))
    with pytest.raises(respect_tf.RespectError, match="segment 0"):
        respect_tf.load(folder)


def test_another_whole_model_is_noticed(pipeline, tmp_path):
    folder = pipeline.save(tmp_path / "out", verbose=0)
    for num_convs in (3, 5):
        content = _model(num_convs, two_outputs=True)
        (folder / "model.tflite").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        _edited(folder, lambda m, digest=digest: m["files"].update({"model.tflite": digest}))
        with pytest.raises(SavedPipelineError, match=r"'schedule\.stages'"):
            respect_tf.load(folder)


@pytest.mark.parametrize("path", ["a\0b", "gone", "loop", "file/x"])
def test_a_path_that_leads_nowhere_is_a_clear_error(tmp_path, path):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(SavedPipelineError, match="cannot be read"):
        respect_tf.load(tmp_path / path)


@pytest.mark.parametrize(
    "name", ["-dash", ".dot", "a\x1b[2Jb", "x" * 240, "a b'c\"$(d)", "größe", "back\\slash"]
)
def test_a_model_of_any_name_is_saved_under_a_plain_one(tmp_path, name):
    path = tmp_path / f"{name}.tflite"
    path.write_bytes(_model())
    made = respect_tf.convert(path, 2, objective="memory", verify=False, verbose=0)
    folder = made.save(tmp_path / "out", verbose=0)
    assert respect_tf.load(folder).segments == made.segments
    assert all(file.name.isprintable() for file in folder.iterdir())


@pytest.mark.parametrize(
    "change",
    [{"name": "../x"}, {"name": "a\0"}, {"name": "\ud800"}, {"warnings": ("\ud800",)}],
)
def test_what_could_not_be_loaded_again_is_not_saved(pipeline, tmp_path, change):
    with pytest.raises(SavedPipelineError, match="cannot be saved"):
        dataclasses.replace(pipeline, **change).save(tmp_path / "out", verbose=0)
    assert list(tmp_path.iterdir()) == []


_SAVE = """
import resource, sys
import respect_tf
pipeline = respect_tf.load(sys.argv[1])
{before}
try:
    pipeline.save(sys.argv[2], overwrite=True, verbose=0)
except respect_tf.SavedPipelineError as error:
    print("clear error:", error)
"""


def _save_in_child(pipeline, tmp_path, before: str) -> subprocess.CompletedProcess:
    source = pipeline.save(tmp_path / "source", verbose=0)
    code = textwrap.dedent(_SAVE).replace("{before}", before)
    return subprocess.run(
        [sys.executable, "-c", code, str(source), str(tmp_path / "target")],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


def test_a_full_disk_leaves_nothing_behind(pipeline, tmp_path):
    # A limit on the size of files makes every write past it fail, as a full disk does.
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))"
    done = _save_in_child(pipeline, tmp_path, limit)
    assert "clear error" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_full_disk_keeps_the_pipeline_that_was_there(pipeline, tmp_path):
    target = pipeline.save(tmp_path / "target", verbose=0)
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))"
    done = _save_in_child(pipeline, tmp_path, limit)
    assert "clear error" in done.stdout
    assert respect_tf.load(target).segments == pipeline.segments
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


def test_ctrl_c_while_saving_leaves_nothing_behind(pipeline, tmp_path):
    interrupt = textwrap.dedent("""
        import os, signal
        # A process that was started in the background ignores Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        real = os.fsync
        def stop(descriptor):
            os.fsync = real
            os.kill(os.getpid(), signal.SIGINT)
            real(descriptor)
        os.fsync = stop
    """)
    done = _save_in_child(pipeline, tmp_path, interrupt)
    assert "KeyboardInterrupt" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_folder_that_may_not_be_written(pipeline, tmp_path):
    if os.geteuid() == 0:
        target = Path("/proc/pipeline")  # not even root can write there
    else:
        tmp_path.chmod(0o500)
        target = tmp_path / "pipeline"
    with pytest.raises(SavedPipelineError, match="cannot be written"):
        pipeline.save(target, verbose=0)


# Bad requests


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"num_segments": 0}, "0"),
        ({"num_segments": 5}, "5"),
        ({"num_segments": 2.5}, "2.5"),
        ({"num_segments": True}, "True"),
        ({"scheduler": "magic"}, "magic"),
        ({"objective": "beauty"}, "beauty"),
        ({"time_limit": -1}, "-1"),
    ],
)
def test_bad_requests_are_clear_errors(kwargs, match):
    with pytest.raises(respect_tf.RespectError, match=match):
        respect_tf.convert(
            _model(), verbose=0, **({"num_segments": 2, "objective": "memory"} | kwargs)
        )


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"num_segments": 0}, "num_segments"),
        ({"num_segments": np.zeros((2, 3))}, "num_segments.*representative_dataset"),
        ({"device": "no such host"}, "no such host"),
        ({"constraints": {"stage_bytes": 3}}, "respect_tf.Constraints"),
        ({"constraints": respect_tf.Constraints(stage_bytes=3), "scheduler": "compiler"}, "policy"),
        ({"metadata": {"mean": 1}}, "respect_tf.Metadata"),
        ({"measure": "times.csv"}, 'scheduler="profile"'),
        ({"measure": "times.csv", "scheduler": "profile"}, "times.csv cannot be read"),
        ({"measure": [{"ms": 1}], "scheduler": "profile"}, "has no column macs"),
        ({"measure": 3, "scheduler": "profile"}, "measure must be a function.*int"),
        ({"seed": -1}, "seed"),
        ({"compile": "yes"}, "compile"),
    ],
)
def test_arguments_are_refused_before_the_model_is_touched(kwargs, match, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(respect_tf.ArgumentError, match=match):
        respect_tf.convert(object(), verbose=0, **kwargs)


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"num_segments": 3}, "2 stages"),
        ({"objective": "throughput"}, "objective='throughput' is for a scheduler"),
        ({"constraints": respect_tf.Constraints()}, "constraints="),
        ({"time_limit": 3}, "time_limit=3"),
        ({"seed": 0}, "seed=0"),
    ],
)
def test_a_given_schedule_stands_alone(kwargs, match):
    with pytest.raises(respect_tf.ArgumentError, match=match):
        respect_tf.convert(
            _model(), scheduler=respect_tf.Schedule([0, 0, 0, 1]), verbose=0, **kwargs
        )


def test_a_given_schedule_has_to_be_valid():
    with pytest.raises(respect_tf.ScheduleError, match="op"):
        respect_tf.convert(_model(), scheduler=respect_tf.Schedule([1, 0, 0, 1]), verbose=0)


def test_the_cut_keeps_constraints():
    held = respect_tf.Constraints(pinned={1: 0, 2: 1})
    made = respect_tf.convert(_model(), 2, constraints=held, objective="memory", verbose=0)
    assert made.schedule.stages[1] == 0
    assert made.schedule.stages[2] == 1


def test_only_three_positional_arguments_and_no_unknown_keywords():
    with pytest.raises(TypeError):
        respect_tf.convert(_model(), 2, None, "exact")
    with pytest.raises(TypeError, match="num_segmets"):
        respect_tf.convert(_model(), num_segmets=2)


@pytest.mark.parametrize("scheduler", ["exact", "milp", "slicing", "compiler", "profile"])
def test_every_scheduler_gives_a_proved_pipeline(scheduler):
    made = respect_tf.convert(_model(), 2, scheduler=scheduler, objective="memory", verbose=0)
    assert made.schedule.scheduler == scheduler
    assert made.parity.num_inputs == 3


def test_a_schedule_can_be_given():
    schedule = respect_tf.Schedule([0, 1, 1, 1])
    made = respect_tf.convert(_model(), scheduler=schedule, verbose=0)
    assert [segment.ops for segment in made.segments] == [(0,), (1, 2, 3)]
    assert "user" in str(made.report)


def test_a_model_that_kills_the_interpreter_does_not_kill_us(data_folder):
    path = data_folder / "models" / "tflm" / "keyword_scrambled_8bit.tflite"
    with pytest.raises(respect_tf.InterpreterError, match="crash"):
        respect_tf.convert(path, 2, strict=False, objective="memory", verbose=0)


def test_the_public_models_are_cut_or_refused_with_a_clear_error(data_folder):
    cut = []
    for path in sorted((data_folder / "models").glob("*/*.tflite")):
        for num_segments in (2, 3):
            try:
                made = respect_tf.convert(
                    path, num_segments, objective="memory", verify=False, verbose=0
                )
            except respect_tf.RespectError:
                continue
            if "keyword_scrambled" not in path.name and "person_detect" not in path.name:
                made.verify()
                cut.append(f"{path.name} {num_segments}")
    expected = (
        "mobilenet_v1_0.25_128_quant",
        "ad01_int8",
        "kws_ref_model",
        "pretrainedResnet_quant",
    )
    assert {f"{name}.tflite {k}" for name in expected for k in (2, 3)} <= set(cut)


def test_the_report_is_a_table_and_a_dict(pipeline):
    text = str(pipeline.report)
    assert "proved optimal" in text
    assert "bit-exact" in text
    figures = pipeline.report.to_dict()
    assert figures["peak_parameter_bytes"] == pipeline.schedule.cost
    assert [stage["num_ops"] for stage in figures["stages"]] == [2, 2]
    json.dumps(figures)


def test_nothing_is_printed_to_standard_output(capfd, tmp_path):
    respect_tf.convert(_model(), 2, objective="memory").save(tmp_path / "out")
    assert capfd.readouterr().out == ""


def test_silence_is_silent(capfd, tmp_path):
    respect_tf.convert(_model(), 2, objective="memory", verbose=0).save(tmp_path / "out", verbose=0)
    assert capfd.readouterr() == ("", "")


def test_an_interrupted_command_leaves_nothing_behind(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(_model())
    command = [sys.executable, "-m", "respect_tf.cli", "convert", str(path), "-n", "2", "-o"]
    child = subprocess.Popen(
        [*command, str(tmp_path / "out")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    # Once it writes; a machine may be so fast that it has done so before anyone looks.
    while child.poll() is None and {entry.name for entry in tmp_path.iterdir()} == {"m.tflite"}:
        time.sleep(0.001)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=600)
    left = {entry.name for entry in tmp_path.iterdir()} - {"m.tflite", "out"}
    assert left == set()
    if (tmp_path / "out").exists():  # it was faster than the signal
        respect_tf.load(tmp_path / "out")
        shutil.rmtree(tmp_path / "out")
