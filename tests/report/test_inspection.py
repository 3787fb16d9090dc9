from __future__ import annotations

import contextlib
import csv
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from compile.compiled_models import EXECUTION_ONLY, Program, compile_ops, options, package
from hypothesis import given, settings
from hypothesis import strategies as st
from model_builder import ModelBuilder

import respect_tf


def test_every_figure_of_the_public_pairs(data_folder: Path) -> None:
    folder = data_folder / "compiled"
    for row in csv.DictReader((folder / "manifest.csv").read_text("utf-8").splitlines()):
        source = respect_tf.inspect(folder / row["source"])
        found = respect_tf.inspect(folder / row["compiled"])
        assert source.compiled is None
        assert source.weight_bytes == int(row["raw_weight_bytes_int8"])
        compiled = found.to_dict()["compiled"]
        for column, key in {
            "min_runtime_version": "min_runtime_version",
            "cached_param_bytes": "cached_bytes",
            "streamed_param_bytes": "streamed_bytes",
            "instruction_bytes": "instruction_bytes",
        }.items():
            assert compiled[key] == int(row[column])
        cpu_ops = ";".join(sorted(f"{kind}={n}" for kind, n in compiled["cpu_ops"].items()))
        assert cpu_ops == ";".join(sorted(row["cpu_op_types"].split(";")))
        assert _kinds(found.inputs + found.outputs) == _kinds(source.inputs + source.outputs)
        assert found.obstacle.startswith("is compiled")


def _kinds(borders) -> list[tuple]:
    """Without the names: the compiler drops signatures, and with them the names they give."""
    return [(border.dtype, border.shape) for border in borders]


def test_a_compiled_model_as_text_and_json(data_folder: Path) -> None:
    name = "compiled/test_data/deeplabv3_mnv2_pascal_quant_edgetpu.tflite"
    found = respect_tf.inspect(data_folder / name)
    text = str(found)
    assert "runtime 12 or newer" in text
    assert "cached        2.23 MiB" in text
    assert "CPU ops       3 RESIZE_BILINEAR, 2 CONV_2D" in text
    assert "parameter-caching" in text
    assert json.loads(json.dumps(found.to_dict()))["compiled"]["cached_bytes"] == 2337216


def test_8_bit_weights_are_parameters_without_the_biases() -> None:
    builder = ModelBuilder()
    found = respect_tf.inspect(builder.build([builder.conv(builder.input(channels=8), 16)]))
    assert (found.weight_bytes, found.parameter_bytes) == (8 * 16, 8 * 16 + 4 * 16)
    assert (found.compiled, found.obstacle) == (None, None)


def test_a_damaged_package_is_an_error(data_folder: Path) -> None:
    path = data_folder / "compiled/LibrEdgeTPU/dense_256_edgetpu.tflite"
    content = path.read_bytes()
    with pytest.raises(respect_tf.InvalidModelError, match=r"Expected the identifier b'DWN1'"):
        respect_tf.inspect(content.replace(b"DWN1", b"DWN2"))


@pytest.mark.parametrize("scale", [math.nan, math.inf, -math.inf])
def test_scales_that_are_no_numbers_are_shown_and_json_stays_json(scale: float) -> None:
    builder = ModelBuilder()
    made = builder.relu(builder.input())
    builder._tensors[made].quantization.scale = np.array([scale], np.float32)
    found = respect_tf.inspect(builder.build([made]))
    assert f"{scale:.6g}" in str(found)
    assert "scales" in found.obstacle
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["outputs"][0]["scale"] is None
    assert plain["inputs"][0]["scale"] == pytest.approx(0.05)


def test_scales_in_a_package_that_are_no_numbers_are_json_too() -> None:
    layer = ("x", (4, 4, 8), math.nan, 3)
    program = Program(EXECUTION_ONLY, 64, inputs=(layer,))
    builder = ModelBuilder()
    content = builder.build([builder.relu(builder.input())])
    found = respect_tf.inspect(compile_ops(content, 1, options(package([program]))))
    (op,) = json.loads(json.dumps(found.to_dict(), allow_nan=False))["compiled"]["edge_tpu_ops"]
    assert op["executables"][0]["inputs"][0]["scale"] is None


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(respect_tf.ArgumentError, match="no SavedModel"):
        respect_tf.inspect(tmp_path)
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(respect_tf.ArgumentError, match="no regular file"):
            respect_tf.inspect(path)
    for name in ("a\0b", "x" * 5000):
        with pytest.raises(respect_tf.ArgumentError, match="cannot be read"):
            respect_tf.inspect(name)


def _model() -> bytes:
    builder = ModelBuilder()
    made = builder.relu(builder.conv(builder.input()))
    return builder.build([made], signature=(["picture"], ["answer"]), metadata={"note": b"x"})


_MODEL = _model()


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_models_raise_this_packages_errors_only(data: st.DataObject) -> None:
    damaged = bytearray(_MODEL)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(respect_tf.RespectError):
        str(respect_tf.inspect(bytes(damaged)))
