from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from model_builder import ModelBuilder

from respect_tf._errors import ArgumentError, CompilerError
from respect_tf.compile import Compiler, compile_cut, resolve_compiler
from respect_tf.graph import OpGraph
from respect_tf.scheduling import Constraints, Schedule, schedule
from respect_tf.segmentation import segment

Plan = Callable[..., Path]


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("EDGETPU_COMPILER", raising=False)


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_auto_says_so_once_and_true_refuses(capsys) -> None:
    assert resolve_compiler("auto") is None
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "edgetpu_compiler was not found" in message
    assert resolve_compiler("auto", verbose=0) is resolve_compiler(False) is None
    assert capsys.readouterr().err == ""
    with pytest.raises(CompilerError, match="was not found"):
        resolve_compiler(True)


def test_an_unfit_compiler_is_an_error_only_where_one_is_required(
    stand_in_program: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    plan(version="2.1.302470888")
    monkeypatch.setenv("EDGETPU_COMPILER", str(stand_in_program))
    assert resolve_compiler("auto") is None
    assert "stay uncompiled" in capsys.readouterr().err
    with pytest.raises(CompilerError, match=r"version 2\.1\.302470888"):
        resolve_compiler(True)


@pytest.mark.parametrize("mode", ["always", 1, None])
def test_other_modes_are_refused(mode) -> None:
    with pytest.raises(ArgumentError, match='compile must be "auto", True or False'):
        resolve_compiler(mode)


def test_a_segment_that_fails_is_a_warning_or_an_error(
    stand_in_program: Path, plan: Plan, capsys
) -> None:  # fmt: skip
    plan(fail_on=["RELU"])
    builder = ModelBuilder()
    content = builder.build([builder.relu(builder.conv(builder.input()))])
    arguments = (
        OpGraph.from_tflite(content),
        Schedule(np.array([0, 1])),
        lambda chosen: segment(content, chosen),
    )
    compiler = Compiler(stand_in_program, "16.0.384591198")
    found = compile_cut(*arguments, compiler=compiler, strict=False)
    assert [s.compiled is not None for s in found.compilation.segments] == [True, False]
    assert "warning: not all segments were compiled" in capsys.readouterr().err
    with pytest.raises(CompilerError, match="op 1 RELU"):
        compile_cut(*arguments, compiler=compiler, strict=True, verbose=0)


def test_a_new_cut_is_told(stand_in_program: Path, plan: Plan, capsys) -> None:
    plan(room_bytes=[150_000, 900_000])
    builder = ModelBuilder()
    made = builder.input(channels=256)
    for _ in range(6):
        made = builder.conv(made, 256)
    content = builder.build([made])
    graph = OpGraph.from_tflite(content)
    found = compile_cut(
        graph,
        schedule(graph, 2, "exact", objective="memory"),
        lambda chosen: segment(content, chosen),
        compiler=Compiler(stand_in_program, "16.0.384591198"),
        strict=True,
        reschedule=lambda limits: schedule(
            graph, 2, "exact", objective="memory", constraints=Constraints(stage_bytes=limits)
        ),
    )
    assert found.compilation.streamed_bytes == (0, 0)
    said = capsys.readouterr().err.splitlines()
    lines = [line for line in said if line.startswith("cut")]  # a slow machine shows progress
    assert lines[0].startswith("cut 1 of 2: segment 0 streams 0.06 MiB, 0.00 MiB predicted")
    assert lines[1] == "cut 2 of 2: no segment streams more parameters than predicted (chosen)"
