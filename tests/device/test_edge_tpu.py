"""Constants of the device model."""

import dataclasses
import json
import math

import pytest

from respect_tf import ArgumentError
from respect_tf.device import EdgeTpu, resolve_device


@pytest.mark.parametrize("name", ["usb3", "usb2", "pcie"])
def test_every_constant_of_a_preset_has_a_unit_and_a_source(name):
    device = EdgeTpu.preset(name)
    provenance = EdgeTpu.provenance(name)
    names = {field.name for field in dataclasses.fields(device)} - {"name"}
    assert set(provenance) == names
    assert all("; " in text and len(text) > 8 for text in provenance.values())
    assert resolve_device(name) == device
    assert resolve_device(device) is device


def test_an_unknown_preset_is_refused():
    for name in ("usb4", "", None, 3):
        with pytest.raises(ArgumentError, match="Expected one of pcie, usb2, usb3"):
            EdgeTpu.preset(name)
    with pytest.raises(ArgumentError, match="usb4"):
        EdgeTpu.provenance("usb4")


@pytest.mark.parametrize("value", [-1, -0.001, math.nan, math.inf, 10**400, "3", None, True])
def test_constants_that_are_no_amounts_are_refused(value):
    with pytest.raises(ArgumentError, match=r"EdgeTpu\.ms_per_gmac must be a finite number"):
        dataclasses.replace(EdgeTpu.preset("usb3"), ms_per_gmac=value)


@pytest.mark.parametrize("value", [0, 1.5, -4])
def test_the_number_of_tiles_is_whole_and_positive(value):
    with pytest.raises(ArgumentError, match="num_tiles"):
        dataclasses.replace(EdgeTpu.preset("usb3"), num_tiles=value)


@pytest.mark.parametrize(
    "value", [((1.0, 0.5),), ((2.0, 3.0), (1.0, 4.0)), ((1.0,),), 5, ((math.nan, 2.0),)]
)
def test_strip_passes_that_make_no_sense_are_refused(value):
    with pytest.raises(ArgumentError, match="strip_passes"):
        dataclasses.replace(EdgeTpu.preset("usb3"), strip_passes=value)


@pytest.mark.parametrize("value", [((2, -0.5),), ((4, 0.1), (2, 0.9)), ((2, 0.1), (2, 0.2)), 0.9])
def test_contention_that_makes_no_sense_is_refused(value):
    with pytest.raises(ArgumentError, match=r"EdgeTpu\.contention must be pairs"):
        dataclasses.replace(EdgeTpu.preset("usb3"), contention=value)


def test_a_device_can_be_hashed_and_compared():
    assert hash(EdgeTpu.preset("pcie")) == hash(EdgeTpu.preset("pcie"))
    listed = dataclasses.replace(EdgeTpu.preset("pcie"), strip_passes=[[3, 4]])
    assert hash(listed)
    assert listed.strip_passes == ((3, 4),)


def test_transfers_take_as_long_as_measured_with_so_many_devices_and_linear_between():
    device = dataclasses.replace(EdgeTpu.preset("usb3"), contention=((2, 0.9), (4, 0.1)))
    slowdowns = [device.slowdown(count) for count in (1, 2, 3, 4, 8)]
    assert slowdowns == pytest.approx([1.0, 1.9, 1.5, 1.1, 1.1])
    late = dataclasses.replace(device, contention=((3, 0.4),))
    assert [late.slowdown(count) for count in (1, 2, 3)] == pytest.approx([1.0, 1.2, 1.4])
    assert dataclasses.replace(device, contention=()).slowdown(4) == 1.0


def test_a_saved_device_is_read_as_it_was(tmp_path):
    device = dataclasses.replace(EdgeTpu.preset("pcie"), name="mine", ms_per_gmac=0.123456789012345)
    path = tmp_path / "mine.json"
    device.save(path)
    assert EdgeTpu.from_file(path) == device
    assert resolve_device(path) == resolve_device(str(path)) == device
    assert hash(EdgeTpu.from_file(path)) == hash(device)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data["constants"].pop("fixed_ms"), "missing constants: fixed_ms"),
        (lambda data: data["constants"].update(speed=3), "unknown constants: speed"),
        (lambda data: data["constants"].update(ms_per_gmac=-1), r"device.json: .*ms_per_gmac"),
        (lambda data: data["constants"].update(contention=[[2]]), "contention must be pairs"),
        (lambda data: data.update(name=None), "name must be a string"),
        (lambda data: data.update(format="other"), "describes no device"),
        (lambda data: data.update(constants=[1]), "describes no device"),
    ],
)
def test_files_that_describe_no_device_are_refused(tmp_path, change, message):
    path = tmp_path / "device.json"
    EdgeTpu.preset("usb2").save(path)
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(ArgumentError, match=message):
        EdgeTpu.from_file(path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"3", b"\xff\xfe\x00", b'{"a": NaN}', b"[" * 99_999]
)
def test_files_that_are_no_json_of_a_device_are_refused(tmp_path, content):
    path = tmp_path / "device.json"
    path.write_bytes(content)
    with pytest.raises(ArgumentError, match=r"cannot be read as a device|describes no device"):
        resolve_device(path)
    with pytest.raises(ArgumentError, match="cannot be read as a device"):
        resolve_device("absent.json")


def test_a_device_is_only_written_where_it_can_be_found_again(tmp_path):
    with pytest.raises(ArgumentError, match=r"must end in \.json"):
        EdgeTpu.preset("usb3").save(tmp_path / "device.txt")
    with pytest.raises(ArgumentError, match="cannot be written"):
        EdgeTpu.preset("usb3").save(tmp_path / "absent" / "device.json")
