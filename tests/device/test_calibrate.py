"""Fitting times to a user's measurements."""

import dataclasses

import numpy as np
import pytest
from model_builder import ModelBuilder

from respect_tf import ArgumentError
from respect_tf.device import EdgeTpu, calibrate

_HEADER = "ms,macs,cached_bytes,streamed_bytes,input_bytes,output_bytes\n"


def _write(tmp_path, text):
    path = tmp_path / "measurements.csv"
    path.write_text(text)
    return path


def _measured(device, count=20, seed=0):
    """Rows of a device that the model describes exactly."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        macs = random.integers(1, 10**9)
        cached, streamed, read, made = random.integers(1, 2**20, 4)
        ms = (
            device.fixed_ms
            + device.ms_per_gmac * macs / 1e9
            + device.ms_per_streamed_mib * streamed / 2**20
            + device.ms_per_input_mib * read / 2**20
            + device.ms_per_output_mib * made / 2**20
        )
        rows.append(f"{ms},{macs},{cached},{streamed},{read},{made}")
    return _HEADER + "\n".join(rows) + "\n"


def test_the_constants_of_another_host_are_found(tmp_path):
    base = EdgeTpu.preset("usb3")
    truth = dataclasses.replace(base, fixed_ms=0.5, ms_per_input_mib=3.0, ms_per_output_mib=20.0)
    found = calibrate(_write(tmp_path, _measured(truth)), "usb3")
    assert found.device.ms_per_output_mib == pytest.approx(20, rel=0.02)
    assert found.device.ms_per_input_mib == pytest.approx(3, rel=0.05)
    assert found.error_after < 0.01 < found.error_before
    assert found.error_left_out < 0.02
    assert "ms_per_output_mib: 115.9 -> " in str(found)
    assert found.device.num_tiles == base.num_tiles


def test_what_the_measurements_do_not_show_stays(tmp_path):
    base = EdgeTpu.preset("pcie")
    found = calibrate(_write(tmp_path, _HEADER + "3.0,1000,0,0,1000,10\n"), base)
    assert found.device.ms_per_streamed_mib == pytest.approx(base.ms_per_streamed_mib, rel=1e-3)
    assert found.ms_after[0] == pytest.approx(3.0, rel=0.02)


def test_rows_may_name_models(tmp_path):
    builder = ModelBuilder()
    (tmp_path / "small.tflite").write_bytes(builder.build([builder.conv(builder.input())]))
    found = calibrate(_write(tmp_path, "model,ms,reload\nsmall.tflite,2.0,1\nsmall.tflite,1.8,0\n"))
    assert found.ms_before[0] > found.ms_before[1]
    assert found.error_after < found.error_before


def test_a_calibrated_device_is_saved_and_taken_as_a_base_again(tmp_path):
    truth = dataclasses.replace(EdgeTpu.preset("usb3"), ms_per_input_mib=3.0)
    table = _write(tmp_path, _measured(truth))
    found = calibrate(table, "usb3")
    found.save(tmp_path / "mine.json")
    again = calibrate(table, tmp_path / "mine.json")
    assert again.base == found.device
    assert again.device.name == found.device.name == "usb3 calibrated"
    assert again.error_before == pytest.approx(found.error_after)
    plain = found.to_dict()
    assert plain["measurements"] == 20
    assert plain["error"]["after"] < plain["error"]["before"]
    assert plain["constants"]["ms_per_input_mib"]["before"] == pytest.approx(7.1)


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
