from __future__ import annotations

import contextlib
import csv
from pathlib import Path

import numpy as np
import pytest
from compiled_models import (
    EXECUTION_ONLY,
    PARAMETER_CACHING,
    STAND_ALONE,
    Program,
    compile_ops,
    compiled_like,
    options,
    package,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from model_builder import ModelBuilder

from respect_tf._errors import InvalidModelError, RespectError
from respect_tf.compile import read_compiled


def small_model() -> bytes:
    builder = ModelBuilder()
    made = builder.relu(builder.conv(builder.input()))
    return builder.build([builder.add(made, made)])


def test_every_figure_of_the_public_compiled_models(data_folder: Path) -> None:
    manifest = (data_folder / "compiled" / "manifest.csv").read_text("utf-8")
    rows = list(csv.DictReader(manifest.splitlines()))
    assert len(rows) == 23
    for row in rows:
        found = read_compiled((data_folder / "compiled" / row["compiled"]).read_bytes())
        cpu_ops = dict(entry.rsplit("=", 1) for entry in row["cpu_op_types"].split(";") if entry)
        assert {
            "min_runtime_version": str(found.min_runtime_version),
            "cached_param_bytes": str(found.cached_bytes),
            "streamed_param_bytes": str(found.streamed_bytes),
            "instruction_bytes": str(found.instruction_bytes),
        }.items() <= row.items()
        assert found.cpu_ops == {kind: int(count) for kind, count in cpu_ops.items()}
        (op,) = found.edge_tpu_ops
        assert {e.kind for e in op.executables} == {"execution-only", "parameter-caching"}
        assert all(e.chip == "beagle" for e in op.executables)
        assert read_compiled((data_folder / "compiled" / row["source"]).read_bytes()) is None


def test_a_public_model_names_its_inputs_and_outputs(data_folder: Path) -> None:
    path = data_folder / "compiled/edgetpu/mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    (op,) = read_compiled(path.read_bytes()).edge_tpu_ops
    (run,) = (e for e in op.executables if e.kind == "execution-only")
    assert [(i.name, i.shape, i.dtype, i.zero_point) for i in run.inputs] == [
        ("input", (128, 128, 3), "uint8", 128)
    ]
    assert [(o.name, o.shape) for o in run.outputs] == [
        ("MobilenetV1/Predictions/Reshape_1", (1, 1, 1001))
    ]
    assert run.inputs[0].scale == pytest.approx(1 / 128)


def test_sizes_kinds_and_layers_are_read_as_written() -> None:
    x, y = ("x", (4, 4, 8), 0.5, 3), ("y", (1, 1, 9), 0.25, 0)
    programs = [
        Program(EXECUTION_ONLY, 300, (640, 64), (x,), (y,)),
        Program(PARAMETER_CACHING, 1000, (128,), token=2**63 + 5),
    ]
    found = read_compiled(compile_ops(small_model(), 2, options(package(programs, runtime=13))))
    assert (found.cached_bytes, found.streamed_bytes, found.instruction_bytes) == (1000, 300, 832)
    assert found.cpu_ops == {"ADD": 1}
    (op,) = found.edge_tpu_ops
    assert (op.op, op.compiler_version, op.min_runtime_version) == (0, "384591198", 13)
    run, load = op.executables
    assert [(i.name, i.shape, i.num_bytes, i.scale, i.zero_point) for i in run.inputs] == [
        ("x", (4, 4, 8), 128, 0.5, 3)
    ]
    assert [(o.name, o.shape) for o in run.outputs] == [("y", (1, 1, 9))]
    assert (load.kind, load.caching_token, load.inputs) == ("parameter-caching", 2**63 + 5, ())


def test_parameters_of_a_stand_alone_program_are_streamed() -> None:
    content = compile_ops(small_model(), 3, options(package([Program(STAND_ALONE, 77)])))
    assert (read_compiled(content).cached_bytes, read_compiled(content).streamed_bytes) == (0, 77)


def test_a_compiler_that_does_not_record_its_version() -> None:
    made = package([Program(STAND_ALONE)], version="cl/")
    content = compile_ops(small_model(), 3, options(made))
    assert read_compiled(content).edge_tpu_ops[0].compiler_version is None


def test_further_packages_are_for_other_chips_and_do_not_count() -> None:
    first, other = package([Program(STAND_ALONE, 5)]), package([Program(STAND_ALONE, 500)])
    assert read_compiled(compile_ops(small_model(), 3, options(first, other))).streamed_bytes == 5


def test_a_model_that_was_not_compiled() -> None:
    assert read_compiled(small_model()) is None


@pytest.mark.parametrize(
    ("custom_options", "words"),
    [
        (b"", "FlexBuffer"),
        (b"\0\1\2", "FlexBuffer|no package"),
        (options(b""), "identifier"),
        (options(b"\0\0\0\0TFL3" + bytes(64)), "TFL3"),
        (options(package([])), "no executable"),
        (options(package([Program(9)])), "kind 9"),
    ],
)
def test_what_is_in_the_op_is_named_when_it_is_no_package(custom_options, words) -> None:
    with pytest.raises(InvalidModelError, match=words):
        read_compiled(compile_ops(small_model(), 3, custom_options))


def test_truncated_packages_are_refused() -> None:
    whole = package([Program(EXECUTION_ONLY, 64, inputs=(("x", (4, 4, 8), 0.5, 3),))])
    for size in range(0, len(whole), 5):
        with pytest.raises(InvalidModelError):
            read_compiled(compile_ops(small_model(), 3, options(whole[:size])))


_COMPILED = compiled_like(small_model(), cached=64, streamed=32)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_files_raise_this_packages_errors_only(data: st.DataObject) -> None:
    damaged = bytearray(_COMPILED)
    for _ in range(data.draw(st.integers(1, 6))):
        position = data.draw(st.integers(0, len(damaged) - 1))
        damaged[position] = data.draw(st.sampled_from([0, 1, 127, 128, 255]) | st.integers(0, 255))
    end = data.draw(st.just(len(damaged)) | st.integers(0, len(damaged)))
    try:
        found = read_compiled(bytes(damaged[:end]))
    except RespectError:
        return
    assert found is None or found.instruction_bytes >= 0


@given(st.binary(max_size=300))
@settings(max_examples=40, deadline=None)
def test_foreign_bytes_in_the_op_raise_this_packages_errors_only(content: bytes) -> None:
    for custom_options in (content, options(content), options(b"\x10\0\0\0DWN1" + content)):
        with pytest.raises(RespectError):
            read_compiled(compile_ops(small_model(), 3, custom_options))


def test_damaged_public_files(data_folder: Path) -> None:
    path = data_folder / "compiled/LibrEdgeTPU/gabor_64x64_p4_edgetpu.tflite"
    content = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(content)
        for position in random.integers(0, len(damaged), 20):
            damaged[position] = random.integers(256)
        end = random.integers(len(damaged) // 2, len(damaged) + 1)
        with contextlib.suppress(RespectError):
            read_compiled(bytes(damaged[:end]))
