"""Everything public can be handed to another process, values that were made for real as well."""

import dataclasses
import pickle

import keras
import numpy as np
import pytest

import respect_tf
from respect_tf import OpGraph, Throughput
from respect_tf.device import EdgeTpu, resolve_device
from respect_tf.planning import plan_devices, plan_fleet_of
from respect_tf.scheduling import ScheduleRequest
from respect_tf.training import random_graph

MIB = 1 << 20


@pytest.fixture(scope="module")
def graph():
    return OpGraph.from_arrays(
        [2 * MIB] * 6, [20_000] * 6, [(op, op + 1) for op in range(5)], macs=[10**8] * 6
    )


def again(value):
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("name", respect_tf.__all__)
def test_public_names(name):
    value = getattr(respect_tf, name)
    assert again(value) is value or again(value) == value


def test_graphs(graph):
    for one in (graph, random_graph("wide", 40, 0)):
        found = again(one)
        np.testing.assert_array_equal(found.parameter_bytes, one.parameter_bytes)
        np.testing.assert_array_equal(found.edges, one.edges)
        assert found.op_types == one.op_types


@pytest.mark.parametrize("device", ["usb3-pi5", "usb3"])
def test_schedules_and_what_is_predicted_of_them(graph, device):
    made = respect_tf.schedule(graph, 3, device=device)
    assert again(made) == made
    found = respect_tf.predict(graph, made, device)
    assert again(found).interval_ms == found.interval_ms
    assert again(found).by_host.keys() == found.by_host.keys()
    # What solvers keep of a graph does not stand in the way.
    respect_tf.check_schedule(again(graph), again(made))


def test_objectives_also_after_they_were_used(graph):
    device = EdgeTpu.preset("usb3-pi5")
    for objective in (
        Throughput(device),
        respect_tf.Latency(device),
        respect_tf.Latency(device, arrivals_per_second=10.0),
        respect_tf.PeakMemory(1.0),
    ):
        made = respect_tf.schedule(graph, 2, objective=objective)
        found = again(objective)
        assert found.name == objective.name
        assert respect_tf.schedule(again(graph), 2, objective=found).cost == made.cost
    linear = respect_tf.PeakMemory(1.0).linear_cost(graph)
    np.testing.assert_array_equal(again(linear).op_costs, linear.op_costs)


def test_devices_and_requests():
    for device in (EdgeTpu.preset("pcie-m2"), resolve_device("usb3"), respect_tf.device_presets()):
        assert again(device) == device
    limits = respect_tf.Constraints(stage_bytes=[1, 2], pinned={0: 1}, colocated=[[1, 2]])
    assert again(limits) == limits
    request = ScheduleRequest(num_stages=2, constraints=limits)
    assert again(request) == request


def test_plans_and_fleets(graph):
    plan = plan_devices(graph, 3, device="usb3-pi5")
    assert again(plan).best.replicas == plan.best.replicas
    assert [row.interval_ms for row in again(plan).rows] == [row.interval_ms for row in plan.rows]
    fleet = plan_fleet_of({"a": graph}, 2, rates={"a": 5.0}, device=EdgeTpu.preset("usb3-pi5"))
    assert str(again(fleet)) == str(fleet)
    whole = respect_tf.plan(graph, 2, device="usb3-pi5", verbose=0)
    assert again(whole).best.interval_ms == whole.best.interval_ms
    several = respect_tf.plan_fleet({"a": graph}, 2, rates={"a": 5.0}, device="usb3-pi5", verbose=0)
    assert str(again(several)) == str(several)


def test_errors_keep_their_words():
    with pytest.raises(respect_tf.RespectError) as caught:
        respect_tf.schedule(OpGraph.from_arrays([1, 1], [1, 1], [(0, 1)]), 3)
    assert str(again(caught.value)) == str(caught.value)


def test_calibrations():
    device = EdgeTpu.preset("usb3-pi5")
    assert again(dataclasses.replace(device, fixed_ms=1.0)).fixed_ms == 1.0


def test_pipelines_and_what_is_known_of_them(tmp_path):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(4, 3), keras.layers.Conv2D(4, 3), keras.layers.Flatten()]
    model = keras.Sequential([keras.layers.Input((8, 8, 3)), *layers, keras.layers.Dense(3)])
    x = np.random.default_rng(0).random((4, 8, 8, 3)).astype("float32")
    fresh = respect_tf.convert(model, 2, x, compile=False, verbose=0)
    expected = fresh.predict(x)
    for pipeline in (fresh, respect_tf.load(fresh.save(tmp_path / "out"))):
        pipeline.predict(x)  # interpreters do not stand in the way
        found = again(pipeline)
        assert found.schedule == pipeline.schedule
        assert str(found.report) == str(pipeline.report)
        np.testing.assert_array_equal(found.predict(x), expected)
    for value in (
        *(fresh.report, fresh.prediction, fresh.segments, fresh.verify(x), fresh.simulate()),
        *(respect_tf.inspect(fresh.model), respect_tf.inspect(tmp_path / "out")),
        respect_tf.compare(model, fresh, x),
    ):
        assert str(again(value)) == str(value)
    estimate = respect_tf.estimate(model, num_devices=2, verbose=0)
    assert again(estimate).best.schedule == estimate.best.schedule
    assert again(estimate).graph.op_types == estimate.graph.op_types
