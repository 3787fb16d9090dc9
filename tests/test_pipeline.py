"""Pipelines of .tflite models: convert, predict, save, load."""

import dataclasses
import json
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


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (np.zeros((4, 4, 8), np.int8), r"\[num_samples, 4, 4, 8\]"),
        (np.zeros((1, 4, 4, 8), np.uint8), "uint8"),
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
        "compile.sh",
        "model.tflite",
        "model_segment_0_of_2.tflite",
        "model_segment_1_of_2.tflite",
        "pipeline.json",
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


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda m: m.update(schema_version=99), "version 99"),
        (lambda m: m.pop("segments"), "damaged.*segments"),
        (lambda m: m.update(files=3), "damaged"),
        (lambda m: m["files"].update({"../../etc/passwd": "0"}), "outside the folder"),
        (lambda m: m["schedule"].update(stages="x"), "stages"),
        (lambda m: m["segments"][0].update(inputs=[{}]), "damaged"),
    ],
)
def test_a_damaged_manifest_is_a_clear_error(pipeline, tmp_path, edit, match):
    folder = pipeline.save(tmp_path / "out", verbose=0)
    _edited(folder, edit)
    with pytest.raises(respect_tf.RespectError, match=match):
        respect_tf.load(folder)


def test_a_manifest_that_is_no_json(pipeline, tmp_path):
    folder = pipeline.save(tmp_path / "out", verbose=0)
    (folder / "pipeline.json").write_text("{")
    with pytest.raises(SavedPipelineError, match="cannot be read"):
        respect_tf.load(folder)


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
        ({"scheduler": respect_tf.Schedule([0, 0, 0, 1]), "num_segments": 3}, "2 stages"),
        ({"scheduler": respect_tf.Schedule([1, 0, 0, 1]), "num_segments": 2}, "op"),
    ],
)
def test_bad_requests_are_clear_errors(kwargs, match):
    with pytest.raises(respect_tf.RespectError, match=match):
        respect_tf.convert(
            _model(), verbose=0, **({"num_segments": 2, "objective": "memory"} | kwargs)
        )


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
