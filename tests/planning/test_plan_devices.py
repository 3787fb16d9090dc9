"""Plans for a graph: rows, ties, objectives, odd requests."""

import dataclasses
import math

import numpy as np
import pytest
from schedule_reference import make_graph
from slow_clock import SlowClock

from respect_tf._errors import ArgumentError
from respect_tf.device import EdgeTpu, predict, resolve_device, under_load
from respect_tf.graph import OpGraph
from respect_tf.planning import _ways, frames_by_devices, plan_devices, share_out
from respect_tf.planning._search import PlanSearch
from respect_tf.run import simulate
from respect_tf.scheduling import Constraints, Latency, check_schedule, schedule

MIB = 1 << 20
DEVICE = EdgeTpu.preset("usb3-pi5")


def chain(parameter_mib, output_bytes=20_000, macs=10**8):
    count = len(parameter_mib)
    return OpGraph.from_arrays(
        [int(size * MIB) for size in parameter_mib],
        [output_bytes] * count,
        [(op, op + 1) for op in range(count - 1)],
        macs=[macs] * count,
    )


@pytest.fixture(scope="module")
def large():
    """A model that does not fit on one chip, with one slow op."""
    return OpGraph.from_arrays(
        [2 * MIB] * 8,
        [20_000] * 8,
        [(op, op + 1) for op in range(7)],
        macs=[10**8, 10**8, 6 * 10**9, *[10**8] * 5],
    )


@pytest.mark.parametrize("name", ["usb3-pi5", "pcie-m2", "usb3"])
def test_no_way_is_better_than_the_plan(large, name):
    device = resolve_device(name)
    plan = plan_devices(large, 6, device=name)
    assert plan.is_proved
    assert [row.num_devices for row in plan.rows] == list(range(7))
    for count in range(1, 7):
        row = plan.row(count)
        assert row.schedule is not None
        assert row.num_used <= count
        assert row.num_segments == row.schedule.num_stages
        check_schedule(large, row.schedule)
        costs = [row.interval_ms]
        if row.schedule.optima is not None:
            costs = np.divide(list(row.interval_ms_by_host.values()), row.schedule.optima)
        assert max(costs) == pytest.approx(row.schedule.cost)
        for rival in (plan.copies[count - 1], plan.pipelines[count - 1]):
            others = [rival.interval_ms]
            if row.schedule.optima is not None:
                others = np.divide(list(rival.interval_ms_by_host.values()), row.schedule.optima)
            assert max(costs) <= max(others) * (1 + 1e-9)
        assert set(plan.pipelines[count - 1].replicas) == {1}
        again = predict(large, row.schedule, device, replicas=row.replicas)
        assert (row.interval_ms, row.latency_ms) == (again.interval_ms, again.latency_ms)
        assert row.limited_by == again.bottleneck


def test_replicas_go_to_the_slow_segment(large):
    best = plan_devices(large, 6, device=dataclasses.replace(DEVICE, bus_ms_per_mib=0.0)).best
    slow = int(best.schedule.stages[2])
    assert best.replicas[slow] == max(best.replicas) > 1
    assert best.schedule.objective == f"throughput(replicas={','.join(map(str, best.replicas))})"


def test_devices_and_segments_that_add_nothing_are_left_out():
    # The host's hand-overs limit it: one device is enough, and every segment more is slower.
    device = dataclasses.replace(DEVICE, stage_ms=50.0, bus_ms_per_mib=0.0)
    best = plan_devices(chain([1, 1, 1]), 4, device=device).best
    assert (best.num_segments, best.replicas, best.num_used) == (1, (1,), 1)


def test_copies_of_a_model_that_fits(large):
    plan = plan_devices(chain([0.5, 0.5]), 4, device=DEVICE)
    assert plan.best.replicas == (4,)
    assert plan.best.interval_ms == plan.copies[-1].interval_ms


def test_more_devices_than_ops():
    plan = plan_devices(chain([1.0]), 8, device=dataclasses.replace(DEVICE, stage_ms=0.0))
    assert plan.best.replicas == (8,)
    assert plan.pipelines[-1].replicas == (1,)
    for objective in ("latency", "memory"):
        assert plan_devices(chain([1.0, 2.0]), 8, objective=objective).best.num_segments <= 2


def test_a_model_that_is_best_on_the_cpu():
    tiny = chain([0.001], output_bytes=100, macs=1000)
    plan = plan_devices(tiny, 1, device=DEVICE)
    assert plan.is_best_on_cpu
    assert plan.devices_for(plan.cpu.frames_per_second / 2) == 0
    assert plan.cpu.num_devices == 0


def test_how_many_devices_are_enough(large):
    plan = plan_devices(large, 6, device=DEVICE)
    for count in range(2, 7):
        row = plan.row(count)
        if row.frames_per_second > plan.row(count - 1).frames_per_second:
            assert plan.devices_for(row.frames_per_second) == row.num_used
    assert plan.devices_for(2 * plan.best.frames_per_second) is None


@pytest.mark.parametrize("num_devices", [0, -1, 1.5, True, "4", None, 1000])
def test_numbers_of_devices_that_make_no_sense(num_devices):
    with pytest.raises(ArgumentError, match="num_devices"):
        plan_devices(chain([1, 1]), num_devices)


def test_other_objectives_have_no_replicas(large):
    latency = plan_devices(large, 4, device=DEVICE, objective="latency")
    best = min(schedule(large, count, objective="latency", device=DEVICE).cost
               for count in range(1, 5))  # fmt: skip
    assert latency.best.latency_ms == pytest.approx(best)
    assert set(latency.best.replicas) == {1}
    memory = plan_devices(large, 4, objective="memory")
    assert memory.best.num_segments == 4
    assert memory.best.schedule.cost == schedule(large, 4, objective="memory").cost


def test_constraints_are_kept(large):
    pinned = Constraints(pinned={0: 0, 7: 1})
    best = plan_devices(large, 4, device=DEVICE, constraints=pinned).best
    assert best.schedule.stages[[0, 7]].tolist() == [0, 1]
    assert best.num_used <= 4
    check_schedule(large, best.schedule, constraints=pinned)


def test_graphs_with_too_many_cuts_to_look_at_all_are_planned_nevertheless():
    rng = np.random.default_rng(0)
    count = 13  # without edges, every set of ops is an ideal
    graph = make_graph(rng.integers(0, MIB, count).tolist(), [1000] * count, np.zeros((0, 2), int))
    assert not PlanSearch(graph, DEVICE, 3).is_complete
    plan = plan_devices(graph, 3, device=DEVICE)
    for number in range(1, 4):
        row = plan.row(number)
        assert row.interval_ms <= plan.copies[number - 1].interval_ms * (1 + 1e-9)
        made = schedule(graph, number, device=DEVICE)
        assert row.interval_ms <= made.cost * (1 + 1e-9)


def test_a_plan_that_is_out_of_time_is_what_schedulers_find_at_once(large, monkeypatch):
    SlowClock(monkeypatch, 1.0)
    plan = plan_devices(large, 3, device="usb3-pi5", time_limit=0.5)
    assert [row.num_devices for row in plan.rows] == [0, 1, 2, 3]
    assert not plan.is_proved
    for row in plan.rows[1:]:
        check_schedule(large, row.schedule)


def test_once_time_is_over_no_more_segments_are_tried(monkeypatch):
    tried = []

    def counted(graph, num_stages, *arguments, **options):
        tried.append(num_stages)
        return schedule(graph, num_stages, *arguments, **options)

    monkeypatch.setattr(_ways, "choose_schedule", counted)
    graph = make_graph([1] * 8, [1] * 8, [(op, op + 1) for op in range(7)])
    on_the_host = {"device": "usb3-pi5", "constraints": Constraints(on_cpu=(3,))}
    plan_devices(graph, 4, **on_the_host)
    assert len(tried) > 2
    tried.clear()
    SlowClock(monkeypatch, 1.0)
    assert len(plan_devices(graph, 4, **on_the_host, time_limit=0.5).rows) > 1
    assert len(tried) == 1


def test_devices_of_a_given_cut(large):
    cut = schedule(large, 3, device=DEVICE)
    device = dataclasses.replace(DEVICE, bus_ms_per_mib=0.0)
    replicas = share_out(large, device, cut, 6)
    found = predict(large, cut, device, replicas=replicas).interval_ms
    for first in range(1, 5):
        for second in range(1, 6 - first):
            other = (first, second, 6 - first - second)
            assert found <= predict(large, cut, device, replicas=other).interval_ms * (1 + 1e-9)


def test_frames_by_devices_are_those_of_the_plan(large):
    plan = plan_devices(large, 4, device="usb3-pi5")
    for device in ("usb3-pi5", "usb3"):  # of several hosts, the first
        told = frames_by_devices(large, resolve_device(device), 4)
        assert [count.num_devices for count in told] == [0, 1, 2, 3, 4]
        for count, row in zip(told, plan.rows, strict=True):
            assert count.frames_per_second == pytest.approx(row.frames_per_second, rel=1e-8)
            assert count.replicas == row.replicas


def test_plans_under_load_keep_up_and_say_how_long_inputs_wait(large):
    device = dataclasses.replace(DEVICE, bus_ms_per_mib=0.0)
    fastest = plan_devices(large, 5, device=device)
    rate = 0.8 * fastest.best.frames_per_second
    loaded = plan_devices(
        large, 5, device=device, objective=Latency(device, arrivals_per_second=rate)
    )
    best = loaded.best
    assert best.latency_ms < math.inf
    marks = best.latency_percentiles_ms
    assert marks[50] <= marks[90] <= marks[99]
    prediction = predict(large, best.schedule, device, replicas=best.replicas)
    assert best.latency_ms == under_load(prediction, rate).mean_ms
    simulation = simulate(prediction, 4000, arrival_rate=rate, arrivals="poisson")
    assert simulation.latency_percentile(90) == pytest.approx(marks[90], rel=0.15)
    # As good as the plan for throughput, which was made for another purpose.
    other = predict(large, fastest.best.schedule, device, replicas=fastest.best.replicas)
    assert best.latency_ms <= under_load(other, rate).mean_ms * 1.02
    # Where hardly anything arrives, it is the least latency alone.
    calm = plan_devices(
        large, 3, device=device, objective=Latency(device, arrivals_per_second=1e-3)
    )
    alone = plan_devices(large, 3, device=device, objective="latency")
    assert calm.best.latency_ms == pytest.approx(alone.best.latency_ms, rel=1e-3)


def test_schedules_under_load(large):
    objective = Latency(DEVICE, arrivals_per_second=20.0)
    made = schedule(large, 3, objective=objective)
    check_schedule(large, made)
    assert made.objective == "latency(arrivals_per_second=20.0)"
    for simple in ("throughput", "latency"):
        other = schedule(large, 3, objective=simple, device=DEVICE)
        assert made.cost <= objective.schedule_cost(large, other) * (1 + 1e-9)
    with pytest.raises(ArgumentError, match="arrivals_per_second"):
        Latency(arrivals_per_second=0)
