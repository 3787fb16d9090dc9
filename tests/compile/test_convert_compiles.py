"""`respect_tf.convert` with a compiler at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from model_builder import ModelBuilder

import respect_tf
from respect_tf import CompilerError

Plan = Callable[..., Path]


@pytest.fixture(scope="module")
def model() -> bytes:
    builder = ModelBuilder()
    made = builder.input(channels=256)
    for _ in range(6):
        made = builder.conv(made, 256)
    return builder.build([made])


@pytest.fixture
def compiler(stand_in_program: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setenv("EDGETPU_COMPILER", str(stand_in_program))
    return plan


@pytest.mark.usefixtures("compiler")
def test_segments_are_compiled_and_saved(model: bytes, tmp_path: Path) -> None:
    pipeline = respect_tf.convert(model, 2, verbose=0)
    assert all(segment.compiled for segment in pipeline.segments)
    assert "compiler log" in str(pipeline.report)
    folder = pipeline.save(tmp_path / "out", verbose=0)
    names = {path.name for path in folder.iterdir()}
    assert "model_segment_1_of_2_edgetpu.tflite" in names
    assert "model_segment_1_of_2_edgetpu.log" in names
    assert "compile.sh" not in names
    again = respect_tf.load(folder)
    assert [s.compiled for s in again.segments] == [s.compiled for s in pipeline.segments]


def test_the_cut_follows_the_room_that_the_log_says(
    compiler: Plan, model: bytes, tmp_path: Path
) -> None:
    compiler(room_bytes=[150_000, 900_000])
    stock = respect_tf.convert(model, 2, objective="memory", compile=False, verbose=0)
    recut = respect_tf.convert(model, 2, objective="memory", verbose=0)
    assert recut.schedule.stages.tolist() != stock.schedule.stages.tolist()
    assert [s.on_device.logged.off_chip_bytes for s in recut.report.stages] == [0, 0]
    assert recut.parity is not None
    assert "(chosen)" in str(recut.report)
    again = respect_tf.load(recut.save(tmp_path / "out", verbose=0))
    assert len(again.recuts) == len(recut.recuts) > 1


def test_a_failing_segment_is_a_warning_or_an_error(compiler: Plan, model: bytes) -> None:
    compiler(fail_on=["CONV_2D"])
    assert not any(s.compiled for s in respect_tf.convert(model, 2, verbose=0).segments)
    with pytest.raises(CompilerError, match="CONV_2D"):
        respect_tf.convert(model, 2, compile=True, verbose=0)


def _with_gelu(num_convs: int) -> bytes:
    """Convolutions on both sides of an op with which no file can be compiled."""
    builder = ModelBuilder()
    made = builder.input(channels=256)
    for number in range(2 * num_convs):
        made = builder.conv(made, 256)
        if number == num_convs - 1:
            gelu = builder.tensor("gelu", (1, 4, 4, 256))
            builder.op("GELU", [made], [gelu])
            made = gelu
    return builder.build([made])


def test_around_a_cpu_stage_all_other_segments_are_compiled(compiler: Plan, tmp_path: Path) -> None:
    compiler(fail_on=["GELU"])
    pipeline = respect_tf.convert(_with_gelu(2), 3, compile=True, verbose=0)
    assert pipeline.schedule.cpu_stages == (1,)
    assert [segment.compiled is None for segment in pipeline.segments] == [False, True, False]
    loaded = respect_tf.load(pipeline.save(tmp_path / "out", verbose=0))
    assert loaded.segments == pipeline.segments
    alone = respect_tf.convert(_with_gelu(2), 1, strict=False, verbose=0)
    assert alone.segments[0].compiled is None


def test_the_cut_around_a_cpu_stage_follows_the_log_too(compiler: Plan) -> None:
    model = _with_gelu(4)
    compiler(fail_on=["GELU"], room_bytes=[70_000, 250_000, 0, 200_000, 200_000])
    stock = respect_tf.convert(model, 5, objective="memory", compile=False, verbose=0)
    recut = respect_tf.convert(model, 5, objective="memory", verbose=0)
    assert stock.schedule.cpu_stages == recut.schedule.cpu_stages == (2,)
    assert recut.schedule.stages.tolist() != stock.schedule.stages.tolist()
    assert [s.on_device.logged is None for s in recut.report.stages] == [
        segment.on_cpu for segment in recut.segments
    ]
    assert recut.parity is not None
