"""Running through pycoral, against a stand-in that enforces the real runner's rules."""

import dataclasses
import gc
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from model_builder import ModelBuilder

from respect_tf import ArgumentError, segment
from respect_tf._errors import DeviceError, RunnerError
from respect_tf.run import (
    PipelineRunner,
    PycoralRunner,
    _pycoral_runner,
    check_edge_tpus,
    create_runner,
)
from respect_tf.segmentation import quantize
from respect_tf.tflite import Interpreter

_STAND_IN = Path(__file__).parent / "stand_in"


def _forget_pycoral():
    for name in [name for name in sys.modules if name.split(".")[0] == "pycoral"]:
        del sys.modules[name]


@pytest.fixture
def pycoral(monkeypatch):
    """The stand-in, and three devices."""
    _forget_pycoral()
    monkeypatch.syspath_prepend(_STAND_IN)
    monkeypatch.setenv("STAND_IN_EDGE_TPUS", "usb,pci,usb")
    yield
    gc.collect()
    _forget_pycoral()


def _compiled(segments):
    return tuple(dataclasses.replace(one, compiled=one.content) for one in segments)


@pytest.fixture(scope="module")
def model():
    """Two inputs, the second read late as well; the order of names is not the alphabet's."""
    builder = ModelBuilder()
    first, second = builder.input("zebra"), builder.input("ant")
    middle = builder.conv(builder.add(first, second))
    late = builder.add(middle, builder.relu(second))
    return builder.build([late, builder.relu(middle)])


@pytest.fixture(scope="module")
def segments(model):
    return _compiled(segment(model, [0, 0, 1, 2, 2]))


def _inputs(seed):
    random = np.random.default_rng(seed)
    return [random.integers(-128, 128, (1, 4, 4, 8)).astype(np.int8) for _ in range(2)]


def test_results_are_the_whole_models(pycoral, model, segments):
    whole = Interpreter(model)
    names = {"left": "zebra"}
    with PycoralRunner(segments, input_names=names, output_queue_size=2) as runner:
        assert runner.devices == ("pci:0", "usb:0", "usb:1")
        assert len(runner.interpreters()) == 3
        for seed in range(6):
            first, second = _inputs(seed)
            # In the wrong order, and not contiguous.
            runner.push({"ant": np.asfortranarray(second), "left": first})
            result = runner.pop()
            assert list(result) == [spec.name for spec in segments[-1].outputs]
            for got, expected in zip(result.values(), whole.run([first, second]), strict=True):
                assert np.array_equal(got, expected)
        runner.push({})
        assert runner.pop() is None
        with pytest.raises(RunnerError, match="ended"):
            runner.push({"ant": second, "zebra": first})


def test_floats_are_quantised_and_wrong_inputs_refused(pycoral, model, segments):
    real = np.linspace(-6, 6, 128).reshape(1, 4, 4, 8)
    stored = quantize(real, "int8", segments[0].inputs[0].quantization)
    with PycoralRunner(segments) as runner:
        runner.push({"zebra": real, "ant": stored})
        expected = Interpreter(model).run([stored, stored])
        assert np.array_equal(next(iter(runner.pop().values())), expected[0])
        for wrong in (
            {"zebra": stored},
            {"zebra": stored[:, :2], "ant": stored},
            {"zebra": stored.astype(np.int32), "ant": stored},
        ):
            with pytest.raises(ArgumentError):
                runner.push(wrong)


def test_close_keeps_the_results_and_frees_the_devices(pycoral, segments):
    for _ in range(2):
        runner = PycoralRunner(segments, output_queue_size=1, input_queue_size=9)
        for seed in range(5):
            runner.push(dict(zip(("zebra", "ant"), _inputs(seed), strict=True)))
        runner.close()
        runner.close()
        assert sum(runner.pop() is not None for _ in range(6)) == 5
        with pytest.raises(RunnerError, match="ended"):
            runner.push(dict(zip(("zebra", "ant"), _inputs(0), strict=True)))


def test_a_failing_device_is_told(pycoral, segments):
    runner = PycoralRunner(segments)
    sys.modules["pycoral.utils.edgetpu"].fail_at["usb:0"] = 1
    for seed in range(2):
        runner.push(dict(zip(("zebra", "ant"), _inputs(seed), strict=True)))
    assert runner.pop() is not None
    runner.close()
    with pytest.raises(RunnerError, match="Hardware error"):
        runner.pop()


def test_a_pop_that_would_hang_for_ever_ends(pycoral, segments):
    runner = PycoralRunner(segments, timeout=0.3)
    hanging = threading.Event()
    sys.modules["pycoral.utils.edgetpu"].wait_before = lambda device: (
        hanging.wait() if device == "usb:0" else None
    )
    runner.push(dict(zip(("zebra", "ant"), _inputs(0), strict=True)))
    with pytest.raises(RunnerError, match=r"hangs: no result within 0\.3 s"):
        runner.pop()
    again = dict(zip(("zebra", "ant"), _inputs(0), strict=True))
    for call in (runner.pop, lambda: runner.push(again)):
        with pytest.raises(RunnerError, match="hangs"):
            call()
    runner.close(discard=True)
    hanging.set()
    kept, _ = _pycoral_runner._kept.pop()
    kept.push({})  # so that its thread ends


def test_waiting_for_an_input_is_no_hang(pycoral, segments):
    with PycoralRunner(segments, timeout=2.0) as runner:
        popping = threading.Thread(target=runner.pop)
        popping.start()
        popping.join(3.0)  # longer than the limit, in which no input was at work
        assert popping.is_alive()
        runner.push(dict(zip(("zebra", "ant"), _inputs(0), strict=True)))
        popping.join()
        assert not runner._hangs


def test_devices_can_be_named(pycoral, segments):
    chosen = ["usb:1", "pci:0", "usb:0"]
    with create_runner(segments, backend="pycoral", devices=chosen) as runner:
        assert [one.device for one in runner.interpreters()] == chosen
    for wrong in (["usb:0"], ["usb:0", "usb:0", "usb:1"], "usb", [0, 1, 2]):
        with pytest.raises(ArgumentError, match="different Edge TPUs"):
            create_runner(segments, backend="pycoral", devices=wrong)
    with pytest.raises(DeviceError, match=r"segment 0 on usb:7: Failed to load delegate"):
        PycoralRunner(segments, devices=["usb:7", "usb:0", "usb:1"])


def test_a_device_that_is_in_use_gives_the_checklist(pycoral, segments):
    with (
        PycoralRunner(segments),
        pytest.raises(DeviceError, match=r"(?s)Failed to load delegate.*\[ok\] 3 Edge TPUs"),
    ):
        PycoralRunner(segments)


def test_auto_takes_edge_tpus_when_all_is_there(pycoral, segments, capsys):
    with create_runner(segments) as runner:
        assert isinstance(runner, PycoralRunner)
    assert capsys.readouterr().err == ""
    with create_runner(segments, device="cpu") as runner:
        assert isinstance(runner, PipelineRunner)


def test_auto_falls_back_to_the_cpu_and_says_why(pycoral, segments, monkeypatch, capsys):
    monkeypatch.setenv("STAND_IN_EDGE_TPUS", "usb")
    with create_runner(segments) as runner:
        assert isinstance(runner, PipelineRunner)
        assert runner.devices == (("cpu",),) * 3
    assert "Running on the CPU" in (told := capsys.readouterr().err)
    assert "3 Edge TPUs: 0 found" in told
    with create_runner(segments, verbose=0):
        assert capsys.readouterr().err == ""


def test_the_checklist_names_everything_that_is_missing(pycoral, segments, monkeypatch):
    monkeypatch.setenv("STAND_IN_EDGE_TPUS", "")
    bare = [dataclasses.replace(one, compiled=None) for one in segments]
    with pytest.raises(DeviceError) as caught:
        create_runner(bare, device="edgetpu", backend="pycoral")
    told = str(caught.value)
    assert "[ok] Google's pycoral" in told
    assert "[--] 3 Edge TPUs: 0 found" in told
    assert "not segment 0, 1, 2" in told
    assert "respect-tf compile" in told


def test_float_outputs_are_refused_before_anything_runs(pycoral):
    builder = ModelBuilder()
    middle = builder.relu(builder.relu(builder.input()))
    both = _compiled(segment(builder.build([builder.dequantize(middle)]), [0, 1, 1]))
    with pytest.raises(DeviceError, match="is float32"):
        PycoralRunner(both)


def test_without_pycoral_it_is_named(segments, monkeypatch):
    _forget_pycoral()
    monkeypatch.setitem(sys.modules, "pycoral", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DeviceError, match=r"\[--\] Google's pycoral: not installed"):
        create_runner(segments, device="edgetpu", backend="pycoral")


def test_the_unrelated_pycoral_of_pypi_is_recognised_and_not_imported(
    segments, monkeypatch, tmp_path
):
    _forget_pycoral()
    package = tmp_path / "pycoral"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    about = tmp_path / "pycoral-0.2.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: pycoral\nVersion: 0.2.0\nSummary: Simple CLI for an atlas\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    check = check_edge_tpus(segments, backend="pycoral")[0]
    assert not check.ok
    assert check.found == "pycoral 0.2.0 (Simple CLI for an atlas), an unrelated project"
    assert "pip uninstall pycoral" in check.remedy


def test_bad_arguments_are_refused(segments):
    with pytest.raises(ArgumentError, match='"auto", "cpu" or "edgetpu"'):
        create_runner(segments, device="usb:0")
    with pytest.raises(ArgumentError, match="devices"):
        create_runner(segments, device="cpu", devices=["usb:0"])
    with pytest.raises(ArgumentError, match="at least one segment"):
        PycoralRunner([])
