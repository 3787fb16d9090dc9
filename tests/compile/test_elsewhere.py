from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from model_builder import ModelBuilder

from respect_tf.compile import (
    compile_commands,
    files_to_compile_elsewhere,
    parse_log,
    read_compiled,
)

NAMES = ("net_segment_0_of_2", "it's ä segment_1_of_2")
Plan = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    builder = ModelBuilder()
    content = builder.build([builder.conv(builder.input())])
    folder = tmp_path / "a folder"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.tflite").write_bytes(content)
    for name, file in files_to_compile_elsewhere(NAMES).items():
        (folder / name).write_bytes(file)
    return folder


def run(folder: Path, program: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(folder / "compile.sh")],
        env={**os.environ, "EDGETPU_COMPILER": str(program)},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


def test_the_script_compiles_every_segment(
    folder: Path, stand_in_program: Path, plan: Plan
) -> None:  # fmt: skip
    runs = plan(fail_first=1)
    before = set(folder.iterdir())
    done = run(folder, stand_in_program)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(runs.iterdir())) == 3
    made = {path.name for path in set(folder.iterdir()) - before}
    assert made == {f"{name}_edgetpu.{end}" for name in NAMES for end in ("tflite", "log")}
    for name in NAMES:
        assert read_compiled((folder / f"{name}_edgetpu.tflite").read_bytes()) is not None
        (model,) = parse_log((folder / f"{name}_edgetpu.log").read_text("utf-8")).models
        assert model.on_chip_used_bytes > 0
        assert model.ops


def test_the_script_fails_where_a_segment_does(
    folder: Path, stand_in_program: Path, plan: Plan
) -> None:  # fmt: skip
    plan(fail_on=["CONV_2D"])
    before = set(folder.iterdir())
    done = run(folder, stand_in_program)
    assert done.returncode == 1
    assert "net_segment_0_of_2.tflite could not be compiled" in done.stderr
    assert "large activation tensors" in done.stdout
    assert set(folder.iterdir()) == before


def test_the_commands_name_the_files() -> None:
    for name, command in zip(NAMES, compile_commands(NAMES), strict=True):
        words = shlex.split(command)
        assert words[0] == "edgetpu_compiler"
        assert words[-1] == f"{name}.tflite"


def test_the_dockerfile_installs_the_compiler_for_its_own_architecture() -> None:
    text = files_to_compile_elsewhere(NAMES)["Dockerfile"].decode()
    assert text.count("FROM --platform=linux/amd64 ") == 1
    assert "apt-get install --yes --no-install-recommends edgetpu-compiler" in text
    assert "compile.sh" in text.splitlines()[-1]


def test_the_files_are_the_same_every_time() -> None:
    assert files_to_compile_elsewhere(NAMES) == files_to_compile_elsewhere(list(NAMES))


def test_the_script_takes_names_that_look_like_options(
    tmp_path: Path, stand_in_program: Path, plan: Plan
) -> None:  # fmt: skip
    builder = ModelBuilder()
    content = builder.build([builder.conv(builder.input())])
    names = ["-dash", "--help", "-", "$(touch owned)", "a;b"]
    folder = tmp_path / "-folder"
    folder.mkdir()
    for name in names:
        (folder / f"{name}.tflite").write_bytes(content)
    for name, file in files_to_compile_elsewhere(names).items():
        (folder / name).write_bytes(file)
    before = {path.name for path in folder.iterdir()}
    done = run(folder, stand_in_program)
    assert (done.returncode, done.stderr) == (0, "")
    made = {path.name for path in folder.iterdir()} - before
    assert made == {f"{name}_edgetpu.{end}" for name in names for end in ("tflite", "log")}
    for command in compile_commands(names):
        assert not shlex.split(command)[-1].startswith("-")


def test_the_script_shows_nothing_that_a_terminal_obeys(
    folder: Path, tmp_path: Path, plan: Plan
) -> None:  # fmt: skip
    program = tmp_path / "compiler"
    program.write_text("#!/bin/sh\nprintf 'a\\033[2Jb\\n'\nexit 1\n")
    program.chmod(0o755)
    done = run(folder, program)
    assert done.stdout == "a[2Jb\n"
