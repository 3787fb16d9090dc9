"""Constants of the device model."""

import dataclasses
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


@pytest.mark.parametrize("value", [-1, -0.001, math.nan, math.inf, "3", None, True])
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


def test_a_device_can_be_hashed_and_compared():
    assert hash(EdgeTpu.preset("pcie")) == hash(EdgeTpu.preset("pcie"))
    listed = dataclasses.replace(EdgeTpu.preset("pcie"), strip_passes=[[3, 4]])
    assert hash(listed)
    assert listed.strip_passes == ((3, 4),)


def test_transfers_take_longer_the_more_devices_would_share_them_and_not_at_all_for_one():
    device = EdgeTpu.preset("usb3")
    assert device.slowdown(1) == 1.0
    assert device.slowdown(2) == 1 + device.contention
    assert 1 < device.slowdown(4) < device.slowdown(2)
