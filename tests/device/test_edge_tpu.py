"""Constants of the device model."""

import csv
import dataclasses
import json
import math
import pickle

import pytest

from respect_tf import ArgumentError
from respect_tf.device import EdgeTpu, Hosts, device_presets, resolve_device

NAMES = (
    "usb3-pc", "usb3-pi5", "usb3-pi4", "usb3-jetson", "usb2-jetson", "usb2-pi3",
    "pcie-devboard", "pcie-m2", "pcie-card",
)  # fmt: skip


def test_the_hosts_that_were_measured_are_presets():
    presets = device_presets()
    assert set(presets) == set(NAMES)
    for name, device in presets.items():
        assert device == EdgeTpu.preset(name) == resolve_device(name)
        assert device.name == name
    assert resolve_device(presets["usb3-pc"]) is presets["usb3-pc"]


@pytest.mark.parametrize("name", NAMES)
def test_every_constant_of_a_preset_has_a_unit_a_source_and_a_range(name):
    device = EdgeTpu.preset(name)
    provenance = EdgeTpu.provenance(name)
    fields = {field.name for field in dataclasses.fields(device)} - {"name", "link", "ranges"}
    assert set(provenance) == fields
    assert all("; " in text and len(text) > 8 for text in provenance.values())
    for constant in fields - {"strip_passes", "contention"}:
        low, high = device.ranges[constant]
        assert low <= getattr(device, constant) <= high


@pytest.mark.parametrize("name", NAMES)
def test_presets_are_those_of_the_public_table(name, data_folder):
    with (data_folder / "measurements" / "hosts.csv").open(newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["preset"] == name)
    device = EdgeTpu.preset(name)
    low, high = device.range_of("output_ms_per_request")
    per_request = device.output_ms_per_request / device.output_ms_per_mib
    assert device.link == row["link"]
    for value, column in (
        (device.fixed_ms, "fixed_ms"),
        (device.range_of("fixed_ms")[0], "fixed_low"),
        (device.range_of("fixed_ms")[1], "fixed_high"),
        (device.link_ms_per_mib, "link_ms_per_mib"),
        (device.range_of("link_ms_per_mib")[0], "link_low"),
        (device.range_of("link_ms_per_mib")[1], "link_high"),
        (device.output_ms_per_mib, "output_ms_per_mib"),
        (low / per_request, "output_low"),
        (high / per_request, "output_high"),
    ):
        assert value == pytest.approx(float(row[column]), rel=0.02), column


def test_the_clock_is_that_of_the_runtime():
    assert EdgeTpu.preset("usb3-pc").clock_mhz == 250
    assert EdgeTpu.preset("usb3-pc", clock="max").clock_mhz == 500
    for clock in ("std", "max"):
        assert EdgeTpu.preset("pcie-m2", clock=clock).clock_mhz == 500
    with pytest.raises(ArgumentError, match='clock must be "std" or "max"'):
        EdgeTpu.preset("usb3-pc", clock="fast")


def test_an_unknown_preset_is_refused_and_all_are_listed():
    for name in ("usb4", "", None, 3):
        with pytest.raises(ArgumentError, match=r"usb3-pc, usb3-pi5, .*pcie-card") as error:
            EdgeTpu.preset(name)
        assert "usb2 (all of USB 2)" in str(error.value)
    with pytest.raises(ArgumentError, match="usb4"):
        EdgeTpu.provenance("usb4")
    with pytest.raises(ArgumentError, match="stands for several hosts: usb3-pi5, "):
        EdgeTpu.preset("usb3")


def test_a_link_stands_for_all_its_hosts_with_both_clocks_and_buses():
    hosts = resolve_device("usb3")
    assert isinstance(hosts, Hosts)
    names = [device.name for device in hosts]
    assert names[:2] == ["usb3-pi5", "usb3-pc"]
    assert len(set(names)) == len(hosts) == 20
    assert hosts.first == EdgeTpu.preset("usb3-pi5")
    shared = [one for one in hosts if one.bus_ms_per_mib == one.link_ms_per_mib]
    free = [one for one in hosts if one.bus_ms_per_mib == 0]
    for group in (shared, free):
        assert sorted(one.clock_mhz for one in group) == [250] * 4 + [500] * 4
    assert resolve_device("pcie").first.name == "pcie-m2"
    assert resolve_device("usb2").first.name == "usb2-pi3"
    assert resolve_device(hosts) is hosts


def test_devices_of_one_name_are_told_apart():
    device = EdgeTpu.preset("usb3-pc")
    hosts = resolve_device([device, dataclasses.replace(device, fixed_ms=1.0), device])
    assert [one.name for one in hosts] == ["usb3-pc (1)", "usb3-pc (2)"]


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"fixed_ms": (2.0, 1.0)}, "the smaller one first"),
        ({"fixed_ms": (0.0, math.nan)}, "two finite numbers"),
        ({"fixed_ms": (-1.0, 1.0)}, "0 or more"),
        ({"fixed_ms": 3}, "two finite numbers"),
        ({"speed": (0.0, 1.0)}, "expected names among"),
        ([("fixed_ms", 0, 1)], "by name"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(ranges, message):
    with pytest.raises(ArgumentError, match=message):
        dataclasses.replace(EdgeTpu.preset("usb3-pc"), ranges=ranges)


def test_a_value_is_always_in_its_range():
    device = dataclasses.replace(EdgeTpu.preset("usb3-pc"), fixed_ms=5.0)
    assert device.range_of("fixed_ms") == (0.3, 5.0)
    assert device.range_of("request_bytes") == (1024, 1024)


def test_a_file_of_an_earlier_version_is_refused_by_version(tmp_path):
    path = tmp_path / "old.json"
    old = {"format": "respect_tf device", "name": "mine", "constants": {"ms_per_input_mib": 7.1}}
    path.write_text(json.dumps(old))
    with pytest.raises(ArgumentError, match=r"of respect_tf 0\.1.*respect-tf calibrate"):
        resolve_device(path)
    path.write_text(json.dumps(old | {"version": 99}))
    with pytest.raises(ArgumentError, match="version 99"):
        resolve_device(path)


def test_devices_can_be_pickled():
    for device in (resolve_device("usb3"), EdgeTpu.preset("pcie-m2")):
        assert pickle.loads(pickle.dumps(device)) == device


@pytest.mark.parametrize("value", [-1, -0.001, math.nan, math.inf, 10**400, "3", None, True])
def test_constants_that_are_no_amounts_are_refused(value):
    with pytest.raises(ArgumentError, match=r"EdgeTpu\.fixed_ms must be a finite number"):
        dataclasses.replace(EdgeTpu.preset("usb3-pi5"), fixed_ms=value)


@pytest.mark.parametrize("value", [0.5, 10**12, 1e300])
def test_requests_have_a_whole_number_of_bytes(value):
    with pytest.raises(ArgumentError, match="request_bytes must be a whole number"):
        dataclasses.replace(EdgeTpu.preset("usb3-pi5"), request_bytes=value)


def test_constants_are_floats_whatever_they_were_given_as():
    device = dataclasses.replace(EdgeTpu.preset("usb3-pi5"), cpu_ms_per_gmac=10**300)
    assert type(device.cpu_ms_per_gmac) is float
    assert type(device.clock_mhz) is float


@pytest.mark.parametrize("value", [0, 1.5, -4, 10**9])
def test_the_number_of_tiles_is_whole_and_positive(value):
    with pytest.raises(ArgumentError, match="num_tiles"):
        dataclasses.replace(EdgeTpu.preset("usb3-pi5"), num_tiles=value)


@pytest.mark.parametrize(
    "value", [((1.0, 0.5),), ((2.0, 3.0), (1.0, 4.0)), ((1.0,),), 5, ((math.nan, 2.0),)]
)
def test_strip_passes_that_make_no_sense_are_refused(value):
    with pytest.raises(ArgumentError, match="strip_passes"):
        dataclasses.replace(EdgeTpu.preset("usb3-pi5"), strip_passes=value)


@pytest.mark.parametrize("value", [((2, -0.5),), ((4, 0.1), (2, 0.9)), ((2, 0.1), (2, 0.2)), 0.9])
def test_contention_that_makes_no_sense_is_refused(value):
    with pytest.raises(ArgumentError, match=r"EdgeTpu\.contention must be pairs"):
        dataclasses.replace(EdgeTpu.preset("usb3-pi5"), contention=value)


def test_a_device_can_be_hashed_and_compared():
    assert hash(EdgeTpu.preset("pcie-m2")) == hash(EdgeTpu.preset("pcie-m2"))
    listed = dataclasses.replace(EdgeTpu.preset("pcie-m2"), strip_passes=[[3, 4]])
    assert hash(listed)
    assert listed.strip_passes == ((3, 4),)


def test_transfers_take_as_long_as_measured_with_so_many_devices_and_linear_between():
    device = dataclasses.replace(EdgeTpu.preset("usb3-pi5"), contention=((2, 0.9), (4, 0.1)))
    slowdowns = [device.slowdown(count) for count in (1, 2, 3, 4, 8)]
    assert slowdowns == pytest.approx([1.0, 1.9, 1.5, 1.1, 1.1])
    late = dataclasses.replace(device, contention=((3, 0.4),))
    assert [late.slowdown(count) for count in (1, 2, 3)] == pytest.approx([1.0, 1.2, 1.4])
    assert dataclasses.replace(device, contention=()).slowdown(4) == 1.0


def test_a_saved_device_is_read_as_it_was(tmp_path):
    device = dataclasses.replace(EdgeTpu.preset("pcie-m2"), name="mine", stage_ms=0.123456789012345)
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
        (lambda data: data["constants"].update(stage_ms=-1), r"device.json: .*stage_ms"),
        (lambda data: data["constants"].update(contention=[[2]]), "contention must be pairs"),
        (lambda data: data.update(name=None), "name must be a string"),
        (lambda data: data.update(format="other"), "describes no device"),
        (lambda data: data.update(constants=[1]), "describes no device"),
    ],
)
def test_files_that_describe_no_device_are_refused(tmp_path, change, message):
    path = tmp_path / "device.json"
    EdgeTpu.preset("usb2-pi3").save(path)
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
        EdgeTpu.preset("usb3-pi5").save(tmp_path / "device.txt")
    with pytest.raises(ArgumentError, match="cannot be written"):
        EdgeTpu.preset("usb3-pi5").save(tmp_path / "absent" / "device.json")
