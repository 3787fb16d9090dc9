"""Stages that run on the host: priced on its CPU, without transfers, without a device."""

import dataclasses
import math

import pytest
from model_builder import ModelBuilder

import respect_tf
from respect_tf import ArgumentError, OpGraph
from respect_tf.device import HOST_CORES, DeviceCosts, EdgeTpu, blocking_remarks, predict
from respect_tf.run import simulate


def _graph() -> OpGraph:
    builder = ModelBuilder()
    first = builder.conv(builder.input("image"))
    middle = builder.tensor("middle", (1, 4, 4, 8))
    builder.op("GELU", [first], [middle])
    return OpGraph.from_tflite(builder.build([builder.conv(builder.relu(middle))]))


def test_a_cpu_stage_takes_what_its_ops_take_on_the_cpu_and_nothing_else():
    graph, device = _graph(), EdgeTpu.preset("usb3-pi5")
    schedule = respect_tf.Schedule([0, 1, 1, 2], cpu_stages=[1])
    prediction = predict(graph, schedule, device)
    assert [stage.on_cpu for stage in prediction.stages] == [False, True, False]
    cost = prediction.stages[1].cost
    costs = DeviceCosts.of(graph, device, 2)
    assert cost.total_ms == pytest.approx(float(costs.cpu_ms[[1, 2]].sum()))
    assert (cost.moved_bytes, cost.input_bytes, cost.output_bytes, cost.fixed_ms) == (0, 0, 0, 0)
    assert [op.op for op in prediction.stages[1].cpu_ops] == [1, 2]
    assert prediction.stages[1].blockers == ()
    # Two devices share the bus; with as many stages on devices, three do.
    assert prediction.num_devices == 2
    assert prediction.stages[0].cost == costs.stage([0], [0], graph.outputs_of(0).tolist())
    moved = sum(stage.cost.moved_bytes for stage in prediction.stages)
    assert prediction.bus_ms == pytest.approx(device.bus_ms_per_mib * moved / 2**20)
    assert prediction.dispatch_ms == pytest.approx(3 * device.stage_ms)
    assert prediction.to_dict()["stages"][1]["on_cpu"] is True
    assert predict(graph, schedule.stages, device, cpu_stages=[1]) == prediction


def test_a_pipeline_on_the_cpu_alone_moves_nothing():
    prediction = predict(_graph(), [0, 0, 0, 0], cpu_stages=[0])
    assert prediction.num_devices == 0
    assert prediction.bus_ms == 0
    assert math.isfinite(prediction.interval_ms)


def test_cpu_stages_share_the_cores_of_the_host():
    builder = ModelBuilder()
    last = builder.conv(builder.input("image"))
    for number in range(6):
        before, last = last, builder.tensor(f"gelu {number}", (1, 4, 4, 8))
        builder.op("GELU", [before], [last])
    graph = OpGraph.from_tflite(builder.build([last]))
    few = predict(graph, [0, 1, 1, 2, 2, 3, 3], cpu_stages=[1, 2, 3])
    many = predict(graph, [0, 1, 2, 3, 4, 5, 6], cpu_stages=[1, 2, 3, 4, 5, 6])
    host = sum(stage.total_ms for stage in many.stages[1:])
    assert [few.cores_ms, many.cores_ms] == pytest.approx([host / HOST_CORES] * 2)
    assert few.interval_ms == max(few.dispatch_ms, *(stage.total_ms for stage in few.stages))
    slow = predict(graph, [0, 1, 2, 3, 4, 5, 6], _slow_host(), cpu_stages=[1, 2, 3, 4, 5, 6])
    assert slow.interval_ms == slow.cores_ms > max(stage.total_ms for stage in slow.stages)
    assert slow.limited_by == slow.bottleneck == "host"
    full = simulate(slow, 200)
    assert full.interval_ms == pytest.approx(slow.interval_ms, rel=0.01)
    assert full.host_utilisation > 0.98


def _slow_host() -> EdgeTpu:
    """A host on which nothing but ops on the CPU matters."""
    return dataclasses.replace(
        EdgeTpu.preset("usb3-pi5"), cpu_ms_per_mib=1e6, cpu_ms_per_gmac=1e6, name="slow"
    )


def test_devices_are_not_given_to_cpu_stages():
    schedule = respect_tf.Schedule([0, 1, 1, 2], cpu_stages=[1])
    assert predict(_graph(), schedule, replicas=[2, 1, 3]).num_devices == 5
    with pytest.raises(ArgumentError, match="Stage 1 is a CPU stage"):
        predict(_graph(), schedule, replicas=[1, 2, 1])
    with pytest.raises(ArgumentError, match="cpu_stages must be stages, 0 to 2"):
        predict(_graph(), schedule.stages, cpu_stages=[3])


def test_remarks_tell_ops_in_cpu_stages_from_the_others():
    graph = _graph()
    (said,) = blocking_remarks(graph, range(4), on_cpu=[1, 2])
    assert said.endswith("It is in a CPU stage, which is never compiled")
    (said,) = blocking_remarks(graph, range(4))
    assert said.endswith("keep its segment on the CPU")
