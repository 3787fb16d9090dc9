"""A saved folder runs without this package, and the times that it measures come back."""

import ast
import csv
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from model_builder import ModelBuilder

import respect_tf
from respect_tf import ArgumentError, OpGraph, convert, schedule
from respect_tf._convert import segment_at
from respect_tf.device import calibrate
from respect_tf.run import run_script
from respect_tf.scheduling import MeasuredTimes
from respect_tf.segmentation import dequantize, quantize

_STAND_IN = Path(__file__).parent / "stand_in"
_SPEC = importlib.util.spec_from_file_location(
    "stand_in_edgetpu", _STAND_IN / "pycoral/utils/edgetpu.py"
)
stand_in = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(stand_in)

# Runs the script with everything out of reach that a Raspberry Pi does not have, and with a clock
# that shows the same on every machine: an invocation takes from 2 ms on, and each takes longer.
_LAUNCHER = """
import itertools, runpy, sys, time
readings = itertools.count()
time.perf_counter = lambda: (lambda n: (2 + n / 100) * n / 1000)(next(readings))
for name in (
    "tensorflow", "tflite_runtime", "ai_edge_litert", "respect_tf", "keras", "flatbuffers", "numba"
):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Folder:
    """A saved pipeline whose segments were "compiled" to what the stand-in runs."""

    def __init__(self, path, builder_outputs, stages):
        builder, outputs = builder_outputs
        self.path = path
        pipeline = segment_at(builder.build(outputs), stages=stages, verify=False, verbose=0)
        pipeline.save(path, verbose=0)
        (path / "run_pipeline.py").write_bytes(run_script())
        self.pipeline = pipeline
        self.descriptions = []
        for one in pipeline.segments:
            content = stand_in.describe(
                *(
                    [{"name": s.name, "dtype": s.dtype, "shape": list(s.shape)} for s in side]
                    for side in (one.inputs, one.outputs)
                ),
                factor=2 * one.index + 1,
            )
            (path / f"{one.name}_edgetpu.tflite").write_bytes(content)
            self.descriptions.append(json.loads(content))

    def expected(self, sample):
        """The results for one sample, a dict by runner name."""
        values = dict(sample)
        for description in self.descriptions:
            inputs = [values[entry["name"]] for entry in description["inputs"]]
            made = stand_in.compute(description, inputs)
            values.update(zip((e["name"] for e in description["outputs"]), made, strict=True))
        return [values[spec.name] for spec in self.pipeline.segments[-1].outputs]

    def run(self, *arguments, devices="usb,pci,usb", code=0, path=_STAND_IN):
        done = subprocess.run(
            [sys.executable, "-c", _LAUNCHER, self.path / "run_pipeline.py", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
            cwd=self.path,
            env={**os.environ, "PYTHONPATH": str(path), "STAND_IN_EDGE_TPUS": devices},
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    builder = ModelBuilder()
    tensor = builder.conv(builder.input())
    outputs = [builder.conv(builder.conv(tensor, 16))]
    return Folder(tmp_path_factory.mktemp("bundle") / "single", (builder, outputs), [0, 1, 2])


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Two inputs whose order is not the alphabet's, and two outputs."""
    builder = ModelBuilder()
    first, second = builder.input("zebra"), builder.input("ant")
    middle = builder.conv(builder.add(first, second))
    outputs = [builder.add(middle, builder.relu(second)), builder.relu(middle)]
    return Folder(tmp_path_factory.mktemp("bundle") / "wide", (builder, outputs), [0, 0, 1, 2, 2])


def _samples(count, seed=0):
    return np.random.default_rng(seed).integers(-128, 128, (count, 4, 4, 8)).astype(np.int8)


def test_the_script_is_python_3_9_and_imports_only_numpy_and_the_standard_library():
    tree = ast.parse(run_script(), feature_version=(3, 9))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - {"numpy", "PIL"} <= sys.stdlib_module_names
    # Newer than 3.9: keyword or function, wherever it is used.
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not used & {"pairwise", "bit_count"}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not {k.arg for call in calls for k in call.keywords} & {"strict", "slots", "kw_only"}
    # Annotations such as `dict[str, Any] | None` are never evaluated, but others would be.
    assert any(isinstance(n, ast.ImportFrom) and n.module == "__future__" for n in tree.body)
    unions = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and _name(n) == "isinstance"]
    assert not any(isinstance(call.args[1], ast.BinOp) for call in unions)


def _name(call):
    return call.func.id if isinstance(call.func, ast.Name) else ""


def test_the_scripts_parts_have_no_names_in_common():
    names = [
        node.name
        for node in ast.parse(run_script()).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
    ]
    assert len(names) == len(set(names))


def test_samples_go_through_all_segments(folder, tmp_path):
    samples = _samples(12)
    np.save(tmp_path / "x.npy", samples)
    folder.run("--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy")
    expected = np.concatenate([folder.expected({"input_0": s[None]})[0] for s in samples])
    assert np.array_equal(np.load(tmp_path / "y.npy"), expected)


def test_layout_and_a_missing_batch_dimension_do_not_matter(folder, tmp_path):
    samples = np.asfortranarray(_samples(3, seed=1))
    np.save(tmp_path / "x.npy", samples)
    folder.run("--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy")
    np.save(tmp_path / "one.npy", samples[1])
    folder.run("--input", tmp_path / "one.npy", "--output", tmp_path / "one_y.npy")
    assert np.array_equal(np.load(tmp_path / "y.npy")[1:2], np.load(tmp_path / "one_y.npy"))


def test_floats_are_quantised_as_respect_tf_does_and_come_back_as_floats(folder, tmp_path):
    real = np.random.default_rng(2).normal(0, 4, (5, 4, 4, 8))
    real[0, 0, 0] = np.arange(-4, 4) * 0.05 + 0.025  # halves
    np.save(tmp_path / "x.npy", real)
    folder.run("--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy")
    spec, made = folder.pipeline.segments[0].inputs[0], folder.pipeline.segments[-1].outputs[0]
    stored = quantize(real, "int8", spec.quantization)
    expected = np.concatenate([folder.expected({"input_0": s[None]})[0] for s in stored])
    got = np.load(tmp_path / "y.npy")
    assert got.dtype == np.float32
    assert np.array_equal(got, dequantize(expected, made.quantization))


def test_several_inputs_and_outputs(wide, tmp_path):
    first, second = _samples(4, seed=3), _samples(4, seed=4)
    np.savez(tmp_path / "x.npz", ant=second, zebra=first)
    wide.run("--input", tmp_path / "x.npz", "--output", tmp_path / "y.npz", "--warm-up", 0)
    with np.load(tmp_path / "y.npz") as got:
        assert sorted(got.files) == sorted(wide.pipeline.outputs)
        for index in range(4):
            expected = wide.expected({"zebra": first[[index]], "ant": second[[index]]})
            for name, value in zip(wide.pipeline.outputs, expected, strict=True):
                assert np.array_equal(got[name][[index]], value)
    shown = wide.run("--input", tmp_path / "x.npz")
    assert "int8 [1, 4, 4, 8], largest:" in shown
    assert "sample 3: " in shown


def test_times_come_back_to_calibrate_and_to_the_profile_scheduler(folder):
    shown = folder.run("--benchmark", 20)
    assert "inferences per second" in shown
    path = folder.path / "benchmark.csv"
    with path.open(newline="") as file:
        *rows, whole = csv.DictReader(file)
    assert whole["model"] == "|".join(row["model"] for row in rows)
    assert (whole["segment"], whole["device"], whole["ops"]) == ("all", "pci:0,usb:0,usb:1", "")
    assert float(whole["min_ms"]) <= float(whole["ms"]) <= float(whole["max_ms"])
    assert [row["ops"] for row in rows] == ["0", "1", "2"]
    assert [row["device"] for row in rows] == ["pci:0", "usb:0", "usb:1"]
    for row in rows:
        times = [float(row[name]) for name in ("first_ms", "min_ms", "ms", "p90_ms", "max_ms")]
        assert times == sorted(set(times))
        assert times[0] > 2
    assert calibrate(path).measured_ms.tolist() == [float(row["ms"]) for row in rows]
    graph = OpGraph.from_tflite(folder.pipeline.model)
    measure = MeasuredTimes.read(path).of(graph)
    for op, row in enumerate(rows):
        assert measure(np.array([op])) == float(row["ms"])
    assert measure(np.array([0, 1])) > 0
    found = schedule(graph, 2, "profile", measure=measure)
    assert found.num_stages == 2
    as_rows = [row | {"model": str(path.parent / row["model"])} for row in rows]
    for given in (path, str(path), as_rows):
        again = schedule(graph, 2, "profile", measure=given, device=calibrate(path).base)
        assert again.stages.tolist() == found.stages.tolist()
    made = convert(folder.pipeline.model, 2, scheduler="profile", measure=path, verbose=0)
    assert made.schedule.num_stages == 2


def test_a_csv_file_elsewhere_still_finds_the_models(folder, tmp_path):
    folder.run("--benchmark", 2, "--csv", tmp_path / "times.csv")
    assert len(calibrate(tmp_path / "times.csv").measured_ms) == 3


def test_ops_that_are_none_of_the_model_are_refused(folder, tmp_path):
    folder.run("--benchmark", 2)
    text = (folder.path / "benchmark.csv").read_text()
    graph = OpGraph.from_tflite(folder.pipeline.model)
    for wrong in ("7", "-1", "x", "9" * 5000):
        broken = folder.path / "broken.csv"
        broken.write_text(text.replace(",usb:0,1,", f",usb:0,{wrong},"))
        with pytest.raises(ArgumentError, match="line 3, column ops"):
            MeasuredTimes.read(broken).of(graph)


def test_devices_are_listed_and_chosen(folder, tmp_path):
    assert folder.run("--list-devices", "--backend", "pycoral").split() == [
        "pci:0",
        "usb:0",
        "usb:1",
    ]
    folder.run("--benchmark", 1, "--devices", "usb:1,usb:0,pci:0", "--csv", tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        assert [row["device"] for row in csv.DictReader(file)] == ["usb:1", "usb:0", "pci:0"]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (
            ["--benchmark", 1],
            {"devices": "usb"},
            "segment and replica. Found: usb:0",
        ),
        (["--benchmark", 1, "--devices", "usb:0,usb:0,usb:1"], {}, "replica. Given"),
        (["--benchmark", 1, "--devices", "usb:0,usb:1,usb:9"], {}, "cannot be loaded onto usb:9"),
        (["--input", "nothing.npy"], {}, "cannot be read"),
        (["--input", "pipeline.json"], {}, "cannot be read"),
        (["--benchmark", 1], {"path": "/"}, "on PyPI is another one"),
        ([], {"code": 2}, "one of --input"),
        (["--benchmark", "-3"], {"code": 2}, "invalid count"),
    ],
)
def test_what_is_wrong_is_said(folder, arguments, options, message):
    assert message in folder.run(*arguments, **{"code": 1, **options})


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 4, 4, 9), np.int8), "must have the shape [num_samples, 4, 4, 8]"),
        (np.zeros((0, 4, 4, 8), np.int8), "must have the shape"),
        (np.zeros((2, 4, 4, 8), np.int32), "must be int8 or finite floats"),
        (np.full((2, 4, 4, 8), np.nan), "must be int8 or finite floats"),
    ],
)
def test_wrong_inputs_are_refused(folder, tmp_path, array, message):
    np.save(tmp_path / "x.npy", array)
    assert message in folder.run("--input", tmp_path / "x.npy", code=1)


def test_a_segment_that_is_not_compiled_is_named(folder, tmp_path):
    copy = tmp_path / "copy"
    respect_tf.load(folder.path).save(copy, verbose=0)
    (copy / "run_pipeline.py").write_bytes(run_script())
    other = Folder.__new__(Folder)
    other.path = copy
    told = other.run("--benchmark", 1, code=1)
    assert "model_segment_0_of_3_edgetpu.tflite is missing" in told


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda text: text.replace('"compiled_file": null', '"compiled_file": "../x"'), "outside"),
        (lambda text: text[:50], "cannot be read"),
        (lambda text: "[" * 10**5, "cannot be read"),
    ],
)
def test_a_manifest_that_is_damaged_is_an_error(folder, tmp_path, edit, told):
    other = Folder.__new__(Folder)
    other.path = tmp_path / "copy"
    respect_tf.load(folder.path).save(other.path, verbose=0)
    manifest = other.path / "pipeline.json"
    manifest.write_text(edit(manifest.read_text()))
    message = other.run("--benchmark", 1, code=1)
    assert told in message
    assert "Traceback" not in message
