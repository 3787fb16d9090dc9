"""Segments on Edge TPUs without pycoral, against a stand-in libedgetpu with the real symbols."""

import dataclasses
import gc
import threading
import time

import pytest
from edge_tpu_stand_in import edge_tpus
from model_builder import ModelBuilder

from respect_tf import ArgumentError, OpGraph, segment
from respect_tf._errors import DeviceError, RunnerError
from respect_tf.run import (
    PipelineRunner,
    check_edge_tpus,
    create_runner,
    list_edge_tpus,
)
from respect_tf.segmentation import random_inputs
from respect_tf.tflite import Interpreter

_WAIT = 600


@pytest.fixture
def tpus(tmp_path_factory, monkeypatch):
    """No device yet; afterwards none is in use and no thread is left."""
    tpus = edge_tpus(tmp_path_factory, monkeypatch)
    yield tpus
    gc.collect()
    deadline = time.monotonic() + _WAIT
    while time.monotonic() < deadline and (_threads() or tpus.in_use):
        gc.collect()
        time.sleep(0.01)  # a thread that hung ends when the driver lets go of it
    assert not _threads()
    assert tpus.in_use == []


def _threads():
    return [thread.name for thread in threading.enumerate() if "segment" in thread.name]


@pytest.fixture(scope="module")
def model():
    """Two inputs, the second read late as well; two outputs, one float; several ops a segment."""
    builder = ModelBuilder()
    first, second = builder.input("zebra"), builder.input("ant")
    middle = builder.conv(builder.relu(builder.add(first, second)))
    late = builder.add(middle, builder.relu(second))
    return builder.build([builder.relu(late), builder.dequantize(builder.relu(middle))])


@pytest.fixture(scope="module")
def segments(model):
    return _compiled(segment(model, [0, 0, 1, 1, 2, 2, 2, 2]))


def _compiled(segments, on_cpu=()):
    return tuple(
        dataclasses.replace(one, on_cpu=True)
        if one.index in on_cpu
        else dataclasses.replace(one, compiled=one.content)
        for one in segments
    )


def _samples(model, count):
    names = [
        spec.name for spec in segment(model, [0] * OpGraph.from_tflite(model).num_ops)[0].inputs
    ]
    inputs = random_inputs(OpGraph.from_tflite(model), count, seed=0)
    return [dict(zip(names, sample, strict=True)) for sample in inputs]


def _check_results(runner, model, count=24):
    """All results are the whole model's, byte for byte and in order."""
    whole, samples = Interpreter(model), _samples(model, 8)
    expected = [[v.tobytes() for v in whole.run(list(sample.values()))] for sample in samples]
    pusher = threading.Thread(
        target=lambda: [runner.push(samples[i % 8]) for i in range(count)] and runner.push({})
    )
    pusher.start()
    for index in range(count):
        result = [value.tobytes() for value in runner.pop().values()]
        assert result == expected[index % 8], index
    assert runner.pop() is None
    pusher.join()


def test_devices_are_listed_pcie_first_with_their_paths(tpus):
    assert list_edge_tpus() == ()
    tpus.attach("usb", "pci", "usb")
    found = list_edge_tpus()
    assert [one.name for one in found] == ["pci:0", "usb:0", "usb:1"]
    assert [one.path for one in found] == ["/dev/pci/1", "/dev/usb/0", "/dev/usb/2"]
    assert [one.kind for one in found] == ["pci", "usb", "usb"]


def test_results_are_the_whole_models(tpus, model, segments):
    tpus.attach("usb", "pci", "usb")
    with create_runner(segments, device="edgetpu", driver_options={"Performance": "Max"}) as runner:
        assert isinstance(runner, PipelineRunner)
        assert runner.devices == (("pci:0",), ("usb:0",), ("usb:1",))
        assert tpus.in_use == ["pci:0", "usb:0", "usb:1"]
        _check_results(runner, model)
        assert [stage.num_inferences for stage in runner.statistics()] == [24] * 3
        assert all(0 < s.mean_ms <= s.longest_ms for s in runner.statistics())
    assert "Performance=Max" in tpus.options
    assert "device=usb:1" in tpus.options


@pytest.mark.parametrize("replicas", [[2, 1, 1], [1, 3, 2], [4, 4, 4]])
def test_replicas_keep_the_order(tpus, model, segments, replicas):
    tpus.attach(*["usb"] * sum(replicas))
    tpus.say("slow", "usb:0", 3000)  # so that later inputs overtake earlier ones
    with create_runner(segments, device="edgetpu", replicas=replicas) as runner:
        assert [len(names) for names in runner.devices] == replicas
        assert len({name for names in runner.devices for name in names}) == sum(replicas)
        _check_results(runner, model, 60)


def test_cpu_stages_stand_between_edge_tpus(tpus, model, segments):
    tpus.attach("usb", "usb")
    mixed = _compiled(segments, on_cpu=[1])
    with create_runner(mixed, device="edgetpu", replicas=[1, 2, 1]) as runner:
        assert runner.devices == (("usb:0",), ("cpu", "cpu"), ("usb:1",))
        _check_results(runner, model)


def test_segments_take_turns_where_that_is_asked_for(tpus, model, segments, capsys):
    tpus.attach("usb", "pci")
    with pytest.raises(DeviceError, match=r"(?s)\[--\] 3 Edge TPUs: 2 found: .*share_") as told:
        create_runner(segments, device="edgetpu")
    assert "not segment" not in str(told.value)
    with create_runner(segments, device="edgetpu", share_devices=True) as runner:
        assert runner.devices == (("pci:0",), ("pci:0",), ("usb:0",))
        assert "2 segments take turns on 1 Edge TPU (pci:0)" in (said := capsys.readouterr().err)
        assert "MiB for every result" in said
        _check_results(runner, model)


def test_auto_takes_what_is_there_and_says_why_not(tpus, model, segments, capsys):
    with create_runner(segments) as runner:
        assert runner.devices == (("cpu",),) * 3
    assert "3 Edge TPUs: 0 found" in capsys.readouterr().err
    tpus.attach(*["usb"] * 3)
    with create_runner(segments) as runner:
        assert runner.devices == (("usb:0",), ("usb:1",), ("usb:2",))
    assert capsys.readouterr().err == ""
    with create_runner(segments, backend="cpu") as runner:
        assert runner.devices == (("cpu",),) * 3


def test_a_delegate_that_fails_now_and_then_is_tried_again(tpus, model, segments):
    tpus.attach(*["usb"] * 3)
    tpus.say("refuse", value=3)
    with create_runner(segments, device="edgetpu") as runner:
        _check_results(runner, model, 3)


def test_a_device_that_refuses_is_named_with_the_checklist(tpus, segments):
    tpus.attach(*["usb"] * 3)
    devices = ["usb:0", "usb:7", "usb:1"]
    with pytest.raises(DeviceError, match=r"(?s)usb:7 \(5 attempts\).*plugged in.*\[ok\]"):
        create_runner(segments, devices=devices)


def test_a_crash_of_libedgetpu_takes_another_process(tpus, segments, model):
    tpus.attach(*["usb"] * 3)
    tpus.say("crash")
    with pytest.raises(DeviceError, match=r"died of signal SIGSEGV.*ai-edge-litert.*feranick"):
        create_runner(segments, device="edgetpu", driver_options={"Performance": "Low"})


def test_a_file_that_is_not_the_segments_compiled_model_is_refused(tpus, segments):
    tpus.attach(*["usb"] * 3)
    wrong = [dataclasses.replace(segments[0], compiled=segments[1].content), *segments[1:]]
    with pytest.raises(DeviceError, match="not the compiled model of this segment"):
        create_runner(wrong, device="edgetpu")
    broken = [dataclasses.replace(segments[0], compiled=b"nothing"), *segments[1:]]
    with pytest.raises(DeviceError, match="cannot load the model on usb:0"):
        create_runner(broken, device="edgetpu")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_failing_device_is_told_after_the_results_before_it(tpus, model, segments, place):
    tpus.attach(*["usb"] * 3)
    samples = _samples(model, 4)
    runner = create_runner(segments, device="edgetpu", reattach=0.0)
    runner.push(samples[0])
    assert runner.pop()
    tpus.say("fail", f"usb:{place}")
    runner.push(samples[1])
    with pytest.raises(
        RunnerError, match=rf"Segment {place} failed at input 1 .*usb:{place}: .*USB transfer error"
    ):
        runner.pop()
    with pytest.raises(RunnerError, match="USB transfer"):
        runner.push(samples[2])
    runner.close()


def test_a_failing_replica_loses_nothing_before_it(tpus, model, segments):
    tpus.attach(*["usb"] * 6)
    (sample,) = _samples(model, 1)
    runner = create_runner(segments, device="edgetpu", replicas=[2, 2, 2], reattach=0.0)
    expected = [v.tobytes() for v in Interpreter(model).run(list(sample.values()))]
    tpus.say("fail", "usb:3")
    popped = []

    def push_and_pop_for_ever():
        while True:
            runner.push(sample)
            popped.append([v.tobytes() for v in runner.pop().values()])

    with pytest.raises(RunnerError, match=r"input (\d+) .* usb:3") as caught:
        push_and_pop_for_ever()
    assert all(result == expected for result in popped)
    assert f"at input {len(popped)} " in str(caught.value)
    runner.close()


def test_a_hanging_device_is_told_within_the_timeout(tpus, model, segments):
    tpus.attach(*["usb"] * 3)
    (sample,) = _samples(model, 1)
    runner = create_runner(segments, device="edgetpu", timeout=0.5)
    tpus.say("hang", "usb:1")
    runner.push(sample)
    with pytest.raises(RunnerError, match=r"Segment 1 .*usb:1: it hangs, no answer within 0.5 s"):
        runner.pop()
    with pytest.raises(RunnerError, match="hangs"):
        runner.push(sample)
    runner.close()
    runner.close(discard=True)
    tpus.unsay("hang", "usb:1")  # the fixture sees its thread end, and the device given back


def test_a_slow_device_is_only_slow(tpus, model, segments):
    tpus.attach(*["usb"] * 3)
    with create_runner(segments, device="edgetpu", timeout=_WAIT) as runner:
        tpus.say("slow", "usb:2", 20_000)
        _check_results(runner, model, 8)
        assert runner.statistics()[2].mean_ms >= 20


def test_a_device_that_comes_back_goes_on(tpus, model, segments):
    tpus.attach(*["usb"] * 3)
    samples = _samples(model, 2)
    whole = Interpreter(model)
    with create_runner(segments, device="edgetpu", reattach=_WAIT, timeout=_WAIT) as runner:
        runner.push(samples[0])
        assert runner.pop()
        tpus.attach("usb", "usb")
        runner.push(samples[1])
        while "usb:2" in tpus.in_use:  # until its thread has seen that it is gone
            time.sleep(0.001)
        tpus.attach("usb", "usb", "usb")
        expected = [v.tobytes() for v in whole.run(list(samples[1].values()))]
        assert [v.tobytes() for v in runner.pop().values()] == expected


def test_a_device_that_stays_away_is_told(tpus, model, segments):
    tpus.attach(*["usb"] * 3)
    (sample,) = _samples(model, 1)
    with create_runner(segments, device="edgetpu", reattach=0.3) as runner:
        tpus.attach("usb", "usb")
        runner.push(sample)
        with pytest.raises(RunnerError, match=r"usb:2: .*did not come back within 0\.3 s"):
            runner.pop()


def test_a_device_moves_to_the_slowest_stage(tpus, model, segments):
    tpus.attach(*["usb"] * 4)
    tpus.say("slow", "usb:3", 5_000)
    with create_runner(segments, device="edgetpu", replicas=[2, 1, 1], rebalance=True) as runner:
        deadline = time.monotonic() + _WAIT
        while [len(names) for names in runner.devices] != [1, 1, 2]:
            assert time.monotonic() < deadline
            runner.push(_samples(model, 1)[0])
            runner.pop()
        _check_results(runner, model)


def test_a_dropped_runner_gives_its_devices_back(tpus, model, segments):
    tpus.attach(*["usb"] * 3)
    runner = create_runner(segments, device="edgetpu")
    runner.push(_samples(model, 1)[0])
    del runner


def test_bad_arguments_are_refused(tpus, segments):
    tpus.attach(*["usb"] * 3)
    for wrong in (
        {"replicas": [1, 1]},
        {"replicas": [1, 0, 1]},
        {"replicas": 3},
        {"replicas": "111"},
        {"replicas": [True, True, True]},
        {"replicas": [1.0, 1.0, 1.0]},
        {"devices": ["usb:0"]},
        {"devices": ["usb:0", "usb:0", "usb:1"]},
        {"devices": "usb:0"},
        {"backend": "coral"},
        {"backend": "cpu"},
        {"driver_options": {"performance": "Max"}},
        {"driver_options": {"Performance": "Turbo"}},
        {"driver_options": {"Usb.MaxBulkInQueueLength": 256}},
        {"timeout": 0},
        {"timeout": "1"},
        {"reattach": -1},
        {"reset_states": False, "replicas": [2, 1, 1]},
        {"backend": "pycoral", "replicas": [2, 1, 1]},
        {"input_queue_size": 0},
    ):
        with pytest.raises(ArgumentError):
            create_runner(segments, device="edgetpu", **wrong)
    assert _threads() == []


def test_without_libedgetpu_the_checklist_says_what_to_install(segments, monkeypatch):
    monkeypatch.setenv("EDGETPU_LIBRARY", "/nowhere/libedgetpu.so.1")
    checks = {check.name: check for check in check_edge_tpus(segments)}
    assert checks["an interpreter"].ok
    assert not checks["Edge TPU runtime"].ok
    assert "ai-edge-litert" in checks["Edge TPU runtime"].remedy
    with pytest.raises(DeviceError, match="feranick"):
        list_edge_tpus()
    with pytest.raises(DeviceError, match=r"\[--\] Edge TPU runtime"):
        create_runner(segments, device="edgetpu")


def test_modules_on_pcie_tell_id_and_temperature(tmp_path):
    from respect_tf.run.script import _devices

    folder = tmp_path / "apex_0"
    folder.mkdir()
    (folder / "unique_id").write_text("0x12ab\n")
    (folder / "temp").write_text("43060\n")
    about = _devices._about_module("/dev/apex_0", str(tmp_path))
    assert about == {"unique_id": "0x12ab", "celsius": 43.06}
    assert _devices._about_module("/dev/apex_1", str(tmp_path)) == {}
    assert "43.1 degrees" in str(_devices.EdgeTpuDevice("pci:0", "pci", "/dev/apex_0", **about))
