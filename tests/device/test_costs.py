"""What stages cost."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_builder import ModelBuilder
from random_models import models, stages

from benchmarks._stacks import conv_stack
from respect_tf import ArgumentError, schedule
from respect_tf.device import DeviceCosts, EdgeTpu, device_presets, predict, stage_tensors
from respect_tf.device._measurements import Design, measurement_of
from respect_tf.graph import OpGraph


@settings(max_examples=30)
@given(st.data())
def test_costs_of_random_models_are_finite_and_above_the_bound(data):
    graph = OpGraph.from_tflite(data.draw(models()))
    stage_of = data.draw(stages(graph)).astype(np.int64)
    costs = DeviceCosts.of(graph, EdgeTpu.preset("usb3-pi5"), int(stage_of.max()) + 1)
    prediction = predict(graph, stage_of)
    total = 0
    for stage in range(int(stage_of.max()) + 1):
        ops = np.flatnonzero(stage_of == stage).tolist()
        entering, leaving = stage_tensors(graph, stage_of, stage)
        cost = costs.stage(ops, entering, leaving)
        assert prediction.stages[stage].cost == cost
        assert math.isfinite(cost.total_ms)
        assert cost.total_ms >= 0
        placed = {*cost.cached_ops, *cost.streamed_ops}
        assert placed.isdisjoint(cost.cpu_ops)
        assert placed | set(cost.cpu_ops) <= set(ops)
        if not cost.cpu_ops:
            total += cost.cached_bytes + cost.streamed_bytes
    if costs.chip.all_supported:
        assert total == costs.parameters.stored.sum()


@pytest.mark.parametrize("filters", [100, 480, 650, 740])
@pytest.mark.parametrize("reload", [False, True])
def test_measurements_are_predicted_as_stages_are(filters, reload):
    graph, device = conv_stack(filters, 4), EdgeTpu.preset("usb3-pc")
    costs = DeviceCosts.of(graph, device)
    entering, leaving = stage_tensors(graph, np.zeros(5, np.int64), 0)
    cost = costs.stage(range(5), entering, leaving)
    row = measurement_of(costs.chip, cost, leaving, 1.0, reload=reload)
    expected = cost.total_ms + (costs.load_ms(cost) if reload else 0.0)
    assert Design([row]).predict(device)[0] == pytest.approx(expected, rel=1e-6)
    assert predict(graph, [0] * 5, device).latency_ms == pytest.approx(cost.total_ms)


def test_a_model_that_fits_one_device_streams_nothing_and_one_that_does_not_streams_layers():
    small, large = (predict(conv_stack(f, 4), [0] * 5, "pcie-m2") for f in (300, 700))
    assert small.stages[0].cost.stream_ms == 0
    assert large.stages[0].cost.stream_ms > 100
    # Public measurement: 592 filters take 118 ms on one device.
    assert predict(conv_stack(592, 4), [0] * 5, "pcie-m2").interval_ms == pytest.approx(
        118, rel=0.1
    )


def test_devices_on_one_bus_cannot_be_faster_than_the_bus():
    graph = conv_stack(64, 4)
    shared = predict(graph, [0, 1, 2, 3, 4], "usb3-pc")
    own = predict(graph, [0, 1, 2, 3, 4], "pcie-m2")
    assert shared.bus_ms > 0
    assert shared.interval_ms >= shared.bus_ms
    assert own.bus_ms == 0
    assert predict(graph, [0] * 5, "usb3-pc").bus_ms == 0


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([0, 1], "one for each of 5 ops"),
        ([0, 0, 0, 0, 0.5], "whole numbers"),
        ([0, 0, 2, 2, 2], "Every stage from 0 on must have an op"),
        ([-1, 0, 0, 0, 0], "Every stage from 0 on must have an op"),
        ([1, 0, 1, 1, 1], "reads from"),
    ],
)
def test_stages_that_make_no_pipeline_are_refused(stages, message):
    with pytest.raises(ArgumentError, match=message):
        predict(conv_stack(64, 4), stages)


def test_a_single_input_meets_no_contention_and_loads_come_on_top():
    graph = conv_stack(300, 4)
    device = EdgeTpu.preset("pcie-m2")
    prediction = predict(graph, [0, 0, 1, 1, 1], device)
    calm = predict(graph, [0, 0, 1, 1, 1], dataclasses.replace(device, contention=()))
    assert prediction.latency_ms == pytest.approx(calm.latency_ms)
    assert prediction.interval_ms > calm.interval_ms
    loads = sum(stage.load_ms for stage in prediction.stages)
    assert prediction.first_ms == pytest.approx(prediction.latency_ms + loads)
    assert loads > 2 * 2.7  # MiB of parameters


def test_more_devices_on_one_bus_stop_paying():
    """Several USB devices share a controller: what all move is a limit."""
    graph = conv_stack(64, 4)
    slow_bus = dataclasses.replace(EdgeTpu.preset("usb2-pi3"), bus_ms_per_mib=500.0)
    two, five = (predict(graph, s, slow_bus) for s in ([0, 0, 0, 1, 1], range(5)))
    assert two.interval_ms == two.bus_ms
    assert five.interval_ms == five.bus_ms > two.bus_ms


def test_graphs_of_arrays_have_costs():
    graph = OpGraph.from_arrays([5_000_000, 6_000_000], [1000, 1000], [[0, 1]], macs=[10**9, 10**9])
    whole = predict(graph, [0, 0])
    assert len(whole.stages[0].cost.streamed_ops) == 1
    assert whole.stages[0].cost.compute_ms > 1
    assert not predict(graph, [0, 1]).stages[1].cost.streamed_ops


def test_a_prediction_as_plain_values_marks_its_figures():
    plain = predict(conv_stack(700, 4), [0, 0, 1, 1, 1]).to_dict()
    assert plain["predicted"]["frames_per_second"] > 0
    stage = plain["stages"][1]["predicted"]
    causes = sum(value for name, value in stage["ms"].items() if name != "total")
    assert causes == pytest.approx(stage["ms"]["total"])
    assert stage["stored_bytes"] == stage["cached_bytes"] + stage["streamed_bytes"]


def test_what_a_stage_takes_is_what_its_parts_take():
    """Outputs come back in whole requests, and everything else goes out at one rate."""
    graph = conv_stack(64, 2)
    for device in device_presets().values():
        cost = predict(graph, [0, 0, 0], device).stages[0].cost
        mib = (cost.input_bytes + cost.instruction_bytes) / 2**20
        sent = cost.input_ms + cost.instruction_ms
        assert sent == pytest.approx(device.link_ms_per_mib * mib, rel=1e-3)
        requests = -(-cost.output_bytes // device.request_bytes)
        rate = device.output_ms_per_request / device.requests_in_flight
        assert cost.output_ms == pytest.approx(rate * requests)
        moved = cost.input_bytes + cost.instruction_bytes + cost.streamed_bytes
        assert cost.moved_bytes == pytest.approx(moved + requests * device.request_bytes, abs=1)


def test_fewer_requests_in_flight_make_outputs_slower():
    graph = conv_stack(64, 2)
    device = EdgeTpu.preset("usb3-pi5")
    one = dataclasses.replace(device, requests_in_flight=1)
    slow, fast = (predict(graph, [0] * 3, d).stages[0].cost.output_ms for d in (one, device))
    assert slow == pytest.approx(8 * fast)


def test_at_half_the_clock_the_chip_takes_twice_as_long():
    graph = conv_stack(64, 2)
    std, full = (
        predict(graph, [0] * 3, EdgeTpu.preset("usb3-pc", clock=clock)).stages[0].cost
        for clock in ("std", "max")
    )
    assert std.compute_ms == pytest.approx(2 * full.compute_ms)
    assert std.input_ms == full.input_ms


def test_only_what_passes_between_edge_tpu_and_cpu_crosses_the_bus():
    """A tail on the CPU reads a small map and makes a large result: only the map crosses."""
    builder = ModelBuilder()
    image = builder.input()
    inner = builder.conv(image)
    graph = OpGraph.from_tflite(builder.build([builder.dequantize(inner)]))
    cost = predict(graph, [0, 0]).stages[0].cost
    assert len(cost.cpu_ops) == 1
    tensor = int(graph.outputs_of(0)[0])
    assert cost.output_bytes >= graph.tensor_bytes[tensor]
    result = int(graph.tensor_bytes[graph.model_outputs[0]])
    assert cost.output_bytes < result == 4 * graph.tensor_bytes[tensor]


def test_replicas_share_a_stage_and_not_the_bus():
    graph, device = conv_stack(300, 4), EdgeTpu.preset("pcie-card")
    alone = predict(graph, [0, 0, 1, 1, 1], device)
    times = [stage.total_ms for stage in alone.stages]
    shared = predict(graph, [0, 0, 1, 1, 1], device, replicas=(1, 3))
    assert alone.interval_ms == pytest.approx(max(times))
    assert shared.interval_ms == pytest.approx(max(times[0], times[1] / 3))
    assert shared.replicas == (1, 3)
    copies = predict(graph, [0] * 5, device, replicas=[4])
    one = predict(graph, [0] * 5, device)
    assert copies.interval_ms == pytest.approx(one.interval_ms / 4)
    slow_bus = dataclasses.replace(EdgeTpu.preset("usb3-pc"), bus_ms_per_mib=500.0)
    crowded = predict(graph, [0] * 5, slow_bus, replicas=[4])
    assert crowded.interval_ms == crowded.bus_ms
    assert crowded.limited_by == "bus"
    for replicas in ((1,), (1, 0), (1, 1.5), (True, 1), (1, 2, 3)):
        with pytest.raises(ArgumentError, match="replicas"):
            predict(graph, [0, 0, 1, 1, 1], device, replicas=replicas)


def test_several_devices_have_a_prediction_each_and_the_figures_are_the_first_ones():
    graph = conv_stack(64, 4)
    found = predict(graph, [0, 0, 1, 1, 1], "usb3")
    assert found.device.name == "usb3-pi5"
    assert {"usb3-pc", "usb3-pi4 max, shared bus", "usb3-jetson, own bus"} <= set(found.by_host)
    for name, one in found.by_host.items():
        assert one.device.name == name
        assert one.interval_ms == predict(graph, [0, 0, 1, 1, 1], one.device).interval_ms
    plain = found.to_dict()["predicted"]
    assert set(plain["interval_ms_by_host"]) == set(found.by_host)


def test_a_schedule_is_taken_as_well_as_its_stages():
    graph = conv_stack(64, 4)
    found = schedule(graph, 2, device="usb3-pc")
    assert predict(graph, found, "usb3-pc").interval_ms == pytest.approx(found.cost)


def test_large_maps_leave_room_because_they_are_worked_off_in_parts():
    builder = ModelBuilder()
    image = builder.tensor("image", (1, 512, 512, 40))  # 10 MiB
    builder.inputs.append(image)
    made = builder.tensor("made", (1, 512, 512, 40))
    builder.op("RELU", [image], [made])
    graph = OpGraph.from_tflite(builder.build([builder.conv(made, 16)]))
    cost = predict(graph, [0, 0]).stages[0].cost
    assert cost.activation_bytes == 5 * 2**20
    assert cost.room_bytes == 16 * 504 * 1024 - 5 * 2**20
    assert cost.streamed_bytes == 0
