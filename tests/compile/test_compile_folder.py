from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from compiled_models import compiled_like
from model_builder import ModelBuilder

import respect_tf
from respect_tf._compile_folder import compile_folder
from respect_tf.cli import main
from respect_tf.compile import logged_figures

Plan = Callable[..., Path]


@pytest.fixture(scope="module")
def pipeline() -> respect_tf.Pipeline:
    builder = ModelBuilder()
    made = builder.conv(builder.relu(builder.conv(builder.input())))
    content = builder.build([builder.add(made, made)])
    from respect_tf._convert import segment_at

    return segment_at(content, stages=[0, 0, 1, 1], verify=False, verbose=0)


@pytest.fixture
def folder(pipeline, tmp_path: Path) -> Path:
    return pipeline.save(tmp_path / "saved", verbose=0)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


COMPILED = {f"model_segment_{i}_of_2_edgetpu.{end}" for i in (0, 1) for end in ("tflite", "log")}


def test_a_saved_folder_says_how_to_compile_it_and_is_compiled(
    folder: Path, stand_in_program: Path, plan: Plan
) -> None:  # fmt: skip
    (folder / "notes.txt").write_text("mine")
    before = names(folder)
    assert {"compile.sh", "Dockerfile"} <= before
    made, compilation = compile_folder(folder, stand_in_program, verbose=0)
    assert names(folder) == (before | COMPILED) - {"compile.sh", "Dockerfile"}
    assert compilation.failed == ()
    loaded = respect_tf.load(folder)
    assert loaded.segments == made.segments
    for segment in loaded.segments:
        assert segment.compiled == (folder / f"{segment.name}_edgetpu.tflite").read_bytes()
        assert logged_figures(segment).on_chip_used_bytes > 0
        assert respect_tf.inspect(segment.compiled).compiled is not None
    entries = json.loads((folder / "pipeline.json").read_text())["segments"]
    assert {name for e in entries for name in (e["compiled_file"], e["compile_log_file"])} == (
        COMPILED
    )


def test_a_folder_that_is_compiled_needs_no_compiler(
    folder: Path, stand_in_program: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = compile_folder(folder, stand_in_program, verbose=0)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setenv("PATH", "/nowhere")
    again, compilation = compile_folder(folder, verbose=0)
    assert (again.segments, compilation) == (made.segments, None)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_what_the_script_compiled_is_taken(
    folder: Path, stand_in_program: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {**os.environ, "EDGETPU_COMPILER": str(stand_in_program)}
    script = ["sh", str(folder / "compile.sh")]
    subprocess.run(script, env=environment, check=True, capture_output=True)
    monkeypatch.setenv("PATH", "/nowhere")
    made, compilation = compile_folder(folder, verbose=0)
    assert compilation is None
    assert names(folder) >= COMPILED
    assert all(logged_figures(segment).ops for segment in made.segments)
    assert respect_tf.load(folder).segments == made.segments


@pytest.mark.parametrize("what", ["other", "damaged"])
def test_what_was_not_made_of_its_segment_is_refused(folder: Path, pipeline, what: str) -> None:
    path = folder / "model_segment_0_of_2_edgetpu.tflite"
    good = compiled_like(pipeline.segments[0].content)
    other = compiled_like(pipeline.segments[1].content)
    path.write_bytes(other if what == "other" else good[: len(good) // 2])
    before = names(folder)
    with pytest.raises(respect_tf.RespectError, match=r"segment_0_of_2_edgetpu.*Remove it"):
        compile_folder(folder, verbose=0)
    assert names(folder) == before
    assert respect_tf.load(folder).segments[0].compiled is None


def test_what_was_compiled_is_kept_if_another_segment_fails(
    folder: Path, stand_in_program: Path, plan: Plan
) -> None:  # fmt: skip
    plan(fail_on=["ADD"])
    with pytest.raises(respect_tf.RespectError, match=r"1 of 2 segments .*op 3 ADD"):
        compile_folder(folder, stand_in_program, verbose=0)
    first, second = respect_tf.load(folder).segments
    assert (first.compiled is None, second.compiled is None) == (False, True)
    script = (folder / "compile.sh").read_text()
    assert "segment_1_of_2" in script
    assert "segment_0_of_2" not in script
    plan()
    made, compilation = compile_folder(folder, stand_in_program, verbose=0)
    assert len(compilation.results) == 1
    assert made.segments[0] == first


def test_without_a_compiler_the_folder_stays_as_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("EDGETPU_COMPILER", raising=False)
    with pytest.raises(respect_tf.RespectError, match="was not found"):
        compile_folder(folder, verbose=0)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("in_place", [False, True])
def test_a_folder_that_cannot_be_written_stays_valid(
    folder: Path, stand_in_program: Path, plan: Plan, monkeypatch, in_place: bool
) -> None:
    if in_place:
        (folder / "a folder of the user").mkdir()
    before = names(folder)

    def full(path: Path, content: bytes) -> None:
        path.write_bytes(content[:10])
        if "pipeline.json" in path.name:
            raise OSError(28, "No space left on device")
        path.write_bytes(content)

    monkeypatch.setattr("respect_tf._folder.write_new", full)
    with pytest.raises(respect_tf.SavedPipelineError, match="No space left"):
        compile_folder(folder, stand_in_program, verbose=0)
    assert names(folder.parent) == {"saved", "bin", "plan.json", "runs"} & names(folder.parent)
    assert names(folder) == before
    assert [s.compiled for s in respect_tf.load(folder).segments] == [None, None]


def test_a_saved_pipeline_of_an_older_release_is_read(folder: Path) -> None:
    path = folder / "pipeline.json"
    manifest = json.loads(path.read_text())
    for entry in manifest["segments"]:
        del entry["compile_log_file"]
    path.write_text(json.dumps(manifest))
    assert [s.compile_log for s in respect_tf.load(folder).segments] == [None, None]


def test_a_pipeline_is_compiled_and_saved(
    pipeline, tmp_path: Path, stand_in_program: Path, plan: Plan
) -> None:  # fmt: skip
    made = pipeline.compile(stand_in_program, verbose=0)
    assert [segment.compiled for segment in pipeline.segments] == [None, None]
    folder = made.save(tmp_path / "out", verbose=0)
    assert names(folder) >= COMPILED
    assert "compile.sh" not in names(folder)
    assert respect_tf.load(folder).segments == made.segments


def test_the_command_line_shows_what_the_compiler_said(
    folder: Path, stand_in_program: Path, plan: Plan
) -> None:  # fmt: skip
    plan(cpu_ops=["ADD"], room_bytes=[2**20, 500])
    arguments = ["compile", str(folder), "--compiler", str(stand_in_program)]
    done = CliRunner().invoke(main, [*arguments, "--json"])
    assert done.exit_code == 0
    entries = json.loads(done.stdout)["compilation"]["segments"]
    assert [entry["log"]["num_cpu_ops"] for entry in entries] == [None, 1]
    assert entries[1]["log"]["off_chip_bytes"] > 0
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 0
    for heading in ("cached", "room left", "streamed", "ops on CPU"):
        assert heading in again.stdout
    assert "model_segment_1_of_2" in again.stdout


def test_the_command_line_fails_where_the_compiler_does(
    folder: Path, stand_in_program: Path, plan: Plan
) -> None:  # fmt: skip
    plan(fail_on=["ADD"])
    done = CliRunner().invoke(main, ["compile", str(folder), "--compiler", str(stand_in_program)])
    assert done.exit_code == 1
    assert "op 3 ADD" in done.stderr


@pytest.mark.parametrize("log", [None, "words of another release"])
def test_what_lies_there_uncompiled_is_refused(folder: Path, pipeline, log: str | None) -> None:
    path = folder / "model_segment_0_of_2_edgetpu.tflite"
    path.write_bytes(pipeline.segments[0].content)
    if log is not None:
        path.with_suffix(".log").write_text(log)
    with pytest.raises(respect_tf.CompilerError, match="Nothing in the model"):
        compile_folder(folder, verbose=0)


@pytest.mark.parametrize("kind", ["pipe", "endless"])
@pytest.mark.parametrize("end", ["tflite", "log"])
def test_what_lies_there_must_be_a_regular_file(folder: Path, pipeline, kind, end) -> None:
    good = compiled_like(pipeline.segments[0].content)
    (folder / "model_segment_0_of_2_edgetpu.tflite").write_bytes(good)
    path = folder / f"model_segment_0_of_2_edgetpu.{end}"
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(respect_tf.CompilerError, match="regular file"):
        compile_folder(folder, verbose=0)


def test_a_cpu_stage_is_never_compiled(
    stand_in_program: Path, plan: Plan, tmp_path: Path
) -> None:  # fmt: skip
    builder = ModelBuilder()
    made = builder.conv(builder.relu(builder.conv(builder.input())))
    schedule = respect_tf.Schedule([0, 1, 2], cpu_stages=[1])
    pipeline = respect_tf.convert(
        builder.build([made]), scheduler=schedule, compile=False, verbose=0
    )
    assert [segment.on_cpu for segment in pipeline.segments] == [False, True, False]
    folder = pipeline.save(tmp_path / "saved", verbose=0)
    assert "_segment_1_of_3" not in (folder / "compile.sh").read_text()
    made, compilation = compile_folder(folder, stand_in_program, verbose=0)
    assert compilation.failed == ()
    assert [segment.compiled is None for segment in made.segments] == [False, True, False]
    loaded = respect_tf.load(folder)
    assert loaded.segments == made.segments
    assert loaded.schedule.cpu_stages == (1,)
    assert "compile.sh" not in names(folder)
    direct = pipeline.compile(stand_in_program, verbose=0)
    assert [segment.compiled is None for segment in direct.segments] == [False, True, False]
    assert "runs on the CPU" in CliRunner().invoke(main, ["compile", str(folder)]).output
    assert compile_folder(folder, stand_in_program, verbose=0)[1] is None
