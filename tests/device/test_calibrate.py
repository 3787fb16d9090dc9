"""Fitting times to a user's measurements."""

import dataclasses

import numpy as np
import pytest
from model_builder import ModelBuilder

from benchmarks._stacks import conv_stack
from respect_tf import ArgumentError
from respect_tf.device import DeviceCosts, EdgeTpu, calibrate, predict, stage_tensors
from respect_tf.device._compute import array_ms
from respect_tf.device._edge_tpu import MIB
from respect_tf.device._measurements import Design, fit_device, measurement_of
from respect_tf.graph import OpGraph

_HEADER = "ms,macs,cached_bytes,streamed_bytes,input_bytes,output_bytes\n"


def _write(tmp_path, text):
    path = tmp_path / "measurements.csv"
    path.write_text(text)
    return path


def _rows(device, count=20, seed=0):
    """Rows of a device that the model describes exactly."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        macs = int(random.integers(1, 10**9))
        cached, streamed, read, made = random.integers(1, 2**20, 4).tolist()
        requests = -(-made // device.request_bytes)
        ms = (
            device.fixed_ms
            + array_ms(macs) * device.slower
            + device.link_ms_per_mib * (streamed + read) / 2**20
            + device.output_ms_per_request / device.requests_in_flight * requests
        )
        values = (ms, macs, cached, streamed, read, made)
        rows.append(dict(zip(_HEADER.strip().split(","), values, strict=True)))
    return rows


def _measured(device, count=20):
    return _HEADER + "".join(
        ",".join(map(str, row.values())) + "\n" for row in _rows(device, count)
    )


def test_the_constants_of_another_host_are_found(tmp_path):
    base = EdgeTpu.preset("usb3-pi5")
    truth = dataclasses.replace(base, fixed_ms=0.85, link_ms_per_mib=2.92, clock_mhz=270)
    slow = dataclasses.replace(truth, output_ms_per_request=2 * base.output_ms_per_request)
    found = calibrate(_write(tmp_path, _measured(slow)), "usb3-pi5")
    assert found.device.output_ms_per_mib == pytest.approx(slow.output_ms_per_mib, rel=0.02)
    assert found.error_after < 0.01 < found.error_before
    assert found.error_left_out < 0.02
    assert "output_ms_per_request" in found.determined
    assert "output_ms_per_request: 0.13" in str(found)
    assert found.device.num_tiles == base.num_tiles
    assert found.host == "usb3-pi5"
    assert calibrate(_rows(slow), "usb3-pi5").device == found.device


@pytest.mark.parametrize("name", ["usb3-pc", "usb3-jetson", "usb2-pi3", "pcie-m2"])
def test_the_nearest_host_is_named_without_a_hint(name):
    found = calibrate(_rows(EdgeTpu.preset(name)))
    assert found.device.link == EdgeTpu.preset(name).link
    assert found.error_after < 0.02
    # Nothing tells apart what is told by constants that are the same.
    same = {"pcie-m2": {"pcie-m2", "pcie-card"}}
    assert found.host in same.get(name, {name})


def test_constants_stay_within_their_ranges():
    base = EdgeTpu.preset("usb3-pi5")
    truth = dataclasses.replace(base, link_ms_per_mib=6.0, ranges={})
    found = calibrate(_rows(truth), base)
    low, high = base.range_of("link_ms_per_mib")
    assert low <= found.device.link_ms_per_mib <= high * (1 + 1e-6)
    assert found.error_after > 0.05


def test_what_the_measurements_do_not_show_stays():
    base = EdgeTpu.preset("pcie-devboard")
    row = {"ms": 3.0, "macs": 1000, "cached_bytes": 0, "streamed_bytes": 0}
    found = calibrate([row | {"input_bytes": 1000, "output_bytes": 10}], base)
    assert "link_ms_per_mib" in found.kept
    assert found.device.link_ms_per_mib == base.link_ms_per_mib
    assert set(found.determined).isdisjoint(found.kept)


def test_one_request_in_flight_is_recognised_and_the_option_named():
    base = EdgeTpu.preset("usb3-pi5")
    found = calibrate(_rows(dataclasses.replace(base, requests_in_flight=1)))
    assert found.device.requests_in_flight == 1
    assert "Usb.MaxBulkInQueueLength" in found.advice
    assert found.advice in str(found)
    assert calibrate(_rows(base)).advice is None


def test_one_benchmark_run_gives_a_device_that_cuts_well():
    """A row per stage and one for the whole, each twice, with noise, on a host nobody knows."""
    graph = conv_stack(300, 4)
    random = np.random.default_rng(5)
    base = EdgeTpu.preset("usb3-pc")
    names = ("fixed_ms", "link_ms_per_mib", "output_ms_per_request")
    drawn = {name: random.uniform(*base.range_of(name)) for name in names}
    truth = dataclasses.replace(base, name="unknown", **drawn)
    costs = DeviceCosts.of(graph, truth)
    rows = []
    stage_of = np.array([0, 0, 1, 1, 1])
    for stages in (stage_of, np.zeros(5, np.int64)):
        for stage in range(int(stages.max()) + 1):
            ops = np.flatnonzero(stages == stage).tolist()
            entering, leaving = stage_tensors(graph, stages, stage)
            cost = costs.stage(ops, entering, leaving)
            for _ in range(2):
                noisy = cost.total_ms * random.normal(1.0, 0.02)
                rows.append(measurement_of(costs.chip, cost, leaving, noisy, reload=False))
    design = Design(rows)
    fitted = fit_device(design, base).device
    before, after = (np.abs(design.predict(d) / design.ms - 1).mean() for d in (base, fitted))
    assert after < 0.03 <= before


_NUM_DEVICES = 8


def _pipeline_rows(tmp_path, device):
    """A segment's time alone, and between results of eight devices that run it at once."""
    builder = ModelBuilder()
    path = tmp_path / "a.tflite"
    path.write_bytes(builder.build([builder.conv(builder.input())]))
    graph = OpGraph.from_tflite(path)
    alone = predict(graph, [0], device).interval_ms
    together = predict(graph, [0], device, replicas=[_NUM_DEVICES])
    return [
        {"model": str(path), "ms": alone, "device": "usb:0"},
        {"model": "|".join([str(path)] * _NUM_DEVICES), "ms": together.interval_ms},
    ], together


def test_a_pipeline_that_waits_for_its_bus_tells_the_bus(tmp_path):
    base = dataclasses.replace(EdgeTpu.preset("usb3-pi5"), fixed_ms=0.001, stage_ms=0.0)
    truth = dataclasses.replace(base, bus_ms_per_mib=1.5 * base.bus_ms_per_mib)
    rows, together = _pipeline_rows(tmp_path, truth)
    assert together.limited_by == "bus"
    found = calibrate(rows, base)
    assert found.device.bus_ms_per_mib == pytest.approx(truth.bus_ms_per_mib)
    assert found.determined == ("bus_ms_per_mib",)
    assert len(found.measured_ms) == 1
    assert "is assumed" not in str(found)


def test_a_pipeline_that_does_not_wait_says_how_slow_the_bus_is_at_most(tmp_path):
    truth = dataclasses.replace(EdgeTpu.preset("usb3-pi5"), bus_ms_per_mib=0.0, fixed_ms=0.001)
    rows, together = _pipeline_rows(tmp_path, truth)
    assumed = dataclasses.replace(truth, bus_ms_per_mib=2.0)
    found = calibrate(rows, assumed)
    assert "bus_ms_per_mib" not in found.determined
    moved = together.stages[0].cost.moved_bytes / MIB
    assert found.device.bus_ms_per_mib == pytest.approx(min(2.0, together.interval_ms / moved))


def test_pipelines_alone_are_too_little(tmp_path):
    rows, _ = _pipeline_rows(tmp_path, EdgeTpu.preset("usb3-pi5"))
    with pytest.raises(ArgumentError, match="a row for each segment, too"):
        calibrate(rows[1:])


def test_stages_on_the_host_are_passed_over(tmp_path):
    rows, _ = _pipeline_rows(tmp_path, EdgeTpu.preset("usb3-pi5"))
    on_host = {"model": "no such file", "ms": 5.0, "device": "cpu"}
    assert calibrate([*rows, on_host]).device == calibrate(rows).device
    with pytest.raises(ArgumentError, match="no file"):
        calibrate([on_host])


def test_rows_may_name_models(tmp_path):
    builder = ModelBuilder()
    (tmp_path / "small.tflite").write_bytes(builder.build([builder.conv(builder.input())]))
    found = calibrate(_write(tmp_path, "model,ms,reload\nsmall.tflite,2.0,1\nsmall.tflite,1.8,0\n"))
    assert found.ms_before[0] > found.ms_before[1]
    assert found.error_after < 0.1
    rows = [{"model": tmp_path / "small.tflite", "ms": 2.0}]
    content = [{"model": (tmp_path / "small.tflite").read_bytes(), "ms": 2.0}]
    assert calibrate(rows).device == calibrate(content).device


def test_a_calibrated_device_is_saved_and_taken_as_a_base_again(tmp_path):
    base = EdgeTpu.preset("usb3-pi5")
    truth = dataclasses.replace(base, output_ms_per_request=1.5 * base.output_ms_per_request)
    table = _write(tmp_path, _measured(truth))
    found = calibrate(table, "usb3-pi5")
    found.save(tmp_path / "mine.json")
    again = calibrate(table, tmp_path / "mine.json")
    assert again.base == found.device
    assert again.device.name == found.device.name == "usb3-pi5 calibrated"
    assert again.host == "usb3-pi5"
    assert again.error_before == pytest.approx(found.error_after)
    plain = found.to_dict()
    assert plain["measurements"] == 20
    assert plain["error"]["after"] < plain["error"]["before"]
    assert plain["constants"]["output_ms_per_request"]["before"] == base.output_ms_per_request


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "has no column ms"),
        ([{"ms": 1.0}], "has no column macs"),
        ([3], "list of mappings"),
        (7, "list of mappings"),
        ([{"ms": "x", "model": "a.tflite"}], "row 0, column ms"),
        ([{"ms": 1.0, "model": None}], "row 0, column model"),
        ([{"ms": 10**400, "model": "a"}], "row 0, column ms"),
        ([{"ms": 1.0, "model": []}], "row 0, column model"),
        ([{"ms": 1.0, "model": [["a"], {}]}], "row 0, column model"),
    ],
)
def test_rows_that_make_no_sense_are_refused(rows, message):
    with pytest.raises(ArgumentError, match=message):
        calibrate(rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column ms"),
        ("ms,macs\n1,2\n", "no column cached_bytes, streamed_bytes, input_bytes, output_bytes"),
        (_HEADER, "has no measurements"),
        (_HEADER + "nan,1,1,1,1,1\n", "line 2, column ms: expected a finite number, above 0"),
        (_HEADER + "0,1,1,1,1,1\n", "line 2, column ms"),
        (_HEADER + "1,1,1,1,1,1\n1,1,x,1,1,1\n", "line 3, column cached_bytes.*'x'"),
        (_HEADER + "1,1,1,-1,1,1\n", "column streamed_bytes.*0 or more.*'-1'"),
        (_HEADER + "1,1,1\n", "column streamed_bytes.*None"),
        (_HEADER + "1,1,1,1,1,1,7\n", "line 2: expected 6 values, one for each column. .*: 7"),
        (_HEADER + "0.002,1000000000,1,1,1,1\n", "0.00.* times those predicted.*another unit"),
        (_HEADER + "2500,1000000000,1,1,1,1\n", "times those predicted.*another unit"),
        (_HEADER.replace(",", ";"), "no column ms, .*Received the columns: ms;macs"),
        ("ms," + _HEADER + "1,1,1,1,1,1,1\n", "each column once"),
        ("model,ms\nabsent.tflite,1\n", "line 2, column model.*is no file"),
        ("model,ms\n,1\n", "line 2, column model"),
    ],
)
def test_files_that_make_no_sense_are_refused(tmp_path, text, message):
    with pytest.raises(ArgumentError, match=message):
        calibrate(_write(tmp_path, text))


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"cannot be read.*Expected a CSV file"):
        calibrate(tmp_path / "absent.csv")
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00ms")
    with pytest.raises(ArgumentError, match="cannot be read"):
        calibrate(binary)


def test_a_model_with_ops_on_the_cpu_is_refused(tmp_path):
    builder = ModelBuilder()
    (tmp_path / "m.tflite").write_bytes(builder.build([builder.dequantize(builder.input())]))
    with pytest.raises(ArgumentError, match="stays on the CPU"):
        calibrate(_write(tmp_path, "model,ms\nm.tflite,1\n"))


def test_little_is_assumed_of_a_bus_that_nobody_knows():
    preset = EdgeTpu.preset("usb3-pi5")
    rows = _rows(preset, 6)
    found = calibrate(rows, "usb3-pi5")
    assert found.device.bus_ms_per_mib == pytest.approx(preset.bus_ms_per_mib / 2)
    assert "bus_ms_per_mib" in str(found)
    mine = dataclasses.replace(preset, bus_ms_per_mib=1.0, name="my hub")
    known = calibrate(rows, mine)
    assert known.device.bus_ms_per_mib == 1.0
    assert "bus_ms_per_mib" not in str(known)
    assert calibrate(_rows(EdgeTpu.preset("pcie-m2"), 6), "pcie-m2").device.bus_ms_per_mib == 0.0
